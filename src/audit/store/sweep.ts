import { prepare, sql, type Sql } from "../../database/sql.ts";
import { isOfMinute } from "./minutes.ts";
import { addToAllCounts, countMinutesBefore } from "./record-counts.ts";
import { isSuperseded } from "./records.ts";

/** The records of an agent in a minute: all of them, or those with ids before one. */
export type Slot = readonly [minute: number, agentId: string, beforeId?: string];

/**
 * The oldest minutes and agents of the log that have `limits.records` records together, at most `limits.slots` of them, and the size of
 * its database in bytes. One that has more records by itself is a part of that slot.
 */
export async function readOldestSlots(
  db: D1Database,
  limits: { slots: number; records: number },
): Promise<{ slots: Slot[]; bytes: number }> {
  const { results, meta } = await prepare(
    db,
    sql`SELECT m.minute, m.agent_id AS agentId, (SELECT count(*) FROM (
        SELECT 1 FROM records r WHERE r.agent_id = m.agent_id AND ${isOfMinute(sql`m.minute`)} LIMIT ${limits.records + 1})) AS records
      FROM (SELECT minute, agent_id FROM record_minutes ORDER BY minute, agent_id LIMIT ${limits.slots}) m
      ORDER BY m.minute, m.agent_id`,
  ).all<{ minute: number; agentId: string; records: number }>();
  const bytes = meta.size_after;
  const [first] = results;
  if (first && first.records > limits.records) {
    const { minute, agentId } = first;
    const next = await prepare(
      db,
      sql`SELECT r.id FROM records r WHERE r.agent_id = ${agentId} AND ${isOfMinute(sql`CAST(${minute} AS INTEGER)`)}
        ORDER BY r.id LIMIT 1 OFFSET ${limits.records}`,
    ).first<string>("id");
    return { slots: [next === null ? [minute, agentId] : [minute, agentId, next]], bytes };
  }
  let sum = 0;
  const slots = results.filter(({ records }) => (sum += records) <= limits.records);
  return { slots: slots.map(({ minute, agentId }) => [minute, agentId]), bytes };
}

/** SQL for the rows `r` of slots `s`. */
const rowsOf = (slots: Sql): Sql =>
  sql`${slots} s CROSS JOIN records r ON r.agent_id = s.value ->> 1 AND ${isOfMinute(sql`(s.value ->> 0)`)}
    AND r.id < coalesce(s.value ->> 2, '~')`;

/**
 * Deletes the records of these slots that stand in the archive, and the slots that have none left. A batch that has no row any more
 * is archived.
 *
 * @returns how many records it deleted.
 */
export async function deleteArchived(db: D1Database, slots: readonly Slot[]): Promise<number> {
  const all = sql`json_each(${JSON.stringify(slots)})`;
  const inSlots = rowsOf(all);
  // A record leaves as a whole: without its end, an intent would be all that is known of a write.
  const isArchived = sql`NOT EXISTS (SELECT 1 FROM records p CROSS JOIN batches b ON b.id = p.batch AND b.archived_at IS NULL
    WHERE p.agent_id = r.agent_id AND p.id = r.id)`;
  // What leaves is taken from the counts, so that all of it must be in them. Seldom is any of it not.
  const counting = countMinutesBefore(db, Math.max(...slots.map(([minute]) => minute)) + 1, Number.MAX_SAFE_INTEGER);
  const results = await db.batch([
    ...counting,
    prepare(
      db,
      sql`INSERT INTO log_state (name, value)
        SELECT 'swept_before', max(s.value ->> 0) * 60 + 60 FROM ${inSlots} WHERE ${isArchived} HAVING count(*) > 0
        ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)`,
    ),
    prepare(
      db,
      addToAllCounts(sql`SELECT r.agent_id, r.outcome = 'success' AS is_success, -1 AS number FROM ${inSlots}
        WHERE ${isArchived} AND NOT ${isSuperseded}`),
    ),
    prepare(db, sql`DELETE FROM record_counts WHERE total = 0 AND agent_id IN (SELECT s.value ->> 1 FROM ${all} s)`),
    prepare(
      db,
      sql`DELETE FROM records WHERE (agent_id, id, part) IN (
        SELECT r.agent_id, r.id, r.part FROM ${inSlots} WHERE ${isArchived}) RETURNING 1`,
    ),
    prepare(
      db,
      sql`DELETE FROM record_minutes WHERE (minute, agent_id) IN (
        SELECT s.value ->> 0, s.value ->> 1 FROM ${all} s WHERE NOT EXISTS (
          SELECT 1 FROM records r WHERE r.agent_id = s.value ->> 1 AND ${isOfMinute(sql`(s.value ->> 0)`)}))`,
    ),
    // Written by the former version only, which reads them: see record_seconds_minute.
    prepare(
      db,
      sql`DELETE FROM record_seconds WHERE second < (SELECT coalesce(min(minute) * 60, ${Number.MAX_SAFE_INTEGER}) FROM record_minutes)`,
    ),
  ]);
  return results[counting.length + 3]!.results.length;
}
