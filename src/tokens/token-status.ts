import type { Agent } from "../agents/agent.ts";
import { BoundedCache } from "../memory/bounded-cache.ts";
import type { AccessClaims } from "./access-token.ts";
import type { TokenStatusRecord } from "./records.ts";
import { isRevokedInCache } from "./store/revocations.ts";
import { readTokenStatus } from "./store/sessions.ts";

export type TokenStatus =
  /**
   * `keyAllowedIps`: the networks that its key may be used from. Null: all. Those of the agent have to hold as well. `keyId`: the key that
   * it goes back to. Null for a session of the former format.
   */
  | ({ readonly state: "good"; readonly agent: Agent } & Pick<TokenStatusRecord, "keyAllowedIps" | "keyId">)
  | { readonly state: "revoked" }
  /** The database did not answer, and KV has no revocation: the caller is refused. */
  | { readonly state: "unknown"; readonly cause: unknown };

/**
 * Returns the status of a token with these claims and this record of the database (RFC 7662 §2.2: `active`). Does not check `exp`.
 *
 * A token that is not bound to a key is none of an agent whose tokens must be (RFC 9449 §5.2), whenever it was issued.
 *
 * A token above the agent's version was issued before the database was restored from a backup. Nobody knows what was revoked
 * meanwhile, so it is refused.
 */
export function evaluateTokenStatus(
  { ver, boundTo }: Pick<AccessClaims, "ver" | "boundTo">,
  record: TokenStatusRecord | undefined,
): TokenStatus {
  if (!record?.basisStands || record.agent.status !== "active" || ver !== record.agent.tokenVersion) {
    return { state: "revoked" };
  }
  if (lacksBinding({ boundTo }, record)) return { state: "revoked" };
  const { agent, keyAllowedIps, keyId } = record;
  return { state: "good", agent, keyAllowedIps, keyId };
}

/** Whether a token is bound to no key, although its agent's must be. */
const lacksBinding = ({ boundTo }: Pick<AccessClaims, "boundTo">, record: TokenStatusRecord | undefined): boolean =>
  boundTo === null && record?.agent.requiresDpop === true;

interface CachedStatus {
  readonly record: TokenStatusRecord | undefined;
  readonly readAt: number;
}

/** What the database said about an agent and what a token of it stands on. */
const statusCache = new BoundedCache<CachedStatus>(8_000_000, ({ record }) =>
  record ? 800 + JSON.stringify([record.agent, record.keyAllowedIps]).length * 2 : 0,
);

/** The tokens that the database said are revoked, by their digests. What is revoked stays revoked. */
const revokedTokens = new BoundedCache<true>(2_000_000, () => 8);

/** How long an answer waits for KV once the database has failed, in milliseconds. */
const KV_PATIENCE_MS = 100;

export interface TokenStatusQuery {
  readonly claims: AccessClaims;
  readonly now: number;
  /** How old a cached record may be, in milliseconds. With 0 the database is read every time, and KV is not. */
  readonly maxAge: number;
}

/** Whether the isolate remembers that the database said of a token that it is revoked. Reads no store. */
const isKnownRevoked = ({ digest }: Pick<AccessClaims, "digest">): boolean => revokedTokens.get(digest) === true;

/** A token without a session can be revoked by itself, so what is cached is about this token only. */
const keyOf = ({ sub, basis }: AccessClaims): string =>
  `${sub} ${basis.sessionId ?? `${basis.keyId} ${basis.tokenId}`}`;

/** A record of the cache that is fresh, unless the token is of a newer version than it. */
function readCached({ claims, now, maxAge }: TokenStatusQuery): CachedStatus | undefined {
  const cached = maxAge > 0 ? statusCache.get(keyOf(claims)) : undefined;
  if (!cached || now < cached.readAt || now - cached.readAt >= maxAge) return undefined;
  return isNewer(claims, cached.record) ? undefined : cached;
}

/** Whether a token is good by a cached record, so that nobody has to be asked. */
export const isStatusCached = (query: TokenStatusQuery): boolean => {
  const cached = readCached(query);
  return (
    cached !== undefined &&
    !isKnownRevoked(query.claims) &&
    evaluateTokenStatus(query.claims, cached.record).state === "good"
  );
};

/**
 * Returns the status of a token.
 *
 * A record in the isolate's cache is used while it is fresh, unless the token is of a newer version than the record. Otherwise KV and
 * D1 are read at the same time. A revocation in KV is an answer if it comes first. The absence of one proves nothing, and D1 decides
 * without waiting for KV. If D1 fails, the state is `unknown` and nothing is cached.
 */
export async function getTokenStatus(
  stores: { db: D1Database; revocations: KVNamespace },
  { claims, now, maxAge }: TokenStatusQuery,
): Promise<TokenStatus> {
  if (isKnownRevoked(claims)) return { state: "revoked" };
  const key = keyOf(claims);
  const cached = readCached({ claims, now, maxAge });
  if (cached) return remember(claims, cached.record);
  type Answer = { record: TokenStatusRecord | undefined } | { cause: unknown } | "revoked";
  const reading: Promise<Answer> = readTokenStatus(stores.db, claims).then(
    (record) => ({ record }),
    (cause: unknown) => ({ cause }),
  );
  const revoked = maxAge > 0 ? isRevokedInCache(stores.revocations, claims).catch(() => false) : Promise.resolve(false);
  const first = await Promise.race([reading, revoked.then((isRevoked) => (isRevoked ? "revoked" : reading))]);
  if (first === "revoked") {
    statusCache.delete(key);
    return { state: "revoked" };
  }
  if ("cause" in first) {
    const isRevoked = await Promise.race([revoked, scheduler.wait(KV_PATIENCE_MS).then(() => false)]);
    return isRevoked ? { state: "revoked" } : { state: "unknown", cause: first.cause };
  }
  statusCache.set(key, { record: first.record, readAt: now });
  return remember(claims, first.record);
}

/** Whether a token is of a newer version than a record. */
const isNewer = ({ ver }: AccessClaims, record: TokenStatusRecord | undefined): boolean =>
  record !== undefined && ver > record.agent.tokenVersion;

/** The status of a token by a record of the database. A revocation is remembered. */
function remember(claims: AccessClaims, record: TokenStatusRecord | undefined): TokenStatus {
  const status = evaluateTokenStatus(claims, record);
  // A token that is newer than the database may be good again once the database is restored in full, and one that is not bound once its
  // agent's need not be.
  const isFinal = !isNewer(claims, record) && !lacksBinding(claims, record);
  if (status.state === "revoked" && isFinal) revokedTokens.set(claims.digest, true);
  return status;
}
