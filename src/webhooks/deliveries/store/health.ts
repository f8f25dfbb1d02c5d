import { prepare, sql } from "../../../database/sql.ts";

/** How many rows are counted: whether there are more says enough. */
const MAX_COUNTED = 10_000;
/** How many of the last failed deliveries are looked at for those that the queue gave up. */
const MAX_FAILED = 1000;

/** How many deliveries were due before a time, and since when the oldest is. Times are milliseconds. */
export async function readOverdue(db: D1Database, before: number): Promise<{ overdue: number; since: number | null }> {
  const { results } = await prepare(
    db,
    sql`SELECT count(*) AS overdue, min(next_attempt_at) AS since FROM (
      SELECT next_attempt_at FROM deliveries WHERE status = 'pending' AND next_attempt_at <= ${before}
      ORDER BY next_attempt_at LIMIT ${MAX_COUNTED})`,
  ).all<{ overdue: number; since: number | null }>();
  return results[0]!;
}

/** How many of the last 1000 failed deliveries failed because the queue gave them up. */
export async function readGivenUp(db: D1Database): Promise<number> {
  const count = await prepare(
    db,
    sql`SELECT sum(error = 'given up by the queue') AS n FROM (
      SELECT error FROM deliveries INDEXED BY deliveries_ended WHERE status <> 'pending' AND status = 'failed'
      ORDER BY id DESC LIMIT ${MAX_FAILED})`,
  ).first<number>("n");
  return count ?? 0;
}
