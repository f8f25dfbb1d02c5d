import type { Authority } from "../authority/authority.ts";
import { nameOfActor, newEntry, type RecordOrigin } from "../outbox/record.ts";
import { logFailure } from "../log/failure-log.ts";
import { putAgentRevocation, putEnd, readRevocationStore } from "./store/revocations.ts";
import { endTokens } from "./store/sessions.ts";

/**
 * Revokes every token and session of an agent, and leaves its keys. When this returns, every check that reads the database refuses
 * them. The caller then calls {@link cacheAgentRevocation}.
 *
 * @returns the agent's new token version, or undefined if there is no such agent.
 * @throws {AuthorityLostError} if the caller's own token was revoked meanwhile.
 */
export async function revokeTokens(
  db: D1Database,
  agentId: string,
  { by, origin, now }: { by: Authority; origin: RecordOrigin; now: number },
): Promise<number | undefined> {
  const message = `all tokens revoked${by.agentId === agentId ? "" : ` by ${nameOfActor(origin)}`}`;
  return endTokens(db, agentId, { by, record: newEntry("token.revoked", now, origin, { agentId, message }) });
}

/** Logs a failed write to KV and does not throw: KV only makes a revocation known sooner, and the database refuses the token anyway. */
async function logFailedCacheWrite(writing: Promise<void>, key: string): Promise<void> {
  try {
    await writing;
  } catch (cause) {
    logFailure("revocation_not_cached", cause, { of: key });
  }
}

type RevocationCache = { readonly revocations: KVNamespace; readonly accessTokenTtl: number };

/** Writes to KV that an agent's tokens of older versions are revoked. Never rejects, because it runs in `waitUntil`. */
export function cacheAgentRevocation(
  { revocations, accessTokenTtl }: RevocationCache,
  agentId: string,
  tokenVersion: number,
) {
  return logFailedCacheWrite(putAgentRevocation(revocations, agentId, tokenVersion, accessTokenTtl), agentId);
}

/**
 * Writes to KV that a session has ended, and its tokens with it, or a token without a session. Never rejects, because it runs in
 * `waitUntil`.
 *
 * @param id of the session, or the `jti` of the token.
 */
export function cacheSessionEnd({ revocations, accessTokenTtl }: RevocationCache, id: string) {
  return logFailedCacheWrite(putEnd(revocations, id, accessTokenTtl), id);
}

/** Checks that KV answers. @throws {Error} if it does not. */
export const checkRevocationStore = (revocations: KVNamespace): Promise<void> => readRevocationStore(revocations);
