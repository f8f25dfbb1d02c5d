import { countFailedVerifications, sweepActivity, sweepFailedVerifications } from "../audit/sweep.ts";
import { sweepKeys } from "../agents/sweep.ts";
import type { Config } from "../config/config.ts";
import { logFailure } from "../log/failure-log.ts";
import { sweepSessions } from "../tokens/sweep.ts";
import { drainOutbox, resendOverdue, sweepEventCounts } from "../webhooks/deliveries/fan-out.ts";
import { sweepDeliveries, sweepHostAttempts, trimDeliveries } from "../webhooks/deliveries/sweep.ts";
import { resealSecrets } from "../webhooks/reseal.ts";
import type { Job } from "./job.ts";

const JOBS: Readonly<Record<string, Job>> = {
  sweep_activity: sweepActivity,
  count_failed_verifications: countFailedVerifications,
  sweep_failed_verifications: sweepFailedVerifications,
  sweep_sessions: sweepSessions,
  sweep_keys: sweepKeys,
  drain_outbox: drainOutbox,
  sweep_event_counts: sweepEventCounts,
  resend_forgotten_deliveries: resendOverdue,
  sweep_deliveries: sweepDeliveries,
  trim_deliveries: trimDeliveries,
  sweep_host_attempts: sweepHostAttempts,
  reseal_webhook_secrets: resealSecrets,
};

/** A database serves one statement at a time: between small steps, requests pass. */
const STEP_LIMIT = 500;
const MAX_STEPS = 20;

/** Does every chore; one that fails is logged, keeps none of the others, and comes again with the next minute. */
export async function runScheduledJobs(env: Env, config: Config, now: number, chores = JOBS): Promise<void> {
  await Promise.all(
    Object.entries(chores).map(async ([name, chore]) => {
      try {
        for (let step = 0; step < MAX_STEPS; step++) {
          if ((await chore(env, config, now, STEP_LIMIT)) < STEP_LIMIT) return;
        }
      } catch (cause) {
        logFailure("chore_failed", cause, { chore: name });
      }
    }),
  );
}
