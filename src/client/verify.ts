import { createRemoteJWKSet, errors, jwtVerify, type JWTVerifyGetKey } from "jose";
import { AuthenticationError, ConnectionError } from "./errors.ts";
import type { Tier } from "./wire.ts";

export interface VerifyOptions {
  /** The deployment's `ISSUER`, for example `https://agentauth.example.com`. */
  readonly issuer: string;
  /** The deployment's `AUDIENCE`; its issuer unless it is said. */
  readonly audience?: string | undefined;
  /** Where the public keys are; `/.well-known/jwks.json` of the issuer unless it is said. */
  readonly jwksUri?: string | undefined;
  /** Seconds that two clocks may differ; 5. */
  readonly clockTolerance?: number | undefined;
}

export { isGranted } from "./permissions.ts";
/** @deprecated The former name of `isGranted`. */
export { isGranted as reaches } from "./permissions.ts";

/** What a token says (RFC 9068 §2.2). Times are seconds. */
export interface AccessTokenClaims {
  readonly iss: string;
  readonly sub: string;
  readonly aud: string | readonly string[];
  readonly iat: number;
  readonly exp: number;
  readonly jti: string;
  readonly client_id: string;
  readonly scope: string;
  readonly tier: Tier;
  readonly [claim: string]: unknown;
}

/** The agent that an access token speaks for. */
export interface VerifiedAgent {
  readonly agentId: string;
  /** What it was granted when the token was signed. */
  readonly permissions: readonly string[];
  readonly tier: Tier;
  readonly claims: AccessTokenClaims;
}

const keySets = new Map<string, JWTVerifyGetKey>();

/**
 * The agent of an access token (RFC 9068), judged offline over the deployment's published keys, which are fetched when they
 * are needed and kept. What happened since the token was signed, a revocation for instance, it cannot know: that is what the
 * token's short life is for.
 *
 * @throws {AuthenticationError} `token_expired`; `invalid_token`, with a message that says which check it fails.
 * @throws {ConnectionError} `jwks_unavailable`: the keys could not be fetched.
 * @throws {TypeError} where `issuer` or `jwksUri` is not a URL.
 */
export async function verifyAccessToken(
  token: string,
  { issuer, audience = issuer, jwksUri = keysOf(issuer), clockTolerance = 5 }: VerifyOptions,
): Promise<VerifiedAgent> {
  let keys = keySets.get(jwksUri);
  if (!keys) keySets.set(jwksUri, (keys = createRemoteJWKSet(new URL(jwksUri))));
  try {
    const { payload } = await jwtVerify(token, keys, {
      issuer,
      audience,
      algorithms: ["ES256"],
      typ: "at+jwt",
      clockTolerance,
      requiredClaims: ["sub", "exp", "iat", "jti", "client_id", "scope"],
    });
    const { sub, jti, scope, tier } = payload;
    if (typeof sub !== "string" || !sub || !jti || typeof scope !== "string") {
      throw refusal("invalid_token", "The access token lacks a claim.");
    }
    return {
      agentId: sub,
      permissions: scope.split(" ").filter(Boolean),
      tier: tier as Tier,
      claims: payload as unknown as AccessTokenClaims,
    };
  } catch (cause) {
    if (cause instanceof AuthenticationError) throw cause;
    if (cause instanceof errors.JWTExpired) throw refusal("token_expired", "The access token has expired.", cause);
    if (isUnavailable(cause)) {
      const message = `The keys at ${jwksUri} could not be fetched. Is issuer the deployment's ISSUER, or jwksUri needed?`;
      throw new ConnectionError({ status: 0, code: "jwks_unavailable", message }, { cause });
    }
    throw refusal("invalid_token", `The access token is not valid here: ${(cause as Error).message}.`, cause);
  }
}

const keysOf = (issuer: string): string => `${issuer.replace(/\/$/, "")}/.well-known/jwks.json`;

/** jose says of a token what is wrong with it; what is left has failed on the way to the keys. */
function isUnavailable(cause: unknown): boolean {
  if (cause instanceof errors.JWKSTimeout || cause instanceof errors.JWKSInvalid) return true;
  return !(cause instanceof errors.JOSEError) || cause.code === "ERR_JOSE_GENERIC";
}

const refusal = (code: string, message: string, cause?: unknown): AuthenticationError =>
  new AuthenticationError({ status: 401, code, message }, { cause });
