import type { Config } from "../config/config.ts";
import { newEntry, type AuditEntry, type RecordOrigin } from "../outbox/record.ts";
import { findPepper, type Peppers } from "../crypto/pepper.ts";
import { missingPermissions } from "../permissions/match.ts";
import type { AccessTokenSettings } from "./access-token.ts";
import { issueTokens } from "./issue.ts";
import type { SessionRecord, TokenPair } from "./records.ts";
import { nextRefreshToken, type RefreshToken } from "./refresh-token.ts";
import { beyondAgent } from "./scope.ts";
import { toScopePermissions } from "./scope-row.ts";
import { rotate } from "./store/refresh.ts";

export type RefreshOutcome =
  /** First use: the token is replaced by its successor. */
  | { readonly outcome: "rotated"; readonly record: SessionRecord }
  /**
   * Used again within the grace: the response has the valid token, which is one or two generations newer, so that a client that lost
   * responses keeps its session.
   */
  | { readonly outcome: "replayed"; readonly record: SessionRecord; readonly generations: 1 | 2 }
  /** Used again after the grace: two clients have the token, so the session is ended for both (RFC 9700 §4.14.2). */
  | { readonly outcome: "reused"; readonly record: SessionRecord }
  | { readonly outcome: "expired"; readonly record: SessionRecord }
  /** The session was ended, or the agent is not active. */
  | { readonly outcome: "ended"; readonly record: SessionRecord }
  /** The agent, or the key that opened the session, may not be used from this address. The token stays as it is. */
  | { readonly outcome: "address_refused"; readonly record: SessionRecord }
  /** The session is bound to a key, and the request does not prove to have it. The token stays as it is. */
  | { readonly outcome: "other_key"; readonly record: SessionRecord }
  /** Not known here, or of a generation that the database has not heard of. */
  | { readonly outcome: "unknown" };

/**
 * Returns the outcome of a refresh. If the transaction replaced the token or ended its session, that is the outcome. If it wrote
 * nothing, the record that it read shows why.
 */
export function decideRefresh(
  record: SessionRecord | undefined,
  { generation, hash }: Pick<RefreshToken, "generation" | "hash">,
  boundTo: string | null = null,
): RefreshOutcome {
  if (!record) return { outcome: "unknown" };
  const { agent, step } = record;
  if (step !== "none") return { outcome: step, record };
  if (record.endedAt !== null || agent.status !== "active" || record.version !== agent.tokenVersion) {
    return { outcome: "ended", record };
  }
  // Whoever has stolen its refresh token could bind it to a key of their own.
  if (record.boundTo === null && agent.requiresDpop) return { outcome: "ended", record };
  if (!record.isAllowed) return { outcome: "address_refused", record };
  if (record.boundTo !== null && record.boundTo !== boundTo) return { outcome: "other_key", record };
  if (Math.min(record.expiresAt, record.absoluteExpiresAt) <= record.now) return { outcome: "expired", record };
  const age = record.generation - generation;
  // The present token, alive a moment ago, was not replaced: it has expired since.
  if (age === 0 && hash === record.hash) return { outcome: "expired", record };
  // Anything older than the grace has ended the session: what is left is within it, or lies ahead of the database's clock.
  if (age === 1 && record.wasRotated && hash === record.previousHash)
    return { outcome: "replayed", record, generations: 1 };
  if (age === 2 && record.wasPreviouslyRotated) return { outcome: "replayed", record, generations: 2 };
  return { outcome: "unknown" };
}

/**
 * Derives the valid refresh token from one that is one or two generations older, under the peppers that it was made with.
 *
 * @returns undefined if a pepper is gone, or the session has another token of that generation: it was restored from a backup.
 */
export async function deriveForward(
  token: Pick<RefreshToken, "sessionId" | "generation" | "text">,
  generations: 1 | 2,
  { hash, pepperId, previousHash, previousPepperId }: SessionRecord,
  peppers: Peppers,
): Promise<RefreshToken | undefined> {
  const steps = [
    { id: previousPepperId, is: previousHash },
    { id: pepperId, is: hash },
  ].slice(-generations);
  let newest: RefreshToken | undefined;
  for (const { id, is } of steps) {
    const pepper = findPepper(peppers, id);
    newest = pepper && (await nextRefreshToken(newest ?? token, pepper));
    if (!newest || newest.hash !== is) return undefined;
  }
  return newest;
}

/**
 * The record of a refresh that was refused for another reason than reuse, which ends the session and is recorded with that.
 *
 * @param reason the end of a sentence.
 * @param now milliseconds.
 */
export const refusedRefresh = (agentId: string, reason: string, origin: RecordOrigin, now: number): AuditEntry =>
  newEntry("token.refused", now, origin, { agentId, outcome: "denied", message: `refresh refused: ${reason}` });

export type RefreshResult =
  | { readonly outcome: "rotated" | "replayed"; readonly agentId: string; readonly tokens: TokenPair }
  | {
      /** `exceeds_session`: the session or the agent does not have all of the scope. The token stays as it is. */
      readonly outcome: "reused" | "expired" | "ended" | "address_refused" | "other_key" | "exceeds_session";
      readonly agentId: string;
      readonly sessionId: string;
    }
  | { readonly outcome: "unknown" };

export interface RefreshAttempt {
  readonly ipAddress: string;
  /** The agent that has proved itself with the request: the session must be its own. Undefined: whoever has the token is the agent. */
  readonly agentId?: string;
  /** Permissions that the access token is limited to, within those of the session. */
  readonly scope?: readonly string[] | undefined;
  /** The resources that the access token is for, as URLs. */
  readonly resources?: readonly string[] | null | undefined;
  readonly origin: RecordOrigin;
  /** The thumbprint of the key that the request proves to have. Null or absent: none. */
  readonly boundTo?: string | null;
  /** Milliseconds. */
  readonly now: number;
}

/** The records of a refresh that replaces a token of a session, and of one that ends it. The agent and its key are read from the session. */
export const refreshRecords = (
  { origin, now }: RefreshAttempt,
  sessionId: string,
): { refreshed: AuditEntry; reused: AuditEntry } => ({
  refreshed: newEntry("token.refreshed", now, origin, { sessionId, message: "token refreshed" }),
  reused: newEntry("token.reuse_detected", now, origin, {
    sessionId,
    outcome: "denied",
    status: 401,
    message: "refresh token used again: the session was revoked",
  }),
});

/** Exchanges a refresh token for the next pair of tokens (RFC 6749 §6). One D1 round trip. */
export async function refresh(
  db: D1Database,
  token: RefreshToken,
  attempt: RefreshAttempt,
  config: Config,
  settings: AccessTokenSettings,
): Promise<RefreshResult> {
  const { ipAddress, now, agentId: clientId, scope, resources, boundTo = null } = attempt;
  const successor = await nextRefreshToken(token, config.peppers[0]);
  const record = await rotate(db, {
    token,
    successor,
    successorLifeMs: config.refreshTokenTtl * 1000,
    graceMs: config.refreshGrace * 1000,
    ipAddress,
    agentId: clientId,
    boundTo,
    scope: scope && toScopePermissions(scope, config.catalogue),
    now,
    records: refreshRecords(attempt, token.sessionId),
  });
  if (record && clientId !== undefined && record.agent.id !== clientId) return { outcome: "unknown" };
  const decision = decideRefresh(record, token, boundTo);
  if (decision.outcome === "unknown") return decision;
  const agentId = decision.record.agent.id;
  if (decision.outcome !== "ended" && decision.outcome !== "reused" && exceedsSession(decision.record, scope, config)) {
    return { outcome: "exceeds_session", agentId, sessionId: token.sessionId };
  }
  if (decision.outcome !== "rotated" && decision.outcome !== "replayed") {
    return { outcome: decision.outcome, agentId, sessionId: token.sessionId };
  }
  const valid =
    decision.outcome === "rotated"
      ? successor
      : await deriveForward(token, decision.generations, decision.record, config.peppers);
  if (!valid) return { outcome: "unknown" };
  const tokens = await issueForSession(
    decision.record,
    valid.text,
    { now, scope, resources, boundTo },
    config,
    settings,
  );
  return { outcome: decision.outcome, agentId, tokens };
}

/** Whether a scope is wider than a session that can be refreshed: the same that the transaction has checked before it wrote anything. */
function exceedsSession(
  { agent, scope: limit, expiresAt, absoluteExpiresAt, now }: SessionRecord,
  scope: readonly string[] | undefined,
  { catalogue }: Config,
): boolean {
  if (!scope || Math.min(expiresAt, absoluteExpiresAt) <= now) return false;
  if (limit && missingPermissions(scope, new Set(limit), catalogue).length > 0) return true;
  return beyondAgent(scope, agent, catalogue, now).length > 0;
}

/** The response to a refresh of a session: its access token has what the session and the agent have now, or the scope within it. */
export function issueForSession(
  record: SessionRecord,
  refreshToken: string,
  { now, scope, resources, boundTo }: Pick<RefreshAttempt, "now" | "scope" | "resources" | "boundTo">,
  config: Config,
  settings: AccessTokenSettings,
): Promise<TokenPair> {
  const { agent, id, version, authTime, tokenTtl, now: readAt } = record;
  return issueTokens(
    {
      agent,
      scope: scope ?? record.scope,
      basis: { sessionId: id },
      version,
      authTime,
      resources,
      boundTo,
      tokenTtl,
      readAt,
      now,
    },
    refreshToken,
    settings,
    config.catalogue,
  );
}
