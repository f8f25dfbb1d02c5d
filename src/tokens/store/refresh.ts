import { actorOf } from "../../authority/actor-row.ts";
import { AGENT_COLUMNS, type AgentRow } from "../../agents/agent-row.ts";
import { prepare, sql } from "../../database/sql.ts";
import { DATABASE_NOW } from "../../database/time.ts";
import { newChangeId } from "../../outbox/change.ts";
import { newEvent } from "../../outbox/event.ts";
import { insertSessionEvent } from "../../outbox/outbox.ts";
import type { AuditEntry } from "../../outbox/record.ts";
import { insertRecordOf } from "../../outbox/records.ts";
import type { SessionRecord } from "../records.ts";
import type { RefreshToken } from "../refresh-token.ts";
import { holdsScope, isWithinSession, type ScopePermission } from "../scope-row.ts";
import { sessionAllowed, sessionColumns, SESSION_STANDS, toSessionRecord, type SessionRow } from "../session-row.ts";

export interface Rotation {
  /** The token that was sent. Its MAC has been verified. */
  readonly token: RefreshToken;
  readonly successor: RefreshToken;
  /** How long the successor lives, in milliseconds. */
  readonly successorLifeMs: number;
  /** How long after it was replaced a token may be used again, in milliseconds. */
  readonly graceMs: number;
  readonly ipAddress: string;
  /** The only agent whose session it may be. Undefined for any: who has the token is the agent. */
  readonly agentId: string | undefined;
  /** The thumbprint of the key that the request proves to have; null for none. */
  readonly boundTo: string | null;
  /** What the access token is to have; undefined for all that the session has. */
  readonly scope: readonly ScopePermission[] | undefined;
  /** Milliseconds, for the event only: everything else is decided by the database's time. */
  readonly now: number;
  /** What is written if the token is replaced, and if its session is ended because it was used again. */
  readonly records: { readonly refreshed: AuditEntry; readonly reused: AuditEntry };
}

/**
 * Rotates a refresh token in one batch (RFC 9700 §4.14.2). It reads the session; ends it, with an event, if the token is of an older
 * generation than the grace allows; replaces the token if it is of the present one.
 *
 * Each statement has its own time, so only one decides each outcome. Of two requests with one token at once, the first replaces it.
 * The second finds it one generation older, within the grace, and writes nothing: a session cannot fork. Of two that use it after the
 * grace, the first ends the session and writes the event; the second finds the session ended.
 *
 * A generation above the present one, which a restored backup has not heard of, writes nothing.
 *
 * @returns the session as it was before, and what the batch wrote; undefined for an unknown session.
 */
export async function rotate(db: D1Database, rotation: Rotation): Promise<SessionRecord | undefined> {
  const { token, successor, successorLifeMs, graceMs, ipAddress, agentId, boundTo, scope, now, records } = rotation;
  const { sessionId, generation, hash } = token;
  const [changeId, usedId] = [newChangeId(), newChangeId()];
  const changed = (id: string) =>
    sql`FROM sessions s JOIN agents a ON a.id = s.agent_id WHERE s.id = ${sessionId} AND s.change_id = ${id}`;
  const ofSession = { agentId: sql`s.agent_id`, keyId: sql`s.key_id` };
  const stands = sql`EXISTS (SELECT 1 FROM agents a WHERE a.id = s.agent_id AND ${SESSION_STANDS})`;
  // A stolen token that is used again is one wherever it is used: only its replacement depends on the address.
  const isAllowed = sql`EXISTS (SELECT 1 FROM agents a WHERE a.id = s.agent_id AND ${sessionAllowed(ipAddress)})`;
  const isClient = agentId === undefined ? sql`1` : sql`s.agent_id = ${agentId}`;
  const holds = scope
    ? sql`(EXISTS (SELECT 1 FROM agents a WHERE a.id = s.agent_id AND ${holdsScope(scope)}) AND ${isWithinSession(scope)})`
    : sql`1`;
  const [before, reuse, , , use] = await db.batch<AgentRow & SessionRow>([
    prepare(
      db,
      sql`SELECT ${AGENT_COLUMNS}, ${sessionColumns(ipAddress)} FROM sessions s JOIN agents a ON a.id = s.agent_id
        WHERE s.id = ${sessionId}`,
    ),
    prepare(
      db,
      sql`UPDATE sessions AS s SET ended_at = ${DATABASE_NOW}, change_id = ${changeId}
        WHERE s.id = ${sessionId} AND ${stands} AND CASE s.generation - ${generation}
          WHEN 1 THEN ${DATABASE_NOW} - s.rotated_at > ${graceMs}
          WHEN 2 THEN ${DATABASE_NOW} - s.previous_rotated_at > ${graceMs}
          ELSE s.generation > ${generation} END
        RETURNING id`,
    ),
    insertSessionEvent(
      db,
      newEvent("token.reuse_detected", "", now, {
        agent_id: "",
        detected_at: new Date(now).toISOString(),
        ip_address: ipAddress,
      }),
      { id: sessionId, changeId },
    ),
    // Who used it again is not known: the agent, or a thief.
    insertRecordOf(db, records.reused, { from: changed(changeId), fields: ofSession }),
    prepare(
      db,
      sql`UPDATE sessions AS s SET generation = s.generation + 1, hash = ${successor.hash}, pepper_id = ${successor.pepperId},
          previous_hash = s.hash, previous_pepper_id = s.pepper_id,
          rotated_at = ${DATABASE_NOW}, previous_rotated_at = s.rotated_at, last_refreshed_at = ${DATABASE_NOW},
          expires_at = min(${DATABASE_NOW} + ${successorLifeMs}, s.absolute_expires_at), change_id = ${usedId}
        WHERE s.id = ${sessionId} AND ${stands} AND ${isAllowed} AND s.generation = ${generation} AND s.hash = ${hash}
          AND s.expires_at > ${DATABASE_NOW} AND ${isClient} AND ${holds}
          AND (s.dpop_jkt IS NULL OR s.dpop_jkt = ${boundTo})
        RETURNING id`,
    ),
    insertRecordOf(db, records.refreshed, { from: changed(usedId), fields: { ...ofSession, actor: actorOf(sql`a`) } }),
  ]);
  const row = before!.results[0];
  const step = reuse!.results.length > 0 ? "reused" : use!.results.length > 0 ? "rotated" : "none";
  return row && toSessionRecord(row, step);
}
