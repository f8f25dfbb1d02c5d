import { newEvent } from "../outbox/event.ts";
import { newEntry, SYSTEM_ORIGIN } from "../outbox/record.ts";
import {
  deleteFailedVerifications,
  findUncounted,
  insertCount,
  markCounted,
  type FailedVerifications,
} from "./store/failed-verifications.ts";
import { deleteArchived, readOldestSlots } from "./store/sweep.ts";
import { DAY_MS, HOUR_MS, MINUTE_MS } from "../time/lengths.ts";

/** How large the log's database may become, in bytes, before its oldest records leave it early. D1 takes 10 GB. */
export const MAX_HOT_BYTES = 8_000_000_000;

/** What one step deletes: of how many minutes and agents, and how many records. */
const PER_STEP = { slots: 100, records: 2000 };

/**
 * Deletes from the log's database what is archived and older than the hot window: `retentionDays`, or fewer while the database is larger
 * than `maxBytes`. The last hour stays. What is not archived stays in any case.
 *
 * @param now milliseconds.
 * @returns how many records it deleted, or `limit` if there may be more.
 */
export async function sweepRecords(
  db: D1Database,
  { retentionDays, maxBytes = MAX_HOT_BYTES }: { retentionDays: number; maxBytes?: number },
  now: number,
  limit: number,
): Promise<number> {
  const { slots, bytes } = await readOldestSlots(db, PER_STEP);
  const before = now - (bytes > maxBytes ? HOUR_MS : retentionDays * DAY_MS);
  const old = slots.filter(([minute]) => (minute + 1) * MINUTE_MS <= before);
  if (old.length === 0) return 0;
  const deleted = await deleteArchived(db, old);
  return deleted > 0 && old.length === slots.length ? limit : deleted;
}

/** How many counts one step writes. Each needs three statements of one batch. */
const MAX_COUNTS_PER_STEP = 20;

/**
 * Records the failed verifications that were too many for records of their own: for each agent and minute one record and one event with
 * their number, and the number of addresses that they came from. Of two runs at once, the second finds them marked.
 *
 * @param now milliseconds: only minutes that are over are counted.
 * @returns how many counts it wrote, or `limit` if there may be more.
 */
export async function countFailedVerifications(db: D1Database, now: number, limit: number): Promise<number> {
  const counts = await findUncounted(db, now, MAX_COUNTS_PER_STEP);
  const statements = counts.flatMap((count) => countStatements(db, count));
  if (statements.length > 0) await db.batch(statements);
  return counts.length === MAX_COUNTS_PER_STEP ? limit : counts.length;
}

function countStatements(db: D1Database, verifications: FailedVerifications): D1PreparedStatement[] {
  const { agentId, at, count, addresses, ipAddress } = verifications;
  const origin = { ...SYSTEM_ORIGIN, actor: null, ipAddress: addresses === 1 ? ipAddress : null };
  const entry = newEntry("token.refused", at, origin, {
    agentId,
    outcome: "denied",
    count,
    message: `${count} more failed verifications from ${addresses} ${addresses === 1 ? "address" : "addresses"}`,
  });
  const event = newEvent("agent.verification_failed", agentId, at, {
    agent_id: agentId,
    failed_at: new Date(at).toISOString(),
    ip_address: ipAddress,
    count,
    addresses,
  });
  return [...insertCount(db, verifications, entry, event), markCounted(db, verifications)];
}

/** Deletes up to `limit` failed verifications that the queue delivers no more. Returns how many. */
export const sweepFailedVerifications = (db: D1Database, now: number, limit: number): Promise<number> =>
  deleteFailedVerifications(db, now, limit);
