import { prepare, sql } from "../../database/sql.ts";
import { AGENT_COLUMNS, toAgent, type AgentRow } from "../agent-row.ts";
import { STATUSES, type Agent } from "../agent.ts";
import { MAX_SEARCH_MATCHES, searchRanges, type AgentQuery } from "../page.ts";

/** The agents of one page, with one more than the limit if there is a next page, and the total. */
export interface AgentPage {
  readonly agents: Agent[];
  readonly total: number;
}

/** The position after which the page begins. For the first page it is greater than every creation time and id. */
const startOf = ({ after }: AgentQuery) => sql`(${after?.createdAt ?? Number.MAX_SAFE_INTEGER}, ${after?.id ?? ""})`;

/** One page of all agents, the newest first. */
export async function readAgents(db: D1Database, query: AgentQuery): Promise<AgentPage> {
  const { limit, offset, status } = query;
  const ofStatus = status ? sql`status = ${status}` : sql`1`;
  const [page, count] = await db.batch<AgentRow & { total: number }>([
    prepare(
      db,
      sql`SELECT ${AGENT_COLUMNS} FROM agents a WHERE ${ofStatus} AND (created_at, id) < ${startOf(query)}
        ORDER BY created_at DESC, id DESC LIMIT ${limit + 1} OFFSET ${offset}`,
    ),
    prepare(db, sql`SELECT coalesce(sum(total), 0) AS total FROM agent_counts WHERE ${ofStatus}`),
  ]);
  return { agents: page!.results.map(toAgent), total: count!.results[0]!.total };
}

/**
 * One page of the agents whose name, owner or id begins with a text. Each index is read up to {@link MAX_SEARCH_MATCHES} matches;
 * the total is of those.
 */
export async function readMatches(db: D1Database, q: string, query: AgentQuery): Promise<AgentPage> {
  const { limit, offset, status } = query;
  const { text, id } = searchRanges(q);
  const statuses = JSON.stringify(status ? [status] : STATUSES);
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
  const [page, count] = await db.batch<AgentRow & { total: number }>([
    prepare(
      db,
      sql`WITH matches AS (${matches}), page AS (
          SELECT id, created_at FROM matches WHERE (created_at, id) < ${startOf(query)}
          ORDER BY created_at DESC, id DESC LIMIT ${limit + 1} OFFSET ${offset})
        SELECT ${AGENT_COLUMNS} FROM page p CROSS JOIN agents a ON a.id = p.id ORDER BY p.created_at DESC, p.id DESC`,
    ),
    prepare(db, sql`SELECT count(*) AS total FROM (${matches})`),
  ]);
  return { agents: page!.results.map(toAgent), total: count!.results[0]!.total };
}
