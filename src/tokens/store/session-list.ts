import type { Authority } from "../../authority/authority.ts";
import { batchAsCaller } from "../../authority/batch.ts";
import { prepare, sql } from "../../database/sql.ts";
import { DATABASE_NOW } from "../../database/time.ts";
import type { AuditEntry } from "../../outbox/record.ts";
import { insertRecordOf } from "../../outbox/records.ts";
import type { Session } from "../records.ts";
import { IS_BOUND_AS_REQUIRED } from "../session-row.ts";

interface ListedRow {
  id: string;
  key_id: string | null;
  created_at: number;
  last_refreshed_at: number;
  expires_at: number;
  ip_address: string;
  scope: string | null;
  dpop_jkt: string | null;
}

const toSession = (row: ListedRow): Session => ({
  id: row.id,
  keyId: row.key_id,
  createdAt: row.created_at,
  lastRefreshedAt: row.last_refreshed_at,
  expiresAt: row.expires_at,
  ipAddress: row.ip_address,
  scope: row.scope === null ? null : (JSON.parse(row.scope) as string[]),
  boundTo: row.dpop_jkt,
});

/**
 * The sessions of an agent that can be refreshed, after a position, the newest first. Those of the former format are among them until
 * they are converted. Undefined for no agent.
 */
export async function readSessions(
  db: D1Database,
  agentId: string,
  { limit, after }: { limit: number; after: { createdAt: number; id: string } | undefined },
): Promise<Session[] | undefined> {
  const [sessions, agents] = await db.batch<ListedRow>([
    prepare(
      db,
      sql`SELECT * FROM (
          SELECT s.id, s.key_id, s.created_at, s.last_refreshed_at, s.expires_at, s.ip_address, s.scope, s.dpop_jkt
            FROM agents a JOIN sessions s ON s.agent_id = a.id
            WHERE a.id = ${agentId} AND a.status = 'active' AND s.token_version = a.token_version AND s.ended_at IS NULL
              AND s.expires_at > ${DATABASE_NOW} AND ${IS_BOUND_AS_REQUIRED}
          UNION ALL
          SELECT f.id, NULL, f.issued_at * 1000, f.issued_at * 1000, f.expires_at, '', NULL, NULL
            FROM agents a JOIN refresh_families f ON f.agent_id = a.id
            WHERE a.id = ${agentId} AND a.status = 'active' AND a.dpop_required = 0 AND f.issued_at >= a.not_before AND f.revoked_at IS NULL
              AND f.expires_at > ${DATABASE_NOW} AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.id = f.id))
        WHERE (created_at, id) < (${after?.createdAt ?? Number.MAX_SAFE_INTEGER}, ${after?.id ?? ""})
        ORDER BY created_at DESC, id DESC LIMIT ${limit}`,
    ),
    prepare(db, sql`SELECT id FROM agents WHERE id = ${agentId}`),
  ]);
  return agents!.results.length > 0 ? sessions!.results.map(toSession) : undefined;
}

/** Ends a session of an agent, in either format. Returns whether there was one that had not ended. */
export async function endSessionOf(
  db: D1Database,
  agentId: string,
  sessionId: string,
  { by, record }: { by: Authority; record: AuditEntry },
): Promise<boolean> {
  const inSessions = sql`FROM sessions WHERE id = ${sessionId} AND agent_id = ${agentId} AND ended_at IS NULL`;
  const inFamilies = sql`FROM refresh_families WHERE id = ${sessionId} AND agent_id = ${agentId} AND revoked_at IS NULL`;
  const [, ...ended] = await batchAsCaller(db, by, [
    insertRecordOf(db, record, { from: sql`WHERE EXISTS (SELECT 1 ${inSessions}) OR EXISTS (SELECT 1 ${inFamilies})` }),
    prepare(
      db,
      sql`UPDATE sessions SET ended_at = ${DATABASE_NOW}
        WHERE id = ${sessionId} AND agent_id = ${agentId} AND ended_at IS NULL RETURNING id`,
    ),
    prepare(
      db,
      sql`UPDATE refresh_families SET revoked_at = ${DATABASE_NOW}
        WHERE id = ${sessionId} AND agent_id = ${agentId} AND revoked_at IS NULL RETURNING id`,
    ),
  ]);
  return ended.some(({ results }) => results.length > 0);
}
