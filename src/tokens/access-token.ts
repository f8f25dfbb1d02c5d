import { jwtVerify, SignJWT, type JWTPayload } from "jose";
import { JOSEError, JWKSNoMatchingKey, JWTExpired } from "jose/errors";
import { issuerOfKeyId, type TokenBasis, type TokenLink } from "../authority/token-row.ts";
import type { TrustedIssuer } from "../config/trusted-issuers.ts";
import type { SigningKey } from "../config/config.ts";
import { digestKey } from "../crypto/digest.ts";
import { randomBase62 } from "../crypto/random.ts";
import { BoundedCache } from "../memory/bounded-cache.ts";
import type { GrantLimits } from "../permissions/grant.ts";
import {
  readAuthorizationDetails,
  toAuthorizationDetails,
  type GrantReference,
  type TokenGrants,
} from "./authorization-details.ts";
import { readDelegation, toDelegationClaims, type Delegation } from "./delegation.ts";
import { ALGORITHM, signingKey, verificationKey } from "./keys.ts";
import { hasLowS, withLowS } from "./signature.ts";

/** The claims of an access token (RFC 9068 §2.2). Times are seconds. */
export interface AccessClaims {
  /** The agent of the token. Of a delegated token, the agent that is acted for. */
  readonly sub: string;
  readonly iat: number;
  readonly exp: number;
  readonly jti: string;
  /**
   * What the token stands on: the session that `sid` names, or for a token without a refresh token the key that `key_id` names, and the
   * agent's token version `ver`, which is 1 in a token of the former format. Of a delegated token, first the agent that is acted for, and
   * last the present actor.
   */
  readonly links: readonly [TokenLink, ...TokenLink[]];
  /** Who acts for `sub`; null for a token of `sub` itself. */
  readonly delegation: Delegation | null;
  /** The client that has asked for the token. */
  readonly clientId: string;
  /** The agent that may exchange the token (RFC 8693 §4.4); null: any agent that it is given to. */
  readonly mayAct: string | null;
  /** The last proof by API key. Undefined in a token of the former format. */
  readonly authTime: number | undefined;
  /** The permissions that it gives without limits. */
  readonly scope: readonly string[];
  /** Those that it gives with limits or an end (`authorization_details`). */
  readonly details: readonly GrantLimits[];
  /** Grants that it has by their ids. */
  readonly reference: GrantReference | null;
  /** The resources that it may be sent to, as URLs, and to no others (RFC 8707). Null: every endpoint of this deployment. */
  readonly resources: readonly string[] | null;
  /** The thumbprint of the key that it is bound to (RFC 9449 §6.1); null for none. */
  readonly boundTo: string | null;
  /** The digest of the token's text, under which the isolate remembers what it knows about it. */
  readonly digest: string;
}

/** The link of the agent that sends the token: the agent of the token, or the one that acts for it. */
export const actorOf = ({ links }: Pick<AccessClaims, "links">): TokenLink => links.at(-1)!;

export interface AccessTokenSettings {
  readonly issuer: string;
  readonly audience: string;
  readonly accessTokenTtl: number;
  readonly signingKeys: readonly SigningKey[];
  readonly trustedIssuers: readonly TrustedIssuer[];
}

/** The longest token that is verified, in characters. The fifty longest permissions and the other claims fit into it. */
export const MAX_TOKEN_LENGTH = 8192;

/** What a token that is to be issued stands on. Its own id is made with it. */
export type IssuedBasis =
  | { readonly sessionId: string; readonly keyId?: undefined }
  | { readonly keyId: string; readonly sessionId?: undefined };

/** Who acts for the agent of a token that is to be issued, with the link of the present actor. */
interface IssuedDelegation extends Delegation {
  readonly own: TokenLink;
  /** The client that asks for the token. */
  readonly clientId: string;
}

/** What an access token says about its agent and its session. Times are seconds. */
export interface AccessGrant {
  readonly agentId: string;
  readonly tier: string;
  readonly grants: TokenGrants;
  /** What it stands on, and the agent's token version; or who acts for the agent. */
  readonly basis: (IssuedBasis & { readonly version: number }) | IssuedDelegation;
  /** Undefined if it is not known. */
  readonly authTime: number | undefined;
  /** The resources that the token is for, as URLs. Null: every endpoint of this deployment (`AUDIENCE`). */
  readonly resources?: readonly string[] | null | undefined;
  /** The thumbprint of the key that the token is bound to. */
  readonly boundTo?: string | null | undefined;
  /** Never in the future of whoever verifies the token: libraries refuse such a token. */
  readonly issuedAt: number;
  /** How long the token lives; `ACCESS_TOKEN_TTL_SECONDS` by default. */
  readonly ttl?: number | undefined;
}

/** Signs an access token as a JWT of RFC 9068. */
export async function issueAccessToken(grant: AccessGrant, settings: AccessTokenSettings): Promise<string> {
  const { agentId, tier, grants, basis, authTime, issuedAt, resources, boundTo } = grant;
  const { ttl = settings.accessTokenTtl } = grant;
  const { kid, key } = signingKey(settings.signingKeys);
  const details = toAuthorizationDetails(grants);
  const token = await new SignJWT({
    client_id: "actors" in basis ? basis.clientId : agentId,
    scope: grants.scope.join(" "),
    ...(details && { authorization_details: details }),
    tier,
    ...("actors" in basis ? toDelegationClaims(basis, basis.own) : toBasisClaims(basis)),
    ...(boundTo != null && { cnf: { jkt: boundTo } }),
    ...(authTime !== undefined && { auth_time: Math.min(authTime, issuedAt) }),
  })
    .setProtectedHeader({ alg: ALGORITHM, typ: "at+jwt", kid })
    .setIssuer(settings.issuer)
    .setSubject(agentId)
    .setAudience(audienceOf(resources, settings))
    .setIssuedAt(issuedAt)
    .setExpirationTime(issuedAt + ttl)
    .setJti(randomBase62(22))
    .sign(await key);
  return withLowS(token);
}

const toBasisClaims = ({ sessionId, keyId, version }: IssuedBasis & { readonly version: number }) =>
  keyId === undefined ? { sid: sessionId, ver: version } : { key_id: keyId, ver: version };

/** One audience is a text, several are a list (RFC 7519 §4.1.3). */
function audienceOf(resources: readonly string[] | null | undefined, { audience }: AccessTokenSettings) {
  if (!resources) return audience;
  return resources.length === 1 ? resources[0]! : [...resources];
}

/**
 * The form of a token in compact serialization (RFC 7515 §3.1), which allows one spelling of a signature only: base64url without
 * padding, and without set bits after the last byte of an ES256 signature (RFC 4648 §3.5), which decoders ignore. The header and
 * the payload need no such check, because their text is what is signed.
 */
const COMPACT_JWS = /^[\w-]+\.[\w-]+\.[\w-]{85}[AQgw]$/;

interface VerifiedToken {
  readonly claims: AccessClaims;
  /** That the token was verified against. */
  readonly settings: AccessTokenSettings;
}

/** The claims of verified tokens by the digest of the token's text. */
const claimsCache = new BoundedCache<VerifiedToken>(
  8_000_000,
  ({ claims: { scope, details, reference, links } }) =>
    200 +
    links.length * 200 +
    scope.reduce((bytes, permission) => bytes + 32 + permission.length * 2, 0) +
    (details.length > 0 || reference ? JSON.stringify([details, reference]).length * 4 : 0),
);

/** Why a token is refused. `token_expired` is returned only for a token that this service signed. */
export type TokenFault = "invalid_token" | "token_expired";

/**
 * Verifies an access token (RFC 9068 §4).
 *
 * The isolate caches the claims of a verified token until it expires, so that the signature is verified once. An entry is used only
 * with the same keys, issuer and audience. The expiry is checked on every call.
 *
 * ECDSA has two valid signatures for one text, (r, s) and (r, n − s), and whoever holds a token can compute the other one. Only the
 * low s is accepted, so that a token has one text. A token of the former format, which has no `ver`, may have either.
 *
 * @returns the claims, or why the token is refused.
 */
export async function verifyAccessToken(
  token: string,
  settings: AccessTokenSettings,
  nowMs: number,
): Promise<AccessClaims | TokenFault> {
  if (token.length > MAX_TOKEN_LENGTH || !COMPACT_JWS.test(token)) return "invalid_token";
  const digest = await digestKey(token);
  const cached = claimsCache.get(digest);
  if (cached && isSameVerifier(cached.settings, settings)) {
    if (cached.claims.exp * 1000 > nowMs) return cached.claims;
    claimsCache.delete(digest);
    return "token_expired";
  }
  const claims = await verify(token, digest, settings, nowMs);
  if (typeof claims === "object") claimsCache.set(digest, { claims, settings });
  return claims;
}

const isSameVerifier = (one: AccessTokenSettings, other: AccessTokenSettings): boolean =>
  one.signingKeys === other.signingKeys &&
  one.trustedIssuers === other.trustedIssuers &&
  one.issuer === other.issuer &&
  one.audience === other.audience;

async function verify(
  token: string,
  digest: string,
  settings: AccessTokenSettings,
  nowMs: number,
): Promise<AccessClaims | TokenFault> {
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
        requiredClaims: ["sub", "aud", "iat", "exp", "jti", "scope"],
        currentDate: new Date(nowMs),
      },
    );
    const claims = toClaims(payload, digest, settings);
    const isFormer = payload.ver === undefined && payload.chain === undefined;
    if (!claims || (!isFormer && !hasLowS(token))) return "invalid_token";
    return claims;
  } catch (error) {
    if (error instanceof JWTExpired) return "token_expired";
    if (error instanceof JOSEError || error instanceof TypeError) return "invalid_token";
    throw error;
  }
}

function toClaims(payload: JWTPayload, digest: string, settings: AccessTokenSettings): AccessClaims | undefined {
  const { sub, iat, exp, jti, scope, auth_time: authTime } = payload;
  // The library checks that the times are numbers, but not the types of the other claims.
  if (iat === undefined || exp === undefined || !sub || !jti) return undefined;
  if ([sub, jti, scope].some((claim) => typeof claim !== "string")) return undefined;
  const standing = toStanding(payload, jti);
  if (!standing?.links.every((link) => isStillTrusted(link, settings))) return undefined;
  const mayAct = toMayAct(payload.may_act);
  const resources = toResources(payload.aud, settings);
  const limited = readAuthorizationDetails(payload.authorization_details);
  const boundTo = toBinding(payload.cnf);
  if (!limited || !standing || mayAct === undefined || resources === undefined || boundTo === undefined)
    return undefined;
  if (authTime !== undefined && !isWholeNumber(authTime)) return undefined;
  // The grants of which agent would such a token name?
  if (standing.delegation && limited.reference) return undefined;
  return {
    sub,
    iat,
    exp,
    jti,
    ...standing,
    clientId: typeof payload.client_id === "string" ? payload.client_id : sub,
    mayAct,
    authTime: authTime as number | undefined,
    scope: (scope as string).split(" ").filter(Boolean),
    ...limited,
    resources,
    boundTo,
    digest,
  };
}

const isWholeNumber = (claim: unknown): boolean => Number.isSafeInteger(claim) && (claim as number) > 0;

/** What a token stands on, and who acts for its agent. */
function toStanding(payload: JWTPayload, jti: string): Pick<AccessClaims, "links" | "delegation"> | undefined {
  if (payload.act !== undefined || payload.chain !== undefined) {
    const read = readDelegation(payload, jti);
    if (!read) return undefined;
    const [first, ...others] = [...read.delegation.delegators, read.own];
    return { links: [first!, ...others], delegation: read.delegation };
  }
  // Only an absent claim is one of the former format.
  const { sub, ver = 1 } = payload;
  const basis = toBasis(payload, jti);
  if (!basis || !isWholeNumber(ver)) return undefined;
  return { links: [{ agentId: sub!, version: ver as number, basis }], delegation: null };
}

/** Whether an agent that has proved itself by a token of a trusted issuer could do so with the present configuration. */
function isStillTrusted({ agentId, basis }: TokenLink, { trustedIssuers }: AccessTokenSettings): boolean {
  const issuer = basis.keyId === undefined ? undefined : issuerOfKeyId(basis.keyId);
  if (issuer === undefined) return true;
  return trustedIssuers.some((one) => one.issuer === issuer && one.rules.some((rule) => rule.agentId === agentId));
}

/** Who may act for the agent of the token (RFC 8693 §4.4). A claim with anything but `sub` is none that can be checked here. */
function toMayAct(claim: unknown): string | null | undefined {
  if (claim === undefined) return null;
  const { sub, ...others } = (claim ?? {}) as Record<string, unknown>;
  return typeof sub === "string" && Object.keys(others).length === 0 ? sub : undefined;
}

/** A token stands on one thing: both claims, or none, is no token of ours. */
function toBasis({ sid, key_id: keyId }: JWTPayload, tokenId: string): TokenBasis | undefined {
  if (typeof sid === "string" && keyId === undefined) return { sessionId: sid };
  if (typeof keyId === "string" && sid === undefined) return { keyId, tokenId };
  return undefined;
}

/** The thumbprint of the key in `cnf` (RFC 7800 §3.1, RFC 9449 §6.1). Any other confirmation is none that can be checked here. */
function toBinding(cnf: unknown): string | null | undefined {
  if (cnf === undefined) return null;
  const { jkt, ...others } = (cnf ?? {}) as Record<string, unknown>;
  return typeof jkt === "string" && Object.keys(others).length === 0 ? jkt : undefined;
}

/**
 * The resources that a token is for. Null for the audience of the deployment, which stands alone: a token for it and for something else
 * was not issued here.
 */
function toResources(aud: JWTPayload["aud"], { issuer, audience }: AccessTokenSettings): string[] | null | undefined {
  if (aud === audience) return null;
  const resources = typeof aud === "string" ? [aud] : aud;
  if (!Array.isArray(resources) || resources.length === 0) return undefined;
  // Which of them this request is for is compared as a whole where it is known.
  const isOwn = (one: unknown): one is string => typeof one === "string" && one.startsWith(`${issuer}/`);
  return resources.every(isOwn) ? resources : undefined;
}
