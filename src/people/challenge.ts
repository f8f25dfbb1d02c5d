import { fromBase64Url, toBase64Url } from "../crypto/base64.ts";
import { hmac } from "../crypto/hmac.ts";
import type { Peppers } from "../crypto/pepper.ts";

/** What an answer to a challenge is good for, and nothing else. */
export type ChallengePurpose =
  | { readonly kind: "sign-in" }
  /** Enrolling a passkey in this session. */
  | { readonly kind: "enrol"; readonly sessionId: string }
  /** One act of the person who is signed in by this session. */
  | ({ readonly kind: "act"; readonly sessionId: string } & Act);

/** What a person confirms with a passkey. */
export interface Act {
  /** The method and the path with its query. */
  readonly what: string;
  /** SHA-256 of the request's body as it was parsed, in base64url. */
  readonly digest: string;
  /** What is decided, where the body alone does not say; empty otherwise. */
  readonly decision: string;
}

/** How long a challenge may take to be answered, in milliseconds. */
export const CHALLENGE_LIFE_MS = 300_000;

const NONCE_LENGTH = 16;
const TIME_LENGTH = 4;
const MAC_LENGTH = 32;

/**
 * Returns a challenge for WebAuthn: a nonce, when it expires, and a MAC of both and the purpose. So nothing is stored until it is
 * answered, and an answer for one purpose is none for another.
 *
 * @param now milliseconds.
 * @returns base64url.
 */
export async function newChallenge(purpose: ChallengePurpose, now: number, [pepper]: Peppers): Promise<string> {
  const head = new Uint8Array(NONCE_LENGTH + TIME_LENGTH);
  crypto.getRandomValues(head.subarray(0, NONCE_LENGTH));
  new DataView(head.buffer).setUint32(NONCE_LENGTH, Math.floor((now + CHALLENGE_LIFE_MS) / 1000));
  const mac = await macOf(head, purpose, pepper.secret);
  return toBase64Url(new Uint8Array([...head, ...mac]));
}

/**
 * Returns when a challenge of this purpose expires, in milliseconds; undefined for one that has expired, that was made for another
 * purpose, or not here. That it is answered once only is checked where the answer is written.
 */
export async function readChallenge(
  challenge: string,
  purpose: ChallengePurpose,
  now: number,
  peppers: Peppers,
): Promise<number | undefined> {
  const bytes = fromBase64Url(challenge);
  if (bytes?.length !== NONCE_LENGTH + TIME_LENGTH + MAC_LENGTH) return undefined;
  const head = bytes.slice(0, NONCE_LENGTH + TIME_LENGTH);
  const mac = bytes.slice(NONCE_LENGTH + TIME_LENGTH);
  const macs = await Promise.all(peppers.map(({ secret }) => macOf(head, purpose, secret)));
  if (!macs.some((one) => crypto.subtle.timingSafeEqual(one, mac))) return undefined;
  const expiresAt = new DataView(head.buffer).getUint32(NONCE_LENGTH) * 1000;
  return expiresAt > now ? expiresAt : undefined;
}

function macOf(head: Uint8Array, purpose: ChallengePurpose, secret: string): Promise<Uint8Array> {
  const sessionId = purpose.kind === "sign-in" ? null : purpose.sessionId;
  const act = purpose.kind === "act" ? [purpose.what, purpose.digest, purpose.decision] : null;
  return hmac(secret, "webauthn challenge", JSON.stringify([purpose.kind, sessionId, act, toBase64Url(head)]));
}
