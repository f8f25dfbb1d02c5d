import type { AccessClaims } from "../access-token.ts";

const agentKey = (agentId: string) => `below:${agentId}`;
const sessionKey = (sessionId: string) => `ended:${sessionId}`;

/** Whether KV says that a token is revoked. That it does not say so proves nothing. */
export async function isRevokedInCache(
  revocations: KVNamespace,
  { sub, ver, basis }: Pick<AccessClaims, "sub" | "ver" | "basis">,
): Promise<boolean> {
  const [below, ended] = await Promise.all([
    revocations.get(agentKey(sub)),
    basis.sessionId === undefined ? null : revocations.get(sessionKey(basis.sessionId)),
  ]);
  return ended !== null || ver < Number(below ?? 0);
}

/** The shortest time to live that KV accepts, in seconds. */
const MIN_KV_TTL = 60;

/** An entry lives as long as the last access token that it revokes. */
const lifetime = (accessTokenTtl: number) => ({ expirationTtl: Math.max(accessTokenTtl, MIN_KV_TTL) });

/** @param version tokens of an older one are revoked. @param accessTokenTtl seconds. */
export function putAgentRevocation(
  revocations: KVNamespace,
  agentId: string,
  version: number,
  accessTokenTtl: number,
): Promise<void> {
  return revocations.put(agentKey(agentId), String(version), lifetime(accessTokenTtl));
}

/** @param accessTokenTtl seconds. */
export function putSessionEnd(revocations: KVNamespace, sessionId: string, accessTokenTtl: number): Promise<void> {
  return revocations.put(sessionKey(sessionId), "1", lifetime(accessTokenTtl));
}
