import { integer, prepare, sql, type Sql } from "../../database/sql.ts";
import type { Outcome } from "../../outbox/record.ts";
import { HOUR_MS } from "../../time/lengths.ts";

/** For how long the calls of an hour stay counted, in hours. */
export const KEPT_HOURS = 31 * 24;

/** The calls of an hour with one outcome. */
export interface CallHour {
  /** Hours since the epoch. */
  readonly hour: number;
  readonly outcome: Outcome;
  readonly total: number;
}

/**
 * Statements that add to the calls of each hour, and forget the hours that are too old. They write a row for each hour and outcome,
 * however many calls there are.
 *
 * @param numbers a selection of `at, outcome, number` of calls.
 * @param now milliseconds.
 */
export const addToCallHours = (db: D1Database, numbers: Sql, now: number): D1PreparedStatement[] => [
  prepare(
    db,
    sql`INSERT INTO call_hours (hour, outcome, total)
      SELECT n.at / ${integer(HOUR_MS)} AS hour, n.outcome, sum(n.number) FROM (${numbers}) n
      WHERE true GROUP BY 1, 2 HAVING sum(n.number) <> 0
      ON CONFLICT (hour, outcome) DO UPDATE SET total = total + excluded.total`,
  ),
  prepare(db, sql`DELETE FROM call_hours WHERE hour < ${Math.floor(now / HOUR_MS) - KEPT_HOURS}`),
];

/** The calls of the hours from this one on, the oldest first. Reads at most four rows an hour. */
export async function readCallHours(db: D1Database, from: number): Promise<CallHour[]> {
  const { results } = await prepare(
    db,
    sql`SELECT hour, outcome, total FROM call_hours WHERE hour >= ${from} AND total > 0 ORDER BY hour, outcome`,
  ).all<CallHour>();
  return results;
}
