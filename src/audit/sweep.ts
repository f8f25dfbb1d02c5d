import { timeOrderedId } from "../crypto/random.ts";
import { newChangeId } from "../outbox/change.ts";
import { newEvent } from "../outbox/event.ts";
import { insertEvent } from "../outbox/outbox.ts";
import { ACTIVITY_ID_PREFIX } from "./record.ts";
import { addToCounts, deleteActivities } from "./store/activity.ts";
import {
  deleteFailedVerifications,
  findUncounted,
  insertCount,
  markCounted,
  type FailedVerifications,
} from "./store/failed-verifications.ts";

const DAY_MS = 86_400_000;

/** Deletes up to `limit` rows of activity that are older than the retention, the oldest first. Returns how many. */
export const sweepActivity = (db: D1Database, retentionDays: number, now: number, limit: number): Promise<number> =>
  deleteActivities(db, now - retentionDays * DAY_MS, limit);

/** How many counts one step writes. Each needs four statements of one batch. */
const MAX_COUNTS_PER_STEP = 20;

/**
 * Writes the failed verifications that were too many for rows of their own: for each agent and minute one row and one event with
 * their number, and the number of addresses that they came from. Of two runs at once, the second finds them marked.
 *
 * @param now milliseconds: only minutes that are over are counted.
 * @returns how many counts it wrote, or `limit` if there may be more.
 */
export async function countFailedVerifications(db: D1Database, now: number, limit: number): Promise<number> {
  const counts = await findUncounted(db, now, MAX_COUNTS_PER_STEP);
  const changeId = newChangeId();
  const statements = counts.flatMap((count) => countStatements(db, count, changeId));
  if (statements.length > 0) await db.batch(statements);
  return counts.length === MAX_COUNTS_PER_STEP ? limit : counts.length;
}

function countStatements(db: D1Database, verifications: FailedVerifications, changeId: string): D1PreparedStatement[] {
  const { agentId, at, count, addresses, ipAddress } = verifications;
  const id = timeOrderedId(ACTIVITY_ID_PREFIX, at);
  const activity = {
    id,
    agentId,
    at,
    ipAddress: addresses === 1 ? ipAddress : "",
    status: "failure",
    message: `${count} more failed verifications from ${addresses} ${addresses === 1 ? "address" : "addresses"}`,
    known: true,
  } as const;
  const event = newEvent("agent.verification_failed", agentId, at, {
    agent_id: agentId,
    failed_at: new Date(at).toISOString(),
    ip_address: ipAddress,
    count,
    addresses,
  });
  return [
    insertCount(db, verifications, activity, changeId),
    insertEvent(db, event, { table: "activity", id, changeId }),
    addToCounts(db, JSON.stringify([{ id }]), changeId),
    markCounted(db, verifications),
  ];
}

/** Deletes up to `limit` failed verifications that the queue delivers no more. Returns how many. */
export const sweepFailedVerifications = (db: D1Database, now: number, limit: number): Promise<number> =>
  deleteFailedVerifications(db, now, limit);
