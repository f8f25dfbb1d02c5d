import type { Agent, Tier } from "../agents/agent.ts";
import { clientNetwork } from "./client-network.ts";
import { ApiError } from "../http/errors.ts";

/** Seconds that every limit counts over; wrangler.toml's `period`. */
export const RATE_LIMIT_PERIOD_SECONDS = 60;

/** Requests in each period, as wrangler.toml binds them. A test keeps the two equal. */
export const TIER_LIMITS: Readonly<Record<Tier, number>> = { free: 60, pro: 300, enterprise: 1000 };
export const ADDRESS_LIMIT = 300;
export const VERIFY_LIMIT = 30;

const tierBinding = (env: Env, tier: Tier): RateLimit =>
  ({ free: env.RATE_FREE, pro: env.RATE_PRO, enterprise: env.RATE_ENTERPRISE })[tier];

/**
 * Counts one request of an agent against its tier. Refreshes are counted apart, so that a busy agent can keep its session.
 *
 * @throws {ApiError} 429 if the limit is reached.
 */
export async function limitAgent(
  env: Env,
  { id, tier }: Pick<Agent, "id" | "tier">,
  what: "request" | "refresh" = "request",
): Promise<void> {
  const { success } = await tierBinding(env, tier).limit({ key: what === "request" ? id : `${what}:${id}` });
  if (!success) throw rateLimitExceeded(TIER_LIMITS[tier], `${tier} tier`, { tier });
}

/** Counts one request of an IPv4 address or an IPv6 /64, on routes that anyone may call. @throws {ApiError} 429 */
export async function limitAddress(env: Env, ipAddress: string): Promise<void> {
  const { success } = await env.RATE_ADDRESS.limit({ key: clientNetwork(ipAddress) });
  if (!success) throw rateLimitExceeded(ADDRESS_LIMIT, "address");
}

/** Counts one verification with an API key. Only who has the key can reach its limit. @throws {ApiError} 429 */
export async function limitKey(env: Env, keyHash: string): Promise<void> {
  const { success } = await env.RATE_FREE.limit({ key: `verify:${keyHash}` });
  if (!success) throw rateLimitExceeded(TIER_LIMITS.free, "key");
}

/** Counts one failed verification of an agent, whatever address it comes from. @throws {ApiError} 429 */
export async function limitFailedVerifications(env: Env, agentId: string): Promise<void> {
  const { success } = await env.RATE_VERIFY.limit({ key: agentId.slice(0, 64) });
  if (!success) throw rateLimitExceeded(VERIFY_LIMIT, "agent");
}

function rateLimitExceeded(limit: number, whose: string, extra: { tier?: Tier } = {}): ApiError {
  const message = `The limit of ${limit} requests a minute for this ${whose} is used up. Wait ${RATE_LIMIT_PERIOD_SECONDS} seconds.`;
  return new ApiError("rate_limited", message, {
    extra: { tier: null, ...extra, limit, retry_after: RATE_LIMIT_PERIOD_SECONDS },
    headers: {
      "Retry-After": String(RATE_LIMIT_PERIOD_SECONDS),
      "RateLimit-Policy": `"${extra.tier ?? whose}";q=${limit};w=${RATE_LIMIT_PERIOD_SECONDS}`,
    },
  });
}
