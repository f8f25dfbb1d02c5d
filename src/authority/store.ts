import type { Authority } from "./authority.ts";

/** That a caller (?1, session ?2, token issued at ?3) may still act: the same conditions by which its token was accepted. */
const STANDS = `EXISTS (SELECT 1 FROM agents a JOIN refresh_families f ON f.agent_id = a.id
    WHERE a.id = ?1 AND f.id = ?2 AND a.status = 'active' AND f.revoked_at IS NULL
      AND f.issued_at >= a.not_before AND a.not_before <= ?3)`;

/** That the caller (?1) still holds every permission of a JSON array (?4), each as it stands there. */
const HOLDS = `NOT EXISTS (SELECT 1 FROM json_each(?4) needed WHERE needed.value NOT IN
    (SELECT held.value FROM agents a, json_each(a.permissions) held WHERE a.id = ?1))`;

const bindings = ({ agentId, sessionId, issuedAt, required: holds }: Authority) => [
  agentId,
  sessionId,
  issuedAt,
  JSON.stringify(holds),
];

/** SQLite has no statement that fails on a condition, and D1 reports this failure by these words. */
export const GUARD_ERROR = "malformed JSON";

/** A statement that fails, and so rolls its batch back, unless the caller may still do what it was let in for. */
export function guardStatement(db: D1Database, authority: Authority): D1PreparedStatement {
  // The text is chosen at run time: a constant `json('…')` could fail while the statement is prepared.
  return db
    .prepare(`SELECT json(iif(${STANDS} AND ${HOLDS}, '1', 'the caller may no longer do this')) AS guard`)
    .bind(...bindings(authority));
}

/** Which part of a caller's authority it still has, and what it holds now. */
export async function readAuthority(
  db: D1Database,
  authority: Authority,
): Promise<{ stands: boolean; holds: boolean; permissions: string[] }> {
  const row = await db
    .prepare(
      `SELECT ${STANDS} AS stands, ${HOLDS} AS holds, (SELECT permissions FROM agents WHERE id = ?1) AS permissions`,
    )
    .bind(...bindings(authority))
    .first<{ stands: number; holds: number; permissions: string | null }>();
  return {
    stands: row?.stands === 1,
    holds: row?.holds === 1,
    permissions: JSON.parse(row?.permissions ?? "[]") as string[],
  };
}
