import type { Agent } from "../agents/agent.ts";
import { issueAccessToken, type AccessTokenSettings, type IssuedBasis } from "./access-token.ts";
import type { Catalogue } from "../permissions/catalogue.ts";
import { toAuthorizationDetails, tokenGrantsOf } from "./authorization-details.ts";
import type { RequestedDetails } from "./requested-details.ts";
import type { IssuedToken, TokenPair } from "./records.ts";

/** What tokens are issued for. Times are milliseconds. */
export interface Issued {
  readonly agent: Pick<Agent, "id" | "tier" | "grants">;
  /** The permissions that the session is limited to; null for all that the agent has. */
  readonly scope: readonly string[] | null;
  /** What the client has asked for by `authorization_details`, and may have. Absent: it has not. */
  readonly details?: RequestedDetails | undefined;
  readonly basis: IssuedBasis;
  readonly version: number;
  /** Null: there was no proof by key. */
  readonly authTime: number | null;
  /** The resources that the access token is for, as URLs. Null or absent: every endpoint of this deployment. */
  readonly resources?: readonly string[] | null | undefined;
  /** The thumbprint of the key that the access token is bound to (RFC 9449 §6.1). Null or absent: none. */
  readonly boundTo?: string | null | undefined;
  /** Seconds that the access token lives at most; null for no limit of its own. */
  readonly tokenTtl: number | null;
  /** When the database was read, by its clock. */
  readonly readAt: number;
  /** The time by this Worker's clock. */
  readonly now: number;
}

/**
 * Issues an access token. It lives no longer than the first of the grants in it.
 *
 * Of the two clocks, the earlier one says when the access token was issued: a library of another clock refuses a token from its
 * future, and nothing depends on the second, because the version says what a revocation ends.
 */
export async function issueToken(
  { agent, scope, details, basis, version, authTime, resources, boundTo, tokenTtl, readAt, now }: Issued,
  settings: AccessTokenSettings,
  catalogue: Catalogue,
): Promise<IssuedToken> {
  const { endsAt, ...grants } = tokenGrantsOf(agent.grants, scope, catalogue, readAt, details);
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
      basis: { ...basis, version },
      authTime: authTime === null ? undefined : Math.floor(authTime / 1000),
      resources,
      boundTo,
      issuedAt,
      ttl,
    },
    settings,
  );
  return {
    accessToken,
    expiresIn: ttl,
    scope: grants.scope,
    details: toAuthorizationDetails(grants),
    boundTo: boundTo ?? null,
  };
}

/** Issues an access token beside a refresh token. */
export const issueTokens = async (
  issued: Issued,
  refreshToken: string,
  settings: AccessTokenSettings,
  catalogue: Catalogue,
): Promise<TokenPair> => ({ ...(await issueToken(issued, settings, catalogue)), refreshToken });
