import { agentColumns, fromRow, type Agent, type AgentRow } from "../agents/agent.ts";
import { newEvent } from "../webhooks/event.ts";
import { announce } from "../webhooks/outbox.ts";
import type { StandingRecord } from "./standing.ts";

const agentRevocation = (agentId: string) => `agent:${agentId}`;
const sessionRevocation = (sessionId: string) => `session:${sessionId}`;

/** The second before which tokens of this agent or session are over, as far as KV knows. */
export async function readRevocation(
  revocations: KVNamespace,
  agentId: string,
  sessionId: string,
): Promise<number | undefined> {
  const [agent, session] = await Promise.all([
    revocations.get(agentRevocation(agentId)),
    revocations.get(sessionRevocation(sessionId)),
  ]);
  const seconds = Math.max(Number(agent ?? 0), Number(session ?? 0));
  return seconds > 0 ? seconds : undefined;
}

/** An agent and whether one of its sessions has ended. */
export async function readStanding(
  db: D1Database,
  agentId: string,
  sessionId: string,
): Promise<StandingRecord | undefined> {
  const row = await db
    .prepare(
      `SELECT ${agentColumns("a")}, (f.id IS NULL OR f.revoked_at IS NOT NULL) AS session_ended
       FROM agents a LEFT JOIN refresh_families f ON f.id = ?2 AND f.agent_id = a.id WHERE a.id = ?1`,
    )
    .bind(agentId, sessionId)
    .first<AgentRow & { session_ended: number }>();
  return row ? { agent: fromRow(row), sessionEnded: row.session_ended === 1 } : undefined;
}

export interface NewSession {
  readonly agentId: string;
  readonly keyHash: string;
  readonly familyId: string;
  readonly refreshHash: string;
  readonly now: number;
  /** Milliseconds. */
  readonly familyExpiresAt: number;
  readonly tokenExpiresAt: number;
  readonly ipAddress: string;
}

/**
 * Opens a session for the agent whose key this is, if it is active: one batch that authenticates and writes, so that no
 * revocation can fall between. The work is the same whether the agent is unknown, the key wrong or the agent not active.
 */
export async function openSession(
  db: D1Database,
  session: NewSession,
): Promise<{ agent: Agent; issuedAt: number } | undefined> {
  const { agentId, keyHash, familyId, refreshHash, now, familyExpiresAt, tokenExpiresAt, ipAddress } = session;
  const opened = { sql: "EXISTS (SELECT 1 FROM refresh_families f WHERE f.id = ?6)", bindings: [familyId] };
  const results = await db.batch<AgentRow & { issued_at: number }>([
    db
      .prepare(
        `INSERT INTO refresh_families (id, agent_id, issued_at, expires_at)
         SELECT ?3, a.id, max(CAST(?4 / 1000 AS INTEGER), a.not_before), ?5 FROM agents a JOIN api_keys k ON k.agent_id = a.id
         WHERE a.id = ?1 AND a.status = 'active' AND k.hash = ?2 AND (k.expires_at IS NULL OR k.expires_at > ?4)`,
      )
      .bind(agentId, keyHash, familyId, now, familyExpiresAt),
    db
      .prepare(
        `INSERT INTO refresh_tokens (hash, family_id, expires_at)
         SELECT ?1, f.id, min(?2, f.expires_at) FROM refresh_families f WHERE f.id = ?3`,
      )
      .bind(refreshHash, tokenExpiresAt, familyId),
    announce(
      db,
      newEvent("agent.verified", agentId, now, {
        agent_id: agentId,
        verified_at: new Date(now).toISOString(),
        ip_address: ipAddress,
      }),
      opened,
    ),
    db
      .prepare(
        `SELECT ${agentColumns("a")}, f.issued_at FROM refresh_families f JOIN agents a ON a.id = f.agent_id WHERE f.id = ?1`,
      )
      .bind(familyId),
  ]);
  const row = results.at(-1)?.results[0];
  return row ? { agent: fromRow(row), issuedAt: row.issued_at } : undefined;
}
