const agentKey = (agentId: string) => `agent:${agentId}`;
const sessionKey = (sessionId: string) => `session:${sessionId}`;

/** Returns the second before which tokens of this agent or session are revoked, or undefined if KV has no entry. */
export async function readRevocation(
  revocations: KVNamespace,
  agentId: string,
  sessionId: string,
): Promise<number | undefined> {
  const [agent, session] = await Promise.all([
    revocations.get(agentKey(agentId)),
    revocations.get(sessionKey(sessionId)),
  ]);
  const seconds = Math.max(Number(agent ?? 0), Number(session ?? 0));
  return seconds > 0 ? seconds : undefined;
}

/** The shortest time to live that KV accepts, in seconds. */
const MIN_KV_TTL = 60;

/** An entry lives as long as the last access token that it revokes. */
const lifetime = (accessTokenTtl: number) => ({ expirationTtl: Math.max(accessTokenTtl, MIN_KV_TTL) });

/** @param notBefore seconds. @param accessTokenTtl seconds. */
export function putAgentRevocation(
  revocations: KVNamespace,
  agentId: string,
  notBefore: number,
  accessTokenTtl: number,
): Promise<void> {
  return revocations.put(agentKey(agentId), String(notBefore), lifetime(accessTokenTtl));
}

/** @param notBefore seconds. @param accessTokenTtl seconds. */
export function putSessionRevocation(
  revocations: KVNamespace,
  sessionId: string,
  notBefore: number,
  accessTokenTtl: number,
): Promise<void> {
  return revocations.put(sessionKey(sessionId), String(notBefore), lifetime(accessTokenTtl));
}
