import type { Agent, Tier } from "../agents/agent.ts";
import { BoundedCache } from "../memory/bounded-cache.ts";
import type { AccessClaims } from "../tokens/access-token.ts";
import { agentLimit, TIER_LIMITS } from "./agent-limit.ts";
import { clientNetwork } from "./client-network.ts";
import { ApiError, unavailable } from "../http/errors.ts";

/** Seconds that every limit counts over; wrangler.toml's `period`. */
export const RATE_LIMIT_PERIOD_SECONDS = 60;

/** Requests in each period, as wrangler.toml binds them. A test keeps the two equal. */
export const ADDRESS_LIMIT = 300;
export const VERIFY_LIMIT = 30;
/** The highest limit that an agent can have: that of a token of which nothing is known yet. */
const MAX_AGENT_LIMIT = 3000;

/** What the limit of a request depends on. */
type LimitedAgent = Pick<Agent, "id" | "tier" | "rateLimit">;

/** The agents of tokens that this isolate has found good, by the key of the token's own count. */
const knownAgents = new BoundedCache<{ readonly agent: LimitedAgent; readonly readAt: number }>(2_000_000, () => 200);

/** Agents that have used their limit up, and when this isolate was told so, in milliseconds. */
const refusedAgents = new BoundedCache<{ readonly agent: LimitedAgent; readonly at: number }>(500_000, () => 200);

/** Refusals count for at least this long, in milliseconds, also if no status may be remembered (`STANDING_TTL_SECONDS` is 0). */
const MIN_MEMORY_MS = 1000;

/** What a token is counted under before its status is known: its session, or itself if it has none. */
const tokenKey = ({ links, delegation, jti }: Pick<AccessClaims, "links" | "delegation" | "jti">): string =>
  `token:${delegation ? jti : (links[0].basis.sessionId ?? jti)}`;

/**
 * Counts one request with a token whose status is not known yet: against the token itself, and against its sender's address if this
 * isolate has not found the token good before. The agent's own limit is not touched, because a thief of a token that has been revoked
 * must not use it up.
 *
 * A request that the agent's limit would refuse anyway is refused here, before the database is asked. This uses what the isolate was
 * told about the agent within the last `memoryMs`, so that a higher limit is in force as soon as any other change.
 *
 * @param memoryMs how old that may be, in milliseconds.
 * @throws {ApiError} 429, or 503 `limit_unknown`.
 */
export async function limitToken(
  env: Env,
  claims: Pick<AccessClaims, "links" | "delegation" | "jti">,
  { ipAddress, now, memoryMs }: { ipAddress: string; now: number; memoryMs: number },
): Promise<void> {
  const isRecent = (at: number): boolean => now >= at && now - at < Math.max(memoryMs, MIN_MEMORY_MS);
  for (const { agentId } of claims.links) {
    const refused = refusedAgents.get(agentId);
    if (refused && isRecent(refused.at)) throw agentLimitExceeded(env, refused.agent);
  }
  const key = tokenKey(claims);
  const known = knownAgents.get(key);
  if (!known) {
    const whose = "address";
    await charge({ binding: env.RATE_ADDRESS, key: `token:${clientNetwork(ipAddress)}`, limit: ADDRESS_LIMIT, whose });
    await charge({ binding: env.RATE_3000, key, limit: MAX_AGENT_LIMIT, whose: "token" });
    return;
  }
  const { binding } = agentLimit(env, known.agent);
  const isWithin = await isWithinLimit(binding, key);
  if (!isWithin && isRecent(known.readAt)) throw agentLimitExceeded(env, known.agent);
}

/**
 * Counts one request of an agent against its own limit or that of its tier.
 *
 * @throws {ApiError} 429, or 503 `limit_unknown`.
 */
export async function limitAgent(env: Env, agent: LimitedAgent, now: number): Promise<void> {
  const { binding, limit } = agentLimit(env, agent);
  if (await isWithinLimit(binding, agent.id)) {
    refusedAgents.delete(agent.id);
    refusedSince.delete(counterOf(limit, agent.id));
    return;
  }
  refusedAgents.set(agent.id, { agent: limitedPartOf(agent), at: now });
  throw agentLimitExceeded(env, agent);
}

/** Remembers which agent a token belongs to, which the database has just said. @param now milliseconds. */
export function rememberAgentOf(claims: AccessClaims, agent: LimitedAgent, now: number): void {
  knownAgents.set(tokenKey(claims), { agent: limitedPartOf(agent), readAt: now });
}

const limitedPartOf = ({ id, tier, rateLimit }: LimitedAgent): LimitedAgent => ({ id, tier, rateLimit });

/** Requests in each period of one session of a person. */
const PERSON_LIMIT = 1000;

/**
 * Counts one request of a person's session, before the database is asked: against the session, and against its sender's address if
 * this isolate has not found the session before.
 *
 * @param hash of the session's token.
 * @throws {ApiError} 429, or 503 `limit_unknown`.
 */
export async function limitPersonSession(
  env: Env,
  hash: string,
  { ipAddress, isKnown }: { ipAddress: string; isKnown: boolean },
): Promise<void> {
  if (!isKnown) {
    const key = `person:${clientNetwork(ipAddress)}`;
    await charge({ binding: env.RATE_ADDRESS, key, limit: ADDRESS_LIMIT, whose: "address" });
  }
  await charge({ binding: env.RATE_ENTERPRISE, key: `person:${hash}`, limit: PERSON_LIMIT, whose: "session" });
}

/** Counts one device grant that is begun at an address: each is a row, and a code that can be typed. @throws {ApiError} 429 */
export const limitDeviceGrants = (env: Env, ipAddress: string): Promise<void> =>
  charge({
    binding: env.RATE_VERIFY,
    key: `device:${clientNetwork(ipAddress)}`,
    limit: VERIFY_LIMIT,
    whose: "address",
  });

/** Counts one code that a person has typed, whatever address it comes from. @throws {ApiError} 429 */
export const limitUserCodes = (env: Env, personId: string): Promise<void> =>
  charge({ binding: env.RATE_VERIFY, key: `device:${personId}`, limit: VERIFY_LIMIT, whose: "person" });

/** Counts one request of an IPv4 address or an IPv6 /64, on routes that anyone may call. @throws {ApiError} 429 */
export const limitAddress = (env: Env, ipAddress: string): Promise<void> =>
  charge({ binding: env.RATE_ADDRESS, key: clientNetwork(ipAddress), limit: ADDRESS_LIMIT, whose: "address" });

/**
 * Counts one refresh of a session, before the database is asked. The session is known from a refresh token's MAC, or for a token of the
 * former format is its hash. @throws {ApiError} 429
 */
export const limitSession = (env: Env, sessionId: string): Promise<void> =>
  charge({ binding: env.RATE_FREE, key: `refresh:${sessionId}`, limit: TIER_LIMITS.free, whose: "session" });

/** Counts one verification with an API key. Only who has the key can reach its limit. @throws {ApiError} 429 */
export const limitKey = (env: Env, keyHash: string): Promise<void> =>
  charge({ binding: env.RATE_FREE, key: `verify:${keyHash}`, limit: TIER_LIMITS.free, whose: "key" });

/** Counts one failed verification of an agent, whatever address it comes from. @throws {ApiError} 429 */
export const limitFailedVerifications = (env: Env, agentId: string): Promise<void> =>
  charge({ binding: env.RATE_VERIFY, key: agentId.slice(0, 64), limit: VERIFY_LIMIT, whose: "agent" });

interface Charge {
  readonly binding: RateLimit;
  readonly key: string;
  /** The binding's limit, for the error. */
  readonly limit: number;
  readonly whose: string;
}

async function charge({ binding, key, limit, whose }: Charge): Promise<void> {
  const counter = counterOf(limit, key);
  if (await isWithinLimit(binding, key)) refusedSince.delete(counter);
  else throw rateLimitExceeded(limit, whose, null, counter);
}

/** Counts one request. @throws {ApiError} 503 if it cannot be counted: no request is accepted without its checks. */
async function isWithinLimit(binding: RateLimit, key: string): Promise<boolean> {
  try {
    return (await binding.limit({ key })).success;
  } catch (cause) {
    const message = "Whether a rate limit is reached cannot be found out now. Try again.";
    throw unavailable("limit_unknown", message, cause);
  }
}

function agentLimitExceeded(env: Env, agent: LimitedAgent): ApiError {
  const { limit, tier } = agentLimit(env, agent);
  return rateLimitExceeded(limit, tier ? `${tier} tier` : "agent", tier, counterOf(limit, agent.id));
}

/** The name of a count. Each limit is a binding of its own. */
const counterOf = (limit: number, key: string): string => `${limit} ${key}`;

/** When this isolate saw the first refusal of a count that has refused everything since, in milliseconds. */
const refusedSince = new BoundedCache<number>(1_000_000, () => 8);

const PERIOD_MS = RATE_LIMIT_PERIOD_SECONDS * 1000;

/** The seconds to wait: a period, less what has passed since the first refusal. The binding does not say when its period began. */
function secondsLeft(counter: string): number {
  const now = Date.now();
  const since = refusedSince.get(counter);
  if (since !== undefined && now >= since && now - since < PERIOD_MS) {
    return Math.max(1, Math.ceil((PERIOD_MS - (now - since)) / 1000));
  }
  refusedSince.set(counter, now);
  return RATE_LIMIT_PERIOD_SECONDS;
}

function rateLimitExceeded(limit: number, whose: string, tier: Tier | null, counter: string): ApiError {
  const seconds = secondsLeft(counter);
  const message = `The limit of ${limit} requests a minute for this ${whose} is used up. Wait ${seconds} ${seconds === 1 ? "second" : "seconds"}.`;
  return new ApiError("rate_limited", message, {
    extra: { tier, limit, retry_after: seconds },
    headers: {
      "Retry-After": String(seconds),
      "RateLimit-Policy": `"${tier ?? whose}";q=${limit};w=${RATE_LIMIT_PERIOD_SECONDS}`,
    },
  });
}
