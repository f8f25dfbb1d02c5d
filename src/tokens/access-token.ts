import { jwtVerify, SignJWT, type JWTPayload } from "jose";
import { JOSEError, JWKSNoMatchingKey, JWTExpired } from "jose/errors";
import type { SigningKey } from "../config/config.ts";
import { randomBase62 } from "../crypto/random.ts";
import { ALGORITHM, signingKey, verificationKey } from "./keys.ts";

/** What an access token says (RFC 9068 §2.2). Times are seconds. */
export interface AccessClaims {
  readonly sub: string;
  readonly iat: number;
  readonly exp: number;
  readonly jti: string;
  /** The session: the refresh family the token was issued in. */
  readonly sid: string;
  readonly scope: readonly string[];
}

export interface AccessTokenSettings {
  readonly issuer: string;
  readonly audience: string;
  readonly accessTokenTtl: number;
  readonly signingKeys: readonly SigningKey[];
}

/** The longest token that is looked at: fifty of the longest permissions and the other claims fit. */
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
 * The one spelling of a token in compact serialization (RFC 7515 §3.1): base64url without padding, and without bits behind
 * the last byte of an ES256 signature (RFC 4648 §3.5), which decoders ignore. Header and payload are signed as they are spelt.
 */
const COMPACT_JWS = /^[\w-]+\.[\w-]+\.[\w-]{85}[AQgw]$/;

const MAX_REMEMBERED = 5000;
/** The claims of tokens, by their text, and what each was verified against. */
const claimsCache = new Map<string, { claims: AccessClaims; settings: AccessTokenSettings }>();

/** A token that is not to be trusted. `expired` is only said of one whose signature is ours. */
export type TokenFault = "invalid_token" | "token_expired";

/**
 * The claims of an access token, or why it is not one.
 *
 * A token that was verified is remembered by the isolate until it expires, so that the signature costs once. It answers for
 * the keys, issuer and audience that it was verified against, and for no others. Times are judged anew on every call.
 *
 * A text has one spelling, but ECDSA has two signatures for one text: (r, s) and (r, n − s), and WebCrypto makes either. Both
 * are accepted. Whoever has a token can make its twin and gains nothing: the twin has the same claims, and so the same session,
 * expiry, limits and revocation; it costs one verification and one entry of the memory.
 */
export async function verifyAccessToken(
  token: string,
  settings: AccessTokenSettings,
  nowMs: number,
): Promise<AccessClaims | TokenFault> {
  const known = claimsCache.get(token);
  if (known && isSameVerifier(known.settings, settings)) {
    if (known.claims.exp * 1000 > nowMs) return known.claims;
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
      // Only the configured keys: what a header embeds or points at (jwk, jku, x5u) is never looked at (RFC 8725 §3.10).
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
  // The library checks that times are numbers and leaves the rest as it came.
  if (iat === undefined || exp === undefined || !sub || !jti) return undefined;
  if ([sub, jti, sid, scope].some((claim) => typeof claim !== "string")) return undefined;
  return { sub, iat, exp, jti, sid: sid as string, scope: (scope as string).split(" ").filter(Boolean) };
}

function cacheClaims(token: string, claims: AccessClaims, settings: AccessTokenSettings): void {
  // The oldest entry goes first: a Map keeps the order of insertion.
  if (claimsCache.size >= MAX_REMEMBERED) claimsCache.delete(claimsCache.keys().next().value!);
  claimsCache.set(token, { claims, settings });
}
