import { toAgent, type AgentRow } from "../agents/agent-row.ts";
import { isAllowedAddress } from "../authority/allowed-address-row.ts";
import { sql, type Sql } from "../database/sql.ts";
import { DATABASE_NOW, MAX_CLOCK_STEP } from "../database/time.ts";
import type { SessionRecord } from "./records.ts";

/** A row of `sessions` with the {@link SESSION_COLUMNS}. */
export interface SessionRow {
  session_id: string;
  session_version: number;
  generation: number;
  hash: string;
  pepper_id: string;
  previous_hash: string | null;
  previous_pepper_id: string | null;
  was_rotated: number | null;
  was_previously_rotated: number | null;
  expires_at: number;
  absolute_expires_at: number;
  auth_time: number;
  scope: string | null;
  token_ttl: number | null;
  ended_at: number | null;
  dpop_jkt: string | null;
  is_allowed: number;
  now: number;
}

/** That the database's clock has reached a time that it wrote itself, but for a step backwards that it may make. */
const isReached = (at: Sql): Sql => sql`(${DATABASE_NOW} - ${at} >= -${MAX_CLOCK_STEP})`;

/**
 * SQL that is true if agent `a`, and the key that opened session `s`, may be used from an address. Sessions of the former format were
 * opened by keys without networks of their own.
 */
export const sessionAllowed = (ipAddress: string): Sql =>
  sql`(${isAllowedAddress(sql`a.allowed_ips`, ipAddress)} AND ${isAllowedAddress(sql`s.allowed_ips`, ipAddress)})`;

/** The columns of {@link SessionRow}, for statements that read `sessions s` and `agents a`. */
export const sessionColumns = (
  ipAddress: string,
): Sql => sql`s.id AS session_id, s.token_version AS session_version, s.generation, s.hash, s.pepper_id,
  s.previous_hash, s.previous_pepper_id, ${isReached(sql`s.rotated_at`)} AS was_rotated,
  ${isReached(sql`s.previous_rotated_at`)} AS was_previously_rotated, s.expires_at, s.absolute_expires_at, s.auth_time,
  s.scope, s.token_ttl, s.ended_at, s.dpop_jkt, ${sessionAllowed(ipAddress)} AS is_allowed, ${DATABASE_NOW} AS now`;

/** SQL that is true if a session `s` is bound to a key, or those of agent `a` need not be. */
export const IS_BOUND_AS_REQUIRED = sql`(a.dpop_required = 0 OR s.dpop_jkt IS NOT NULL)`;

/** SQL that is true if a session `s` of agent `a` has not ended. Its refresh token may have expired. */
export const SESSION_STANDS = sql`a.status = 'active' AND s.token_version = a.token_version AND s.ended_at IS NULL
  AND s.absolute_expires_at > ${DATABASE_NOW} AND ${IS_BOUND_AS_REQUIRED}`;

export function toSessionRecord(row: AgentRow & SessionRow, step: SessionRecord["step"]): SessionRecord {
  return {
    agent: toAgent(row),
    id: row.session_id,
    version: row.session_version,
    generation: row.generation,
    hash: row.hash,
    pepperId: row.pepper_id,
    previousHash: row.previous_hash,
    previousPepperId: row.previous_pepper_id,
    wasRotated: row.was_rotated === 1,
    wasPreviouslyRotated: row.was_previously_rotated === 1,
    expiresAt: row.expires_at,
    absoluteExpiresAt: row.absolute_expires_at,
    authTime: row.auth_time,
    scope: row.scope === null ? null : (JSON.parse(row.scope) as string[]),
    tokenTtl: row.token_ttl,
    endedAt: row.ended_at,
    boundTo: row.dpop_jkt,
    isAllowed: row.is_allowed === 1,
    now: row.now,
    step,
  };
}
