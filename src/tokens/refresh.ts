import type { Config } from "../config/config.ts";
import { issueAccessToken, type AccessTokenSettings } from "./access-token.ts";
import type { RefreshRecord, TokenPair } from "./records.ts";
import { readRefreshTokenOwner, rotate, type RefreshTokenOwner } from "./store/refresh.ts";

export type RefreshOutcome =
  /** First use: the token is marked as used, and its successor is valid. */
  | { readonly outcome: "rotated"; readonly record: RefreshRecord }
  /** Used again within the grace: the response has the same successor, so that a client that lost the first response keeps its session. */
  | { readonly outcome: "replayed"; readonly record: RefreshRecord }
  /** Used again after the grace: two clients have the token, so the session is revoked for both (RFC 9700 §4.14.2). */
  | { readonly outcome: "reused"; readonly record: RefreshRecord }
  | { readonly outcome: "expired"; readonly record: RefreshRecord }
  /** The session was revoked, or the agent is not active. */
  | { readonly outcome: "ended"; readonly record: RefreshRecord }
  | { readonly outcome: "unknown" };

/**
 * Returns the outcome of a refresh. If the transaction rotated the token or revoked its session, that is the outcome. If it wrote
 * nothing, the record that it read shows why.
 */
export function decideRefresh(record: RefreshRecord | undefined): RefreshOutcome {
  if (!record) return { outcome: "unknown" };
  const { agent, sessionRevokedAt, sessionIssuedAt, sessionExpiresAt, usedAt, now, step } = record;
  if (step !== "none") return { outcome: step, record };
  if (sessionRevokedAt !== null || agent.status !== "active" || sessionIssuedAt < agent.notBefore) {
    return { outcome: "ended", record };
  }
  return { outcome: usedAt === null || sessionExpiresAt <= now ? "expired" : "replayed", record };
}

export type RefreshResult =
  | { readonly outcome: "rotated" | "replayed"; readonly record: RefreshRecord; readonly tokens: TokenPair }
  | Exclude<RefreshOutcome, { outcome: "rotated" | "replayed" }>;

/** Finds the agent and the session of a refresh token by the token's hash. One D1 round trip. */
export const findRefreshTokenOwner = (db: D1Database, hash: string): Promise<RefreshTokenOwner | undefined> =>
  readRefreshTokenOwner(db, hash);

export interface RefreshAttempt {
  /** The hash of the token. */
  readonly hash: string;
  readonly successor: string;
  readonly successorHash: string;
  readonly owner: RefreshTokenOwner;
  readonly ipAddress: string;
  /** Milliseconds, for the event only. */
  readonly now: number;
}

/** Exchanges a refresh token for the next pair of tokens (RFC 6749 §6). One D1 round trip. */
export async function refresh(
  db: D1Database,
  { hash, successor, successorHash, owner, ipAddress, now }: RefreshAttempt,
  config: Config,
  settings: AccessTokenSettings,
): Promise<RefreshResult> {
  const record = await rotate(db, {
    hash,
    successorHash,
    now,
    successorLifeMs: config.refreshTokenTtl * 1000,
    graceMs: config.refreshGrace * 1000,
    owner,
    ipAddress,
  });
  const decision = decideRefresh(record);
  if (decision.outcome !== "rotated" && decision.outcome !== "replayed") return decision;
  const { agent, sessionId, now: readAt } = decision.record;
  // A revocation within this second sets `notBefore` to the next second. A token that is issued before that would be revoked.
  const issuedAt = Math.max(Math.floor(readAt / 1000), agent.notBefore);
  const accessToken = await issueAccessToken(agent, sessionId, issuedAt, settings);
  return { ...decision, tokens: { accessToken, refreshToken: successor, expiresIn: settings.accessTokenTtl } };
}
