import type { Config } from "../config/config.ts";
import { checkPart, ok, type Finding, type PartHealth } from "../storage/part-health.ts";
import { MAX_HOT_BYTES } from "./sweep.ts";
import { checkBucket, readLogState, readOutboxState, type LogState, type OutboxState } from "./store/health.ts";
import { DAY_MS, MINUTE_MS } from "../time/lengths.ts";

/** After how long work that is done each minute lags, in milliseconds. */
const LAG_MS = 10 * MINUTE_MS;

/** The health of the audit log: its outbox, its database, its archive, and where it is sent to. @param now milliseconds. */
export async function checkAudit(
  { DB, AUDIT_DB, AUDIT_ARCHIVE }: Env,
  config: Config,
  now: number,
): Promise<PartHealth[]> {
  const { dataKeys, otlp } = config;
  // One read says what three parts need.
  const state = readLogState(AUDIT_DB, dataKeys[0]?.kid ?? null);
  state.catch(() => {});
  const seeDatabase =
    "Look for AUDIT_DB in Cloudflare's dashboard. Its migrations: npx wrangler d1 migrations apply AUDIT_DB --remote.";
  return Promise.all([
    checkPart("audit_outbox", async () => toOutbox(await readOutboxState(DB, now), now), "See the part database."),
    checkPart("audit_database", async () => toDatabase(await state, config, now), seeDatabase),
    checkPart(
      "audit_archive",
      async () => {
        if (dataKeys.length === 0) return withoutKeys(await state);
        await checkBucket(AUDIT_ARCHIVE);
        return toArchive(await state, now);
      },
      "Look for the bucket of AUDIT_ARCHIVE in Cloudflare's dashboard, and see the part audit_database. Records stay in AUDIT_DB meanwhile.",
    ),
    checkPart("otlp", async () => (otlp ? toOtlp(await state, now) : OTLP_OFF), seeDatabase),
  ]);
}

const OTLP_OFF: Finding = {
  status: "off",
  since: null,
  message: "OTLP_ENDPOINT is not set: records are sent to nobody.",
  numbers: {},
};

function toOutbox({ entries, readySince }: OutboxState, now: number): Finding {
  if (readySince === null || now - readySince < LAG_MS) return ok({ entries });
  const message =
    "Records wait in DB to be moved into AUDIT_DB. Nothing is lost. See the part audit_database, and look in the logs for job_failed, record_not_moved and activity_not_recorded.";
  return { status: "lagging", since: readySince, message, numbers: { entries } };
}

function toDatabase({ bytes, oldestAt }: LogState, { activityRetentionDays }: Config, now: number): Finding {
  const numbers = {
    bytes,
    max_bytes: MAX_HOT_BYTES,
    hot_days: oldestAt === null ? 0 : Math.max(0, Math.round((now - oldestAt) / DAY_MS)),
    max_hot_days: activityRetentionDays,
  };
  if (bytes < MAX_HOT_BYTES) return ok(numbers);
  const message =
    "AUDIT_DB has more than 8 GB: its oldest records leave it before ACTIVITY_RETENTION_DAYS have passed, and are read from the archive. Shorten ACTIVITY_RETENTION_DAYS to have this by plan.";
  return { status: "lagging", since: null, message, numbers };
}

function withoutKeys({ unarchivedSince, unarchivedBatches }: LogState): Finding {
  const message =
    "DATA_KEYS is not set: nothing is archived, and so nothing leaves AUDIT_DB, which takes 10 GB. Add it to the file of your secrets with `npm run keys -- publish data FILE`, and set it with `npx wrangler secret bulk FILE`.";
  return { status: "failing", since: unarchivedSince, message, numbers: { unarchived_batches: unarchivedBatches } };
}

function toArchive({ unarchivedSince, unarchivedBatches, dayKeys, olderDayKeys }: LogState, now: number): Finding {
  const numbers = { unarchived_batches: unarchivedBatches, day_keys: dayKeys, day_keys_under_older_keys: olderDayKeys };
  if (unarchivedSince === null || now - unarchivedSince < LAG_MS) return ok(numbers);
  const message =
    "Records wait to be archived, and stay in AUDIT_DB. Look in the logs for job_failed with the job archive_records. If it names a kid, DATA_KEYS lacks a key that encrypted the key of a day: put it back.";
  return { status: "lagging", since: unarchivedSince, message, numbers };
}

function toOtlp({ unsentSince, unsentBatches, sendAttempts }: LogState, now: number): Finding {
  const numbers = { unsent_batches: unsentBatches, attempts: sendAttempts };
  if (unsentSince === null || now - unsentSince < LAG_MS) return ok(numbers);
  const message =
    "Records wait to be sent to OTLP_ENDPOINT. Look in the logs for otlp_not_sent, which says what the receiver answered. A 401 or 403 wants other OTLP_HEADERS.";
  return { status: "lagging", since: unsentSince, message, numbers };
}
