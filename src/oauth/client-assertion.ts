import { base64url, compactVerify, decodeJwt, decodeProtectedHeader, type JWTPayload } from "jose";
import { KEY_ALGORITHMS, spellingsOf, type KeyAlgorithm } from "../agents/public-key.ts";

/** The largest assertion that is read, in characters. */
const MAX_LENGTH = 8192;
/** How far an assertion's `exp` may lie ahead, in seconds. */
const MAX_LIFE = 300;
/** How old it may be, and how far its sender's clock may be ahead, in seconds. */
const MAX_AGE = 300;
const MAX_CLOCK_AHEAD = 30;
const MAX_JTI_LENGTH = 256;

/** The algorithms that an assertion may name, for the metadata. */
export const ASSERTION_ALGORITHMS: readonly string[] = KEY_ALGORITHMS.flatMap(spellingsOf);

/** The types that a client assertion may have. A token of another kind is no assertion (RFC 8725 §3.11). */
const TYPES: ReadonlySet<unknown> = new Set([undefined, "JWT", "jwt", "client-authentication+jwt"]);

/** What an assertion says of itself before its signature is verified. */
export interface UnverifiedAssertion {
  readonly text: string;
  /** Its `iss` and `sub`, which are the same. */
  readonly agentId: string;
  readonly kid: string | undefined;
  readonly alg: string;
  readonly claims: JWTPayload;
}

/** Reads an assertion (RFC 7523 §3) without trusting it; undefined for a text that cannot be one of an agent. */
export function readAssertion(text: string): UnverifiedAssertion | undefined {
  if (text.length > MAX_LENGTH) return undefined;
  try {
    const { alg, kid, typ } = decodeProtectedHeader(text);
    const claims = decodeJwt(text);
    if (typeof alg !== "string" || (kid !== undefined && typeof kid !== "string") || !TYPES.has(typ)) return undefined;
    const { iss, sub } = claims;
    if (typeof sub !== "string" || sub === "" || sub.length > 128 || iss !== sub) return undefined;
    return { text, agentId: sub, kid, alg, claims };
  } catch {
    return undefined;
  }
}

/** Whether a key that is pinned to an algorithm may have signed the assertion. */
export const isAlgorithmOf = ({ alg }: UnverifiedAssertion, pinned: KeyAlgorithm): boolean =>
  spellingsOf(pinned).includes(alg);

/** Whether the assertion's signature is of this key and its one algorithm. */
export async function isSignedBy(
  { text }: UnverifiedAssertion,
  key: CryptoKey,
  pinned: KeyAlgorithm,
): Promise<boolean> {
  try {
    await compactVerify(text, key, { algorithms: [...spellingsOf(pinned)] });
    return true;
  } catch {
    return false;
  }
}

/** An assertion whose claims are good. It may be used once. */
export interface CheckedAssertion {
  readonly jti: string;
  /** Until when it would be accepted, in milliseconds. */
  readonly usedUntil: number;
}

/**
 * Checks the claims of an assertion whose signature is verified: only the holder of the key learns what is wrong with them.
 *
 * @param audiences of which it names one, as a text or as a list of one.
 * @param now milliseconds.
 * @returns what is wrong, as a sentence.
 */
export function checkClaims(
  { claims }: UnverifiedAssertion,
  audiences: readonly string[],
  now: number,
): CheckedAssertion | { fault: string } {
  const seconds = now / 1000;
  const { aud, exp, iat, nbf, jti } = claims;
  const [audience, ...others] = Array.isArray(aud) ? aud : [aud];
  if (others.length > 0 || typeof audience !== "string" || !audiences.includes(audience)) {
    return { fault: `aud of the assertion must be ${audiences.join(" or ")}, and nothing else.` };
  }
  if (!isTime(exp)) return { fault: "The assertion has no exp." };
  if (exp <= seconds) return { fault: "The assertion has expired." };
  if (exp > Math.ceil(seconds) + MAX_LIFE)
    return { fault: `exp of the assertion must be at most ${MAX_LIFE} seconds from now.` };
  for (const [name, time] of Object.entries({ iat, nbf })) {
    if (time === undefined) continue;
    if (!isTime(time)) return { fault: `${name} of the assertion is not a time.` };
    if (time > seconds + MAX_CLOCK_AHEAD) return { fault: `${name} of the assertion lies in the future.` };
  }
  if (iat !== undefined && iat < seconds - MAX_AGE) return { fault: `The assertion is older than ${MAX_AGE} seconds.` };
  if (typeof jti !== "string" || jti === "" || jti.length > MAX_JTI_LENGTH) {
    return { fault: `The assertion needs a jti of 1 to ${MAX_JTI_LENGTH} characters.` };
  }
  return { jti, usedUntil: Math.ceil(exp) * 1000 };
}

const isTime = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);

const EC = { name: "ECDSA", namedCurve: "P-256" };
let decoy: Promise<CryptoKey> | undefined;

/** Does the work of verifying a signature where there is no key: an unknown agent takes as long as a known one. */
export async function verifyNothing({ text }: UnverifiedAssertion): Promise<void> {
  decoy ??= crypto.subtle.generateKey(EC, false, ["sign", "verify"]).then((pair) => (pair as CryptoKeyPair).publicKey);
  const signed = new TextEncoder().encode(text.slice(0, text.lastIndexOf(".")));
  await crypto.subtle.verify({ name: "ECDSA", hash: "SHA-256" }, await decoy, base64url.decode("A".repeat(86)), signed);
}
