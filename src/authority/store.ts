import { prepare, sql } from "../database/sql.ts";
import { DATABASE_NOW } from "../database/time.ts";
import type { Authority } from "./authority.ts";
import { basisStands } from "./token-row.ts";

/** That the caller's token is still active, by the same conditions by which it was accepted. */
const isActive = ({ agentId, basis, version }: Authority) =>
  sql`EXISTS (SELECT 1 FROM agents a WHERE a.id = ${agentId} AND a.status = 'active' AND a.token_version = ${version}
    AND ${basisStands(basis)})`;

/** SQL that is true if the request proved itself with a key that its agent has now, or did not need to. */
const holdsKey = ({ agentId, keyHashes }: Authority) =>
  keyHashes
    ? sql`EXISTS (SELECT 1 FROM api_keys k WHERE k.agent_id = ${agentId}
        AND k.hash IN (SELECT value FROM json_each(${JSON.stringify(keyHashes)}))
        AND (k.expires_at IS NULL OR k.expires_at > ${DATABASE_NOW}))`
    : sql`1`;

/** SQL that is true if the agent's grants are those that the request was judged by, or the request does not say which. */
const hasSameGrants = ({ agentId, grantsVersion }: Authority) =>
  grantsVersion === undefined
    ? sql`1`
    : sql`EXISTS (SELECT 1 FROM agents a WHERE a.id = ${agentId} AND a.grants_version = ${grantsVersion})`;

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
    sql`SELECT json(iif(${isActive(authority)} AND ${holdsKey(authority)} AND ${hasSameGrants(authority)} AND ${holdsAll(authority)}, '1', 'the caller may no longer do this')) AS guard`,
  );
}

/** Reads which part of its authority a caller still has, and the permissions that it has now. */
export async function readAuthority(
  db: D1Database,
  authority: Authority,
): Promise<{ isActive: boolean; holdsKey: boolean; hasSameGrants: boolean; holdsAll: boolean; permissions: string[] }> {
  const row = await prepare(
    db,
    sql`SELECT ${isActive(authority)} AS is_active, ${holdsKey(authority)} AS holds_key, ${hasSameGrants(authority)} AS same_grants,
      ${holdsAll(authority)} AS holds_all,
      (SELECT permissions FROM agents WHERE id = ${authority.agentId}) AS permissions`,
  ).first<{
    is_active: number;
    holds_key: number;
    same_grants: number;
    holds_all: number;
    permissions: string | null;
  }>();
  return {
    isActive: row?.is_active === 1,
    holdsKey: row?.holds_key === 1,
    hasSameGrants: row?.same_grants === 1,
    holdsAll: row?.holds_all === 1,
    permissions: JSON.parse(row?.permissions ?? "[]") as string[],
  };
}
