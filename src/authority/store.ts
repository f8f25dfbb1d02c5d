import { prepare, sql } from "../database/sql.ts";
import type { Authority } from "./authority.ts";

/** That the caller's token is still active, by the same conditions by which it was accepted. */
const isActive = ({ agentId, sessionId, issuedAt }: Authority) =>
  sql`EXISTS (SELECT 1 FROM agents a JOIN refresh_families f ON f.agent_id = a.id
    WHERE a.id = ${agentId} AND f.id = ${sessionId} AND a.status = 'active' AND f.revoked_at IS NULL
      AND f.issued_at >= a.not_before AND a.not_before <= ${issuedAt})`;

/** SQL that is true if the caller still has every required permission, in exactly the same form. */
const holdsAll = ({ agentId, required }: Authority) =>
  sql`NOT EXISTS (SELECT 1 FROM json_each(${JSON.stringify(required)}) needed WHERE needed.value NOT IN
    (SELECT held.value FROM agents a, json_each(a.permissions) held WHERE a.id = ${agentId}))`;

/** SQLite has no statement that fails on a condition, and D1 reports this failure by these words. */
export const GUARD_ERROR = "malformed JSON";

/** A statement that fails, and so rolls its batch back, unless the caller still has its authority. */
export function guardStatement(db: D1Database, authority: Authority): D1PreparedStatement {
  // The text is chosen at run time: a constant `json('…')` could fail while the statement is prepared.
  return prepare(
    db,
    sql`SELECT json(iif(${isActive(authority)} AND ${holdsAll(authority)}, '1', 'the caller may no longer do this')) AS guard`,
  );
}

/** Reads which part of its authority a caller still has, and the permissions that it has now. */
export async function readAuthority(
  db: D1Database,
  authority: Authority,
): Promise<{ isActive: boolean; holdsAll: boolean; permissions: string[] }> {
  const row = await prepare(
    db,
    sql`SELECT ${isActive(authority)} AS is_active, ${holdsAll(authority)} AS holds_all,
      (SELECT permissions FROM agents WHERE id = ${authority.agentId}) AS permissions`,
  ).first<{ is_active: number; holds_all: number; permissions: string | null }>();
  return {
    isActive: row?.is_active === 1,
    holdsAll: row?.holds_all === 1,
    permissions: JSON.parse(row?.permissions ?? "[]") as string[],
  };
}
