import type { Event } from "../webhooks/event.ts";
import { announce } from "../webhooks/outbox.ts";
import { agentColumns, fromRow, type Agent, type AgentRow, type Status } from "./agent.ts";

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
  return row ? fromRow(row) : undefined;
}

interface Change {
  /** SQL over `agents a` that is true where the change really is one; its parameters start at ?6. */
  readonly when: string;
  readonly bindings: readonly unknown[];
  readonly events: readonly Event[];
  readonly update: D1PreparedStatement;
}

/**
 * Changes an agent and announces it, in one batch. The events stand before the update, where the condition still sees the
 * agent as it was.
 */
async function change(
  db: D1Database,
  id: string,
  { when, bindings, events, update }: Change,
): Promise<{ changed: boolean; agent: Agent | undefined }> {
  const only = { sql: `EXISTS (SELECT 1 FROM agents a WHERE a.id = ?2 AND ${when})`, bindings };
  const results = await db.batch<AgentRow>([
    ...events.map((event) => announce(db, event, only)),
    update,
    db.prepare(`SELECT ${agentColumns("agents")} FROM agents WHERE id = ?1`).bind(id),
  ]);
  const row = results.at(-1)!.results[0];
  return { changed: results.at(-2)!.meta.changes > 0, agent: row && fromRow(row) };
}

/** Sets a status unless it stands already or the agent is revoked; leaving `active` ends all tokens and sessions. */
export function updateStatus(
  db: D1Database,
  id: string,
  status: Status,
  { now, notBefore, events }: { now: number; notBefore: number; events: readonly Event[] },
) {
  return change(db, id, {
    when: "a.status NOT IN (?6, 'revoked')",
    bindings: [status],
    events,
    update: db
      .prepare(
        `UPDATE agents SET status = ?2, updated_at = ?3,
           not_before = CASE ?2 WHEN 'active' THEN not_before ELSE max(?4, not_before + 1) END
         WHERE id = ?1 AND status NOT IN (?2, 'revoked')`,
      )
      .bind(id, status, now, notBefore),
  });
}

/** Sets the permissions unless they stand already or the agent is revoked. */
export function updatePermissions(
  db: D1Database,
  id: string,
  permissions: readonly string[],
  { now, events }: { now: number; events: readonly Event[] },
) {
  const text = JSON.stringify(permissions);
  return change(db, id, {
    when: "a.permissions <> ?6 AND a.status <> 'revoked'",
    bindings: [text],
    events,
    update: db
      .prepare(
        `UPDATE agents SET permissions = ?2, updated_at = ?3
         WHERE id = ?1 AND permissions <> ?2 AND status <> 'revoked'`,
      )
      .bind(id, text, now),
  });
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
