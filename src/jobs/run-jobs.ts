import { resealDayKeys } from "../audit/archive/day-keys.ts";
import { sweepArchive } from "../audit/archive/retention.ts";
import { archiveRecords, deleteReplaced, joinHours, sweepBatches, type Archive } from "../audit/archive/write.ts";
import { sendRecords } from "../audit/otlp/send.ts";
import { moveFormerActivity } from "../audit/move-former.ts";
import { moveEntries } from "../audit/move.ts";
import { measureOutbox } from "../audit/outbox-size.ts";
import { recordRefusals } from "../audit/refusals.ts";
import { countFailedVerifications, sweepFailedVerifications, sweepRecords } from "../audit/sweep.ts";
import { sweepKeys, sweepUnapproved } from "../agents/sweep.ts";
import { sweepIdempotencyKeys } from "../approvals/idempotency.ts";
import type { Config } from "../config/config.ts";
import { announceAndSweepGrants } from "../grants/due.ts";
import { logFailure } from "../log/failure-log.ts";
import { sweepProofs } from "../tokens/end-token.ts";
import { sweepPeople } from "../people/sweep.ts";
import { sweepSessions } from "../tokens/sweep.ts";
import { sweepEventCounts, sweepSetAside } from "../outbox/outbox.ts";
import { drainOutbox, resendOverdue } from "../webhooks/deliveries/fan-out.ts";
import { sweepDeliveries, sweepHostAttempts, trimDeliveries } from "../webhooks/deliveries/sweep.ts";
import { resealSecrets, sweepFormerSecrets } from "../webhooks/reseal.ts";
import type { Job } from "./job.ts";

const archiveOf = ({ AUDIT_DB, AUDIT_ARCHIVE }: Env, { dataKeys, auditRetentionDays }: Config): Archive => ({
  db: AUDIT_DB,
  bucket: AUDIT_ARCHIVE,
  dataKeys,
  retentionDays: auditRetentionDays,
});

/** How many days records stay in the log's database, before they are in the archive only or nowhere. */
const hotDaysOf = ({ activityRetentionDays, auditRetentionDays }: Config): number =>
  Math.min(activityRetentionDays, auditRetentionDays ?? Infinity);

const JOBS: Readonly<Record<string, Job>> = {
  move_audit_outbox: (env, _config, now, limit) => moveEntries(env, now, limit),
  measure_audit_outbox: ({ DB }, _config, now) => measureOutbox(DB, now),
  record_refusals: ({ AUDIT_DB }, _config, now, limit) => recordRefusals(AUDIT_DB, now, limit),
  move_former_activity: (env, { activityRetentionDays }, now, limit) =>
    moveFormerActivity(env, activityRetentionDays, now, limit),
  sweep_records: ({ AUDIT_DB }, config, now, limit) =>
    sweepRecords(AUDIT_DB, { retentionDays: hotDaysOf(config) }, now, limit),
  count_failed_verifications: ({ DB }, _config, now, limit) => countFailedVerifications(DB, now, limit),
  sweep_failed_verifications: ({ DB }, _config, now, limit) => sweepFailedVerifications(DB, now, limit),
  sweep_sessions: ({ DB }, { accessTokenTtl }, now, limit) => sweepSessions(DB, accessTokenTtl, now, limit),
  sweep_proofs: ({ DB }, _config, now, limit) => sweepProofs(DB, now, limit),
  sweep_people: ({ DB }, { activityRetentionDays }, now, limit) => sweepPeople(DB, activityRetentionDays, now, limit),
  sweep_keys: ({ DB }, _config, now, limit) => sweepKeys(DB, now, limit),
  announce_and_sweep_grants: ({ DB }, _config, now, limit) => announceAndSweepGrants(DB, now, limit),
  sweep_idempotency_keys: ({ DB }, _config, _now, limit) => sweepIdempotencyKeys(DB, limit),
  sweep_unapproved_agents: ({ DB }, { unapprovedAgentDays }, now, limit) =>
    sweepUnapproved(DB, unapprovedAgentDays, now, limit),
  drain_outbox: (env, _config, now, limit) => drainOutbox(env, now, limit),
  sweep_set_aside_events: ({ DB }, { activityRetentionDays }, now, limit) =>
    sweepSetAside(DB, activityRetentionDays, now, limit),
  sweep_event_counts: ({ DB }, _config, now, limit) => sweepEventCounts(DB, now, limit),
  resend_overdue_deliveries: (env, _config, now, limit) => resendOverdue(env, now, limit),
  sweep_deliveries: ({ DB }, { activityRetentionDays }, now, limit) =>
    sweepDeliveries(DB, activityRetentionDays, now, limit),
  trim_deliveries: ({ DB }, _config, now, limit) => trimDeliveries(DB, now, limit),
  sweep_host_attempts: ({ DB }, _config, now, limit) => sweepHostAttempts(DB, now, limit),
  sweep_former_webhook_secrets: ({ DB }, _config, now, limit) => sweepFormerSecrets(DB, now, limit),
  archive_records: (env, config, now, limit) => archiveRecords(archiveOf(env, config), now, limit),
  join_archive_hours: (env, config, now, limit) => joinHours(archiveOf(env, config), now, limit),
  delete_joined_objects: (env, config, now, limit) => deleteReplaced(archiveOf(env, config), now, limit),
  sweep_archive: (env, config, now, limit) => sweepArchive(archiveOf(env, config), now, limit),
  sweep_batches: ({ AUDIT_DB }, { otlp }, _now, limit) => sweepBatches(AUDIT_DB, otlp !== null, limit),
  send_records: ({ AUDIT_DB }, { otlp }, now, limit) => sendRecords(AUDIT_DB, otlp, now, limit),
  reseal_day_keys: ({ AUDIT_DB }, { dataKeys }, _now, limit) => resealDayKeys(AUDIT_DB, dataKeys, limit),
  reseal_webhook_secrets: ({ DB }, { webhookKeys }, now, limit) => resealSecrets(DB, webhookKeys, now, limit),
};

/** A database runs one statement at a time: between small steps, requests get their turn. */
const STEP_LIMIT = 500;

/** How long a job takes its next step, in milliseconds. The rest is for the next minute. */
const JOB_BUDGET_MS = 20_000;

/**
 * Runs every job, in parallel, until it has nothing left or its time is spent. One that fails is logged, does not stop the others, and
 * runs again in the next minute.
 *
 * @param clock in milliseconds, of which only differences count.
 */
export async function runScheduledJobs(
  env: Env,
  config: Config,
  now: number,
  jobs = JOBS,
  clock: Pick<Performance, "now"> = performance,
): Promise<void> {
  const start = clock.now();
  await Promise.all(
    Object.entries(jobs).map(async ([name, job]) => {
      try {
        while (clock.now() - start < JOB_BUDGET_MS) {
          if ((await job(env, config, now, STEP_LIMIT)) < STEP_LIMIT) return;
        }
      } catch (cause) {
        logFailure("job_failed", cause, { job: name });
      }
    }),
  );
}
