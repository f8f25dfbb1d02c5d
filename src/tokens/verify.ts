import type { Agent } from "../agents/agent.ts";
import type { Config } from "../config/config.ts";
import { randomBase62 } from "../crypto/random.ts";
import { issueAccessToken, type AccessTokenSettings } from "./access-token.ts";
import { deriveSuccessor, newRefreshToken } from "./refresh-token.ts";
import type { TokenPair } from "./records.ts";
import { openSession } from "./store/sessions.ts";

/**
 * Exchanges an API key for the first tokens of a new session. One D1 round trip.
 *
 * @returns undefined for an unknown agent, a wrong key or an agent that is not active, each after the same work.
 */
export async function verifyAgent(
  db: D1Database,
  attempt: { agentId: string; keyHash: string; ipAddress: string; now: number },
  config: Config,
  settings: AccessTokenSettings,
): Promise<{ agent: Agent; tokens: TokenPair } | undefined> {
  const { agentId, keyHash, ipAddress, now } = attempt;
  const refreshToken = newRefreshToken();
  const { hash: refreshTokenHash } = await deriveSuccessor(refreshToken, config.pepper);
  const sessionId = `fam_${randomBase62(24)}`;
  const session = await openSession(db, {
    agentId,
    keyHash,
    sessionId,
    refreshTokenHash,
    now,
    sessionLifeMs: config.refreshFamilyTtl * 1000,
    tokenLifeMs: config.refreshTokenTtl * 1000,
    ipAddress,
  });
  if (!session) return undefined;
  const accessToken = await issueAccessToken(session.agent, sessionId, session.issuedAt, settings);
  return { agent: session.agent, tokens: { accessToken, refreshToken, expiresIn: settings.accessTokenTtl } };
}
