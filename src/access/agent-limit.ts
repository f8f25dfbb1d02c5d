import type { Agent, Tier } from "../agents/agent.ts";

/** Requests in each period that an agent of a tier has, unless it has a limit of its own. */
export const TIER_LIMITS: Readonly<Record<Tier, number>> = { free: 60, pro: 300, enterprise: 1000 };

/** The bindings by the limit that wrangler.toml sets for each: a limit is a property of a binding. A test keeps the two equal. */
export const LIMIT_BINDINGS = {
  10: "RATE_10",
  30: "RATE_30",
  60: "RATE_FREE",
  120: "RATE_120",
  300: "RATE_PRO",
  600: "RATE_600",
  1000: "RATE_ENTERPRISE",
  3000: "RATE_3000",
} as const satisfies Readonly<Record<Agent["rateLimit"] & number, keyof Env>>;

/** The limit of one agent. */
export interface AgentLimit {
  /** Requests in each period. */
  readonly limit: number;
  /** Null if the limit is the agent's own. */
  readonly tier: Tier | null;
  /** Counts by agent id. Two agents with the same limit have the same binding and separate counters. */
  readonly binding: RateLimit;
}

/** Returns the limit of an agent: its own if it has one, else that of its tier. */
export function agentLimit(env: Env, { tier, rateLimit }: Pick<Agent, "tier" | "rateLimit">): AgentLimit {
  const limit = rateLimit ?? TIER_LIMITS[tier];
  const name = LIMIT_BINDINGS[limit as keyof typeof LIMIT_BINDINGS];
  return { limit, tier: rateLimit === null ? tier : null, binding: env[name] };
}
