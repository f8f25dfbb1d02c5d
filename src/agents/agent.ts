import type { Grant } from "../grants/grant.ts";

export const STATUSES = ["active", "inactive", "suspended", "revoked"] as const;
export const TIERS = ["free", "pro", "enterprise"] as const;

export type Status = (typeof STATUSES)[number];
export type Tier = (typeof TIERS)[number];

/** Requests a minute that an agent can have instead of its tier's. Each is a rate-limit binding, so no others can be set. */
export const RATE_LIMITS = [10, 30, 60, 120, 300, 600, 1000, 3000] as const;
export type AgentRateLimit = (typeof RATE_LIMITS)[number];

/** An agent. Times are milliseconds. */
export interface Agent {
  readonly id: string;
  readonly name: string;
  readonly ownerEmail: string;
  /** The sorted set of permissions that some grant gave when the agent was read, limited ones included. */
  readonly permissions: readonly string[];
  /** Those that have ended, but are still kept, included. */
  readonly grants: readonly Grant[];
  /** Changes with the grants. */
  readonly grantsVersion: number;
  readonly status: Status;
  readonly tier: Tier;
  /** Requests a minute. Null: its tier's. */
  readonly rateLimit: AgentRateLimit | null;
  /** The networks that it may call from, as `parseNetwork` spells them. Null: from everywhere. */
  readonly allowedIps: readonly string[] | null;
  /** Whether a token of it is good only if it is bound to a key (RFC 9449 §5.2). */
  readonly requiresDpop: boolean;
  /** The `ver` that its tokens must carry. */
  readonly tokenVersion: number;
  /** Null until the agent first verifies itself. It is written through the queue, a few seconds later. */
  readonly lastVerifiedAt: number | null;
  readonly createdAt: number;
  readonly updatedAt: number;
}
