import type { Agent } from "../agents/agent.ts";

/** A DPoP proof that is good for one request (RFC 9449). It may be used once. */
export interface Proof {
  /** The thumbprint of the key that has signed it (RFC 7638), which tokens are bound to. */
  readonly jkt: string;
  readonly jtiHash: string;
  /** Until when it would be accepted, in milliseconds. */
  readonly usedUntil: number;
}

/** An agent that a token depends on, and whether what its link stands on has not ended, as the database has them. */
export interface TokenStatusRecord {
  readonly agent: Agent;
  readonly linkStands: boolean;
  /** The networks that its key may be used from. Null: from everywhere that the agent may be used from. */
  readonly keyAllowedIps: readonly string[] | null;
  /** The key that its link goes back to. Null for a session of the former format. */
  readonly keyId: string | null;
}

/** A session with its agent, as a refresh reads it before its first write. Times are milliseconds. */
export interface SessionRecord {
  readonly agent: Agent;
  readonly id: string;
  /** The agent's token version under which it was opened. */
  readonly version: number;
  /** Of the refresh token that is valid. */
  readonly generation: number;
  readonly hash: string;
  readonly pepperId: string;
  readonly previousHash: string | null;
  readonly previousPepperId: string | null;
  /** Whether the present generation replaced the one before at a time that the database's clock has reached. */
  readonly wasRotated: boolean;
  /** The same of the one before. */
  readonly wasPreviouslyRotated: boolean;
  /** When its refresh token expires. */
  readonly expiresAt: number;
  readonly absoluteExpiresAt: number;
  readonly authTime: number;
  /** The permissions that its tokens are limited to; null for those of the agent. */
  readonly scope: readonly string[] | null;
  /** Seconds that its access tokens live; null for `ACCESS_TOKEN_TTL_SECONDS`. */
  readonly tokenTtl: number | null;
  readonly endedAt: number | null;
  /** The thumbprint of the key that its tokens are bound to; null for none. */
  readonly boundTo: string | null;
  /** Whether the agent and the key that opened the session may be used from the address of the request. */
  readonly isAllowed: boolean;
  /** The time by the database's clock at which it was read. */
  readonly now: number;
  /** What the transaction wrote: it replaced the refresh token, ended the session for reuse, or wrote nothing. */
  readonly step: "rotated" | "reused" | "none";
}

/** A refused proof has a record of its own, or is added to the count of its minute. */
export interface RecordedRefusal {
  readonly hasNewRecord: boolean;
}

/** An access token as a client gets it (RFC 6749 §5.1). */
export interface IssuedToken {
  readonly accessToken: string;
  /** Seconds. */
  readonly expiresIn: number;
  /** The permissions that it gives without limits. */
  readonly scope: readonly string[];
  /** Those that it gives with limits or an end, as the token has them (RFC 9396 §7). Undefined for none. */
  readonly details: readonly object[] | undefined;
  /** The thumbprint of the key that it is bound to; null for none. */
  readonly boundTo: string | null;
}

export interface TokenPair extends IssuedToken {
  readonly refreshToken: string;
}

/** A session that can still be refreshed. Times are milliseconds. */
export interface Session {
  readonly id: string;
  /** The key that opened it; null for a session of the former format. */
  readonly keyId: string | null;
  readonly createdAt: number;
  readonly lastRefreshedAt: number;
  /** When it ends unless it is refreshed. */
  readonly expiresAt: number;
  /** The address that opened it; empty if it is not known. */
  readonly ipAddress: string;
  /** The permissions that its tokens are limited to; null for those of the agent. */
  readonly scope: readonly string[] | null;
  /** The thumbprint of the key that its tokens are bound to; null for none. */
  readonly boundTo: string | null;
}
