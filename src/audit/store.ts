import { firstActivityIdAt, type ActivityMessage } from "./record.ts";

export interface ActivityRow {
  id: string;
  agent_id: string;
  at: number;
  ip_address: string;
  status: "success" | "failure";
  message: string | null;
  /** 1: somebody else did it, and the address is theirs. */
  by_other: number;
}

/**
 * The statements that bring a batch of activities in: the rows that are new, and the counts by exactly those.
 *
 * `batch` marks the rows of this insert. A row delivered again keeps its first mark and is not counted twice.
 * A stranger can name an agent that does not exist: such rows are left out. Failed verifications that are too many for their
 * minute are left out too: `countFailedVerifications` brings them in as a count.
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
      // A message of a former version does not say: the consumer asks.
      known: activity.known ? 1 : 0,
      failed: activity.failedVerification ? 1 : 0,
    })),
  );
  const places = activities.some(({ failedVerification }) => failedVerification) ? [givePlaces(db, rows)] : [];
  return [
    ...places,
    db
      .prepare(
        `INSERT OR IGNORE INTO activity (id, agent_id, at, ip_address, status, message, by_other, batch)
         SELECT value ->> 'id', value ->> 'agentId', value ->> 'at', value ->> 'ipAddress', value ->> 'status',
                value ->> 'message', value ->> 'byOther', ?2
         FROM json_each(?1)
         WHERE CASE WHEN value ->> 'failed' THEN EXISTS (
             SELECT 1 FROM failed_verifications f WHERE f.id = value ->> 'id' AND f.place <= ${MAX_FAILED_VERIFICATIONS})
           ELSE value ->> 'known' OR EXISTS (SELECT 1 FROM agents a WHERE a.id = value ->> 'agentId') END`,
      )
      .bind(rows, batch),
    addToCounts(db, rows, batch),
  ];
}

/** Adds the rows of a batch, and only those, to the counts; `rows` is JSON of objects with an `id`. */
function addToCounts(db: D1Database, rows: string, batch: string): D1PreparedStatement {
  const ofBatch = "id IN (SELECT value ->> 'id' FROM json_each(?1)) AND batch = ?2";
  return db
    .prepare(
      `INSERT INTO activity_counts (agent_id, status, total)
       SELECT agent_id, status, COUNT(*) FROM (
         SELECT agent_id, status FROM activity WHERE ${ofBatch}
         UNION ALL
         SELECT '', status FROM activity WHERE ${ofBatch}
       ) WHERE true GROUP BY agent_id, status
       ON CONFLICT (agent_id, status) DO UPDATE SET total = total + excluded.total`,
    )
    .bind(rows, batch);
}

/** Failed verifications of one agent in a minute that have a row each; the rest of the minute is one row, a count. */
export const MAX_FAILED_VERIFICATIONS = 5;
const MINUTE_MS = 60_000;
/** How many minutes a failed verification is remembered, so that one that the queue brings again is not counted twice. */
const REMEMBERED_MINUTES = 60;

/** Gives each failed verification of an agent that exists its place in its minute; one that has a place already keeps it. */
function givePlaces(db: D1Database, rows: string): D1PreparedStatement {
  return db
    .prepare(
      `INSERT OR IGNORE INTO failed_verifications (id, agent_id, minute, place, at, ip_address, recorded)
       SELECT id, agent_id, minute, place, at, ip_address, place <= ${MAX_FAILED_VERIFICATIONS} FROM (
         SELECT m.*, row_number() OVER (PARTITION BY m.agent_id, m.minute ORDER BY m.id) + coalesce((
           SELECT max(f.place) FROM failed_verifications f WHERE f.agent_id = m.agent_id AND f.minute = m.minute), 0) AS place
         FROM (
           SELECT DISTINCT value ->> 'id' AS id, value ->> 'agentId' AS agent_id, value ->> 'at' AS at,
             value ->> 'at' / ${MINUTE_MS} AS minute, value ->> 'ipAddress' AS ip_address
           FROM json_each(?1) WHERE value ->> 'failed'
         ) m
         WHERE EXISTS (SELECT 1 FROM agents a WHERE a.id = m.agent_id)
           AND NOT EXISTS (SELECT 1 FROM failed_verifications f WHERE f.id = m.id)
       )`,
    )
    .bind(rows);
}

/** The failed verifications of one agent in one minute that have no row of their own and stand in no count yet. */
export interface FailedVerifications {
  readonly agentId: string;
  readonly minute: number;
  readonly count: number;
  /** How many addresses they came from. */
  readonly addresses: number;
  /** Of the newest. */
  readonly ipAddress: string;
  /** Of the newest, in milliseconds. */
  readonly at: number;
  /** Of the newest: one that arrives later has a higher place. */
  readonly lastPlace: number;
}

/** What is to be counted of the minutes that are over at `now`. At most `limit` counts. */
export async function uncountedFailedVerifications(
  db: D1Database,
  now: number,
  limit: number,
): Promise<FailedVerifications[]> {
  // With max() as the only aggregate of its kind, SQLite takes `at` and `ip_address` from the row that has the maximum.
  const { results } = await db
    .prepare(
      `SELECT agent_id AS agentId, minute, count(*) AS count, count(DISTINCT ip_address) AS addresses,
         ip_address AS ipAddress, at, max(place) AS lastPlace
       FROM failed_verifications WHERE recorded = 0 AND minute < ?1 GROUP BY minute, agent_id LIMIT ?2`,
    )
    .bind(Math.floor(now / MINUTE_MS), limit)
    .all<FailedVerifications>();
  return results;
}

/** The statements that bring a count in as one row, unless another run has done it. */
export function insertFailedVerificationCount(
  db: D1Database,
  { agentId, minute, lastPlace }: FailedVerifications,
  { id, at, ipAddress, status, message }: Omit<ActivityMessage, "event">,
  batch: string,
): D1PreparedStatement[] {
  return [
    db
      .prepare(
        `INSERT INTO activity (id, agent_id, at, ip_address, status, message, batch)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE EXISTS (
           SELECT 1 FROM failed_verifications WHERE agent_id = ?2 AND minute = ?8 AND place = ?9 AND recorded = 0)`,
      )
      .bind(id, agentId, at, ipAddress, status, message, batch, minute, lastPlace),
    addToCounts(db, JSON.stringify([{ id }]), batch),
    db
      .prepare(
        `UPDATE failed_verifications SET recorded = 1 WHERE agent_id = ?1 AND minute = ?2 AND place <= ?3 AND recorded = 0`,
      )
      .bind(agentId, minute, lastPlace),
  ];
}

/** Forgets failed verifications that the queue brings no more. Returns how many. */
export async function deleteFailedVerifications(db: D1Database, now: number, limit: number): Promise<number> {
  const { results } = await db
    .prepare(
      `DELETE FROM failed_verifications WHERE id IN (
         SELECT id FROM failed_verifications WHERE minute < ?1 AND recorded = 1 LIMIT ?2) RETURNING id`,
    )
    .bind(Math.floor(now / MINUTE_MS) - REMEMBERED_MINUTES, limit)
    .all();
  return results.length;
}

/** SQL that is true when the activity came in with this batch; parameters 6 and 7. */
export const insertedInBatch = (id: string, batch: string) => ({
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
  const rows = "SELECT id, agent_id, at, ip_address, status, message, by_other FROM activity WHERE id < ?1";
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
  const bound = firstActivityIdAt(before);
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
