import { prepare, sql, type Sql } from "../../database/sql.ts";
import { firstIdOf, isOfMinute } from "./minutes.ts";

/*
 * How many records there are, of each agent and of everybody (`*`), by whether they are successes. Everybody's are added up with each batch,
 * which is a row. Those of an agent are added up once a minute is over, in the transaction that moves `counted_before` past it: the records
 * of later minutes are counted when somebody asks. What comes when its minute is counted already is added at once.
 */

/** SQL for the first minute that is not counted. */
export const countedBefore = sql`coalesce((SELECT value FROM log_state WHERE name = 'counted_before'), 0)`;

/**
 * SQL that is true of a row `r` that waits to be counted, if its minute does. The intent of a write whose end waits too does not. One whose
 * end a Worker of the former version has counted does: that has taken it from the count, in which it was not.
 */
const isUncounted = sql`r.is_counted = 0 AND NOT EXISTS (SELECT 1 FROM records e
  WHERE e.agent_id = r.agent_id AND e.id = r.id AND e.part > r.part AND e.is_counted = 0)`;

/** SQL that adds to the counts. @param numbers a selection of `agent_id, is_success, number`. */
const addToCounts = (numbers: Sql): Sql =>
  sql`INSERT INTO record_counts (agent_id, is_success, total)
    SELECT n.agent_id, n.is_success, sum(n.number) FROM (${numbers}) n
    WHERE true GROUP BY 1, 2 HAVING sum(n.number) <> 0
    ON CONFLICT (agent_id, is_success) DO UPDATE SET total = total + excluded.total`;

/** SQL that adds the same to the counts of the agents, of some of them, and of everybody. @param isOfAgent SQL that is true of a row `n` that is added to its agent's count. */
export const addToAllCounts = (numbers: Sql, isOfAgent: Sql = sql`true`): Sql =>
  addToCounts(sql`SELECT iif(w.value = 1, '*', n.agent_id) AS agent_id, n.is_success, n.number
    FROM (${numbers}) n CROSS JOIN json_each('[0, 1]') w WHERE w.value = 1 OR ${isOfAgent}`);

/** So many minutes one batch of records counts at most. There are more only after a former version of the Worker has run for a while. */
const MAX_MINUTES = 10;

/**
 * The statements that count the minutes before one. Of two transactions at once, the second finds them counted.
 *
 * @param minute since the epoch.
 * @param most how many minutes are counted at most, beginning with the first that has records.
 */
export function countMinutesBefore(db: D1Database, minute: number, most = MAX_MINUTES): D1PreparedStatement[] {
  const end = sql`(SELECT min(${minute}, coalesce(min(n.minute) + ${most}, ${minute})) FROM record_minutes n
    WHERE n.minute >= ${countedBefore})`;
  return [
    prepare(
      db,
      addToCounts(sql`SELECT r.agent_id, r.outcome = 'success' AS is_success, 1 AS number
        FROM record_minutes m CROSS JOIN records r ON r.agent_id = m.agent_id AND ${isOfMinute(sql`m.minute`)}
        WHERE m.minute >= ${countedBefore} AND m.minute < ${end} AND ${isUncounted}`),
    ),
    prepare(
      db,
      sql`INSERT INTO log_state (name, value) SELECT 'counted_before', ${end} WHERE true
        ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE excluded.value > value`,
    ),
  ];
}

/** The statement that reads how many records an agent, or everybody (`*`), has, as rows of `is_success` and `total`: some rows of each. */
export const readCounts = (db: D1Database, agentId: string): D1PreparedStatement =>
  prepare(
    db,
    sql`SELECT is_success, total FROM record_counts WHERE agent_id = ${agentId}
      UNION ALL
      SELECT r.outcome = 'success', count(*) FROM records r
        WHERE r.agent_id = ${agentId} AND r.id >= ${firstIdOf(sql`${countedBefore} * 60`)} AND ${isUncounted} GROUP BY 1`,
  );
