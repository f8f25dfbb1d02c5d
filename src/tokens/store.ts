import { agentColumns, fromRow, type Agent, type AgentRow } from "../agents/agent.ts";
import { newEvent } from "../webhooks/event.ts";
import { announce } from "../webhooks/outbox.ts";
import type { RefreshRecord } from "./refresh.ts";
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

/** KV keeps a record for at least a minute. */
const SHORTEST_KV_LIFE = 60;

/** The record lives as long as the longest token that it ends. */
const recordLife = (accessTokenTtl: number) => ({ expirationTtl: Math.max(accessTokenTtl, SHORTEST_KV_LIFE) });

export function putAgentRevocation(
  revocations: KVNamespace,
  agentId: string,
  notBefore: number,
  accessTokenTtl: number,
): Promise<void> {
  return revocations.put(agentRevocation(agentId), String(notBefore), recordLife(accessTokenTtl));
}

export function putSessionRevocation(
  revocations: KVNamespace,
  sessionId: string,
  notBefore: number,
  accessTokenTtl: number,
): Promise<void> {
  return revocations.put(sessionRevocation(sessionId), String(notBefore), recordLife(accessTokenTtl));
}

/**
 * Ends all tokens and sessions of an agent. A session that was opened within this second, after an earlier end, already
 * bears the second to come: hence one more than that.
 */
export async function endTokens(db: D1Database, agentId: string, notBefore: number): Promise<number | undefined> {
  const row = await db
    .prepare("UPDATE agents SET not_before = max(?2, not_before + 1) WHERE id = ?1 RETURNING not_before")
    .bind(agentId, notBefore)
    .first<{ not_before: number }>();
  return row?.not_before;
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

/** Whose refresh token this is: what is limited before anything is written. */
export async function ownerOfRefreshToken(
  db: D1Database,
  hash: string,
): Promise<Pick<Agent, "id" | "tier"> | undefined> {
  const row = await db
    .prepare(
      `SELECT a.id, a.tier FROM refresh_tokens t JOIN refresh_families f ON f.id = t.family_id
       JOIN agents a ON a.id = f.agent_id WHERE t.hash = ?1`,
    )
    .bind(hash)
    .first<Pick<AgentRow, "id" | "tier">>();
  return row ?? undefined;
}

export interface Rotation {
  readonly hash: string;
  readonly successorHash: string;
  readonly now: number;
  /** Milliseconds. */
  readonly successorExpiresAt: number;
  readonly graceMs: number;
  readonly agentId: string;
  readonly ipAddress: string;
}

/**
 * Takes one step in a refresh family, in one batch: reads the token as it is, spends it and brings its successor in if it
 * was unspent and good, revokes the family, and announces it, if it was spent longer ago than the grace.
 *
 * The successor is derived, so a second insert of it is the first one again and a family cannot fork.
 *
 * @returns the token as it was before the step, from which `decideRefresh` tells what was done.
 */
export async function rotate(db: D1Database, step: Rotation): Promise<RefreshRecord | undefined> {
  const { hash, successorHash, now, successorExpiresAt, graceMs, agentId, ipAddress } = step;
  const session = "refresh_tokens t JOIN refresh_families f ON f.id = t.family_id JOIN agents a ON a.id = f.agent_id";
  const aliveAt = (time: string) =>
    `f.revoked_at IS NULL AND f.expires_at > ${time} AND a.status = 'active' AND f.issued_at >= a.not_before`;
  const alive = aliveAt("?2");
  const [before] = await db.batch<AgentRow & FamilyColumns>([
    db
      .prepare(
        `SELECT ${agentColumns("a")}, f.id AS family_id, f.expires_at AS family_expires_at, f.revoked_at AS family_revoked_at,
                f.issued_at AS family_issued_at, t.expires_at AS token_expires_at, t.used_at
         FROM ${session} WHERE t.hash = ?1`,
      )
      .bind(hash),
    announce(
      db,
      newEvent("token.reuse_detected", agentId, now, {
        agent_id: agentId,
        detected_at: new Date(now).toISOString(),
        ip_address: ipAddress,
      }),
      {
        sql: `EXISTS (SELECT 1 FROM ${session} WHERE t.hash = ?6 AND ${aliveAt("?7")} AND ?7 - t.used_at > ?8)`,
        bindings: [hash, now, graceMs],
      },
    ),
    db
      .prepare(
        `UPDATE refresh_families SET revoked_at = ?2
         WHERE id = (SELECT f.id FROM ${session} WHERE t.hash = ?1 AND ${alive} AND ?2 - t.used_at > ?3)`,
      )
      .bind(hash, now, graceMs),
    db
      .prepare(
        `UPDATE refresh_tokens SET used_at = ?2
         WHERE hash = (SELECT t.hash FROM ${session}
                       WHERE t.hash = ?1 AND ${alive} AND t.used_at IS NULL AND t.expires_at > ?2)`,
      )
      .bind(hash, now),
    db
      .prepare(
        `INSERT OR IGNORE INTO refresh_tokens (hash, family_id, expires_at)
         SELECT ?3, f.id, min(?4, f.expires_at) FROM ${session} WHERE t.hash = ?1 AND ${alive} AND t.used_at = ?2`,
      )
      .bind(hash, now, successorHash, successorExpiresAt),
  ]);
  const row = before!.results[0];
  return (
    row && {
      agent: fromRow(row),
      familyId: row.family_id,
      familyExpiresAt: row.family_expires_at,
      familyRevokedAt: row.family_revoked_at,
      familyIssuedAt: row.family_issued_at,
      tokenExpiresAt: row.token_expires_at,
      usedAt: row.used_at,
    }
  );
}

interface FamilyColumns {
  family_id: string;
  family_expires_at: number;
  family_revoked_at: number | null;
  family_issued_at: number;
  token_expires_at: number;
  used_at: number | null;
}

/** Drops refresh tokens that expired until a time. Returns how many. */
export function deleteExpiredRefreshTokens(db: D1Database, until: number, most: number): Promise<number> {
  return deleteExpired(db, "refresh_tokens", "hash", until, most);
}

/** Drops families that expired until a time, with what tokens they still have. Returns how many. */
export function deleteExpiredFamilies(db: D1Database, until: number, most: number): Promise<number> {
  return deleteExpired(db, "refresh_families", "id", until, most);
}

async function deleteExpired(
  db: D1Database,
  table: "refresh_tokens" | "refresh_families",
  key: "hash" | "id",
  until: number,
  most: number,
): Promise<number> {
  const oldest = `SELECT ${key} FROM ${table} WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2`;
  const { results } = await db
    .prepare(`DELETE FROM ${table} WHERE ${key} IN (${oldest}) RETURNING ${key}`)
    .bind(until, most)
    .all();
  return results.length;
}
