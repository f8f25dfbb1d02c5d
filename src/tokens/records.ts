import type { Agent } from "../agents/agent.ts";

/** The agent and the session of a token, as the database has them. */
export interface TokenStatusRecord {
  readonly agent: Agent;
  readonly sessionEnded: boolean;
}

/** A refresh token with its session and agent, as a refresh reads them before its first write. Times are milliseconds. */
export interface RefreshRecord {
  readonly agent: Agent;
  readonly sessionId: string;
  readonly sessionExpiresAt: number;
  readonly sessionRevokedAt: number | null;
  /** Seconds. */
  readonly sessionIssuedAt: number;
  readonly tokenExpiresAt: number;
  /** When the token was exchanged for its successor, or null. */
  readonly usedAt: number | null;
  /** The time by the database's clock at which the token was read. */
  readonly now: number;
  /** What the transaction wrote: it exchanged the token, revoked the session for reuse, or wrote nothing. */
  readonly step: "rotated" | "reused" | "none";
}

/** The tokens that a client gets (RFC 6749 §5.1). */
export interface TokenPair {
  readonly accessToken: string;
  readonly refreshToken: string;
  /** Seconds. */
  readonly expiresIn: number;
}
