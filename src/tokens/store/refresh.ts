import { AGENT_COLUMNS, toAgent, type AgentRow } from "../../agents/agent-row.ts";
import type { Agent } from "../../agents/agent.ts";
import { integer, prepare, sql } from "../../database/sql.ts";
import { DATABASE_NOW, MAX_CLOCK_STEP } from "../../database/time.ts";
import { newChangeId } from "../../outbox/change.ts";
import { newEvent } from "../../outbox/event.ts";
import { insertEvent } from "../../outbox/outbox.ts";
import type { RefreshRecord } from "../records.ts";

/** The agent and the session of a refresh token. The agent's rate is limited before anything is written. */
export interface RefreshTokenOwner extends Pick<Agent, "id" | "tier" | "rateLimit"> {
  readonly sessionId: string;
}

export async function readRefreshTokenOwner(db: D1Database, hash: string): Promise<RefreshTokenOwner | undefined> {
  const row = await prepare(
    db,
    sql`SELECT a.id, a.tier, a.rate_limit AS rateLimit, f.id AS sessionId FROM refresh_tokens t JOIN refresh_families f ON f.id = t.family_id
      JOIN agents a ON a.id = f.agent_id WHERE t.hash = ${hash}`,
  ).first<RefreshTokenOwner>();
  return row ?? undefined;
}

export interface Rotation {
  readonly hash: string;
  readonly successorHash: string;
  readonly successorLifeMs: number;
  /** How long after its first use a token may be used again, in milliseconds. */
  readonly graceMs: number;
  readonly owner: RefreshTokenOwner;
  readonly ipAddress: string;
  /** Milliseconds, for the event only: everything else is decided by the database's time. */
  readonly now: number;
}

/** `used_at` of a token whose use after the grace revoked its session. */
const REUSED = integer(0);

interface RefreshRow extends AgentRow {
  session_id: string;
  session_expires_at: number;
  session_revoked_at: number | null;
  session_issued_at: number;
  token_expires_at: number;
  used_at: number | null;
  now: number;
}

function toRefreshRecord(row: RefreshRow, step: RefreshRecord["step"]): RefreshRecord {
  return {
    agent: toAgent(row),
    sessionId: row.session_id,
    sessionExpiresAt: row.session_expires_at,
    sessionRevokedAt: row.session_revoked_at,
    sessionIssuedAt: row.session_issued_at,
    tokenExpiresAt: row.token_expires_at,
    usedAt: row.used_at,
    now: row.now,
    step,
  };
}

/**
 * Rotates a refresh token in one batch (RFC 9700 §4.14.2). It reads the token; revokes the session, with an event, if the token was
 * used longer ago than the grace; marks the token as used and inserts its successor if it was unused.
 *
 * Each statement has its own time, so only one decides each outcome, and those after it read what it wrote. A use that seems to lie
 * in the future counts as recent only within the step that the database's clock may make backwards.
 *
 * Of two requests with one token at once, the first marks the token. The second finds it used within the grace, and its insert of
 * the same derived successor is ignored, so that a session cannot fork. Of two that use it after the grace, the first revokes the
 * session and writes the event; the second finds the session revoked.
 *
 * @returns the token as it was before, and what the batch wrote; undefined for an unknown token.
 */
export async function rotate(db: D1Database, rotation: Rotation): Promise<RefreshRecord | undefined> {
  const { hash, successorHash, now, successorLifeMs, graceMs, owner, ipAddress } = rotation;
  const changeId = newChangeId();
  const session = sql`refresh_tokens t JOIN refresh_families f ON f.id = t.family_id JOIN agents a ON a.id = f.agent_id`;
  const isAlive = sql`f.revoked_at IS NULL AND f.expires_at > ${DATABASE_NOW} AND a.status = 'active'
    AND f.issued_at >= a.not_before`;
  const [before, reuse, , , use] = await db.batch<RefreshRow>([
    prepare(
      db,
      sql`SELECT ${AGENT_COLUMNS}, f.id AS session_id, f.expires_at AS session_expires_at,
          f.revoked_at AS session_revoked_at, f.issued_at AS session_issued_at, t.expires_at AS token_expires_at, t.used_at,
          ${DATABASE_NOW} AS now
        FROM ${session} WHERE t.hash = ${hash}`,
    ),
    prepare(
      db,
      sql`UPDATE refresh_tokens SET used_at = ${REUSED}
        WHERE hash = (SELECT t.hash FROM ${session} WHERE t.hash = ${hash} AND ${isAlive} AND t.used_at IS NOT NULL
                        AND ${DATABASE_NOW} - t.used_at NOT BETWEEN -${MAX_CLOCK_STEP} AND ${graceMs})
        RETURNING hash`,
    ),
    prepare(
      db,
      sql`UPDATE refresh_families SET revoked_at = ${DATABASE_NOW}, change_id = ${changeId}
        WHERE id = (SELECT family_id FROM refresh_tokens WHERE hash = ${hash} AND used_at = ${REUSED})
          AND revoked_at IS NULL`,
    ),
    insertEvent(
      db,
      newEvent("token.reuse_detected", owner.id, now, {
        agent_id: owner.id,
        detected_at: new Date(now).toISOString(),
        ip_address: ipAddress,
      }),
      { table: "refresh_families", id: owner.sessionId, changeId },
    ),
    prepare(
      db,
      sql`UPDATE refresh_tokens SET used_at = ${DATABASE_NOW}
        WHERE hash = (SELECT t.hash FROM ${session}
                      WHERE t.hash = ${hash} AND ${isAlive} AND t.used_at IS NULL AND t.expires_at > ${DATABASE_NOW})
        RETURNING hash`,
    ),
    prepare(
      db,
      sql`INSERT OR IGNORE INTO refresh_tokens (hash, family_id, expires_at)
        SELECT ${successorHash}, f.id, min(t.used_at + ${successorLifeMs}, f.expires_at) FROM ${session}
        WHERE t.hash = ${hash} AND ${isAlive} AND t.used_at IS NOT NULL`,
    ),
  ]);
  const row = before!.results[0];
  const step = reuse!.results.length > 0 ? "reused" : use!.results.length > 0 ? "rotated" : "none";
  return row && toRefreshRecord(row, step);
}
