import type { Authority } from "../../authority/authority.ts";
import { batchAsCaller } from "../../authority/batch.ts";
import { deletedRows, prepare, sql } from "../../database/sql.ts";
import { DATABASE_NOW } from "../../database/time.ts";
import type { AuditEntry } from "../../outbox/record.ts";
import { insertRecordOf } from "../../outbox/records.ts";
import type { RefreshToken } from "../refresh-token.ts";
import { SESSION_STANDS } from "../session-row.ts";

/**
 * Ends a token without a session, and records it. Of two requests at once, the second records nothing.
 *
 * @param expiresAt when it would have expired, in milliseconds.
 * @returns false if it had ended before.
 */
export async function insertEndedToken(
  db: D1Database,
  jti: string,
  expiresAt: number,
  { by, record }: { by: Authority; record: AuditEntry },
): Promise<boolean> {
  const [, ended] = await batchAsCaller(db, by, [
    insertRecordOf(db, record, { from: sql`WHERE NOT EXISTS (SELECT 1 FROM ended_tokens WHERE jti = ${jti})` }),
    prepare(db, sql`INSERT OR IGNORE INTO ended_tokens (jti, expires_at) VALUES (${jti}, ${expiresAt}) RETURNING jti`),
  ]);
  return ended!.results.length > 0;
}

/** Deletes up to `limit` ended tokens that have expired at `until`, in milliseconds. Returns how many. */
export const deleteEndedTokens = (db: D1Database, until: number, limit: number): Promise<number> =>
  deletedRows(
    db,
    sql`DELETE FROM ended_tokens WHERE jti IN (
      SELECT jti FROM ended_tokens WHERE expires_at <= ${until} ORDER BY expires_at LIMIT ${limit})`,
  );

/** A session as introspection shows it. Times are milliseconds. */
export interface IntrospectedSession {
  readonly agentId: string;
  readonly createdAt: number;
  readonly expiresAt: number;
  /** Null for what the agent has. */
  readonly scope: readonly string[] | null;
  /** Whether this very refresh token can be used: it is of the present generation, and the session stands. */
  readonly isActive: boolean;
}

/** The session of a refresh token, or undefined. */
export async function readSessionOf(
  db: D1Database,
  { sessionId, generation, hash }: Pick<RefreshToken, "sessionId" | "generation" | "hash">,
): Promise<IntrospectedSession | undefined> {
  const row = await prepare(
    db,
    sql`SELECT s.agent_id, s.created_at, s.expires_at, s.scope,
        ${SESSION_STANDS} AND s.expires_at > ${DATABASE_NOW} AND s.generation = ${generation} AND s.hash = ${hash} AS is_active
      FROM sessions s JOIN agents a ON a.id = s.agent_id WHERE s.id = ${sessionId}`,
  ).first<{ agent_id: string; created_at: number; expires_at: number; scope: string | null; is_active: number }>();
  if (!row) return undefined;
  return {
    agentId: row.agent_id,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    scope: row.scope === null ? null : (JSON.parse(row.scope) as string[]),
    isActive: row.is_active === 1,
  };
}
