import { AGENT_COLUMNS, END_TOKENS, toAgent, type AgentRow } from "../../agents/agent-row.ts";
import type { Agent } from "../../agents/agent.ts";
import type { Authority } from "../../authority/authority.ts";
import { batchAsCaller } from "../../authority/batch.ts";
import { prepare, sql, type Sql } from "../../database/sql.ts";
import { DATABASE_NOW } from "../../database/time.ts";
import { newChangeId } from "../../outbox/change.ts";
import { newEvent } from "../../outbox/event.ts";
import { insertEvent } from "../../outbox/outbox.ts";
import type { TokenStatusRecord } from "../records.ts";

/**
 * Revokes all tokens and sessions of an agent. A session that is opened in the same second as an earlier revocation is issued in the
 * next second, so each revocation moves `not_before` by at least one.
 *
 * @returns the new `not_before` in seconds, or undefined if there is no such agent.
 */
export async function endTokens(db: D1Database, by: Authority): Promise<number | undefined> {
  const [update] = await batchAsCaller<{ not_before: number }>(db, by, [
    prepare(db, sql`UPDATE agents SET ${END_TOKENS} WHERE id = ${by.agentId} RETURNING not_before`),
  ]);
  return update!.results[0]?.not_before;
}

/** Reads an agent and whether this session of it has ended. */
export async function readTokenStatus(
  db: D1Database,
  agentId: string,
  sessionId: string,
): Promise<TokenStatusRecord | undefined> {
  const row = await prepare(
    db,
    sql`SELECT ${AGENT_COLUMNS}, (f.id IS NULL OR f.revoked_at IS NOT NULL OR f.issued_at < a.not_before) AS session_ended
      FROM agents a LEFT JOIN refresh_families f ON f.id = ${sessionId} AND f.agent_id = a.id WHERE a.id = ${agentId}`,
  ).first<AgentRow & { session_ended: number }>();
  return row ? { agent: toAgent(row), sessionEnded: row.session_ended === 1 } : undefined;
}

export interface NewSession {
  readonly agentId: string;
  readonly keyHash: string;
  readonly sessionId: string;
  readonly refreshTokenHash: string;
  /** How long the session lives, in milliseconds. */
  readonly sessionLifeMs: number;
  /** How long its first refresh token lives, in milliseconds. */
  readonly tokenLifeMs: number;
  /** Milliseconds, for the event only: the session's times are the database's. */
  readonly now: number;
  readonly ipAddress: string;
}

/**
 * Opens a session if the key is valid and its agent is active. One batch checks the key and writes the session, so that no
 * revocation can happen in between. The work is the same if the agent is unknown, the key wrong or the agent not active.
 *
 * @returns the agent and the second in which the session was issued; undefined if no session was opened.
 */
export async function openSession(
  db: D1Database,
  session: NewSession,
): Promise<{ agent: Agent; issuedAt: number } | undefined> {
  const { agentId, keyHash, sessionId, refreshTokenHash, now, sessionLifeMs, tokenLifeMs, ipAddress } = session;
  const changeId = newChangeId();
  const results = await db.batch<AgentRow & { issued_at: number }>([
    prepare(
      db,
      sql`INSERT INTO refresh_families (id, agent_id, issued_at, expires_at, change_id)
        SELECT ${sessionId}, a.id, max(${DATABASE_NOW} / 1000, a.not_before), ${DATABASE_NOW} + ${sessionLifeMs}, ${changeId}
        FROM agents a JOIN api_keys k ON k.agent_id = a.id
        WHERE a.id = ${agentId} AND a.status = 'active' AND k.hash = ${keyHash}
          AND (k.expires_at IS NULL OR k.expires_at > ${DATABASE_NOW})`,
    ),
    prepare(
      db,
      sql`INSERT INTO refresh_tokens (hash, family_id, expires_at)
        SELECT ${refreshTokenHash}, f.id, min(f.expires_at - ${sessionLifeMs} + ${tokenLifeMs}, f.expires_at)
        FROM refresh_families f WHERE f.id = ${sessionId}`,
    ),
    insertEvent(
      db,
      newEvent("agent.verified", agentId, now, {
        agent_id: agentId,
        verified_at: new Date(now).toISOString(),
        ip_address: ipAddress,
      }),
      { table: "refresh_families", id: sessionId, changeId },
    ),
    prepare(
      db,
      sql`SELECT ${AGENT_COLUMNS}, f.issued_at FROM refresh_families f JOIN agents a ON a.id = f.agent_id
        WHERE f.id = ${sessionId}`,
    ),
  ]);
  const row = results.at(-1)?.results[0];
  return row ? { agent: toAgent(row), issuedAt: row.issued_at } : undefined;
}

/** Deletes up to `limit` refresh tokens that expired at or before a time. Returns how many. @param until milliseconds. */
export const deleteExpiredRefreshTokens = (db: D1Database, until: number, limit: number): Promise<number> =>
  deletedRows(
    db,
    sql`DELETE FROM refresh_tokens WHERE hash IN (
      SELECT hash FROM refresh_tokens WHERE expires_at <= ${until} ORDER BY expires_at LIMIT ${limit}) RETURNING hash`,
  );

/** Deletes up to `limit` sessions that expired at or before a time, with their tokens. Returns how many. @param until milliseconds. */
export const deleteExpiredSessions = (db: D1Database, until: number, limit: number): Promise<number> =>
  deletedRows(
    db,
    sql`DELETE FROM refresh_families WHERE id IN (
      SELECT id FROM refresh_families WHERE expires_at <= ${until} ORDER BY expires_at LIMIT ${limit}) RETURNING id`,
  );

async function deletedRows(db: D1Database, deletion: Sql): Promise<number> {
  const { results } = await prepare(db, deletion).all();
  return results.length;
}
