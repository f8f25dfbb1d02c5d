import type { Authority } from "../authority/authority.ts";
import { logFailure } from "../log/failure-log.ts";
import { endTokens, putAgentRevocation, putSessionRevocation } from "./store.ts";

/**
 * Ends every token and session that the caller has. In force with the return of this call wherever the database is asked;
 * KV is told beside, by `tellEdge…`.
 *
 * @returns the second before which the agent's tokens are over, or undefined if there is no such agent.
 * @throws {ApiError} 401 if the caller's own token has ended meanwhile.
 */
export async function revokeTokens(db: D1Database, by: Authority): Promise<number | undefined> {
  return endTokens(db, by);
}

/** The edge's record only hastens a refusal: if it cannot be written, the database still says no. */
async function logFailedCacheWrite(writing: Promise<void>, key: string): Promise<void> {
  try {
    await writing;
  } catch (cause) {
    logFailure("edge_not_told", cause, { of: key });
  }
}

type RevocationCache = { readonly revocations: KVNamespace; readonly accessTokenTtl: number };

/** Tells KV that an agent's tokens of before a second are over. Meant for `waitUntil`: never rejects. */
export function cacheAgentRevocation(
  { revocations, accessTokenTtl }: RevocationCache,
  agentId: string,
  notBefore: number,
) {
  return logFailedCacheWrite(putAgentRevocation(revocations, agentId, notBefore, accessTokenTtl), agentId);
}

/** Tells KV that a session is over, and its tokens of before a second with it. Meant for `waitUntil`: never rejects. */
export function cacheSessionRevocation(
  { revocations, accessTokenTtl }: RevocationCache,
  sessionId: string,
  notBefore: number,
) {
  return logFailedCacheWrite(putSessionRevocation(revocations, sessionId, notBefore, accessTokenTtl), sessionId);
}
