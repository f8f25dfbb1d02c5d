export const STATUSES = ["active", "inactive", "suspended", "revoked"] as const;
export const TIERS = ["free", "pro", "enterprise"] as const;

export type Status = (typeof STATUSES)[number];
export type Tier = (typeof TIERS)[number];

/** An agent as the service knows it. Times are milliseconds, `notBefore` is seconds. */
export interface Agent {
  readonly id: string;
  readonly name: string;
  readonly ownerEmail: string;
  readonly permissions: readonly string[];
  readonly status: Status;
  readonly tier: Tier;
  /** A token or a session issued before this second is over. */
  readonly notBefore: number;
  /** Null until it first proved itself. Follows through the queue, a few seconds behind. */
  readonly lastVerifiedAt: number | null;
  readonly createdAt: number;
  readonly updatedAt: number;
}

/** A row of `agents`, as SQL gives it. Rooms that join the table select `AGENT_COLUMNS`. */
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

const COLUMNS = [
  "id",
  "name",
  "owner_email",
  "permissions",
  "status",
  "tier",
  "not_before",
  "last_verified_at",
  "created_at",
  "updated_at",
] as const satisfies (keyof AgentRow)[];

/** The columns of {@link AgentRow}, for a table or its alias. */
export const agentColumns = (table: string): string => COLUMNS.map((column) => `${table}.${column}`).join(", ");

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
