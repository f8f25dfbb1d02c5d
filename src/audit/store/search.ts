import { and, integer, prepare, sql, type Sql } from "../../database/sql.ts";
import { idOfSecond, minuteOfId, type IdRange } from "../audit-record.ts";
import { toLowerAscii, type RecordFilter } from "../filter.ts";
import {
  isSuperseded,
  rowsInRange,
  rowsOfPiece,
  topOfFirst,
  topOfNext,
  WITH_OR_WITHOUT_ROWS,
  type RecordRow,
} from "./records.ts";

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
  /** Of time, where everybody's records are searched. */
  readonly pieces: number;
}

const HOT_BUDGET: HotBudget = { rows: 5000, pieces: 2000 };

/** SQL that is true of a row `r` that a filter wants, its id apart. */
function conditionsOf(filter: RecordFilter): Sql {
  const { agentIds, actor, permission, path, q, outcome, addressSeenBy } = filter;
  const equal = (column: Sql, value: string | undefined) => value !== undefined && sql`${column} = ${value}`;
  return and(
    sql`NOT ${isSuperseded}`,
    agentIds !== undefined && isOneOf(agentIds),
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
    addressSeenBy !== undefined && sql`(r.actor_type IS NULL OR r.actor_id IN (r.agent_id, ${addressSeenBy}))`,
  )!;
}

/** SQL that is true of a row `r` about one of these agents. */
const isOneOf = (agentIds: readonly string[]): Sql =>
  agentIds.length === 1
    ? sql`r.agent_id = ${agentIds[0]!}`
    : sql`r.agent_id IN (SELECT value FROM json_each(${JSON.stringify(agentIds)}))`;

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
  const { agentIds } = filter;
  if (agentIds && agentIds.length > 1) return searchAgents(db, filter, agentIds, range, limit, budget);
  if (!agentIds && !isOfFailures(filter)) return searchEverybodys(db, filter, range, limit, budget);
  return searchInOrder(db, filter, range, limit, budget);
}

/** Whether a filter finds nothing that succeeded. */
const isOfFailures = ({ outcome }: RecordFilter): boolean => outcome !== undefined && outcome !== "success";

/** Searches rows in the order of their ids: those of one agent, or all that did not succeed. */
async function searchInOrder(
  db: D1Database,
  filter: RecordFilter,
  range: IdRange,
  limit: number,
  budget: HotBudget,
): Promise<HotPage> {
  const agentId = filter.agentIds?.[0];
  const isFailure = isOfFailures(filter);
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

/**
 * Searches the rows of several agents: of each agent its share of the budget, and of all of them down to the newest id at which one's share
 * ends. First only as much is read as a page needs of which the filter wants every row.
 */
async function searchAgents(
  db: D1Database,
  filter: RecordFilter,
  agentIds: readonly string[],
  range: IdRange,
  limit: number,
  budget: HotBudget,
): Promise<HotPage> {
  const isFailure = isOfFailures(filter);
  const ids = JSON.stringify(agentIds);
  const index = isFailure ? sql`INDEXED BY records_failed_by_agent` : sql``;
  const ofAgent = ({ fromId, beforeId }: IdRange) =>
    sql`r.agent_id = k.value AND ${inRange({ fromId, beforeId })}${isFailure ? sql` AND r.outcome <> 'success'` : sql``}`;
  const wanted = conditionsOf({ ...filter, agentIds: undefined });
  const most = Math.max(1, Math.floor(budget.rows / agentIds.length));
  for (let share = Math.min(limit + 1, most); ; share = most) {
    const end = await prepare(
      db,
      sql`SELECT max((SELECT r.id FROM records r ${index} WHERE ${ofAgent(range)} ORDER BY r.id DESC LIMIT 1 OFFSET ${share - 1})) AS id
        FROM json_each(${ids}) k`,
    ).first<string>("id");
    const { rows, sweptBefore } = await readPage(
      db,
      sql`SELECT r.* FROM json_each(${ids}) k CROSS JOIN records r ${index}
        ON ${ofAgent({ ...range, fromId: end ?? range.fromId })} WHERE ${wanted}`,
      limit,
    );
    if (rows.length > limit) return { rows: rows.slice(0, limit), nextId: rows[limit - 1]!.id, sweptBefore };
    if (end === null || share === most) return { rows, nextId: end, sweptBefore };
  }
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

/** What a walk has found is counted in one number with what it has read, of which there are fewer than this: so its rows are read once. */
const FOUND = integer(2 ** 24);

/** Searches everybody's rows, back in time. */
async function searchEverybodys(
  db: D1Database,
  filter: RecordFilter,
  range: IdRange,
  limit: number,
  budget: HotBudget,
): Promise<HotPage> {
  const wanted = conditionsOf(filter);
  // Walks back until enough are found or enough is read: the pieces that the page is made of.
  const walked = await prepare(
    db,
    sql`WITH RECURSIVE walk (top, tally, steps) AS (
        SELECT ${topOfFirst(range)}, 0, 0
        UNION ALL
        SELECT ${topOfNext(range)},
          walk.tally + (SELECT count(*) + ${FOUND} * count(iif(r.id IS NOT NULL AND ${wanted}, 1, NULL)) FROM ${rowsOfPiece(range, WITH_OR_WITHOUT_ROWS)}),
          walk.steps + 1
        FROM walk
        WHERE walk.top IS NOT NULL AND walk.tally / ${FOUND} <= ${limit} AND walk.tally % ${FOUND} < ${budget.rows}
          AND walk.steps < ${budget.pieces}
      )
      SELECT top, tally / ${FOUND} AS found FROM walk ORDER BY steps DESC LIMIT 1`,
  ).first<{ top: number | null; found: number }>();
  const { top, found } = walked!;
  // From this id on, everything has been read.
  const nextId = top === null ? null : idOfSecond(top);
  const { rows, sweptBefore } = await readPage(
    db,
    found === 0
      ? sql`SELECT r.* FROM records r WHERE false`
      : sql`SELECT r.* FROM ${rowsInRange({ ...range, fromId: nextId ?? range.fromId })} AND ${wanted}`,
    limit,
  );
  if (rows.length > limit) return { rows: rows.slice(0, limit), nextId: rows[limit - 1]!.id, sweptBefore };
  return { rows, nextId, sweptBefore };
}

/** The ids of those of these records whose end the log's database has. */
export async function findEnded(
  db: D1Database,
  records: readonly Pick<RecordRow, "agent_id" | "id">[],
): Promise<ReadonlySet<string>> {
  const keys = JSON.stringify(records.map(({ agent_id, id }) => [agent_id, id]));
  const { results } = await prepare(
    db,
    sql`SELECT r.id FROM json_each(${keys}) k CROSS JOIN records r
      ON r.agent_id = k.value ->> 0 AND r.id = k.value ->> 1 AND r.part > 0`,
  ).all<{ id: string }>();
  return new Set(results.map(({ id }) => id));
}

/** Reads the record with an id, by its last part; undefined if the log's database does not have it. */
export async function findHot(
  db: D1Database,
  id: string,
  agentIds: readonly string[] | undefined,
): Promise<RecordRow | undefined> {
  const found = agentIds
    ? sql`records r WHERE r.id = ${id} AND ${isOneOf(agentIds)}`
    : sql`record_minutes m CROSS JOIN records r ON r.agent_id = m.agent_id AND r.id = ${id} WHERE m.minute = ${minuteOfId(id)}`;
  const { results } = await prepare(db, sql`SELECT r.* FROM ${found} ORDER BY r.part DESC LIMIT 1`).all<RecordRow>();
  return results[0];
}
