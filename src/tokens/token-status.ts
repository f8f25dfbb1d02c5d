import type { TokenLink } from "../authority/token-row.ts";
import { BoundedCache } from "../memory/bounded-cache.ts";
import type { AccessClaims } from "./access-token.ts";
import type { TokenStatusRecord } from "./records.ts";
import { isRevokedInCache } from "./store/revocations.ts";
import { readTokenStatus } from "./store/sessions.ts";

export type TokenStatus =
  /** `records`: of each agent that it depends on, in the order of its links. */
  | { readonly state: "good"; readonly records: readonly [TokenStatusRecord, ...TokenStatusRecord[]] }
  | { readonly state: "revoked" }
  /** The database did not answer, and KV has no revocation: the caller is refused. */
  | { readonly state: "unknown"; readonly cause: unknown };

/**
 * Returns the status of a token with these links and these records of the database (RFC 7662 §2.2: `active`). Does not check `exp`. Each
 * agent has to be active, and what each link stands on has to be there still.
 *
 * A token that is not bound to a key is none of an agent whose tokens must be (RFC 9449 §5.2), whenever it was issued.
 *
 * A token above the agent's version was issued before the database was restored from a backup. Nobody knows what was revoked
 * meanwhile, so it is refused.
 */
export function evaluateTokenStatus(
  { links, boundTo }: { readonly links: readonly Pick<TokenLink, "version">[]; readonly boundTo: string | null },
  records: StatusRecords,
): TokenStatus {
  const isGood = links.every(({ version }, at) => {
    const record = records[at];
    return record?.linkStands && record.agent.status === "active" && version === record.agent.tokenVersion;
  });
  return isGood && records.length > 0 && !lacksBinding({ boundTo }, records)
    ? { state: "good", records: records as readonly [TokenStatusRecord, ...TokenStatusRecord[]] }
    : { state: "revoked" };
}

/** What the database has about each link of a token. */
type StatusRecords = readonly (TokenStatusRecord | undefined)[];

/** Whether a token is bound to no key, although those of one of its agents must be. */
const lacksBinding = ({ boundTo }: Pick<AccessClaims, "boundTo">, records: StatusRecords): boolean =>
  boundTo === null && records.some((record) => record?.agent.requiresDpop === true);

interface CachedStatus {
  readonly records: StatusRecords;
  readonly readAt: number;
}

/** What the database said about the agents that a token depends on, and what it stands on. */
const statusCache = new BoundedCache<CachedStatus>(8_000_000, ({ records }) =>
  records.reduce(
    (bytes, record) => bytes + (record ? 800 + JSON.stringify([record.agent, record.keyAllowedIps]).length * 2 : 0),
    0,
  ),
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
export const isKnownRevoked = ({ digest }: Pick<AccessClaims, "digest">): boolean => revokedTokens.get(digest) === true;

/** A token without a session can be revoked by itself, so what is cached is about this token only. So is it about a whole chain. */
const keyOf = ({ links }: AccessClaims): string => links.map(keyOfLink).join(" ");

const keyOfLink = ({ agentId, basis, exchanged }: TokenLink): string =>
  `${agentId} ${basis.sessionId ?? `${basis.keyId} ${basis.tokenId}`}${exchanged === undefined ? "" : ` ${exchanged}`}`;

/** A record of the cache that is fresh, unless the token is of a newer version than it. */
function readCached({ claims, now, maxAge }: TokenStatusQuery): CachedStatus | undefined {
  const cached = maxAge > 0 ? statusCache.get(keyOf(claims)) : undefined;
  if (!cached || now < cached.readAt || now - cached.readAt >= maxAge) return undefined;
  return isNewer(claims, cached.records) ? undefined : cached;
}

/** Whether a token is good by a cached record, so that nobody has to be asked. */
export const isStatusCached = (query: TokenStatusQuery): boolean => {
  const cached = readCached(query);
  return (
    cached !== undefined &&
    !isKnownRevoked(query.claims) &&
    evaluateTokenStatus(query.claims, cached.records).state === "good"
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
  if (cached) return remember(claims, cached.records);
  type Answer = { records: StatusRecords } | { cause: unknown } | "revoked";
  const reading: Promise<Answer> = readTokenStatus(stores.db, claims.links).then(
    (records) => ({ records }),
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
  statusCache.set(key, { records: first.records, readAt: now });
  return remember(claims, first.records);
}

/** Whether a token is of a newer version of one of its agents than the records. */
const isNewer = ({ links }: AccessClaims, records: StatusRecords): boolean =>
  links.some(({ version }, at) => version > (records[at]?.agent.tokenVersion ?? Infinity));

/** The status of a token by records of the database. A revocation is remembered. */
function remember(claims: AccessClaims, records: StatusRecords): TokenStatus {
  const status = evaluateTokenStatus(claims, records);
  // A token that is newer than the database may be good again once the database is restored in full, and one that is not bound once its
  // agent's need not be.
  const isFinal = !isNewer(claims, records) && !lacksBinding(claims, records);
  if (status.state === "revoked" && isFinal) revokedTokens.set(claims.digest, true);
  return status;
}
