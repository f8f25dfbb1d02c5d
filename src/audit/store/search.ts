import { and, prepare, sql, type Sql } from "../../database/sql.ts";
import { idOfSecond, secondOfId } from "../audit-record.ts";
import { toLowerAscii, type IdRange, type RecordFilter } from "../filter.ts";
import { isOfSecond, isSuperseded, type RecordRow } from "./records.ts";

/** A page of the records that the log's database has. */
export interface HotPage {
  /** The newest first, each by its last part. */
  readonly rows: RecordRow[];
  /** Records with lower ids have not been looked at; null if there are none in the range. */
  readonly nextId: string | null;
  /** Records with lower ids have left the database, those that are not archived excepted. */
  readonly sweptBefore: string;
}

/** How much is read for one page: what comes after is for the next one. */
export interface HotBudget {
  readonly rows: number;
  /** Seconds that have records. */
  readonly seconds: number;
}

const HOT_BUDGET: HotBudget = { rows: 5000, seconds: 2000 };

/** SQL that is true of a row `r` that a filter wants, its id apart. */
function conditionsOf(filter: RecordFilter): Sql {
  const { agentId, actor, permission, path, q, outcome } = filter;
  const equal = (column: Sql, value: string | undefined) => value !== undefined && sql`${column} = ${value}`;
  return and(
    sql`NOT ${isSuperseded}`,
    equal(sql`r.agent_id`, agentId),
    equal(sql`r.action`, filter.action),
    equal(sql`r.outcome`, outcome),
    equal(sql`r.service`, filter.service),
    equal(sql`r.method`, filter.method),
    equal(sql`r.key_id`, filter.keyId),
    equal(sql`r.session_id`, filter.sessionId),
    equal(sql`r.request_id`, filter.requestId),
    equal(sql`r.ip_address`, filter.ip),
    equal(sql`coalesce(r.actor_id, r.actor_type)`, actor),
    permission !== undefined && sql`instr(' ' || r.permission || ' ', ${` ${permission} `}) > 0`,
    // A path prefix is a range: nothing sorts after U+10FFFF.
    path !== undefined && sql`r.path >= ${path} AND r.path < ${`${path}\u{10FFFF}`}`,
    q !== undefined &&
      sql`instr(lower(coalesce(r.message, '') || char(10) || coalesce(r.path, '') || char(10) || coalesce(r.actor_name, '')
        || char(10) || coalesce(r.before, '') || char(10) || coalesce(r.after, '')), ${toLowerAscii(q)}) > 0`,
    filter.isNotByOther && sql`(r.actor_type IS NULL OR r.actor_id = r.agent_id)`,
  )!;
}

const inRange = ({ fromId, beforeId }: IdRange): Sql => sql`r.id >= ${fromId} AND r.id < ${beforeId}`;

/**
 * Reads a page of the records in a range of ids. It may be shorter than `limit`, even empty, if it has read as much as its budget
 * allows. One round trip, or two.
 */
export function searchHot(
  db: D1Database,
  filter: RecordFilter,
  range: IdRange,
  limit: number,
  budget: HotBudget = HOT_BUDGET,
): Promise<HotPage> {
  const isFailure = filter.outcome !== undefined && filter.outcome !== "success";
  if (filter.agentId === undefined && !isFailure) return searchSeconds(db, filter, range, limit, budget);
  return searchInOrder(db, filter, range, limit, budget);
}

/** Searches rows in the order of their ids: those of one agent, or all that did not succeed. */
async function searchInOrder(
  db: D1Database,
  filter: RecordFilter,
  range: IdRange,
  limit: number,
  budget: HotBudget,
): Promise<HotPage> {
  const { agentId, outcome } = filter;
  const isFailure = outcome !== undefined && outcome !== "success";
  // Without a hint, the planner takes the primary key for one agent, and nothing is in the order of everybody's ids.
  const index =
    agentId === undefined
      ? sql`INDEXED BY records_failed`
      : isFailure
        ? sql`INDEXED BY records_failed_by_agent`
        : sql``;
  const searched = sql`FROM records r ${index} WHERE ${and(
    agentId !== undefined && sql`r.agent_id = ${agentId}`,
    inRange(range),
    isFailure && sql`r.outcome <> 'success'`,
  )!} ORDER BY r.id DESC`;
  const { rows, sweptBefore } = await readPage(
    db,
    sql`SELECT * FROM (SELECT r.* ${searched} LIMIT ${budget.rows}) r WHERE ${conditionsOf(filter)}`,
    limit,
  );
  if (rows.length > limit) return { rows: rows.slice(0, limit), nextId: rows[limit - 1]!.id, sweptBefore };
  const last = await prepare(db, sql`SELECT r.id ${searched} LIMIT 1 OFFSET ${budget.rows - 1}`).first<string>("id");
  return { rows, nextId: last, sweptBefore };
}

/** Runs a selection of rows `r` for a page, and one more if there are more. In the same transaction it reads what has left. */
async function readPage(
  db: D1Database,
  selection: Sql,
  limit: number,
): Promise<{ rows: RecordRow[]; sweptBefore: string }> {
  const [rows, swept] = await db.batch<RecordRow & { value: number }>([
    prepare(db, sql`${selection} ORDER BY r.id DESC LIMIT ${limit + 1}`),
    prepare(db, sql`SELECT value FROM log_state WHERE name = 'swept_before'`),
  ]);
  return { rows: rows!.results, sweptBefore: idOfSecond(swept!.results[0]?.value ?? 0) };
}

/** Searches everybody's rows back from second to second. */
async function searchSeconds(
  db: D1Database,
  filter: RecordFilter,
  range: IdRange,
  limit: number,
  budget: HotBudget,
): Promise<HotPage> {
  const wanted = conditionsOf(filter);
  const [firstSecond, lastSecond] = [secondOfId(range.fromId), secondOfId(range.beforeId)];
  const inSeconds = (which: Sql) => sql`record_seconds s CROSS JOIN records r ON r.agent_id = s.agent_id
    AND ${isOfSecond(sql`s.second`)}
    AND ${inRange(range)} WHERE ${which}`;
  // Walks back until enough are found or enough is read: the seconds that the page is made of.
  const walked = await prepare(
    db,
    sql`WITH RECURSIVE walk (second, found, read, seconds) AS (
        SELECT max(second), 0, 0, 0 FROM record_seconds WHERE second BETWEEN ${firstSecond} AND ${lastSecond}
        UNION ALL
        SELECT (SELECT max(e.second) FROM record_seconds e WHERE e.second BETWEEN ${firstSecond} AND walk.second - 1),
          walk.found + (SELECT count(*) FROM ${inSeconds(sql`s.second = walk.second AND ${wanted}`)}),
          walk.read + (SELECT count(*) FROM ${inSeconds(sql`s.second = walk.second`)}), walk.seconds + 1
        FROM walk
        WHERE walk.second IS NOT NULL AND walk.found <= ${limit} AND walk.read < ${budget.rows} AND walk.seconds < ${budget.seconds}
      )
      SELECT second AS next, found FROM walk ORDER BY seconds DESC LIMIT 1`,
  ).first<{ next: number | null; found: number }>();
  const { next, found } = walked!;
  // `next` is the first second that has not been read.
  const after = next ?? firstSecond - 1;
  const { rows, sweptBefore } = await readPage(
    db,
    sql`SELECT r.* FROM ${inSeconds(sql`s.second > ${after} AND s.second <= ${found === 0 ? after : lastSecond} AND ${wanted}`)}`,
    limit,
  );
  if (rows.length > limit) return { rows: rows.slice(0, limit), nextId: rows[limit - 1]!.id, sweptBefore };
  return { rows, nextId: next === null ? null : idOfSecond(next + 1), sweptBefore };
}

/** Reads the record with an id, by its last part; undefined if the log's database does not have it. */
export async function findHot(db: D1Database, id: string, agentId: string | undefined): Promise<RecordRow | undefined> {
  const whose = agentId === undefined ? sql`` : sql` AND s.agent_id = ${agentId}`;
  const { results } = await prepare(
    db,
    sql`SELECT r.* FROM record_seconds s CROSS JOIN records r ON r.agent_id = s.agent_id AND r.id = ${id}
      WHERE s.second = ${secondOfId(id)}${whose} ORDER BY r.part DESC LIMIT 1`,
  ).all<RecordRow>();
  return results[0];
}
