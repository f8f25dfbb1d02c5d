import { sql } from "../database/sql.ts";
import { DATABASE_NOW, NEXT_SECOND } from "../database/time.ts";
import { grantedPermissions } from "../grants/grant-row.ts";
import { parseGrants, permissionsNow } from "../grants/grant.ts";
import type { Agent, AgentRateLimit, Status, Tier } from "./agent.ts";

/** A row of `agents` with the {@link AGENT_COLUMNS}. */
export interface AgentRow {
  id: string;
  name: string;
  owner_email: string;
  grants: string | null;
  grants_version: number;
  status: Status;
  tier: Tier;
  rate_limit: AgentRateLimit | null;
  allowed_ips: string | null;
  dpop_required: number;
  token_version: number;
  last_verified_at: number | null;
  created_at: number;
  updated_at: number;
  /** The database's time. */
  read_at: number;
}

/** The columns of {@link AgentRow}, for statements that read `agents a`, alone or in a join. */
export const AGENT_COLUMNS = sql`a.id, a.name, a.owner_email, a.grants, a.grants_version, a.status, a.tier, a.rate_limit, a.allowed_ips, a.dpop_required,
  a.token_version, a.last_verified_at, a.created_at, a.updated_at, ${DATABASE_NOW} AS read_at`;

/** JSON of what the record of a deletion says of an agent `a`. */
export const DELETED_JSON = sql`json_object('name', a.name, 'owner_email', a.owner_email, 'permissions', json(${grantedPermissions(sql`a.grants`)}),
  'status', a.status, 'tier', a.tier)`;

/**
 * SQL that revokes every token and session of an agent: its tokens carry the version that they were issued under. `not_before` is
 * for sessions of the former format, and for a Worker of the former version.
 */
export const END_TOKENS = sql`token_version = token_version + 1, not_before = max(${NEXT_SECOND}, not_before + 1)`;

export function toAgent(row: AgentRow): Agent {
  const grants = parseGrants(row.grants);
  return {
    id: row.id,
    name: row.name,
    ownerEmail: row.owner_email,
    permissions: permissionsNow(grants, row.read_at),
    grants,
    grantsVersion: row.grants_version,
    status: row.status,
    tier: row.tier,
    rateLimit: row.rate_limit,
    allowedIps: toList(row.allowed_ips),
    requiresDpop: row.dpop_required === 1,
    tokenVersion: row.token_version,
    lastVerifiedAt: row.last_verified_at,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

/** A JSON array of texts, or null. */
export const toList = (json: string | null): string[] | null => (json === null ? null : (JSON.parse(json) as string[]));

/** The JSON of a list or an object. An empty object and an absent value are null, so that there is one way to have none. */
export const toJson = (value: object | null | undefined): string | null =>
  value == null || Object.keys(value).length === 0 ? null : JSON.stringify(value);
