import { firstIdOf, type ActivityMessage } from "./record.ts";

export interface ActivityRow {
  id: string;
  agent_id: string;
  at: number;
  ip_address: string;
  status: "success" | "failure";
  message: string | null;
}

/**
 * The statements that bring a batch of activities in: the rows that are new, and the counts by exactly those.
 *
 * `batch` marks the rows of this insert. A row delivered again keeps its first mark and is not counted twice.
 * A stranger can name an agent that does not exist: such rows are left out.
 */
export function insertActivities(
  db: D1Database,
  activities: readonly ActivityMessage[],
  batch: string,
): D1PreparedStatement[] {
  const rows = JSON.stringify(
    activities.map(({ id, agentId, at, ipAddress, status, message }) => ({
      id,
      agentId,
      at,
      ipAddress,
      status,
      message,
    })),
  );
  const ofBatch = "id IN (SELECT value ->> 'id' FROM json_each(?1)) AND batch = ?2";
  return [
    db
      .prepare(
        `INSERT OR IGNORE INTO activity (id, agent_id, at, ip_address, status, message, batch)
         SELECT value ->> 'id', value ->> 'agentId', value ->> 'at', value ->> 'ipAddress', value ->> 'status',
                value ->> 'message', ?2
         FROM json_each(?1) WHERE EXISTS (SELECT 1 FROM agents a WHERE a.id = value ->> 'agentId')`,
      )
      .bind(rows, batch),
    db
      .prepare(
        `INSERT INTO activity_counts (agent_id, status, total)
         SELECT agent_id, status, COUNT(*) FROM (
           SELECT agent_id, status FROM activity WHERE ${ofBatch}
           UNION ALL
           SELECT '', status FROM activity WHERE ${ofBatch}
         ) WHERE true GROUP BY agent_id, status
         ON CONFLICT (agent_id, status) DO UPDATE SET total = total + excluded.total`,
      )
      .bind(rows, batch),
  ];
}

/** SQL that is true when the activity came in with this batch; parameters 6 and 7. */
export const cameInWith = (id: string, batch: string) => ({
  sql: "EXISTS (SELECT 1 FROM activity a WHERE a.id = ?6 AND a.batch = ?7)",
  bindings: [id, batch],
});

export interface ActivityQuery {
  readonly limit: number;
  readonly offset: number;
  readonly agentId?: string | undefined;
  readonly status?: "success" | "failure" | undefined;
  /** Only rows that are older than the one with this id. */
  readonly before?: string | undefined;
}

export interface ActivityPage {
  /** One more than the limit if there are more. */
  readonly rows: ActivityRow[];
  readonly total: number;
  readonly agentExists: boolean;
}

/** Greater than every id. */
const LAST_ID = "act~";

/** One page of activity, newest first, and how much there is in all. */
export async function readActivity(
  db: D1Database,
  { limit, offset, agentId, status, before }: ActivityQuery,
): Promise<ActivityPage> {
  const rows = "SELECT id, agent_id, at, ip_address, status, message FROM activity WHERE id < ?1";
  const ofStatus = (one: string) => `${rows} AND status = '${one}'`;
  // An agent's index is (agent_id, status, id): both statuses are read in order and merged.
  const source = agentId
    ? (status ? [status] : ["success", "failure"])
        .map((one) => `${ofStatus(one)} AND agent_id = ?4`)
        .join(" UNION ALL ")
    : status
      ? ofStatus(status)
      : rows;
  const [page, count] = await db.batch<ActivityRow & { total: number; agent_exists: number }>([
    db
      .prepare(`${source} ORDER BY id DESC LIMIT ?2 OFFSET ?3`)
      .bind(before ?? LAST_ID, limit + 1, offset, ...(agentId ? [agentId] : [])),
    db
      .prepare(
        `SELECT coalesce(sum(total), 0) AS total, EXISTS (SELECT 1 FROM agents WHERE id = ?1) AS agent_exists
         FROM activity_counts WHERE agent_id = ?1 AND (?2 IS NULL OR status = ?2)`,
      )
      .bind(agentId ?? "", status ?? null),
  ]);
  const { total, agent_exists } = count!.results[0]!;
  return { rows: page!.results, total, agentExists: agent_exists === 1 };
}

/** Drops the oldest rows of before a time, and takes them off the counts. Returns how many. */
export async function deleteActivities(db: D1Database, before: number, most: number): Promise<number> {
  // Ids sort by time: the primary key is the index of the sweep, and the first id of a moment its bound.
  const oldest = "SELECT id FROM activity WHERE id < ?1 ORDER BY id LIMIT ?2";
  const bound = firstIdOf(before);
  const [, , deletion] = await db.batch([
    db
      .prepare(
        `INSERT INTO activity_counts (agent_id, status, total)
         SELECT agent_id, status, -COUNT(*) FROM (
           SELECT agent_id, status FROM activity WHERE id IN (${oldest})
           UNION ALL
           SELECT '', status FROM activity WHERE id IN (${oldest})
         ) WHERE true GROUP BY agent_id, status
         ON CONFLICT (agent_id, status) DO UPDATE SET total = total + excluded.total`,
      )
      .bind(bound, most),
    db.prepare("DELETE FROM activity_counts WHERE total = 0"),
    db.prepare(`DELETE FROM activity WHERE id IN (${oldest}) RETURNING id`).bind(bound, most),
  ]);
  return deletion!.results.length;
}
