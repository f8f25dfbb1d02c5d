import { actorOf } from "../../authority/actor-row.ts";
import { AGENT_COLUMNS, toAgent, type AgentRow } from "../../agents/agent-row.ts";
import type { Agent } from "../../agents/agent.ts";
import { isAllowedAddress } from "../../authority/allowed-address-row.ts";
import { deletedRows, prepare, sql } from "../../database/sql.ts";
import { DATABASE_NOW } from "../../database/time.ts";
import { newChangeId } from "../../outbox/change.ts";
import { newEvent } from "../../outbox/event.ts";
import { insertEvent } from "../../outbox/outbox.ts";
import type { AuditEntry } from "../../outbox/record.ts";
import { insertRecord, insertRecordOf } from "../../outbox/records.ts";
import type { SessionRecord } from "../records.ts";
import type { RefreshToken } from "../refresh-token.ts";
import { sessionColumns, toSessionRecord, type SessionRow } from "../session-row.ts";

/** The agent and the session of a refresh token of the former format. */
export interface FormerToken {
  readonly agentId: string;
  readonly sessionId: string;
  /** Which of the hashes that were asked for is the token's. */
  readonly hash: string;
}

export async function readFormerToken(db: D1Database, hashes: readonly string[]): Promise<FormerToken | undefined> {
  const row = await prepare(
    db,
    sql`SELECT f.agent_id AS agentId, f.id AS sessionId, t.hash
      FROM refresh_tokens t JOIN refresh_families f ON f.id = t.family_id
      WHERE t.hash IN (SELECT value FROM json_each(${JSON.stringify(hashes)}))`,
  ).first<FormerToken>();
  return row ?? undefined;
}

export interface Conversion extends FormerToken {
  /** The first generation of the session in the present format. */
  readonly successor: RefreshToken;
  readonly successorLifeMs: number;
  readonly graceMs: number;
  readonly ipAddress: string;
  readonly now: number;
  /** What is written if the session is converted, and if it is ended because its token was used again. */
  readonly records: { readonly refreshed: AuditEntry; readonly reused: AuditEntry };
}

/** A refresh token of the former format with its session, before the first write. Times are milliseconds. */
export interface FormerRecord {
  readonly agent: Agent;
  readonly stands: boolean;
  /** Whether the agent may be used from the address of the request. */
  readonly isAllowed: boolean;
  readonly expired: boolean;
  readonly usedAt: number | null;
  readonly openedAt: number;
  readonly now: number;
  /** The session in the present format, if the token's session has been converted. */
  readonly session: SessionRecord | undefined;
  /** Whether this is the token that the session was converted from: its generation 0. */
  readonly isGeneration0: boolean;
  readonly step: "converted" | "reused" | "none";
}

interface FormerRow extends AgentRow {
  stands: number;
  is_allowed: number;
  expired: number;
  used_at: number | null;
  issued_at: number;
  is_generation_0: number;
  now: number;
}

/**
 * Converts a session of the former format by its refresh token, in one batch. The session keeps its id, so that its access tokens, and
 * what is known about its end, stay what they are. The token is generation 0 of the converted session.
 *
 * The token must be the family's unused one: then it is marked as used, and the row of the session is inserted. A token that was used
 * longer ago than the grace ends the session, with an event.
 *
 * Of two requests with one token at once, the first converts the session. The second finds the token used within the grace.
 *
 * @returns what was there before, and what the batch wrote; undefined if it is gone.
 */
export async function convert(db: D1Database, conversion: Conversion): Promise<FormerRecord | undefined> {
  const { agentId, sessionId, hash, successor, successorLifeMs, graceMs, ipAddress, now, records } = conversion;
  const changeId = newChangeId();
  const former = sql`refresh_tokens t JOIN refresh_families f ON f.id = t.family_id JOIN agents a ON a.id = f.agent_id
    LEFT JOIN sessions s ON s.id = f.id`;
  const stands = sql`(f.revoked_at IS NULL AND s.ended_at IS NULL AND a.status = 'active' AND a.dpop_required = 0 AND f.issued_at >= a.not_before
    AND (s.id IS NULL OR s.token_version = a.token_version))`;
  const isGeneration0 = sql`((s.generation = 1 AND t.used_at = s.rotated_at) OR (s.generation = 2 AND t.used_at = s.previous_rotated_at))`;
  const isReused = sql`t.used_at IS NOT NULL AND ${stands} AND f.expires_at > ${DATABASE_NOW}
    AND ${DATABASE_NOW} - t.used_at > ${graceMs}`;
  const [before, use, , reuse, , sessions] = await db.batch<FormerRow>([
    prepare(
      db,
      sql`SELECT ${AGENT_COLUMNS}, ${stands} AS stands, f.issued_at, t.used_at, coalesce(${isGeneration0}, 0) AS is_generation_0,
          ${isAllowedAddress(sql`a.allowed_ips`, ipAddress)} AS is_allowed,
          min(t.expires_at, f.expires_at) <= ${DATABASE_NOW} AS expired, ${DATABASE_NOW} AS now
        FROM ${former} WHERE t.hash = ${hash}`,
    ),
    prepare(
      db,
      sql`UPDATE refresh_tokens SET used_at = ${DATABASE_NOW}
        WHERE hash = (SELECT t.hash FROM ${former} WHERE t.hash = ${hash} AND ${stands} AND s.id IS NULL AND t.used_at IS NULL
                        AND ${isAllowedAddress(sql`a.allowed_ips`, ipAddress)} AND min(t.expires_at, f.expires_at) > ${DATABASE_NOW})
        RETURNING hash`,
    ),
    // No token of the family is unused now, unless a Worker of the former version has rotated it: then it stays as it is.
    prepare(
      db,
      sql`INSERT OR IGNORE INTO sessions (id, agent_id, token_version, generation, hash, pepper_id, previous_hash, rotated_at, created_at,
          last_refreshed_at, expires_at, absolute_expires_at, auth_time, ip_address, change_id)
        SELECT f.id, f.agent_id, a.token_version, 1, ${successor.hash}, ${successor.pepperId}, t.hash, t.used_at, f.issued_at * 1000,
          t.used_at, min(t.used_at + ${successorLifeMs}, f.expires_at), f.expires_at, f.issued_at * 1000, '', ${changeId}
        FROM ${former} WHERE t.hash = ${hash} AND ${stands} AND s.id IS NULL AND t.used_at IS NOT NULL
          AND f.expires_at > ${DATABASE_NOW} AND ${DATABASE_NOW} - t.used_at <= ${graceMs}
          AND NOT EXISTS (SELECT 1 FROM refresh_tokens n WHERE n.family_id = f.id AND n.used_at IS NULL)
          AND t.used_at = (SELECT max(n.used_at) FROM refresh_tokens n WHERE n.family_id = f.id)`,
    ),
    prepare(
      db,
      sql`UPDATE refresh_families SET revoked_at = ${DATABASE_NOW}, change_id = ${changeId}
        WHERE id = (SELECT f.id FROM ${former} WHERE t.hash = ${hash} AND ${isReused}) RETURNING id`,
    ),
    prepare(
      db,
      sql`UPDATE sessions SET ended_at = ${DATABASE_NOW}
        WHERE id = ${sessionId} AND ended_at IS NULL
          AND EXISTS (SELECT 1 FROM refresh_families WHERE id = ${sessionId} AND change_id = ${changeId})`,
    ),
    prepare(
      db,
      sql`SELECT ${AGENT_COLUMNS}, ${sessionColumns(ipAddress)} FROM sessions s JOIN agents a ON a.id = s.agent_id WHERE s.id = ${sessionId}`,
    ),
    insertEvent(
      db,
      newEvent("token.reuse_detected", agentId, now, {
        agent_id: agentId,
        detected_at: new Date(now).toISOString(),
        ip_address: ipAddress,
      }),
      { table: "refresh_families", id: sessionId, changeId },
    ),
    insertRecord(db, { ...records.reused, agentId }, { table: "refresh_families", id: sessionId, changeId }),
    insertRecordOf(
      db,
      { ...records.refreshed, agentId },
      {
        from: sql`FROM sessions s JOIN agents a ON a.id = s.agent_id WHERE s.id = ${sessionId} AND s.change_id = ${changeId}`,
        fields: { actor: actorOf(sql`a`) },
      },
    ),
  ]);
  const row = before!.results[0];
  if (!row) return undefined;
  const session = sessions!.results[0] as unknown as (AgentRow & SessionRow) | undefined;
  return {
    agent: toAgent(row),
    stands: row.stands === 1,
    isAllowed: row.is_allowed === 1,
    expired: row.expired === 1,
    usedAt: row.used_at,
    openedAt: row.issued_at * 1000,
    now: row.now,
    session: session && toSessionRecord(session, "none"),
    isGeneration0: row.is_generation_0 === 1,
    step: reuse!.results.length > 0 ? "reused" : use!.results.length > 0 ? "converted" : "none",
  };
}

/** Deletes up to `limit` refresh tokens that expired at or before a time. Returns how many. @param until milliseconds. */
export const deleteExpiredRefreshTokens = (db: D1Database, until: number, limit: number): Promise<number> =>
  deletedRows(
    db,
    sql`DELETE FROM refresh_tokens WHERE hash IN (
      SELECT hash FROM refresh_tokens WHERE expires_at <= ${until} ORDER BY expires_at LIMIT ${limit})`,
  );

/** Deletes up to `limit` sessions that expired at or before a time, with their tokens. Returns how many. @param until milliseconds. */
export const deleteExpiredFamilies = (db: D1Database, until: number, limit: number): Promise<number> =>
  deletedRows(
    db,
    sql`DELETE FROM refresh_families WHERE id IN (
      SELECT id FROM refresh_families WHERE expires_at <= ${until} ORDER BY expires_at LIMIT ${limit})`,
  );
