import { integer, prepare, sql, type Sql } from "../../database/sql.ts";
import type { Activity, ActivityPage, ActivityQuery } from "../activity.ts";
import { firstActivityIdAt, type ActivityMessage } from "../record.ts";
import { assignPlaces, MAX_FAILED_VERIFICATIONS } from "./failed-verifications.ts";

interface ActivityRow {
  id: string;
  agent_id: string;
  at: number;
  ip_address: string;
  status: "success" | "failure";
  message: string | null;
  by_other: number;
}

const ACTIVITY_COLUMNS = sql`id, agent_id, at, ip_address, status, message, by_other`;

function toActivity(row: ActivityRow): Activity {
  return {
    id: row.id,
    agentId: row.agent_id,
    at: row.at,
    ipAddress: row.ip_address,
    status: row.status,
    message: row.message,
    byOther: row.by_other === 1,
  };
}

/**
 * The statements that insert new rows of activity and add exactly those rows to the counts.
 *
 * `batch` is the id of this change. If a message is delivered twice, its row has the batch that inserted it, and
 * is not counted again. A stranger can name an agent that does not exist, and such rows are left out. Failed verifications above
 * the limit of their minute are left out too: `countFailedVerifications` inserts them as a count.
 */
export function insertActivities(
  db: D1Database,
  activities: readonly ActivityMessage[],
  batch: string,
): D1PreparedStatement[] {
  const rows = JSON.stringify(
    activities.map((activity) => ({
      id: activity.id,
      agentId: activity.agentId,
      at: activity.at,
      ipAddress: activity.ipAddress,
      status: activity.status,
      message: activity.message,
      byOther: activity.byOther ? 1 : 0,
      // A message of a former version does not say whether the agent existed, so it is looked up.
      known: activity.known ? 1 : 0,
      failed: activity.failedVerification ? 1 : 0,
    })),
  );
  const hasFailed = activities.some(({ failedVerification }) => failedVerification);
  return [
    ...(hasFailed ? [assignPlaces(db, rows)] : []),
    prepare(
      db,
      sql`INSERT OR IGNORE INTO activity (id, agent_id, at, ip_address, status, message, by_other, batch)
        SELECT value ->> 'id', value ->> 'agentId', value ->> 'at', value ->> 'ipAddress', value ->> 'status',
               value ->> 'message', value ->> 'byOther', ${batch}
        FROM json_each(${rows})
        WHERE CASE WHEN value ->> 'failed' THEN EXISTS (
            SELECT 1 FROM failed_verifications f
            WHERE f.id = value ->> 'id' AND f.place <= ${integer(MAX_FAILED_VERIFICATIONS)})
          ELSE value ->> 'known' OR EXISTS (SELECT 1 FROM agents a WHERE a.id = value ->> 'agentId') END`,
    ),
    addToCounts(db, rows, batch),
  ];
}

/** The statement that adds rows to the counts if this batch inserted them. @param rows JSON of an array of objects with an `id`. */
export function addToCounts(db: D1Database, rows: string, batch: string): D1PreparedStatement {
  const inserted = sql`FROM activity WHERE id IN (SELECT value ->> 'id' FROM json_each(${rows})) AND batch = ${batch}`;
  return prepare(db, addToTotals(sql`count(*)`, inserted));
}

/** An addition to the counts for the agent of each row, and for everybody (`''`). */
const addToTotals = (number: Sql, rows: Sql) =>
  sql`INSERT INTO activity_counts (agent_id, status, total)
    SELECT agent_id, status, ${number} FROM (
      SELECT agent_id, status ${rows}
      UNION ALL
      SELECT '', status ${rows}
    ) WHERE true GROUP BY agent_id, status
    ON CONFLICT (agent_id, status) DO UPDATE SET total = total + excluded.total`;

/** Greater than every id. */
const LAST_ID = "act~";

/** One page of activity, the newest first, and how much there is in all. */
export async function readActivity(
  db: D1Database,
  { limit, offset, agentId, status, before = LAST_ID }: ActivityQuery,
): Promise<ActivityPage> {
  const rows = sql`SELECT ${ACTIVITY_COLUMNS} FROM activity WHERE id < ${before}`;
  const rowsOf = (agent: string, one: string) => sql`${rows} AND status = ${one} AND agent_id = ${agent}`;
  const [page, count] = await db.batch<ActivityRow & { total: number; agent_exists: number }>([
    prepare(db, sql`${source()} ORDER BY id DESC LIMIT ${limit + 1} OFFSET ${offset}`),
    prepare(
      db,
      sql`SELECT coalesce(sum(total), 0) AS total,
          EXISTS (SELECT 1 FROM agents WHERE id = ${agentId ?? ""}) AS agent_exists
        FROM activity_counts WHERE agent_id = ${agentId ?? ""}${status ? sql` AND status = ${status}` : sql``}`,
    ),
  ]);
  const { total, agent_exists } = count!.results[0]!;
  return { activities: page!.results.map(toActivity), total, agentExists: agent_exists === 1 };

  function source(): Sql {
    // The index of an agent is (agent_id, status, id): both statuses are read in order and merged.
    if (agentId && !status) return sql`${rowsOf(agentId, "success")} UNION ALL ${rowsOf(agentId, "failure")}`;
    if (agentId && status) return rowsOf(agentId, status);
    return status ? sql`${rows} AND status = ${status}` : rows;
  }
}

/** Deletes up to `limit` of the oldest rows from before a time, and subtracts them from the counts. Returns how many. */
export async function deleteActivities(db: D1Database, before: number, limit: number): Promise<number> {
  // Ids sort by time: the primary key is the index of the sweep, and the first id of a moment its bound.
  const oldest = sql`FROM activity WHERE id IN (
    SELECT id FROM activity WHERE id < ${firstActivityIdAt(before)} ORDER BY id LIMIT ${limit})`;
  const [, , deletion] = await db.batch([
    prepare(db, addToTotals(sql`-count(*)`, oldest)),
    prepare(db, sql`DELETE FROM activity_counts WHERE total = 0`),
    prepare(db, sql`DELETE ${oldest} RETURNING id`),
  ]);
  return deletion!.results.length;
}
