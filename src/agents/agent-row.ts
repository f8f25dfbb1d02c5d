import { sql } from "../database/sql.ts";
import type { Agent, Status, Tier } from "./agent.ts";

/** A row of `agents` with the {@link AGENT_COLUMNS}. */
export interface AgentRow {
  id: string;
  name: string;
  owner_email: string;
  permissions: string;
  status: Status;
  tier: Tier;
  not_before: number;
  last_verified_at: number | null;
  created_at: number;
  updated_at: number;
}

/** The columns of {@link AgentRow}, for statements that read `agents a`, alone or in a join. */
export const AGENT_COLUMNS = sql`a.id, a.name, a.owner_email, a.permissions, a.status, a.tier, a.not_before,
  a.last_verified_at, a.created_at, a.updated_at`;

export function toAgent(row: AgentRow): Agent {
  return {
    id: row.id,
    name: row.name,
    ownerEmail: row.owner_email,
    permissions: JSON.parse(row.permissions) as string[],
    status: row.status,
    tier: row.tier,
    notBefore: row.not_before,
    lastVerifiedAt: row.last_verified_at,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}
