import type { Agent, Status } from "../agents/agent.ts";
import type { Config } from "../config/config.ts";
import { randomBase62 } from "../crypto/random.ts";
import { newEntry, type RecordOrigin } from "../outbox/record.ts";
import { validatePermissions } from "../agents/grants.ts";
import type { AccessTokenSettings } from "./access-token.ts";
import { issueTokens } from "./issue.ts";
import { firstRefreshToken } from "./refresh-token.ts";
import type { Proof, RecordedRefusal, TokenPair } from "./records.ts";
import { toScopePermissions } from "./scope-row.ts";
import { openSession } from "./store/sessions.ts";

/** What a client may ask for: less than the agent has, and a shorter time. */
export interface TokenLimits {
  /** Permissions; undefined for those of the agent. */
  readonly scope: readonly string[] | undefined;
  /** Seconds; undefined for `ACCESS_TOKEN_TTL_SECONDS`. */
  readonly expiresIn: number | undefined;
}

/** What of the limits no agent can have, each with the reason. */
export function validateLimits(
  { scope = [], expiresIn = 1 }: TokenLimits,
  { catalogue, accessTokenTtl }: Config,
): { field: string; message: string }[] {
  const faults = validatePermissions(scope, catalogue).map(({ permission, message }) => ({
    field: "scope",
    message: `${permission}: ${message}`,
  }));
  if (expiresIn > accessTokenTtl) {
    faults.push({ field: "expires_in", message: `is longer than ${accessTokenTtl} seconds, which tokens live here` });
  }
  return faults;
}

export interface VerifyAttempt extends TokenLimits {
  readonly agentId: string;
  readonly apiKey: string;
  /** The proof of the key that the tokens are to be bound to; null for none. It is used up by who has the API key. */
  readonly proof: Proof | null;
  /** The key's hash under each key of `SECRET_PEPPER`, in their order. */
  readonly keyHashes: readonly string[];
  readonly ipAddress: string;
  readonly origin: RecordOrigin;
  /** Milliseconds. */
  readonly now: number;
}

export type VerifyResult =
  | { readonly result: "verified"; readonly agent: Agent; readonly tokens: TokenPair }
  /** An unknown agent or a wrong key, after the same work. */
  | ({ readonly result: "refused" } & RecordedRefusal)
  /** The key is right, and it or its agent may not be used from this address. No session was opened. */
  | ({ readonly result: "address_refused" } & RecordedRefusal)
  /** The key is right, and the agent is not active, after the same work. */
  | ({ readonly result: "not_active"; readonly status: Exclude<Status, "active"> } & RecordedRefusal)
  /** The agent's tokens must be bound to a key, and the request proves to have none. No session was opened. */
  | { readonly result: "proof_required" }
  /** The proof was used before. No session was opened. */
  | { readonly result: "proof_used" }
  /** The agent does not have everything that the scope names. No session was opened. */
  | { readonly result: "exceeds_agent"; readonly agent: Agent };

/** Exchanges an API key for the first tokens of a new session. One D1 round trip. */
export async function verifyAgent(
  db: D1Database,
  { agentId, apiKey, keyHashes, proof, scope, expiresIn, ipAddress, origin, now }: VerifyAttempt,
  config: Config,
  settings: AccessTokenSettings,
): Promise<VerifyResult> {
  const [pepper] = config.peppers;
  const token = await firstRefreshToken(`ses_${randomBase62(24)}`, pepper);
  const unique = scope && [...new Set(scope)];
  const boundTo = proof?.jkt ?? null;
  const opened = await openSession(db, {
    agentId,
    keyHashes,
    pepperId: pepper.id,
    keyHint: apiKey.slice(-4),
    token,
    scope: unique && toScopePermissions(unique, config.catalogue),
    tokenTtl: expiresIn,
    now,
    sessionLifeMs: config.refreshFamilyTtl * 1000,
    tokenLifeMs: config.refreshTokenTtl * 1000,
    proof,
    maxSessions: config.sessionsPerAgent,
    ipAddress,
    records: {
      issued: newEntry("token.issued", now, origin, {
        agentId,
        sessionId: token.sessionId,
        after: { scope: unique ?? null, expires_in: expiresIn ?? config.accessTokenTtl },
        message: "verified",
      }),
      capped: newEntry("session.limit_reached", now, origin, {
        agentId,
        after: { limit: config.sessionsPerAgent },
        message: `more than ${config.sessionsPerAgent} sessions: the least recently used can be refreshed no more`,
      }),
      refused: newEntry("token.refused", now, origin, { outcome: "denied", message: "verification failed" }),
    },
  });
  if (opened === "proof_used") return { result: "proof_used" };
  const { found, hasNewRecord } = opened;
  if (!found) return { result: "refused", hasNewRecord };
  const { agent, isAllowed, openedAt } = found;
  if (!isAllowed) return { result: "address_refused", hasNewRecord };
  if (agent.status !== "active") return { result: "not_active", status: agent.status, hasNewRecord };
  if (boundTo === null && agent.requiresDpop) return { result: "proof_required" };
  if (openedAt === null) return { result: "exceeds_agent", agent };
  const tokens = await issueTokens(
    {
      agent,
      scope: unique ?? null,
      basis: { sessionId: token.sessionId },
      version: agent.tokenVersion,
      authTime: openedAt,
      boundTo,
      tokenTtl: expiresIn ?? null,
      readAt: openedAt,
      now,
    },
    token.text,
    settings,
    config.catalogue,
  );
  return { result: "verified", agent, tokens };
}
