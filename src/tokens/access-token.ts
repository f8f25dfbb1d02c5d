import { jwtVerify, SignJWT, type JWTPayload } from "jose";
import { JOSEError, JWKSNoMatchingKey, JWTExpired } from "jose/errors";
import type { SigningKey } from "../config/config.ts";
import { randomBase62 } from "../crypto/random.ts";
import { ALGORITHM, signingKey, verificationKey } from "./keys.ts";

/** The claims of an access token (RFC 9068 §2.2). Times are seconds. */
export interface AccessClaims {
  readonly sub: string;
  readonly iat: number;
  readonly exp: number;
  readonly jti: string;
  /** The id of the session in which the token was issued. */
  readonly sid: string;
  readonly scope: readonly string[];
}

export interface AccessTokenSettings {
  readonly issuer: string;
  readonly audience: string;
  readonly accessTokenTtl: number;
  readonly signingKeys: readonly SigningKey[];
}

/** The longest token that is verified, in characters. The fifty longest permissions and the other claims fit into it. */
const MAX_TOKEN_LENGTH = 8192;

/** Signs an access token as a JWT of RFC 9068. `issuedAt` is in seconds. */
export async function issueAccessToken(
  agent: { id: string; permissions: readonly string[]; tier: string },
  sessionId: string,
  issuedAt: number,
  settings: AccessTokenSettings,
): Promise<string> {
  const { kid, key } = signingKey(settings.signingKeys);
  return new SignJWT({ client_id: agent.id, scope: agent.permissions.join(" "), tier: agent.tier, sid: sessionId })
    .setProtectedHeader({ alg: ALGORITHM, typ: "at+jwt", kid })
    .setIssuer(settings.issuer)
    .setSubject(agent.id)
    .setAudience(settings.audience)
    .setIssuedAt(issuedAt)
    .setExpirationTime(issuedAt + settings.accessTokenTtl)
    .setJti(randomBase62(22))
    .sign(await key);
}

/**
 * The form of a token in compact serialization (RFC 7515 §3.1), which allows one spelling of a signature only: base64url without
 * padding, and without set bits after the last byte of an ES256 signature (RFC 4648 §3.5), which decoders ignore. The header and
 * the payload need no such check, because their text is what is signed.
 */
const COMPACT_JWS = /^[\w-]+\.[\w-]+\.[\w-]{85}[AQgw]$/;

const MAX_CACHED_CLAIMS = 5000;
/** The claims of verified tokens by the token's text, with the settings that each was verified against. */
const claimsCache = new Map<string, { claims: AccessClaims; settings: AccessTokenSettings }>();

/** Why a token is refused. `token_expired` is returned only for a token that this service signed. */
export type TokenFault = "invalid_token" | "token_expired";

/**
 * Verifies an access token (RFC 9068 §4).
 *
 * The isolate caches the claims of a verified token until it expires, so that the signature is verified once. An entry is used only
 * with the same keys, issuer and audience. The expiry is checked on every call.
 *
 * ECDSA has two valid signatures for one text, (r, s) and (r, n − s), and WebCrypto makes either, so both are accepted. The holder of
 * a token can compute the other one but gains nothing: it has the same claims, and so the same session, expiry, limits and
 * revocation. It costs one verification and one entry of the cache.
 *
 * @returns the claims, or why the token is refused.
 */
export async function verifyAccessToken(
  token: string,
  settings: AccessTokenSettings,
  nowMs: number,
): Promise<AccessClaims | TokenFault> {
  const cached = claimsCache.get(token);
  if (cached && isSameVerifier(cached.settings, settings)) {
    if (cached.claims.exp * 1000 > nowMs) return cached.claims;
    claimsCache.delete(token);
    return "token_expired";
  }
  if (token.length > MAX_TOKEN_LENGTH || !COMPACT_JWS.test(token)) return "invalid_token";
  const claims = await verify(token, settings, nowMs);
  if (typeof claims === "object") cacheClaims(token, claims, settings);
  return claims;
}

const isSameVerifier = (one: AccessTokenSettings, other: AccessTokenSettings): boolean =>
  one.signingKeys === other.signingKeys && one.issuer === other.issuer && one.audience === other.audience;

async function verify(token: string, settings: AccessTokenSettings, nowMs: number): Promise<AccessClaims | TokenFault> {
  try {
    const { payload } = await jwtVerify(
      token,
      // Only the configured keys are used. Keys that a header contains or refers to (jwk, jku, x5u) are ignored (RFC 8725 §3.10).
      async ({ kid }) => {
        const key = verificationKey(settings.signingKeys, kid);
        if (!key) throw new JWKSNoMatchingKey();
        return key;
      },
      {
        algorithms: [ALGORITHM],
        typ: "at+jwt",
        issuer: settings.issuer,
        audience: settings.audience,
        requiredClaims: ["sub", "iat", "exp", "jti", "sid", "scope"],
        currentDate: new Date(nowMs),
      },
    );
    return toClaims(payload) ?? "invalid_token";
  } catch (error) {
    if (error instanceof JWTExpired) return "token_expired";
    if (error instanceof JOSEError || error instanceof TypeError) return "invalid_token";
    throw error;
  }
}

function toClaims({ sub, iat, exp, jti, sid, scope }: JWTPayload): AccessClaims | undefined {
  // The library checks that the times are numbers, but not the types of the other claims.
  if (iat === undefined || exp === undefined || !sub || !jti) return undefined;
  if ([sub, jti, sid, scope].some((claim) => typeof claim !== "string")) return undefined;
  return { sub, iat, exp, jti, sid: sid as string, scope: (scope as string).split(" ").filter(Boolean) };
}

function cacheClaims(token: string, claims: AccessClaims, settings: AccessTokenSettings): void {
  // Evicts the oldest entry: a Map keeps the order of insertion.
  if (claimsCache.size >= MAX_CACHED_CLAIMS) claimsCache.delete(claimsCache.keys().next().value!);
  claimsCache.set(token, { claims, settings });
}
