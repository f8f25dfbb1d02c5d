import { batchAsCaller, type Authority } from "../authority/authority.ts";
import { DATABASE_NOW, NEXT_SECOND } from "../database/time.ts";
import type { Event } from "../outbox/event.ts";
import { insertEvent } from "../webhooks/outbox.ts";
import { agentColumns, toAgent, STATUSES, type Agent, type AgentRow, type Status } from "./agent.ts";
import { MAX_SEARCH_MATCHES, searchRanges, type PagePosition } from "./page.ts";

/** The statements that create an agent and its first key. */
export function insertAgent(
  db: D1Database,
  agent: Agent,
  description: string | null,
  keyHash: string,
): D1PreparedStatement[] {
  return [
    db
      .prepare(
        `INSERT INTO agents (id, name, owner_email, description, permissions, status, tier, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)`,
      )
      .bind(
        agent.id,
        agent.name,
        agent.ownerEmail,
        description,
        JSON.stringify(agent.permissions),
        agent.status,
        agent.tier,
        agent.createdAt,
      ),
    db
      .prepare("INSERT INTO api_keys (hash, agent_id, created_at) VALUES (?1, ?2, ?3)")
      .bind(keyHash, agent.id, agent.createdAt),
  ];
}

export async function findAgent(db: D1Database, id: string): Promise<Agent | undefined> {
  const row = await db
    .prepare(`SELECT ${agentColumns("agents")} FROM agents WHERE id = ?1`)
    .bind(id)
    .first<AgentRow>();
  return row ? toAgent(row) : undefined;
}

interface Change {
  /** SQL over `agents a` that is true where the change really is one; its parameters start at ?6. */
  readonly when: string;
  readonly bindings: readonly unknown[];
  readonly by: Authority;
  readonly events: readonly Event[];
  readonly update: D1PreparedStatement;
}

/**
 * Changes an agent and announces it, in one batch. The events stand before the update, where the condition still sees the
 * agent as it was.
 */
async function applyChange(
  db: D1Database,
  id: string,
  { when, bindings, by, events, update }: Change,
): Promise<{ changed: boolean; agent: Agent | undefined }> {
  const only = { sql: `EXISTS (SELECT 1 FROM agents a WHERE a.id = ?2 AND ${when})`, bindings };
  const results = await batchAsCaller<AgentRow>(db, by, [
    ...events.map((event) => insertEvent(db, event, only)),
    update,
    db.prepare(`SELECT ${agentColumns("agents")} FROM agents WHERE id = ?1`).bind(id),
  ]);
  const row = results.at(-1)!.results[0];
  return { changed: results.at(-2)!.meta.changes > 0, agent: row && toAgent(row) };
}

/** Sets a status unless it stands already or the agent is revoked; leaving `active` ends all tokens and sessions. */
export function updateStatus(
  db: D1Database,
  id: string,
  status: Status,
  { by, events }: { by: Authority; events: readonly Event[] },
) {
  return applyChange(db, id, {
    when: "a.status NOT IN (?6, 'revoked')",
    bindings: [status],
    by,
    events,
    update: db
      .prepare(
        `UPDATE agents SET status = ?2, updated_at = ${DATABASE_NOW},
           not_before = CASE ?2 WHEN 'active' THEN not_before ELSE max(${NEXT_SECOND}, not_before + 1) END
         WHERE id = ?1 AND status NOT IN (?2, 'revoked')`,
      )
      .bind(id, status),
  });
}

/** Sets a column unless it stands so already or the agent is revoked. */
export function updateColumn(
  db: D1Database,
  id: string,
  column: "permissions" | "tier",
  value: string,
  { by, events }: { by: Authority; events: readonly Event[] },
) {
  return applyChange(db, id, {
    when: `a.${column} <> ?6 AND a.status <> 'revoked'`,
    bindings: [value],
    by,
    events,
    update: db
      .prepare(
        `UPDATE agents SET ${column} = ?2, updated_at = ${DATABASE_NOW}
         WHERE id = ?1 AND ${column} <> ?2 AND status <> 'revoked'`,
      )
      .bind(id, value),
  });
}

/**
 * Deletes an agent, by their foreign keys its API keys and sessions, and by triggers its webhooks: once they were told.
 *
 * @returns the second before which its tokens are over, or undefined if there is no such agent.
 */
export async function deleteAgent(
  db: D1Database,
  id: string,
  by: Authority,
  event: Event,
): Promise<number | undefined> {
  const [, deletion] = await batchAsCaller<{ not_before: number }>(db, by, [
    insertEvent(db, event, { sql: "EXISTS (SELECT 1 FROM agents a WHERE a.id = ?2)", bindings: [] }),
    db.prepare(`DELETE FROM agents WHERE id = ?1 RETURNING max(${NEXT_SECOND}, not_before + 1) AS not_before`).bind(id),
  ]);
  return deletion!.results[0]?.not_before;
}

/** How many keys of an agent may be good at once. */
const MAX_KEYS_PER_AGENT = 5;

export interface NewKey {
  readonly hash: string;
  /** How long the keys before it stay good, in milliseconds. 0 deletes them, and ends every session of the agent. */
  readonly overlapMs: number;
  readonly by: Authority;
  readonly event: Event;
}

/**
 * Brings a key in and sets an end to the ones before it, unless the agent is revoked.
 *
 * @returns `rotatedAt` in milliseconds, by the database's clock: the overlap is counted from it. Undefined if nothing was changed.
 */
export async function replaceKey(
  db: D1Database,
  id: string,
  { hash, overlapMs, by, event }: NewKey,
): Promise<{ rotatedAt: number | undefined; agent: Agent | undefined }> {
  const former = "agent_id = ?1 AND hash <> ?2";
  // Former keys are deleted and not given an end that a clock would have to decide. Their sessions go with them.
  const end =
    overlapMs === 0
      ? [
          db.prepare(`DELETE FROM api_keys WHERE ${former} AND ${ROTATED}`).bind(id, hash),
          db
            .prepare(`UPDATE agents SET not_before = max(${NEXT_SECOND}, not_before + 1) WHERE id = ?1 AND ${ROTATED}`)
            .bind(id, hash),
        ]
      : [
          db
            .prepare(
              `UPDATE api_keys SET expires_at = min(fresh.created_at + ?3, coalesce(expires_at, fresh.created_at + ?3))
               FROM (SELECT created_at FROM api_keys WHERE hash = ?2) fresh WHERE ${former}`,
            )
            .bind(id, hash, overlapMs),
          db
            .prepare(
              `DELETE FROM api_keys WHERE ${former} AND hash NOT IN
                 (SELECT hash FROM api_keys WHERE ${former} ORDER BY created_at DESC, hash LIMIT ?3)`,
            )
            .bind(id, hash, MAX_KEYS_PER_AGENT - 1),
        ];
  const results = await batchAsCaller<AgentRow & { created_at: number }>(db, by, [
    insertEvent(db, event, {
      sql: "EXISTS (SELECT 1 FROM agents a WHERE a.id = ?2 AND a.status <> 'revoked')",
      bindings: [],
    }),
    db
      .prepare(
        `INSERT INTO api_keys (hash, agent_id, created_at)
         SELECT ?2, id, ${DATABASE_NOW} FROM agents WHERE id = ?1 AND status <> 'revoked' RETURNING created_at`,
      )
      .bind(id, hash),
    ...end,
    db.prepare(`SELECT ${agentColumns("agents")} FROM agents WHERE id = ?1`).bind(id),
  ]);
  const row = results.at(-1)!.results[0];
  return { rotatedAt: results[1]!.results[0]?.created_at, agent: row && toAgent(row) };
}

/** That the new key (?2) came in: a revoked agent keeps what it has. */
const ROTATED = "EXISTS (SELECT 1 FROM api_keys WHERE hash = ?2)";

export interface AgentQuery {
  readonly limit: number;
  readonly offset: number;
  readonly status: Status | undefined;
  readonly after: PagePosition | undefined;
}

/** One page of all agents, newest first, one row more than the limit if there are more, and how many there are. */
export async function listAgents(
  db: D1Database,
  { limit, offset, status, after }: AgentQuery,
): Promise<{ agents: Agent[]; total: number }> {
  const ofStatus = status ? "status = ?1" : "?1 IS NULL";
  const [page, count] = await db.batch<AgentRow & { total: number }>([
    db
      .prepare(
        `SELECT ${agentColumns("agents")} FROM agents
         WHERE ${ofStatus} AND (created_at, id) < (?2, ?3) ORDER BY created_at DESC, id DESC LIMIT ?4 OFFSET ?5`,
      )
      .bind(status ?? null, after?.createdAt ?? Number.MAX_SAFE_INTEGER, after?.id ?? "", limit + 1, offset),
    db.prepare(`SELECT coalesce(sum(total), 0) AS total FROM agent_counts WHERE ${ofStatus}`).bind(status ?? null),
  ]);
  return { agents: page!.results.map(toAgent), total: count!.results[0]!.total };
}

/**
 * One page of the agents whose name, owner or id begins with a text. Each index is read for so many matches and no more;
 * the total is of those.
 */
export async function searchAgents(
  db: D1Database,
  q: string,
  { limit, offset, status, after }: AgentQuery,
): Promise<{ agents: Agent[]; total: number }> {
  const { text, id } = searchRanges(q);
  // The unary + keeps the planner from reading a whole status where a range of ids will do.
  const by = (column: string) =>
    `SELECT * FROM (SELECT a.id, a.created_at FROM json_each(?1) s CROSS JOIN agents a
       ON a.status = s.value AND a.${column} >= ?2 COLLATE NOCASE AND a.${column} < ?3 COLLATE NOCASE LIMIT ${MAX_SEARCH_MATCHES})`;
  const matches = `${by("name")} UNION ${by("owner_email")} UNION
    SELECT * FROM (SELECT a.id, a.created_at FROM agents a
      WHERE a.id >= ?4 AND a.id < ?5 AND +a.status IN (SELECT value FROM json_each(?1)) LIMIT ${MAX_SEARCH_MATCHES})`;
  const ranges = [JSON.stringify(status ? [status] : STATUSES), ...text, ...id];
  const [page, count] = await db.batch<AgentRow & { total: number }>([
    db
      .prepare(
        `WITH matches AS (${matches}), page AS (
           SELECT id, created_at FROM matches WHERE (created_at, id) < (?6, ?7)
           ORDER BY created_at DESC, id DESC LIMIT ?8 OFFSET ?9)
         SELECT ${agentColumns("a")} FROM page p CROSS JOIN agents a ON a.id = p.id ORDER BY p.created_at DESC, p.id DESC`,
      )
      .bind(...ranges, after?.createdAt ?? Number.MAX_SAFE_INTEGER, after?.id ?? "", limit + 1, offset),
    db.prepare(`SELECT count(*) AS total FROM (${matches})`).bind(...ranges),
  ]);
  return { agents: page!.results.map(toAgent), total: count!.results[0]!.total };
}

/** The statement that keeps when agents last proved themselves. Repeats and late ones change nothing. */
export function updateLastVerified(
  db: D1Database,
  verifications: ReadonlyArray<{ readonly agentId: string; readonly at: number }>,
): D1PreparedStatement {
  return db
    .prepare(
      `UPDATE agents SET last_verified_at = v.at
       FROM (SELECT value ->> 'agentId' AS id, max(value ->> 'at') AS at FROM json_each(?1) GROUP BY 1) v
       WHERE agents.id = v.id AND (last_verified_at IS NULL OR last_verified_at < v.at)`,
    )
    .bind(JSON.stringify(verifications.map(({ agentId, at }) => ({ agentId, at }))));
}

/** Drops keys whose overlap is over. Returns how many. */
export async function deleteExpiredKeys(db: D1Database, now: number, most: number): Promise<number> {
  const { results } = await db
    .prepare(
      `DELETE FROM api_keys WHERE hash IN (SELECT hash FROM api_keys WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)
       RETURNING agent_id`,
    )
    .bind(now, most)
    .all();
  return results.length;
}
