import { prepare, sql } from "../../database/sql.ts";

/** Records that were inserted at once and are to be sent, as one attempt has claimed them. */
export interface ClaimedBatch {
  readonly id: string;
  /** With this one. */
  readonly attempts: number;
}

/**
 * Claims batches that are due: until `until`, no other run finds them. Those that failed before are claimed one at a time, so that one
 * that is refused delays no others.
 *
 * @param now milliseconds.
 * @param until milliseconds.
 */
export async function claimBatches(
  db: D1Database,
  { now, until, limit }: { now: number; until: number; limit: number },
): Promise<ClaimedBatch[]> {
  const { results } = await prepare(
    db,
    sql`WITH due AS (
        SELECT id, attempts FROM batches WHERE sent_at IS NULL AND next_attempt_at <= ${now}
        ORDER BY next_attempt_at LIMIT ${limit})
      UPDATE batches SET attempts = attempts + 1, next_attempt_at = ${until}
      WHERE sent_at IS NULL AND next_attempt_at <= ${now} AND id IN (
        SELECT id FROM due WHERE attempts = 0
        UNION ALL SELECT * FROM (SELECT id FROM due WHERE NOT EXISTS (SELECT 1 FROM due WHERE attempts = 0) LIMIT 1))
      RETURNING id, attempts`,
  ).all<ClaimedBatch>();
  return results;
}

/** Says of batches that they were sent. @param now milliseconds. */
export async function markSent(db: D1Database, batches: readonly ClaimedBatch[], now: number): Promise<void> {
  await prepare(db, sql`UPDATE batches SET sent_at = ${now} WHERE id IN (${idsOf(batches)}) AND sent_at IS NULL`).run();
}

/** Says of batches when they are sent again. @param at milliseconds. */
export async function postpone(db: D1Database, batches: readonly ClaimedBatch[], at: number): Promise<void> {
  await prepare(
    db,
    sql`UPDATE batches SET next_attempt_at = ${at} WHERE id IN (${idsOf(batches)}) AND sent_at IS NULL`,
  ).run();
}

const idsOf = (batches: readonly ClaimedBatch[]) =>
  sql`SELECT value FROM json_each(${JSON.stringify(batches.map(({ id }) => id))})`;
