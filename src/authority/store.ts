import { isPartOf, isProvenKey, mayUseKey } from "./allowed-address-row.ts";
import { prepare, sql, type Sql } from "../database/sql.ts";
import { DATABASE_NOW } from "../database/time.ts";
import { ADMIN } from "../permissions/grammar.ts";
import type {
  AgentAuthority,
  Authority,
  AuthorityLoss,
  Ceiling,
  Loosening,
  PersonAuthority,
  ProvenKey,
} from "./authority.ts";
import { HAS_ADMINISTRATOR, PERSON_SESSION_STANDS } from "./person-row.ts";
import { KEY_STANDS, linkStands, type TokenLink } from "./token-row.ts";

/** That the caller's token is still active, by the same conditions by which it was accepted. */
const isActive = (authority: AgentAuthority): Sql =>
  sql`(${[authority, ...(authority.delegators ?? [])].map(isActiveLink).reduce((one, other) => sql`${one} AND ${other}`)})`;

const isActiveLink = (link: TokenLink): Sql =>
  sql`EXISTS (SELECT 1 FROM agents a WHERE a.id = ${link.agentId} AND a.status = 'active' AND a.token_version = ${link.version}
    AND ${linkStands(link)})`;

/** SQL that is true if the request proved itself with a key that its agent has now, and that may be used from its address. */
const holdsKey = (agentId: string, key: ProvenKey) =>
  sql`EXISTS (SELECT 1 FROM api_keys k JOIN agents a ON a.id = k.agent_id WHERE a.id = ${agentId}
    AND ${isProvenKey(key)} AND ${KEY_STANDS} AND ${mayUseKey(key.address)})`;

/** SQL that is true if an agent's grants are those that the request was judged by. */
const hasSameGrants = ({ agentId, version }: NonNullable<AgentAuthority["grantsVersions"]>[number]): Sql =>
  sql`EXISTS (SELECT 1 FROM agents a WHERE a.id = ${agentId} AND a.grants_version = ${version})`;

/** SQL that is true if the caller still has every required permission, in exactly the same form. */
const holdsAll = ({ agentId, required }: AgentAuthority) =>
  sql`NOT EXISTS (SELECT 1 FROM json_each(${JSON.stringify(required)}) needed WHERE needed.value NOT IN
    (SELECT held.value FROM agents a, json_each(a.permissions) held WHERE a.id = ${agentId}))`;

/** SQL that is true if an agent may make the change: see {@link Loosening}. */
function mayLoosen(loosens: Loosening): Sql {
  if (loosens === "always") return sql`NOT ${HAS_ADMINISTRATOR}`;
  const { agentId, permissions = [], allowedIps, grantable = [] } = loosens;
  const narrowsIps =
    allowedIps === undefined
      ? sql`1`
      : allowedIps === null
        ? sql`a.allowed_ips IS NULL`
        : sql`(a.allowed_ips IS NULL OR ${isPartOf(allowedIps, sql`a.allowed_ips`)})`;
  return sql`(NOT ${HAS_ADMINISTRATOR} OR EXISTS (SELECT 1 FROM agents a WHERE a.id = ${agentId}
    AND ${isPartOf(permissions, sql`a.permissions`)} AND ${isPartOf(grantable, sql`a.grantable`)} AND ${narrowsIps}))`;
}

/** That the person is still signed in by the session of the request. */
const isSignedIn = ({ personId, sessionId, byLink }: PersonAuthority) =>
  sql`EXISTS (SELECT 1 FROM person_sessions s JOIN people p ON p.id = s.person_id WHERE s.id = ${sessionId}
    AND p.id = ${personId} AND ${PERSON_SESSION_STANDS} AND ${byLink ? sql`1` : sql`s.method <> 'link'`})`;

/** SQL that is true if the person still has the role, and owns the agent, by which the request was accepted. */
const hasRole = ({ personId, role, ownedAgent }: PersonAuthority) =>
  sql`EXISTS (SELECT 1 FROM people p WHERE p.id = ${personId} AND p.role = ${role}
    AND ${ownedAgent === undefined ? sql`1` : sql`EXISTS (SELECT 1 FROM agents a WHERE a.id = ${ownedAgent} AND a.owner_person_id = p.id)`})`;

/** SQL that is true if what a command grants is below the agent's ceiling. */
const isBelowCeiling = ({ agentId, held, grantable }: Ceiling) =>
  sql`EXISTS (SELECT 1 FROM agents a WHERE a.id = ${agentId}
    AND ${isPartOf(held, sql`(SELECT json_group_array(g.value ->> 'permission') FROM json_each(coalesce(a.grants, '[]')) g)`)}
    AND ${isPartOf(grantable, sql`a.grantable`)})`;

/** SQL that is true if an agent is no administrator, and has no grant by which it would be one. */
const isNoAdministrator = (agentId: string): Sql =>
  sql`NOT EXISTS (SELECT 1 FROM agents a WHERE a.id = ${agentId}
    AND (EXISTS (SELECT 1 FROM json_each(a.permissions) p WHERE p.value = ${ADMIN})
      OR EXISTS (SELECT 1 FROM json_each(coalesce(a.grants, '[]')) g WHERE g.value ->> 'permission' = ${ADMIN}
        AND coalesce(g.value ->> 'expires_at' > ${DATABASE_NOW}, 1))))`;

/** What a caller's authority consists of. The first that it has not is why it has lost its authority. */
function conditionsOf(authority: Authority): { reason: AuthorityLoss["reason"]; holds: Sql }[] {
  if (authority.personId !== undefined) {
    return [
      { reason: "session_ended", holds: isSignedIn(authority) },
      { reason: "role_changed", holds: hasRole(authority) },
      ...(authority.ceiling ? [{ reason: "browser_required", holds: isBelowCeiling(authority.ceiling) } as const] : []),
      ...(authority.keyFor !== undefined
        ? [
            {
              reason: authority.role === "owner" ? "administrator_required" : "key_of_administrator",
              holds: isNoAdministrator(authority.keyFor),
            } as const,
          ]
        : []),
    ];
  }
  if (authority.agentId === undefined) {
    return authority.lasts ? [] : [{ reason: "bootstrap_ended", holds: sql`NOT EXISTS (SELECT 1 FROM people)` }];
  }
  const { agentId, provenBy, grantsVersions = [], loosens } = authority;
  return [
    { reason: "token_revoked", holds: isActive(authority) },
    ...(provenBy ? [{ reason: "key_refused", holds: holdsKey(agentId, provenBy) } as const] : []),
    ...grantsVersions.map((one) => ({ reason: "grants_changed", holds: hasSameGrants(one) }) as const),
    { reason: "insufficient_permissions", holds: holdsAll(authority) },
    ...(loosens ? [{ reason: "person_required", holds: mayLoosen(loosens) } as const] : []),
  ];
}

/** SQLite has no statement that fails on a condition, and D1 reports this failure by these words. */
export const GUARD_ERROR = "malformed JSON";

/** A statement that fails, and so rolls its batch back, unless the caller still has its authority. */
export function guardStatement(db: D1Database, authority: Authority): D1PreparedStatement {
  const holds = conditionsOf(authority)
    .map((one) => one.holds)
    .reduce((all, one) => sql`${all} AND ${one}`, sql`1`);
  // The text is chosen at run time: a constant `json('…')` could fail while the statement is prepared.
  return prepare(db, sql`SELECT json(iif(${holds}, '1', 'the caller may no longer do this')) AS guard`);
}

/** Reads why a caller has lost its authority, and an agent's permissions now. `reason` is null if it has lost nothing. */
export async function readAuthority(
  db: D1Database,
  authority: Authority,
): Promise<{ reason: AuthorityLoss["reason"] | null; permissions: string[] }> {
  const conditions = conditionsOf(authority);
  const found = conditions
    .map(({ reason, holds }) => sql`WHEN NOT ${holds} THEN ${reason}`)
    .reduce((all, one) => sql`${all} ${one}`, sql`WHEN 0 THEN NULL`);
  const row = await prepare(
    db,
    sql`SELECT CASE ${found} END AS reason, (SELECT permissions FROM agents WHERE id = ${authority.agentId ?? null}) AS permissions`,
  ).first<{ reason: AuthorityLoss["reason"] | null; permissions: string | null }>();
  return { reason: row?.reason ?? null, permissions: JSON.parse(row?.permissions ?? "[]") as string[] };
}
