import { integer, prepare, sql } from "../../database/sql.ts";
import type { AuditEntry } from "../../outbox/record.ts";

/** How many requests of a subject were refused with a code in a minute. */
export interface RefusalCount {
  /** Minutes since the epoch. */
  readonly minute: number;
  /** A session, a key or a network; '': all others of the minute. */
  readonly subject: string;
  readonly code: string;
  /** '': no agent. */
  readonly agentId: string;
  /** The record of the first of them. */
  readonly entry: AuditEntry;
  readonly count: number;
}

/** So many counts of one minute are told apart. The rest of the minute is one count for each code. */
export const MAX_COUNTS_PER_MINUTE = 1000;

/**
 * Adds to the counts of their minutes. A message that the queue delivers twice is counted twice.
 *
 * The record of a count is that of the first of them. Those that are not told apart have no address and no agent.
 */
export async function addRefusals(db: D1Database, refusals: readonly RefusalCount[]): Promise<void> {
  const rows = JSON.stringify(refusals);
  const most = integer(MAX_COUNTS_PER_MINUTE);
  const isKnown = sql`EXISTS (SELECT 1 FROM refusal_counts c WHERE c.minute = value ->> 'minute'
    AND c.subject = value ->> 'subject' AND c.code = value ->> 'code')`;
  // Found out once for each minute: a message has hundreds of counts, and seldom more than one minute.
  const withRoom = sql`WITH full (minute) AS MATERIALIZED (
    SELECT v.minute FROM (SELECT DISTINCT value ->> 'minute' AS minute FROM json_each(${rows})) v
    WHERE (SELECT count(*) FROM (SELECT 1 FROM refusal_counts c WHERE c.minute = v.minute LIMIT ${most})) = ${most})`;
  const hasRoom = sql`value ->> 'minute' NOT IN (SELECT minute FROM full)`;
  const add = sql`ON CONFLICT (minute, subject, code) DO UPDATE SET count = count + excluded.count`;
  const nobody = sql`json_set(value -> 'entry', '$.agentId', NULL, '$.actor', NULL, '$.ipAddress', NULL, '$.requestId', NULL,
    '$.keyId', NULL, '$.sessionId', NULL, '$.method', NULL, '$.path', NULL)`;
  await db.batch([
    prepare(
      db,
      sql`${withRoom} INSERT INTO refusal_counts (minute, subject, code, agent_id, entry, count)
        SELECT value ->> 'minute', '', value ->> 'code', '', ${nobody}, value ->> 'count' FROM json_each(${rows})
        WHERE value ->> 'subject' <> '' AND NOT ${isKnown} AND NOT ${hasRoom} ${add}`,
    ),
    prepare(
      db,
      sql`${withRoom} INSERT INTO refusal_counts (minute, subject, code, agent_id, entry, count)
        SELECT value ->> 'minute', value ->> 'subject', value ->> 'code', value ->> 'agentId', value -> 'entry', value ->> 'count'
        FROM json_each(${rows}) WHERE value ->> 'subject' = '' OR ${isKnown} OR ${hasRoom} ${add}`,
    ),
  ]);
}

/** Up to `limit` counts of minutes before this one. */
export async function readFinished(db: D1Database, minute: number, limit: number): Promise<RefusalCount[]> {
  const { results } = await prepare(
    db,
    sql`SELECT minute, subject, code, agent_id AS agentId, entry, count FROM refusal_counts
      WHERE minute < ${minute} ORDER BY minute LIMIT ${limit}`,
  ).all<Omit<RefusalCount, "entry"> & { entry: string }>();
  return results.map((row) => Object.assign(row, { entry: JSON.parse(row.entry) as AuditEntry }));
}

/**
 * The statements that take counts away which the same batch records. What has been added since they were read stays, for a record with
 * another id.
 */
export function settleCounts(
  db: D1Database,
  counts: readonly RefusalCount[],
  nextIds: readonly string[],
): D1PreparedStatement[] {
  const rows = JSON.stringify(
    counts.map(({ minute, subject, code, entry, count }, index) => ({
      minute,
      subject,
      code,
      id: entry.id,
      count,
      next: nextIds[index],
    })),
  );
  // Another run that has recorded the same has taken the counts away, or given them another id.
  const same = sql`c.minute = v.value ->> 'minute' AND c.subject = v.value ->> 'subject' AND c.code = v.value ->> 'code'
    AND c.entry ->> 'id' = v.value ->> 'id'`;
  return [
    prepare(
      db,
      sql`UPDATE refusal_counts AS c SET count = c.count - (v.value ->> 'count'), entry = json_set(c.entry, '$.id', v.value ->> 'next')
        FROM json_each(${rows}) v WHERE ${same}`,
    ),
    prepare(
      db,
      sql`DELETE FROM refusal_counts WHERE count <= 0 AND (minute, subject, code) IN (
        SELECT value ->> 'minute', value ->> 'subject', value ->> 'code' FROM json_each(${rows}))`,
    ),
  ];
}
