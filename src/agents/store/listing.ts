import { prepare, sql, type Sql } from "../../database/sql.ts";
import { STATUSES, type Status } from "../agent.ts";
import type { DetailedAgent } from "../details.ts";
import { MAX_SCANNED, MAX_SEARCH_MATCHES, searchRanges, toPage, type AgentPage, type AgentQuery } from "../page.ts";
import { DETAIL_COLUMNS, toDetailedAgent, type DetailedRow } from "./details.ts";
import { toSelection } from "./filter.ts";

type Page = AgentPage<DetailedAgent>;

/** The rows of a page with their details, in the order of the list. @param ids selects `id` and `created_at`. */
const selectPage = (db: D1Database, ids: Sql): D1PreparedStatement =>
  prepare(
    db,
    sql`WITH page AS (${ids})
      SELECT ${DETAIL_COLUMNS} FROM page p CROSS JOIN agents a ON a.id = p.id ORDER BY p.created_at DESC, p.id DESC`,
  );

/** Returns how many agents have each status. A status that none has is left out. */
export async function countAgents(db: D1Database): Promise<{ status: Status; total: number }[]> {
  const counting = prepare(db, sql`SELECT status, total FROM agent_counts ORDER BY status`);
  return (await counting.all<{ status: Status; total: number }>()).results;
}

type Counted = DetailedRow & { total: number };

/** One page of all agents, or of those with a status, the newest first. The total is exact. */
export async function readAgents(db: D1Database, query: AgentQuery): Promise<Page> {
  const { limit, offset, after, filter } = query;
  const ofStatus = filter.status ? sql`status = ${filter.status}` : sql`1`;
  const rows = toSelection(filter).scan(limit + 1 + offset, after);
  const [page, count] = await db.batch<Counted>([
    selectPage(db, sql`SELECT * FROM (${rows}) ORDER BY created_at DESC, id DESC LIMIT ${limit + 1} OFFSET ${offset}`),
    prepare(db, sql`SELECT coalesce(sum(total), 0) AS total FROM agent_counts WHERE ${ofStatus}`),
  ]);
  return toPage(page!.results.map(toDetailedAgent), { limit, total: count!.results[0]!.total });
}

/**
 * One page of the agents that a filter selects, the newest first. If no index has exactly these, {@link MAX_SCANNED} agents are
 * looked at for it: the page may then have fewer agents than its limit, or none, and still not be the last. The total is of the
 * newest {@link MAX_SCANNED}.
 */
export async function readFiltered(db: D1Database, { limit, after, filter }: AgentQuery): Promise<Page> {
  const { scan, condition } = toSelection(filter);
  const select = (scanned: Sql, limited: number): Sql =>
    condition
      ? sql`SELECT s.id, s.created_at FROM (${scanned}) s CROSS JOIN agents a ON a.id = s.id WHERE ${condition}
        ORDER BY s.created_at DESC, s.id DESC LIMIT ${limited}`
      : scanned;
  const scanned = scan(condition ? MAX_SCANNED : limit + 1, after);
  const [page, count, end] = await db.batch<Counted & { scanned: number }>([
    selectPage(db, select(scanned, limit + 1)),
    prepare(db, sql`SELECT count(*) AS total FROM (${select(scan(MAX_SCANNED), MAX_SCANNED)})`),
    prepare(
      db,
      sql`SELECT id, created_at, count(*) OVER () AS scanned FROM (${scanned}) ORDER BY created_at, id LIMIT 1`,
    ),
  ]);
  const last = end!.results[0];
  const isCut = condition !== undefined && last?.scanned === MAX_SCANNED;
  return toPage(page!.results.map(toDetailedAgent), {
    limit,
    total: count!.results[0]!.total,
    scannedUntil: isCut ? { createdAt: last.created_at, id: last.id } : null,
  });
}

/**
 * One page of the agents whose name, owner or id begins with a text. Each index is read up to {@link MAX_SEARCH_MATCHES} matches;
 * the total is of those.
 */
export async function readMatches(db: D1Database, q: string, query: AgentQuery): Promise<Page> {
  const { limit, offset, after, filter } = query;
  const { text, id } = searchRanges(q);
  const statuses = JSON.stringify((filter.status ? [filter.status] : STATUSES) satisfies readonly Status[]);
  const inRange = { name: sql`a.name`, owner: sql`a.owner_email` };
  // One range for each status: the index begins with the status.
  const matchesOf = (column: keyof typeof inRange) =>
    sql`SELECT * FROM (SELECT a.id, a.created_at FROM json_each(${statuses}) s CROSS JOIN agents a
      ON a.status = s.value AND ${inRange[column]} >= ${text[0]} COLLATE NOCASE AND ${inRange[column]} < ${text[1]} COLLATE NOCASE
      LIMIT ${MAX_SEARCH_MATCHES})`;
  // The unary + stops the planner from reading all agents of a status where it can read a range of ids.
  const matches = sql`${matchesOf("name")} UNION ${matchesOf("owner")} UNION
    SELECT * FROM (SELECT a.id, a.created_at FROM agents a
      WHERE a.id >= ${id[0]} AND a.id < ${id[1]} AND +a.status IN (SELECT value FROM json_each(${statuses}))
      LIMIT ${MAX_SEARCH_MATCHES})`;
  const start = sql`(${after?.createdAt ?? Number.MAX_SAFE_INTEGER}, ${after?.id ?? ""})`;
  const [page, count] = await db.batch<Counted>([
    selectPage(
      db,
      sql`SELECT id, created_at FROM (${matches}) matches WHERE (created_at, id) < ${start}
        ORDER BY created_at DESC, id DESC LIMIT ${limit + 1} OFFSET ${offset}`,
    ),
    prepare(db, sql`SELECT count(*) AS total FROM (${matches})`),
  ]);
  return toPage(page!.results.map(toDetailedAgent), { limit, total: count!.results[0]!.total });
}
