import type { Authority } from "../authority/authority.ts";
import { batchAsCaller } from "../authority/batch.ts";
import type { AuditEntry } from "../outbox/record.ts";
import { insertIntentUnlessFull } from "./store/state.ts";

/**
 * The statement that records the intent of a write before it is sent. It belongs into the batch that the write depends on.
 *
 * @param readyAt milliseconds: when the intent is recorded with an unknown outcome if its end has not come.
 */
export const insertIntent = (db: D1Database, entry: AuditEntry, readyAt: number): D1PreparedStatement =>
  insertIntentUnlessFull(db, entry, readyAt);

/**
 * Whether {@link insertIntent} has recorded the intent. If it has not, the outbox of the audit log is full, and `AUDIT_ON_FAILURE` says
 * whether the write is sent all the same.
 */
export const isIntentRecorded = (result: D1Result): boolean => result.results.length === 1;

/**
 * Records the intent of a write before it is sent, on the condition that its sender still has its authority. One D1 round trip.
 *
 * @param intents one for each agent that the write is recorded of.
 * @param readyAt as for {@link insertIntent}.
 * @returns as {@link isIntentRecorded}, of all of them.
 * @throws {AuthorityLostError}
 */
export async function recordIntent(
  db: D1Database,
  authority: Authority,
  intents: readonly AuditEntry[],
  readyAt: number,
): Promise<boolean> {
  const statements = intents.map((intent) => insertIntent(db, intent, readyAt));
  return (await batchAsCaller(db, authority, statements)).every(isIntentRecorded);
}
