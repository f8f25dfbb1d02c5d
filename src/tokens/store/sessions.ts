import { AGENT_COLUMNS, END_TOKENS, toAgent, toList, type AgentRow } from "../../agents/agent-row.ts";
import type { Agent } from "../../agents/agent.ts";
import { mayUseKey } from "../../authority/allowed-address-row.ts";
import { actorOf } from "../../authority/actor-row.ts";
import type { Authority } from "../../authority/authority.ts";
import { batchAsCaller } from "../../authority/batch.ts";
import { basisAllowedIps, basisKeyId, KEY_STANDS, linkStands, type TokenLink } from "../../authority/token-row.ts";
import { deletedRows, prepare, sql } from "../../database/sql.ts";
import { DATABASE_NOW } from "../../database/time.ts";
import { newChangeId } from "../../outbox/change.ts";
import { newEvent } from "../../outbox/event.ts";
import { insertEvent } from "../../outbox/outbox.ts";
import type { AuditEntry } from "../../outbox/record.ts";
import { insertRecord, insertRecordOf } from "../../outbox/records.ts";
import type { AccessClaims } from "../access-token.ts";
import type { Proof, TokenStatusRecord } from "../records.ts";
import type { RefreshToken } from "../refresh-token.ts";
import { holdsScope, type ScopePermission } from "../scope-row.ts";
import { isProofUsed, useProofIf } from "./proofs.ts";
import { recordRefusal } from "./refusals.ts";
import { hashesOf, rehashKey, type HashedKey } from "./hashed-key.ts";

/**
 * Revokes all tokens and sessions of an agent.
 *
 * @returns the agent's new token version, or undefined if there is no such agent.
 */
export async function endTokens(
  db: D1Database,
  agentId: string,
  { by, record }: { by: Authority; record: AuditEntry },
): Promise<number | undefined> {
  const [, update] = await batchAsCaller<{ token_version: number }>(db, by, [
    insertRecordOf(db, record, { from: sql`FROM agents WHERE id = ${agentId}` }),
    prepare(db, sql`UPDATE agents SET ${END_TOKENS} WHERE id = ${agentId} RETURNING token_version`),
  ]);
  return update!.results[0]?.token_version;
}

type StatusRow = AgentRow & { link_stands: number; basis_allowed_ips: string | null; basis_key_id: string | null };

/**
 * Reads the agents that a token depends on, and whether what each stands on has not ended: all at one moment.
 *
 * @returns a record for each link, in their order; undefined for an agent that does not exist.
 */
export async function readTokenStatus(
  db: D1Database,
  links: AccessClaims["links"],
): Promise<readonly (TokenStatusRecord | undefined)[]> {
  const [first, ...others] = links.map((link) => selectStatus(db, link));
  if (others.length === 0) return [toStatusRecord((await first!.first<StatusRow>()) ?? undefined)];
  const results = await db.batch<StatusRow>([first!, ...others]);
  return results.map((result) => toStatusRecord(result.results[0]));
}

const selectStatus = (db: D1Database, link: TokenLink): D1PreparedStatement =>
  prepare(
    db,
    sql`SELECT ${AGENT_COLUMNS}, ${linkStands(link)} AS link_stands, ${basisAllowedIps(link.basis)} AS basis_allowed_ips,
        ${basisKeyId(link.basis)} AS basis_key_id
      FROM agents a WHERE a.id = ${link.agentId}`,
  );

const toStatusRecord = (row: StatusRow | undefined): TokenStatusRecord | undefined =>
  row && {
    agent: toAgent(row),
    linkStands: row.link_stands === 1,
    keyAllowedIps: toList(row.basis_allowed_ips),
    keyId: row.basis_key_id,
  };

export interface NewSession extends HashedKey {
  readonly agentId: string;
  readonly token: RefreshToken;
  /** The permissions that the session's tokens are limited to, each with the sets of permissions that grant it. */
  readonly scope: readonly ScopePermission[] | undefined;
  /** Seconds. */
  readonly tokenTtl: number | undefined;
  /** How long the session lives, in milliseconds, if its key does not end before. */
  readonly sessionLifeMs: number;
  /** How long its first refresh token lives, in milliseconds. */
  readonly tokenLifeMs: number;
  /** The proof of the key that the session's tokens are bound to, which is used up with it; null for none. */
  readonly proof: Proof | null;
  /** How many sessions of an agent can be refreshed. */
  readonly maxSessions: number;
  /** Milliseconds, for the events only: the session's times are the database's. */
  readonly now: number;
  readonly ipAddress: string;
  /** What is written if the session is opened, if others lose their refresh tokens for it, and if the verification is refused. */
  readonly records: { readonly issued: AuditEntry; readonly capped: AuditEntry; readonly refused: AuditEntry };
}

/** The agent of a good key, and whether a session was opened. */
export interface OpenedSession {
  readonly agent: Agent;
  /** Whether the address is one of those that the agent and its key may be used from. */
  readonly isAllowed: boolean;
  /**
   * By the database's clock. Null if no session was opened: the address is refused, the session would be bound to no key although the
   * agent's must be, or the agent does not have all of the scope.
   */
  readonly openedAt: number | null;
}

/**
 * Opens a session if the key is valid, may be used from the address, and its agent is active, and has all of the scope. One batch checks that and writes the session, so
 * that no revocation can happen in between. The work is the same if the agent is unknown, the key wrong or the agent not active.
 *
 * Of more sessions than an agent may have, those that were used least recently lose their refresh token, and nothing else: their access
 * tokens live until they expire. The event is sent once: not again while a session that lost its token is still there. Sessions of an
 * older token version make room for the sweep.
 *
 * A key whose hash is of a former pepper, or of a former version, is hashed anew.
 *
 * A refusal is recorded: see `recordRefusal`.
 *
 * @returns `found`: the agent, and when the session was opened: null if it was not, because the agent is not active, the address not allowed,
 *   the session not bound as the agent's must be, or the scope wider than the agent. Undefined if there is no such agent or key. `hasNewRecord`: whether a refusal has a record of its own. `proof_used` if the proof was used before: then nothing was written.
 */
export async function openSession(
  db: D1Database,
  session: NewSession,
): Promise<{ found: OpenedSession | undefined; hasNewRecord: boolean } | "proof_used"> {
  try {
    return await openSessionOnce(db, session);
  } catch (cause) {
    if (isProofUsed(cause)) return "proof_used";
    throw cause;
  }
}

async function openSessionOnce(
  db: D1Database,
  session: NewSession,
): Promise<{ found: OpenedSession | undefined; hasNewRecord: boolean }> {
  const { agentId, token, scope, tokenTtl, now, ipAddress, maxSessions } = session;
  const { sessionLifeMs, tokenLifeMs, proof, records } = session;
  const boundTo = proof?.jkt ?? null;
  const { sessionId } = token;
  const [changeId, cappedId] = [newChangeId(), newChangeId()];
  const at = new Date(now).toISOString();
  const credentials = sql`agents a JOIN api_keys k ON k.agent_id = a.id
    WHERE a.id = ${agentId} AND k.hash IN ${hashesOf(session)}
      AND ${KEY_STANDS}`;
  // A key that is good for a day opens no session for a month.
  const end = sql`min(${DATABASE_NOW} + ${sessionLifeMs}, coalesce(k.expires_at, ${Number.MAX_SAFE_INTEGER}))`;
  const isAllowed = mayUseKey(ipAddress);
  const isBound = boundTo === null ? sql`a.dpop_required = 0` : sql`1`;
  const isNew = sql`EXISTS (SELECT 1 FROM sessions WHERE id = ${sessionId})`;
  const version = sql`(SELECT token_version FROM agents WHERE id = ${agentId})`;
  const results = await db.batch<AgentRow & { is_allowed: number; opened_at: number | null }>([
    prepare(
      db,
      sql`INSERT INTO sessions (id, agent_id, key_id, token_version, generation, hash, pepper_id, created_at, last_refreshed_at,
          expires_at, absolute_expires_at, auth_time, scope, token_ttl, ip_address, allowed_ips, dpop_jkt, change_id)
        SELECT ${sessionId}, a.id, k.id, a.token_version, ${token.generation}, ${token.hash}, ${token.pepperId}, ${DATABASE_NOW},
          ${DATABASE_NOW}, min(${DATABASE_NOW} + ${tokenLifeMs}, ${end}), ${end}, ${DATABASE_NOW}, ${scope ? JSON.stringify(scope.map(({ permission }) => permission)) : null}, ${tokenTtl ?? null}, ${ipAddress}, k.allowed_ips, ${boundTo}, ${changeId}
        FROM ${credentials} AND a.status = 'active' AND ${isAllowed} AND ${isBound} AND ${scope ? holdsScope(scope) : sql`1`}`,
    ),
    insertEvent(
      db,
      newEvent("agent.verified", agentId, now, { agent_id: agentId, verified_at: at, ip_address: ipAddress }),
      {
        table: "sessions",
        id: sessionId,
        changeId,
      },
    ),
    insertRecordOf(db, records.issued, {
      from: sql`FROM sessions s JOIN agents a ON a.id = s.agent_id WHERE s.id = ${sessionId} AND s.change_id = ${changeId}`,
      fields: { actor: actorOf(sql`a`), keyId: sql`s.key_id` },
    }),
    prepare(
      db,
      sql`UPDATE sessions SET expires_at = ${DATABASE_NOW}, hash = iif(token_version = ${version}, '', hash),
          change_id = iif(token_version = ${version}
            AND NOT EXISTS (SELECT 1 FROM sessions e WHERE e.agent_id = ${agentId} AND e.hash = ''), ${cappedId}, NULL)
        WHERE agent_id = ${agentId} AND expires_at > ${DATABASE_NOW} AND ${isNew} AND (token_version <> ${version} OR id IN (
          SELECT id FROM sessions
          WHERE agent_id = ${agentId} AND expires_at > ${DATABASE_NOW} AND ended_at IS NULL AND token_version = ${version}
          ORDER BY id = ${sessionId} DESC, last_refreshed_at DESC, id LIMIT -1 OFFSET ${maxSessions}))`,
    ),
    insertEvent(
      db,
      newEvent("session.limit_reached", agentId, now, {
        agent_id: agentId,
        limit: maxSessions,
        reached_at: at,
        ip_address: ipAddress,
      }),
      { table: "capped_sessions", id: agentId, changeId: cappedId },
    ),
    insertRecord(db, records.capped, { table: "capped_sessions", id: agentId, changeId: cappedId }),
    prepare(
      db,
      sql`SELECT ${AGENT_COLUMNS}, ${isAllowed} AS is_allowed,
          (SELECT created_at FROM sessions WHERE id = ${sessionId}) AS opened_at
        FROM ${credentials}`,
    ),
    ...recordRefusal(db, {
      agentId,
      record: records.refused,
      isRefused: sql`NOT EXISTS (SELECT 1 FROM ${credentials} AND a.status = 'active' AND ${isAllowed})`,
      keyId: sql`(SELECT k.id FROM ${credentials})`,
      actor: sql`(SELECT ${actorOf(sql`a`)} FROM ${credentials})`,
    }),
    insertEvent(
      db,
      newEvent("agent.verification_failed", agentId, now, { agent_id: agentId, failed_at: at, ip_address: ipAddress }),
      { table: "audit_outbox", id: agentId, changeId: records.refused.id },
    ),
    rehashKey(db, agentId, session),
    // Only for who has the key: a stranger leaves no row.
    ...(proof ? [useProofIf(db, proof, sql`FROM ${credentials} AND a.status = 'active' AND ${isAllowed}`)] : []),
  ]);
  const row = results[6]!.results[0];
  return {
    found: row && { agent: toAgent(row), isAllowed: row.is_allowed === 1, openedAt: row.opened_at },
    hasNewRecord: results[7]!.meta.changes > 0,
  };
}

/** Deletes up to `limit` sessions of an agent, and of the former format up to `limit` refresh tokens, and sessions without tokens. */
export async function deleteSessionsOf(db: D1Database, by: Authority, agentId: string, limit: number): Promise<void> {
  await batchAsCaller(db, by, [
    prepare(
      db,
      sql`DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE agent_id = ${agentId} LIMIT ${limit})`,
    ),
    prepare(
      db,
      sql`DELETE FROM refresh_tokens WHERE hash IN (
        SELECT t.hash FROM refresh_families f JOIN refresh_tokens t ON t.family_id = f.id WHERE f.agent_id = ${agentId} LIMIT ${limit})`,
    ),
    prepare(
      db,
      sql`DELETE FROM refresh_families WHERE id IN (
        SELECT f.id FROM refresh_families f WHERE f.agent_id = ${agentId}
          AND NOT EXISTS (SELECT 1 FROM refresh_tokens t WHERE t.family_id = f.id) LIMIT ${limit})`,
    ),
  ]);
}

/**
 * Deletes up to `limit` sessions whose refresh token expired at or before a time. Returns how many. @param until milliseconds.
 */
export const deleteExpiredSessions = (db: D1Database, until: number, limit: number): Promise<number> =>
  deletedRows(
    db,
    sql`DELETE FROM sessions WHERE id IN (
      SELECT id FROM sessions WHERE expires_at <= ${until} ORDER BY expires_at LIMIT ${limit})`,
  );
