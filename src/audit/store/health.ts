import { prepare, sql } from "../../database/sql.ts";

/** How many rows are counted: whether there are more says enough. */
const MAX_COUNTED = 10_000;

/** How far the log's database is behind, and how full it is. Times are milliseconds. */
export interface LogState {
  readonly bytes: number;
  /** When the oldest record was made that the database holds. */
  readonly oldestAt: number | null;
  /** When what is not archived was inserted, the oldest of it. */
  readonly unarchivedSince: number | null;
  readonly unarchivedBatches: number;
  readonly unsentSince: number | null;
  readonly unsentBatches: number;
  /** The most attempts that an unsent batch had. */
  readonly sendAttempts: number;
  /** How many days have a key, and how many of these are under a key of DATA_KEYS that is not the newest. */
  readonly dayKeys: number;
  readonly olderDayKeys: number;
}

/** @param newestKid the newest key of DATA_KEYS. */
export async function readLogState(db: D1Database, newestKid: string | null): Promise<LogState> {
  const oldest = (condition: typeof UNARCHIVED, index: typeof UNARCHIVED) =>
    sql`FROM (SELECT created_at, attempts FROM batches INDEXED BY ${index} WHERE ${condition} LIMIT ${MAX_COUNTED})`;
  const unarchived = oldest(UNARCHIVED, sql`batches_to_archive`);
  const unsent = oldest(sql`sent_at IS NULL`, sql`batches_to_send`);
  const { results, meta } = await prepare(
    db,
    sql`SELECT
      (SELECT min(minute) * 60000 FROM record_minutes) AS oldestAt,
      (SELECT min(created_at) ${unarchived}) AS unarchivedSince,
      (SELECT count(*) ${unarchived}) AS unarchivedBatches,
      (SELECT min(created_at) ${unsent}) AS unsentSince,
      (SELECT count(*) ${unsent}) AS unsentBatches,
      (SELECT coalesce(max(attempts), 0) ${unsent}) AS sendAttempts,
      (SELECT count(*) FROM day_keys WHERE key IS NOT NULL) AS dayKeys,
      (SELECT count(*) FROM day_keys WHERE key ->> '$.kid' <> ${newestKid ?? ""}) AS olderDayKeys`,
  ).all<Omit<LogState, "bytes">>();
  return { ...results[0]!, bytes: meta.size_after };
}

const UNARCHIVED = sql`archived_at IS NULL`;

/** What waits in the identity database to be moved into the log. */
export interface OutboxState {
  readonly entries: number;
  /** When the oldest entry was made that can be moved, in milliseconds. */
  readonly readySince: number | null;
}

/** @param now milliseconds. */
export async function readOutboxState(db: D1Database, now: number): Promise<OutboxState> {
  const { results } = await prepare(
    db,
    sql`SELECT count(*) AS entries, min(iif(ready_at <= ${now}, ready_at, NULL)) AS readySince
      FROM (SELECT ready_at FROM audit_outbox LIMIT ${MAX_COUNTED})`,
  ).all<OutboxState>();
  return results[0]!;
}

/** Whether a bucket answers. @throws {Error} if it does not. */
export async function checkBucket(bucket: R2Bucket): Promise<void> {
  await bucket.head("health");
}
