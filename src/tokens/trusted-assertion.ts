import { compactVerify, decodeJwt, decodeProtectedHeader, type JWTPayload } from "jose";
import { importPublicJwk, spellingsOf, type PublicJwk } from "../agents/public-key.ts";
import type { ClaimValue, RequiredClaims, TrustedIssuer } from "../config/trusted-issuers.ts";
import { toBase64Url } from "../crypto/base64.ts";
import { sha256 } from "../crypto/digest.ts";
import { isObject } from "../validation/is-object.ts";
import { findIssuerKeys } from "./issuer-keys.ts";

/** The longest assertion that is read, in characters. */
const MAX_LENGTH = 8192;
/** How far the issuer's clock may be ahead, in seconds. */
const MAX_CLOCK_AHEAD = 30;
const MAX_JTI_LENGTH = 512;
/** Of several keys without a matching id, so many are tried. */
const MAX_TRIED_KEYS = 10;

/** The type of an Identity Assertion JWT Authorization Grant (draft-ietf-oauth-identity-assertion-authz-grant §3). */
const ID_JAG_TYPE = "oauth-id-jag+jwt";

/** The types that an assertion may have. A token of another kind, such as an access token, is no assertion (RFC 8725 §3.11). */
const TYPES: ReadonlySet<unknown> = new Set([undefined, "JWT", "jwt", ID_JAG_TYPE]);

/** What an assertion is used up by: no other one of its issuer has it. */
export interface AssertionUse {
  /** Whose assertion it is: the URL of its issuer. */
  readonly signer: string;
  readonly jtiHash: string;
  /** Until when it would be accepted, in milliseconds. */
  readonly usedUntil: number;
}

/** A token that a trusted issuer has signed. */
export interface SignedAssertion {
  readonly issuer: TrustedIssuer;
  readonly claims: JWTPayload;
}

/** A token of a trusted issuer, with everything about it checked but whether it was used before. */
export interface TrustedAssertion extends SignedAssertion {
  /** Whether it is an ID-JAG, which is for one client and may narrow what that gets. */
  readonly isIdJag: boolean;
  readonly use: AssertionUse;
}

export type AssertionResult =
  | TrustedAssertion
  /** What is wrong, as a sentence. `signed`: the assertion, if it has the issuer's signature. */
  | { readonly fault: string; readonly signed: SignedAssertion | undefined }
  /** The issuer's keys cannot be had. Why, for the operator. */
  | { readonly unavailable: string };

/**
 * Verifies a token of a trusted issuer (RFC 7523 §3): its size, the issuer, a key of it and that key's one algorithm, the signature, `aud`,
 * and its times.
 *
 * @param now milliseconds.
 */
export async function verifyTrustedAssertion(
  text: string,
  issuers: readonly TrustedIssuer[],
  { now, waitUntil }: { now: number; waitUntil: (work: Promise<unknown>) => void },
): Promise<AssertionResult> {
  const read = readUnverified(text);
  if (!read) return unsigned(`assertion is not a JWT of at most ${MAX_LENGTH} characters.`);
  const { alg, kid, typ, claims } = read;
  // Compared as a whole: nothing is trimmed, decoded or put into another case (RFC 7523 §3, RFC 3986 §6.2.1).
  const issuer = issuers.find((one) => one.issuer === claims.iss);
  if (!issuer) return unsigned("The issuer of the assertion is not one of TRUSTED_ISSUERS.");
  if (!TYPES.has(typ)) return unsigned("typ of the assertion is that of another kind of token.");
  const found = await findIssuerKeys(issuer, kid, waitUntil);
  if ("unavailable" in found) return found;
  const candidates = found.keys.filter((key) => spellingsOf(key.alg).includes(alg)).slice(0, MAX_TRIED_KEYS);
  if (!(await isSignedByOne(text, candidates))) return unsigned("No key of its issuer has signed the assertion.");
  const fault = faultOf(claims, issuer, typ, now / 1000);
  if (fault !== undefined) return { fault, signed: { issuer, claims } };
  // The signature is left out: of one text, some algorithms have several.
  const signed = text.slice(0, text.lastIndexOf("."));
  const once = claims.jti === undefined ? `token ${signed}` : `jti ${claims.jti}`;
  const use = {
    signer: issuer.issuer,
    jtiHash: toBase64Url(await sha256(once)),
    usedUntil: Math.ceil(claims.exp!) * 1000,
  };
  return { issuer, claims, isIdJag: typ === ID_JAG_TYPE, use };
}

const unsigned = (fault: string) => ({ fault, signed: undefined }) as const;

function readUnverified(text: string) {
  if (text.length > MAX_LENGTH) return undefined;
  try {
    const { alg, kid, typ } = decodeProtectedHeader(text);
    if (typeof alg !== "string" || (kid !== undefined && typeof kid !== "string")) return undefined;
    return { alg, kid, typ, claims: decodeJwt(text) };
  } catch {
    return undefined;
  }
}

async function isSignedByOne(text: string, keys: readonly PublicJwk[]): Promise<boolean> {
  for (const jwk of keys) {
    try {
      await compactVerify(text, await importPublicJwk(jwk), { algorithms: [...spellingsOf(jwk.alg)] });
      return true;
    } catch {
      // It may be of another key.
    }
  }
  return false;
}

/** What is wrong with the claims of an assertion whose signature is verified. @param now seconds. */
function faultOf(claims: JWTPayload, { audience, maxTokenLife }: TrustedIssuer, typ: unknown, now: number) {
  const { aud, exp, iat, nbf, jti, sub } = claims;
  const [one, ...others] = Array.isArray(aud) ? (aud as unknown[]) : [aud];
  if (one !== audience || others.length > 0) return `aud of the assertion must be ${audience}, and nothing else.`;
  if (typeof sub !== "string" || sub === "") return "The assertion has no sub.";
  if (!isTime(exp) || !isTime(iat)) return "The assertion needs exp and iat.";
  if (exp <= now) return "The assertion has expired.";
  if (exp > now + maxTokenLife || iat < now - maxTokenLife) {
    return `The assertion lives longer than ${maxTokenLife} seconds, which max_token_life_seconds of its issuer allows.`;
  }
  if (iat > now + MAX_CLOCK_AHEAD) return "iat of the assertion lies in the future.";
  if (nbf !== undefined && !(isTime(nbf) && nbf <= now + MAX_CLOCK_AHEAD))
    return "nbf of the assertion lies in the future.";
  if (jti === undefined ? typ === ID_JAG_TYPE : typeof jti !== "string" || jti === "" || jti.length > MAX_JTI_LENGTH) {
    return `jti of the assertion must have 1 to ${MAX_JTI_LENGTH} characters.`;
  }
  return undefined;
}

const isTime = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);

/**
 * The agents whose rules an assertion meets.
 *
 * Each claim of a rule is there with the same value and the same type: no pattern, no list, nothing that is put into another case.
 */
export const agentsOf = ({ issuer, claims }: SignedAssertion): string[] => [
  ...new Set(issuer.rules.filter((rule) => meets(claims, rule.claims)).map(({ agentId }) => agentId)),
];

function meets(claims: unknown, required: RequiredClaims): boolean {
  return (
    isObject(claims) &&
    Object.entries(required).every(([name, value]) => Object.hasOwn(claims, name) && isValue(claims[name], value))
  );
}

const isValue = (claim: unknown, required: ClaimValue): boolean =>
  typeof required === "object" ? meets(claim, required) : claim === required;
