import type { Config } from "../config/config.ts";
import type { AccessTokenSettings } from "./access-token.ts";
import { issueTokens } from "./issue.ts";
import type { TokenPair } from "./records.ts";
import { deriveForward, issueForSession, refreshRecords, type RefreshAttempt, type RefreshResult } from "./refresh.ts";
import { deriveFormerSuccessor, nextRefreshToken } from "./refresh-token.ts";
import { convert, readFormerToken, type FormerRecord } from "./store/former-sessions.ts";

/**
 * Exchanges a refresh token of the former format: its session is converted, and the response has its first token of the present format.
 * Two D1 round trips. This goes once no such token can be alive, `REFRESH_FAMILY_TTL_SECONDS` after the last Worker of that version.
 */
export async function refreshFormer(
  db: D1Database,
  text: string,
  attempt: RefreshAttempt,
  config: Config,
  settings: AccessTokenSettings,
): Promise<RefreshResult> {
  const { ipAddress, now } = attempt;
  const { peppers } = config;
  const derived = await Promise.all(peppers.map((pepper) => deriveFormerSuccessor(text, pepper)));
  const owner = await readFormerToken(
    db,
    derived.map(({ hash }) => hash),
  );
  if (!owner) return { outcome: "unknown" };
  const { agentId, sessionId, hash } = owner;
  const generation0 = { sessionId, generation: 0, text };
  const successor = await nextRefreshToken(generation0, peppers[0]);
  const record = await convert(db, {
    ...owner,
    successor,
    successorLifeMs: config.refreshTokenTtl * 1000,
    graceMs: config.refreshGrace * 1000,
    ipAddress,
    now,
    records: refreshRecords(attempt, sessionId),
  });
  if (!record) return { outcome: "unknown" };
  if (record.step === "reused") return { outcome: "reused", agentId, sessionId };
  if (!record.stands) return { outcome: "ended", agentId, sessionId };
  if (!record.isAllowed) return { outcome: "address_refused", agentId, sessionId };
  const { session, step, isGeneration0 } = record;
  if (session) {
    if (step === "converted") {
      const tokens = await issueForSession(session, successor.text, { now }, config, settings);
      return { outcome: "rotated", agentId, tokens };
    }
    const generations = session.generation === 1 ? 1 : 2;
    const valid = isGeneration0 ? await deriveForward(generation0, generations, session, peppers) : undefined;
    if (!valid) return { outcome: "unknown" };
    return {
      outcome: "replayed",
      agentId,
      tokens: await issueForSession(session, valid.text, { now }, config, settings),
    };
  }
  if (record.usedAt === null || record.expired) return { outcome: "expired", agentId, sessionId };
  // A Worker of the former version has rotated it a moment ago: the answer is its successor of the former format again.
  const { successor: formerSuccessor } = derived.find((one) => one.hash === hash)!;
  return {
    outcome: "replayed",
    agentId,
    tokens: await issueForFamily(record, sessionId, formerSuccessor, now, config, settings),
  };
}

function issueForFamily(
  { agent, openedAt, now: readAt }: FormerRecord,
  sessionId: string,
  refreshToken: string,
  now: number,
  { catalogue }: Config,
  settings: AccessTokenSettings,
): Promise<TokenPair> {
  const version = agent.tokenVersion;
  return issueTokens(
    { agent, scope: null, basis: { sessionId }, version, authTime: openedAt, tokenTtl: null, readAt, now },
    refreshToken,
    settings,
    catalogue,
  );
}
