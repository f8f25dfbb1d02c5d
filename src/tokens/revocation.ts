import type { Authority } from "../authority/authority.ts";
import { logFailure } from "../log/failure-log.ts";
import { putAgentRevocation, putSessionRevocation } from "./store/revocations.ts";
import { endTokens } from "./store/sessions.ts";

/**
 * Ends every token and session of the caller. When this returns, every check that asks the database refuses them; caches follow, see
 * {@link cacheAgentRevocation}.
 *
 * @returns the second before which the agent's tokens are revoked, or undefined if there is no such agent.
 * @throws {AuthorityLostError} if the caller's own token was revoked meanwhile.
 */
export async function revokeTokens(db: D1Database, by: Authority): Promise<number | undefined> {
  return endTokens(db, by);
}

/** KV only makes a revocation known sooner: if it cannot be written, the database still refuses. */
async function logFailedCacheWrite(writing: Promise<void>, key: string): Promise<void> {
  try {
    await writing;
  } catch (cause) {
    logFailure("edge_not_told", cause, { of: key });
  }
}

type RevocationCache = { readonly revocations: KVNamespace; readonly accessTokenTtl: number };

/** Writes to KV that an agent's tokens from before a second are revoked. Never rejects, so that `waitUntil` can take it. */
export function cacheAgentRevocation(
  { revocations, accessTokenTtl }: RevocationCache,
  agentId: string,
  notBefore: number,
) {
  return logFailedCacheWrite(putAgentRevocation(revocations, agentId, notBefore, accessTokenTtl), agentId);
}

/** Writes to KV that a session's tokens from before a second are revoked. Never rejects, so that `waitUntil` can take it. */
export function cacheSessionRevocation(
  { revocations, accessTokenTtl }: RevocationCache,
  sessionId: string,
  notBefore: number,
) {
  return logFailedCacheWrite(putSessionRevocation(revocations, sessionId, notBefore, accessTokenTtl), sessionId);
}
