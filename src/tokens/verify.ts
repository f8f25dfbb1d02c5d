import type { Agent } from "../agents/agent.ts";
import type { Config } from "../config/config.ts";
import { randomBase62 } from "../crypto/random.ts";
import { issueAccessToken, type AccessTokenSettings } from "./access-token.ts";
import { deriveSuccessor, newRefreshToken } from "./refresh-token.ts";
import { openSession } from "./store.ts";

export interface TokenPair {
  readonly accessToken: string;
  readonly refreshToken: string;
  /** Seconds. */
  readonly expiresIn: number;
}

/**
 * Exchanges an API key for a session's first tokens, or gives nothing: for an unknown agent, a wrong key and an agent
 * that is not active alike, after the same work. One D1 round trip.
 */
export async function verifyAgent(
  db: D1Database,
  attempt: { agentId: string; keyHash: string; ipAddress: string; now: number },
  config: Config,
  settings: AccessTokenSettings,
): Promise<{ agent: Agent; tokens: TokenPair } | undefined> {
  const { agentId, keyHash, ipAddress, now } = attempt;
  const refreshToken = newRefreshToken();
  const { hash: refreshHash } = await deriveSuccessor(refreshToken, config.pepper);
  const familyId = `fam_${randomBase62(24)}`;
  const session = await openSession(db, {
    agentId,
    keyHash,
    familyId,
    refreshHash,
    now,
    familyLifeMs: config.refreshFamilyTtl * 1000,
    tokenLifeMs: config.refreshTokenTtl * 1000,
    ipAddress,
  });
  if (!session) return undefined;
  const accessToken = await issueAccessToken(session.agent, familyId, session.issuedAt, settings);
  return { agent: session.agent, tokens: { accessToken, refreshToken, expiresIn: settings.accessTokenTtl } };
}
