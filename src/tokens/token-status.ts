import type { Agent } from "../agents/agent.ts";
import type { AccessClaims } from "./access-token.ts";
import type { TokenStatusRecord } from "./records.ts";
import { readRevocation } from "./store/revocations.ts";
import { readTokenStatus } from "./store/sessions.ts";

export type TokenStatus =
  | { readonly state: "good"; readonly agent: Agent }
  | { readonly state: "revoked" }
  /** The database did not answer, and KV has no revocation: the caller is refused. */
  | { readonly state: "unknown"; readonly cause: unknown };

/** Returns the status of a token with these claims and this record of the database (RFC 7662 §2.2: `active`). Does not check `exp`. */
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
  /** How old a cached record may be, in milliseconds. With 0 the database is read every time, and KV is not. */
  readonly maxAge: number;
}

/**
 * Returns the status of a token.
 *
 * A record in the isolate's cache is used while it is fresh. Otherwise KV and D1 are read at the same time. A revocation in KV is
 * final. The absence of one proves nothing, and D1 decides. If D1 does not answer, the state is `unknown` and nothing is cached.
 */
export async function getTokenStatus(
  stores: { db: D1Database; revocations: KVNamespace },
  { claims, now, maxAge }: TokenStatusQuery,
): Promise<TokenStatus> {
  const key = `${claims.sub} ${claims.sid}`;
  const cached = statusCache.get(key);
  if (cached && maxAge > 0 && now - cached.readAt < maxAge && now >= cached.readAt) {
    return evaluateTokenStatus(claims, cached.record);
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
