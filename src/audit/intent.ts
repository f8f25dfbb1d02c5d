import type { Authority } from "../authority/authority.ts";
import { batchAsCaller } from "../authority/batch.ts";
import type { AuditEntry } from "../outbox/record.ts";
import { insertIntentUnlessFull } from "./store/state.ts";

/**
 * Records the intent of a write before it is sent, on the condition that its sender still has its authority. One D1 round trip.
 *
 * @param readyAt milliseconds: when the intent is recorded with an unknown outcome if its end has not come.
 * @returns whether it was recorded. If it was not, the outbox of the audit log is full, and `AUDIT_ON_FAILURE` says whether the write is
 *   sent all the same.
 * @throws {AuthorityLostError}
 */
export async function recordIntent(
  db: D1Database,
  authority: Authority,
  intent: AuditEntry,
  readyAt: number,
): Promise<boolean> {
  const [inserted] = await batchAsCaller(db, authority, [insertIntentUnlessFull(db, intent, readyAt)]);
  return inserted!.results.length === 1;
}
