import type { TokenLink } from "../../authority/token-row.ts";
import type { AccessClaims } from "../access-token.ts";

const agentKey = (agentId: string) => `below:${agentId}`;
/** @param id of a session, or the `jti` of a token without one. */
const endKey = (id: string) => `ended:${id}`;

/** Whether KV says that a token is revoked. That it does not say so proves nothing. */
export async function isRevokedInCache(
  revocations: KVNamespace,
  { links }: Pick<AccessClaims, "links">,
): Promise<boolean> {
  const found = await Promise.all(links.map((link) => isLinkEnded(revocations, link)));
  return found.includes(true);
}

async function isLinkEnded(
  revocations: KVNamespace,
  { agentId, version, basis, exchanged }: TokenLink,
): Promise<boolean> {
  const proof = basis.sessionId ?? basis.tokenId;
  const ids = exchanged === undefined || exchanged === proof ? [proof] : [proof, exchanged];
  const [below, ...ended] = await Promise.all([
    revocations.get(agentKey(agentId)),
    ...ids.map((id) => revocations.get(endKey(id))),
  ]);
  return ended.some((one) => one !== null) || version < Number(below ?? 0);
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
