import { prepare, sql } from "../../database/sql.ts";
import { addToCounts, isOfSecond, isSuperseded } from "./records.ts";

/** A second in which an agent has records. */
export type Slot = readonly [second: number, agentId: string];

/** The oldest seconds of the log, up to `limit`, and the size of its database in bytes. */
export async function readOldestSlots(db: D1Database, limit: number): Promise<{ slots: Slot[]; bytes: number }> {
  const { results, meta } = await prepare(
    db,
    sql`SELECT second, agent_id AS agentId FROM record_seconds ORDER BY second, agent_id LIMIT ${limit}`,
  ).all<{ second: number; agentId: string }>();
  return { slots: results.map(({ second, agentId }) => [second, agentId]), bytes: meta.size_after };
}

/**
 * Deletes the records of these seconds that stand in the archive, and the seconds that have none left. A batch that has no row any more
 * is archived.
 *
 * @returns how many records it deleted.
 */
export async function deleteArchived(db: D1Database, slots: readonly Slot[]): Promise<number> {
  const inSlots = sql`json_each(${JSON.stringify(slots)}) s CROSS JOIN records r ON r.agent_id = s.value ->> 1
    AND ${isOfSecond(sql`(s.value ->> 0)`)}`;
  // A record leaves as a whole: without its end, an intent would be all that is known of a write.
  const isArchived = sql`NOT EXISTS (SELECT 1 FROM records p CROSS JOIN batches b ON b.id = p.batch AND b.archived_at IS NULL
    WHERE p.agent_id = r.agent_id AND p.id = r.id)`;
  const [, , , deletion] = await db.batch([
    prepare(
      db,
      sql`INSERT INTO log_state (name, value)
        SELECT 'swept_before', max(s.value ->> 0) + 1 FROM ${inSlots} WHERE ${isArchived} HAVING count(*) > 0
        ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)`,
    ),
    prepare(
      db,
      addToCounts(sql`SELECT r.agent_id, r.outcome = 'success' AS is_success, -1 AS number FROM ${inSlots}
        WHERE ${isArchived} AND NOT ${isSuperseded}`),
    ),
    prepare(
      db,
      sql`DELETE FROM record_counts WHERE total = 0 AND agent_id IN (
      SELECT value ->> 1 FROM json_each(${JSON.stringify(slots)}))`,
    ),
    prepare(
      db,
      sql`DELETE FROM records WHERE (agent_id, id, part) IN (
        SELECT r.agent_id, r.id, r.part FROM ${inSlots} WHERE ${isArchived}) RETURNING 1`,
    ),
    prepare(
      db,
      sql`DELETE FROM record_seconds WHERE (second, agent_id) IN (
        SELECT s.value ->> 0, s.value ->> 1 FROM json_each(${JSON.stringify(slots)}) s WHERE NOT EXISTS (
          SELECT 1 FROM records r WHERE r.agent_id = s.value ->> 1 AND ${isOfSecond(sql`(s.value ->> 0)`)}))`,
    ),
  ]);
  return deletion!.results.length;
}
