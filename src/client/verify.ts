import { createRemoteJWKSet, errors, jwtVerify, type JWTPayload, type JWTVerifyGetKey } from "jose";
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

/** The agent that an access token speaks for. */
export interface VerifiedAgent {
  readonly agentId: string;
  /** What it was granted when the token was signed. */
  readonly permissions: readonly string[];
  readonly tier: Tier;
  readonly claims: JWTPayload;
}

const keySets = new Map<string, JWTVerifyGetKey>();

/**
 * The agent of an access token (RFC 9068), judged offline over the deployment's published keys, which are fetched when they
 * are needed and kept. What happened since the token was signed, a revocation for instance, it cannot know: that is what the
 * token's short life is for.
 *
 * @throws {AuthenticationError} `invalid_token`, `token_expired`.
 * @throws {ConnectionError} `jwks_unavailable`: the keys could not be fetched.
 */
export async function verifyAccessToken(
  token: string,
  { issuer, audience = issuer, jwksUri = `${issuer}/.well-known/jwks.json`, clockTolerance = 5 }: VerifyOptions,
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
    return { agentId: sub, permissions: scope.split(" ").filter(Boolean), tier: tier as Tier, claims: payload };
  } catch (cause) {
    if (cause instanceof AuthenticationError) throw cause;
    if (cause instanceof errors.JWTExpired) throw refusal("token_expired", "The access token has expired.", cause);
    if (isUnavailable(cause)) {
      const message = `The keys at ${jwksUri} could not be fetched.`;
      throw new ConnectionError({ status: 0, code: "jwks_unavailable", message }, { cause });
    }
    throw refusal("invalid_token", "The access token is not valid here.", cause);
  }
}

/** jose says of a token what is wrong with it; what is left has failed on the way to the keys. */
function isUnavailable(cause: unknown): boolean {
  if (cause instanceof errors.JWKSTimeout) return true;
  return !(cause instanceof errors.JOSEError) || cause.code === "ERR_JOSE_GENERIC";
}

const refusal = (code: string, message: string, cause?: unknown): AuthenticationError =>
  new AuthenticationError({ status: 401, code, message }, { cause });
