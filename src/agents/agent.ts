export const STATUSES = ["active", "inactive", "suspended", "revoked"] as const;
export const TIERS = ["free", "pro", "enterprise"] as const;

export type Status = (typeof STATUSES)[number];
export type Tier = (typeof TIERS)[number];

/** An agent. Times are milliseconds, `notBefore` is seconds. */
export interface Agent {
  readonly id: string;
  readonly name: string;
  readonly ownerEmail: string;
  readonly permissions: readonly string[];
  readonly status: Status;
  readonly tier: Tier;
  /** Tokens and sessions issued before this second are revoked. */
  readonly notBefore: number;
  /** The `ver` that its tokens must carry. */
  readonly tokenVersion: number;
  /** Null until the agent first verifies itself. It is written through the queue, a few seconds later. */
  readonly lastVerifiedAt: number | null;
  readonly createdAt: number;
  readonly updatedAt: number;
}
