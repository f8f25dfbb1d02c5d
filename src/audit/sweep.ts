import { randomBase62, timeOrderedId } from "../crypto/random.ts";
import type { Job } from "../jobs/job.ts";
import { newEvent } from "../outbox/event.ts";
import { insertEvent } from "../webhooks/outbox.ts";
import { ACTIVITY_ID_PREFIX } from "./record.ts";
import {
  insertedInBatch,
  deleteActivities,
  deleteFailedVerifications,
  insertFailedVerificationCount,
  uncountedFailedVerifications,
} from "./store.ts";

const DAY_MS = 86_400_000;

/** Deletes activity that is older than `ACTIVITY_RETENTION_DAYS`, the oldest first. */
export const sweepActivity: Job = (env, config, now, most) =>
  deleteActivities(env.DB, now - config.activityRetentionDays * DAY_MS, most);

/** Counts of one step: each takes four statements of one batch. */
const MAX_COUNTS = 20;

/**
 * Writes the failed verifications that were too many for rows of their own: for each agent and minute one row and one event that
 * say how many there were, and from how many addresses.
 */
export const countFailedVerifications: Job = async (env, _config, now, most) => {
  const counts = await uncountedFailedVerifications(env.DB, now, MAX_COUNTS);
  const batch = randomBase62(12);
  const statements = counts.flatMap((one) => {
    const { agentId, at, count, addresses, ipAddress } = one;
    const id = timeOrderedId(ACTIVITY_ID_PREFIX, at);
    const event = newEvent("agent.verification_failed", agentId, at, {
      agent_id: agentId,
      failed_at: new Date(at).toISOString(),
      ip_address: ipAddress,
      count,
      addresses,
    });
    const message = `${count} more failed verifications from ${addresses} ${addresses === 1 ? "address" : "addresses"}`;
    const row = { id, agentId, at, status: "failure", message, known: true } as const;
    const [insertion, ...rest] = insertFailedVerificationCount(
      env.DB,
      one,
      { ...row, ipAddress: addresses === 1 ? ipAddress : "" },
      batch,
    );
    return [insertion!, insertEvent(env.DB, event, insertedInBatch(id, batch)), ...rest];
  });
  if (statements.length > 0) await env.DB.batch(statements);
  // As many as a step may deal with: there may be more of them.
  return counts.length === MAX_COUNTS ? most : counts.length;
};

/** Forgets failed verifications once the queue brings them no more. */
export const sweepFailedVerifications: Job = (env, _config, now, most) => deleteFailedVerifications(env.DB, now, most);
