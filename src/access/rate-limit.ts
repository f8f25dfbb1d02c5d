import type { Agent, Tier } from "../agents/agent.ts";
import { agentLimit, TIER_LIMITS } from "./agent-limit.ts";
import { clientNetwork } from "./client-network.ts";
import { ApiError } from "../http/errors.ts";

/** Seconds that every limit counts over; wrangler.toml's `period`. */
export const RATE_LIMIT_PERIOD_SECONDS = 60;

/** Requests in each period, as wrangler.toml binds them. A test keeps the two equal. */
export const ADDRESS_LIMIT = 300;
export const VERIFY_LIMIT = 30;

/**
 * Counts one request of an agent against its own limit or that of its tier. Refreshes are counted apart, so that a busy agent can keep its session.
 *
 * @throws {ApiError} 429 if the limit is reached.
 */
export async function limitAgent(env: Env, agent: Pick<Agent, "id" | "tier" | "rateLimit">): Promise<void> {
  const { limit, tier, binding } = agentLimit(env, agent);
  const { success } = await binding.limit({ key: agent.id });
  if (success) return;
  throw tier ? rateLimitExceeded(limit, `${tier} tier`, { tier }) : rateLimitExceeded(limit, "agent");
}

/** Counts one request of an IPv4 address or an IPv6 /64, on routes that anyone may call. @throws {ApiError} 429 */
export async function limitAddress(env: Env, ipAddress: string): Promise<void> {
  const { success } = await env.RATE_ADDRESS.limit({ key: clientNetwork(ipAddress) });
  if (!success) throw rateLimitExceeded(ADDRESS_LIMIT, "address");
}

/**
 * Counts one refresh of a session, before the database is asked. The session is known from a refresh token's MAC, or for a token of the
 * former format is its hash. @throws {ApiError} 429
 */
export async function limitSession(env: Env, sessionId: string): Promise<void> {
  const { success } = await env.RATE_FREE.limit({ key: `refresh:${sessionId}` });
  if (!success) throw rateLimitExceeded(TIER_LIMITS.free, "session");
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
