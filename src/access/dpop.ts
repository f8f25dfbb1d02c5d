import { compactVerify, decodeJwt, decodeProtectedHeader } from "jose";
import {
  SIGNATURE_ALGORITHMS,
  importPublicJwk,
  readPublicJwk,
  spellingsOf,
  type PublicJwk,
  type ReceivedJwk,
} from "../agents/public-key.ts";
import type { Config } from "../config/config.ts";
import { toBase64Url } from "../crypto/base64.ts";
import { sha256 } from "../crypto/digest.ts";
import { hmac } from "../crypto/hmac.ts";
import type { Proof } from "../tokens/records.ts";

/** How old a proof may be, and how far its sender's clock may be ahead, in seconds. */
const MAX_AGE = 300;
const MAX_CLOCK_AHEAD = 30;
const MAX_LENGTH = 4096;
const MAX_JTI_LENGTH = 256;

/** The algorithms of proofs, for the metadata (RFC 9449 §5.1). */
export const DPOP_ALGORITHMS = SIGNATURE_ALGORITHMS;

/** The members of a JWK that are secret. A proof with one has given its key away. */
const PRIVATE_MEMBERS = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/** Why a proof is refused: what is wrong, as a sentence. With `nonce`, the same request is good with a proof that contains it. */
export interface ProofFault {
  readonly fault: string;
  readonly nonce?: string;
}

/** What a proof has to be for. */
export interface ProvenRequest {
  readonly method: string;
  readonly url: string;
  /** The access token that is sent with it; undefined where a token is asked for. */
  readonly token: string | undefined;
}

const fault = (text: string): ProofFault => ({ fault: text });

/**
 * Checks a DPoP proof (RFC 9449 §4.3), all but that it was not used before.
 *
 * A proof with a nonce of ours is as old as the nonce. One without is as old as its `iat` says; if that is too far from the time here,
 * the sender's clock may be wrong, and it is given a nonce (§8, §9).
 *
 * @param now milliseconds.
 */
export async function checkProof(
  text: string,
  { method, url, token }: ProvenRequest,
  { pepper }: Pick<Config, "pepper">,
  now: number,
): Promise<Proof | ProofFault> {
  if (text.length > MAX_LENGTH) return fault(`The proof has more than ${MAX_LENGTH} characters.`);
  const jwk = await readKey(text);
  if (typeof jwk === "string") return fault(jwk);
  try {
    await compactVerify(text, await importPublicJwk(jwk), { algorithms: [...spellingsOf(jwk.alg)] });
  } catch {
    return fault("The signature of the proof is not of the key in its header.");
  }
  const { jti, htm, htu, iat, ath, nonce } = decodeJwt<{
    htm?: unknown;
    htu?: unknown;
    ath?: unknown;
    nonce?: unknown;
  }>(text);
  if (typeof jti !== "string" || jti === "" || jti.length > MAX_JTI_LENGTH) {
    return fault(`The proof needs a jti of 1 to ${MAX_JTI_LENGTH} characters.`);
  }
  if (htm !== method) return fault(`htm of the proof is not ${method}.`);
  if (typeof htu !== "string" || targetOf(htu) !== targetOf(url))
    return fault("htu of the proof is not the URL of the request.");
  if (token === undefined ? ath !== undefined : ath !== toBase64Url(await sha256(token))) {
    return fault("ath of the proof is not the hash of the access token that is sent with it.");
  }
  if (typeof iat !== "number" || !Number.isFinite(iat)) return fault("The proof has no iat.");
  const usedUntil = nonce === undefined ? endByTime(iat, now) : await endByNonce(nonce, pepper, now);
  if (usedUntil === undefined) {
    const text =
      "The proof is too old, or of a time to come. Repeat the request with a proof that has the nonce of DPoP-Nonce.";
    return { fault: text, nonce: await nonceAt(slotAt(now), pepper) };
  }
  return { jkt: jwk.kid, jtiHash: toBase64Url(await sha256(jti)), usedUntil };
}

/** The public key in a proof's header, with its thumbprint as its `kid`, or what is wrong. */
async function readKey(text: string): Promise<PublicJwk | string> {
  try {
    const { typ, alg, jwk } = decodeProtectedHeader(text);
    if (typ !== "dpop+jwt") return 'typ of the proof is not "dpop+jwt".';
    if (typeof alg !== "string" || !DPOP_ALGORITHMS.includes(alg))
      return `alg of the proof must be one of ${DPOP_ALGORITHMS.join(", ")}.`;
    if (typeof jwk !== "object" || jwk === null) return "The proof has no jwk in its header.";
    if (PRIVATE_MEMBERS.some((name) => Object.hasOwn(jwk, name))) return "jwk of the proof is not a public key.";
    const { kty, crv, x, y, n, e } = jwk;
    const members = [kty, crv, x, y, n, e];
    if (members.some((one) => one !== undefined && typeof one !== "string")) return "jwk of the proof is not a key.";
    const read = await readPublicJwk({ kty, crv, x, y, n, e, alg } as ReceivedJwk);
    return "jwk" in read ? read.jwk : `${read.fault.member} of the proof's jwk ${read.fault.message}.`;
  } catch {
    return "The proof is not a JWT.";
  }
}

/** A URL without its query and its fragment, in its one spelling (RFC 9449 §4.3). */
function targetOf(text: string): string | undefined {
  const url = URL.parse(text);
  return url ? `${url.origin}${url.pathname}` : undefined;
}

function endByTime(iat: number, now: number): number | undefined {
  const age = now / 1000 - iat;
  return age > MAX_AGE || age < -MAX_CLOCK_AHEAD ? undefined : Math.ceil(iat + MAX_AGE) * 1000;
}

/** How long nonces of one kind are given, in milliseconds. Each is good until the end of the next such time. */
const SLOT_MS = 300_000;
const slotAt = (now: number): number => Math.floor(now / SLOT_MS);

/** A nonce says when it was given, and nobody else can make one. */
const nonceAt = async (slot: number, pepper: string): Promise<string> =>
  `${slot.toString(36)}-${toBase64Url((await hmac(pepper, "dpop-nonce", String(slot))).subarray(0, 16))}`;

async function endByNonce(nonce: unknown, pepper: string, now: number): Promise<number | undefined> {
  const current = slotAt(now);
  for (const slot of [current, current - 1]) {
    if (nonce === (await nonceAt(slot, pepper))) return (slot + 2) * SLOT_MS;
  }
  return undefined;
}
