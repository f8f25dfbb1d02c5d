import type { Agent } from "../agents/agent.ts";
import type { Config } from "../config/config.ts";
import { issueAccessToken, type AccessTokenSettings } from "./access-token.ts";
import { rotate } from "./store.ts";
import type { TokenPair } from "./verify.ts";

/** A refresh token, its family and its agent as they stood just before a refresh. Times are milliseconds but where said. */
export interface RefreshRecord {
  readonly agent: Agent;
  readonly familyId: string;
  readonly familyExpiresAt: number;
  readonly familyRevokedAt: number | null;
  /** Seconds. */
  readonly familyIssuedAt: number;
  readonly tokenExpiresAt: number;
  readonly usedAt: number | null;
  /** The database's time at which the token was read. */
  readonly now: number;
  /** What the transaction wrote: the token was spent, or its session ended, or nothing. */
  readonly step: "rotated" | "reused" | "none";
}

export type RefreshOutcome =
  /** The first use: the token is spent and its successor in force. */
  | { readonly outcome: "rotated"; readonly record: RefreshRecord }
  /** Used again within the grace: the same successor once more, so that a lost answer costs nobody the session. */
  | { readonly outcome: "replayed"; readonly record: RefreshRecord }
  /** Used again after the grace: two hold the token, and the family ends for both (RFC 9700 §4.14.2). */
  | { readonly outcome: "reused"; readonly record: RefreshRecord }
  | { readonly outcome: "expired"; readonly record: RefreshRecord }
  /** The family or the agent was revoked, or the agent is not active. */
  | { readonly outcome: "ended"; readonly record: RefreshRecord }
  | { readonly outcome: "unknown" };

/**
 * What a refresh comes to. What the transaction wrote says whether the token was spent or its session ended; what it read says
 * why nothing was written.
 */
export function decideRefresh(record: RefreshRecord | undefined): RefreshOutcome {
  if (!record) return { outcome: "unknown" };
  const { agent, familyRevokedAt, familyIssuedAt, familyExpiresAt, usedAt, now, step } = record;
  if (step !== "none") return { outcome: step, record };
  if (familyRevokedAt !== null || agent.status !== "active" || familyIssuedAt < agent.notBefore) {
    return { outcome: "ended", record };
  }
  return { outcome: usedAt === null || familyExpiresAt <= now ? "expired" : "replayed", record };
}

export type RefreshResult =
  | { readonly outcome: "rotated" | "replayed"; readonly record: RefreshRecord; readonly tokens: TokenPair }
  | Exclude<RefreshOutcome, { outcome: "rotated" | "replayed" }>;

export interface RefreshAttempt {
  /** What is kept of the token. */
  readonly hash: string;
  readonly successor: string;
  readonly successorHash: string;
  /** Whose it is. */
  readonly agentId: string;
  readonly ipAddress: string;
  /** Milliseconds, for the event only. */
  readonly now: number;
}

/** Exchanges a refresh token for the next pair. One D1 round trip. */
export async function refresh(
  db: D1Database,
  { hash, successor, successorHash, agentId, ipAddress, now }: RefreshAttempt,
  config: Config,
  settings: AccessTokenSettings,
): Promise<RefreshResult> {
  const record = await rotate(db, {
    hash,
    successorHash,
    now,
    successorLifeMs: config.refreshTokenTtl * 1000,
    graceMs: config.refreshGrace * 1000,
    agentId,
    ipAddress,
  });
  const decided = decideRefresh(record);
  if (decided.outcome !== "rotated" && decided.outcome !== "replayed") return decided;
  const { agent, familyId, now: readAt } = decided.record;
  // After a revocation within this very second the agent's not-before is still to come: a token issued before it would be over.
  const issuedAt = Math.max(Math.floor(readAt / 1000), agent.notBefore);
  const accessToken = await issueAccessToken(agent, familyId, issuedAt, settings);
  return { ...decided, tokens: { accessToken, refreshToken: successor, expiresIn: settings.accessTokenTtl } };
}
