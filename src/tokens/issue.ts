import type { Agent } from "../agents/agent.ts";
import type { TokenBasis } from "../authority/token-row.ts";
import { issueAccessToken, type AccessTokenSettings } from "./access-token.ts";
import type { Catalogue } from "../permissions/catalogue.ts";
import { tokenGrantsOf } from "./authorization-details.ts";
import type { TokenPair } from "./records.ts";

/** What a pair of tokens is issued for. Times are milliseconds. */
export interface Issued {
  readonly agent: Pick<Agent, "id" | "tier" | "grants">;
  /** The permissions that the session is limited to; null for all that the agent has. */
  readonly scope: readonly string[] | null;
  readonly basis: TokenBasis;
  readonly version: number;
  readonly authTime: number;
  /** Seconds that the access token lives at most; null for no limit of its own. */
  readonly tokenTtl: number | null;
  /** When the database was read, by its clock. */
  readonly readAt: number;
  /** The time by this Worker's clock. */
  readonly now: number;
}

/**
 * Issues an access token beside a refresh token. It lives no longer than the first of the grants in it.
 *
 * Of the two clocks, the earlier one says when the access token was issued: a library of another clock refuses a token from its
 * future, and nothing depends on the second, because the version says what a revocation ends.
 */
export async function issueTokens(
  { agent, scope, basis, version, authTime, tokenTtl, readAt, now }: Issued,
  refreshToken: string,
  settings: AccessTokenSettings,
  catalogue: Catalogue,
): Promise<TokenPair> {
  const { endsAt, ...grants } = tokenGrantsOf(agent.grants, scope, catalogue, readAt);
  const issuedAt = Math.floor(Math.min(readAt, now) / 1000);
  const ttl = Math.min(
    tokenTtl ?? settings.accessTokenTtl,
    settings.accessTokenTtl,
    endsAt === null ? Infinity : Math.floor(endsAt / 1000) - issuedAt,
  );
  const accessToken = await issueAccessToken(
    {
      agentId: agent.id,
      tier: agent.tier,
      grants,
      basis,
      version,
      authTime: Math.floor(authTime / 1000),
      issuedAt,
      ttl,
    },
    settings,
  );
  return { accessToken, refreshToken, expiresIn: ttl };
}
