import { batchAsCaller, type Authority } from "../authority/authority.ts";
import { agentColumns, toAgent, type Agent, type AgentRow } from "../agents/agent.ts";
import { DATABASE_NOW, MAX_CLOCK_STEP_MS, NEXT_SECOND } from "../database/time.ts";
import { newEvent } from "../outbox/event.ts";
import { insertEvent } from "../webhooks/outbox.ts";
import type { RefreshRecord } from "./refresh.ts";
import type { TokenStatusRecord } from "./token-status.ts";

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
const MIN_KV_TTL_SECONDS = 60;

/** The record lives as long as the longest token that it ends. */
const recordLife = (accessTokenTtl: number) => ({ expirationTtl: Math.max(accessTokenTtl, MIN_KV_TTL_SECONDS) });

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
export async function endTokens(db: D1Database, by: Authority): Promise<number | undefined> {
  const [update] = await batchAsCaller<{ not_before: number }>(db, by, [
    db
      .prepare(`UPDATE agents SET not_before = max(${NEXT_SECOND}, not_before + 1) WHERE id = ?1 RETURNING not_before`)
      .bind(by.agentId),
  ]);
  return update!.results[0]?.not_before;
}

/** An agent and whether one of its sessions has ended. */
export async function readTokenStatus(
  db: D1Database,
  agentId: string,
  sessionId: string,
): Promise<TokenStatusRecord | undefined> {
  const row = await db
    .prepare(
      `SELECT ${agentColumns("a")}, (f.id IS NULL OR f.revoked_at IS NOT NULL OR f.issued_at < a.not_before) AS session_ended
       FROM agents a LEFT JOIN refresh_families f ON f.id = ?2 AND f.agent_id = a.id WHERE a.id = ?1`,
    )
    .bind(agentId, sessionId)
    .first<AgentRow & { session_ended: number }>();
  return row ? { agent: toAgent(row), sessionEnded: row.session_ended === 1 } : undefined;
}

export interface NewSession {
  readonly agentId: string;
  readonly keyHash: string;
  readonly familyId: string;
  readonly refreshHash: string;
  /** How long the session and its first refresh token live, in milliseconds. */
  readonly familyLifeMs: number;
  readonly tokenLifeMs: number;
  /** For the event only: the session's times are the database's. */
  readonly now: number;
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
  const { agentId, keyHash, familyId, refreshHash, now, familyLifeMs, tokenLifeMs, ipAddress } = session;
  const opened = { sql: "EXISTS (SELECT 1 FROM refresh_families f WHERE f.id = ?6)", bindings: [familyId] };
  const results = await db.batch<AgentRow & { issued_at: number }>([
    db
      .prepare(
        `INSERT INTO refresh_families (id, agent_id, issued_at, expires_at)
         SELECT ?3, a.id, max(${DATABASE_NOW} / 1000, a.not_before), ${DATABASE_NOW} + ?4
         FROM agents a JOIN api_keys k ON k.agent_id = a.id
         WHERE a.id = ?1 AND a.status = 'active' AND k.hash = ?2
           AND (k.expires_at IS NULL OR k.expires_at > ${DATABASE_NOW})`,
      )
      .bind(agentId, keyHash, familyId, familyLifeMs),
    db
      .prepare(
        `INSERT INTO refresh_tokens (hash, family_id, expires_at)
         SELECT ?1, f.id, min(f.expires_at - ?2 + ?3, f.expires_at) FROM refresh_families f WHERE f.id = ?4`,
      )
      .bind(refreshHash, familyLifeMs, tokenLifeMs, familyId),
    insertEvent(
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
  return row ? { agent: toAgent(row), issuedAt: row.issued_at } : undefined;
}

/** Whose refresh token this is: what is limited before anything is written. */
export async function findRefreshTokenOwner(
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
  /** Milliseconds. */
  readonly successorLifeMs: number;
  readonly graceMs: number;
  readonly agentId: string;
  readonly ipAddress: string;
  /** For the event only: everything else is decided by the database's time. */
  readonly now: number;
}

/** `used_at` of a token whose use after the grace ended its session. */
const REUSED = 0;

/**
 * Takes one step in a refresh family, in one batch: reads the token as it is, ends the family and announces it if the token was
 * used longer ago than the grace, spends it and brings its successor in if it was unused.
 *
 * Each statement has its own time, so only one decides on each outcome, and those after it read what it wrote. A use that
 * seems to lie in the future is recent only within what the database's clock may step back; beyond that it is no excuse.
 *
 * The successor is derived, so a second insert of it is the first one again and a family cannot fork.
 *
 * @returns the token as it was before the step, and what the step did.
 */
export async function rotate(db: D1Database, step: Rotation): Promise<RefreshRecord | undefined> {
  const { hash, successorHash, now, successorLifeMs, graceMs, agentId, ipAddress } = step;
  const session = "refresh_tokens t JOIN refresh_families f ON f.id = t.family_id JOIN agents a ON a.id = f.agent_id";
  const alive = `f.revoked_at IS NULL AND f.expires_at > ${DATABASE_NOW} AND a.status = 'active' AND f.issued_at >= a.not_before`;
  const [before, reuse, , , spending] = await db.batch<AgentRow & SessionColumns>([
    db
      .prepare(
        `SELECT ${agentColumns("a")}, f.id AS family_id, f.expires_at AS family_expires_at, f.revoked_at AS family_revoked_at,
                f.issued_at AS family_issued_at, t.expires_at AS token_expires_at, t.used_at, ${DATABASE_NOW} AS now
         FROM ${session} WHERE t.hash = ?1`,
      )
      .bind(hash),
    db
      .prepare(
        `UPDATE refresh_tokens SET used_at = ${REUSED}
         WHERE hash = (SELECT t.hash FROM ${session} WHERE t.hash = ?1 AND ${alive} AND t.used_at IS NOT NULL
                         AND ${DATABASE_NOW} - t.used_at NOT BETWEEN -${MAX_CLOCK_STEP_MS} AND ?2)
         RETURNING hash`,
      )
      .bind(hash, graceMs),
    insertEvent(
      db,
      newEvent("token.reuse_detected", agentId, now, {
        agent_id: agentId,
        detected_at: new Date(now).toISOString(),
        ip_address: ipAddress,
      }),
      {
        sql: `EXISTS (SELECT 1 FROM ${session} WHERE t.hash = ?6 AND t.used_at = ${REUSED} AND f.revoked_at IS NULL)`,
        bindings: [hash],
      },
    ),
    db
      .prepare(
        `UPDATE refresh_families SET revoked_at = ${DATABASE_NOW}
         WHERE id = (SELECT family_id FROM refresh_tokens WHERE hash = ?1 AND used_at = ${REUSED}) AND revoked_at IS NULL`,
      )
      .bind(hash),
    db
      .prepare(
        `UPDATE refresh_tokens SET used_at = ${DATABASE_NOW}
         WHERE hash = (SELECT t.hash FROM ${session}
                       WHERE t.hash = ?1 AND ${alive} AND t.used_at IS NULL AND t.expires_at > ${DATABASE_NOW})
         RETURNING hash`,
      )
      .bind(hash),
    db
      .prepare(
        `INSERT OR IGNORE INTO refresh_tokens (hash, family_id, expires_at)
         SELECT ?2, f.id, min(t.used_at + ?3, f.expires_at) FROM ${session}
         WHERE t.hash = ?1 AND ${alive} AND t.used_at IS NOT NULL`,
      )
      .bind(hash, successorHash, successorLifeMs),
  ]);
  const row = before!.results[0];
  return (
    row && {
      agent: toAgent(row),
      familyId: row.family_id,
      familyExpiresAt: row.family_expires_at,
      familyRevokedAt: row.family_revoked_at,
      familyIssuedAt: row.family_issued_at,
      tokenExpiresAt: row.token_expires_at,
      usedAt: row.used_at,
      now: row.now,
      step: reuse!.results.length > 0 ? "reused" : spending!.results.length > 0 ? "rotated" : "none",
    }
  );
}

interface SessionColumns {
  family_id: string;
  family_expires_at: number;
  family_revoked_at: number | null;
  family_issued_at: number;
  token_expires_at: number;
  used_at: number | null;
  now: number;
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
