import type { Agent } from "../agents/agent.ts";
import type { AccessClaims } from "./access-token.ts";
import { readRevocation, readTokenStatus } from "./store.ts";

/** What is known of a token's agent and session. */
export interface TokenStatusRecord {
  readonly agent: Agent;
  readonly sessionEnded: boolean;
}

export type TokenStatus =
  | { readonly state: "good"; readonly agent: Agent }
  | { readonly state: "revoked" }
  /** Neither store could say: the caller is refused, not let through. */
  | { readonly state: "unknown"; readonly cause: unknown };

/** Whether a token still stands, given what the database says. */
export function evaluateTokenStatus(claims: AccessClaims, record: TokenStatusRecord | undefined): TokenStatus {
  if (!record || record.sessionEnded) return { state: "revoked" };
  if (record.agent.status !== "active" || claims.iat < record.agent.notBefore) return { state: "revoked" };
  return { state: "good", agent: record.agent };
}

const MAX_CACHED_STATUSES = 5000;
const statusCache = new Map<string, { record: TokenStatusRecord | undefined; readAt: number }>();

export interface TokenStatusQuery {
  readonly claims: AccessClaims;
  readonly now: number;
  /** How old a remembered answer may be, in milliseconds; 0 asks the database. */
  readonly maxAge: number;
}

/**
 * Where a token's agent stands.
 *
 * The isolate's own memory answers while it is fresh. Then KV and D1 are asked at once: a revocation found in KV ends it,
 * its absence proves nothing, D1 decides. If D1 does not answer, nobody passes.
 */
export async function getTokenStatus(
  stores: { db: D1Database; revocations: KVNamespace },
  { claims, now, maxAge }: TokenStatusQuery,
): Promise<TokenStatus> {
  const key = `${claims.sub} ${claims.sid}`;
  const known = statusCache.get(key);
  if (known && maxAge > 0 && now - known.readAt < maxAge && now >= known.readAt) {
    return evaluateTokenStatus(claims, known.record);
  }
  const [revocation, record] = await Promise.allSettled([
    maxAge > 0 ? readRevocation(stores.revocations, claims.sub, claims.sid) : undefined,
    readTokenStatus(stores.db, claims.sub, claims.sid),
  ]);
  if (revocation.status === "fulfilled" && revocation.value !== undefined && claims.iat < revocation.value) {
    statusCache.delete(key);
    return { state: "revoked" };
  }
  if (record.status === "rejected") return { state: "unknown", cause: record.reason };
  statusCache.delete(key);
  if (statusCache.size >= MAX_CACHED_STATUSES) statusCache.delete(statusCache.keys().next().value!);
  statusCache.set(key, { record: record.value, readAt: now });
  return evaluateTokenStatus(claims, record.value);
}
