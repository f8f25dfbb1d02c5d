import type { AccessClaims } from "../access-token.ts";

const agentKey = (agentId: string) => `below:${agentId}`;
/** @param id of a session, or the `jti` of a token without one. */
const endKey = (id: string) => `ended:${id}`;

/** Whether KV says that a token is revoked. That it does not say so proves nothing. */
export async function isRevokedInCache(
  revocations: KVNamespace,
  { sub, ver, basis }: Pick<AccessClaims, "sub" | "ver" | "basis">,
): Promise<boolean> {
  const [below, ended] = await Promise.all([
    revocations.get(agentKey(sub)),
    revocations.get(endKey(basis.sessionId ?? basis.tokenId)),
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

/** @param id of a session, or the `jti` of a token without one. @param accessTokenTtl seconds. */
export function putEnd(revocations: KVNamespace, id: string, accessTokenTtl: number): Promise<void> {
  return revocations.put(endKey(id), "1", lifetime(accessTokenTtl));
}

/** Asks KV for something. @throws {Error} if it does not answer. */
export async function readRevocationStore(revocations: KVNamespace): Promise<void> {
  await revocations.get(agentKey("health"));
}
