import { calculateJwkThumbprint, EmbeddedJWK, jwtVerify, type JWK } from "jose";
import { hashOf } from "./jwt.ts";

/** A DPoP proof as it came with a request (RFC 9449). */
export interface PresentedProof {
  /** The request's header `DPoP`. */
  readonly header: string;
  /** The request's method. */
  readonly method: string;
  /** The URL that the caller has called, as the caller knows it; its query and fragment do not count. */
  readonly url: string;
}

/**
 * A proof that is good for one request. Who has overheard it can send the same request again, so remember `jkt` and `jti` together until
 * `usableUntil`, in a store that all of your servers share, and refuse a pair that was there before.
 */
export interface VerifiedProof {
  /** The thumbprint of the key (RFC 7638). */
  readonly jkt: string;
  readonly jti: string;
  /** Until when the proof would be accepted, in milliseconds. */
  readonly usableUntil: number;
}

/** How old a proof may be, and how far its sender's clock may be ahead, in seconds, as at the gateway. */
const MAX_AGE = 300;
const MAX_CLOCK_AHEAD = 30;
/** In characters. A proof has a key of any size in it, whose use takes time. */
const MAX_LENGTH = 4096;
const MAX_JTI_LENGTH = 256;
/** As the challenge of a guard names them. `Ed25519` is another name of EdDSA with this curve (RFC 9864). */
export const PROOF_ALGORITHMS = ["ES256", "EdDSA", "RS256", "PS256"];
const ALGORITHMS = [...PROOF_ALGORITHMS, "Ed25519"];
/** The members of a JWK that are secret. A proof with one has given its key away. */
const PRIVATE_MEMBERS = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/**
 * Checks a DPoP proof (RFC 9449 §4.3) that came with an access token: all but that it was not used before.
 *
 * @param jkt the thumbprint of the key that the token is bound to.
 * @returns what is wrong, as a sentence.
 */
export async function checkProof(
  { header, method, url }: PresentedProof,
  token: string,
  jkt: string,
): Promise<VerifiedProof | { readonly fault: string }> {
  if (header.length > MAX_LENGTH) return { fault: `The proof has more than ${MAX_LENGTH} characters.` };
  let jwk: JWK;
  let claims: Record<string, unknown>;
  try {
    const proof = await jwtVerify(header, EmbeddedJWK, { typ: "dpop+jwt", algorithms: ALGORITHMS });
    [jwk, claims] = [proof.protectedHeader.jwk!, proof.payload];
    if (PRIVATE_MEMBERS.some((name) => Object.hasOwn(jwk, name))) return { fault: "The key of the proof is private." };
    if ((await calculateJwkThumbprint(jwk)) !== jkt)
      return { fault: "The proof is not of the key of the access token." };
  } catch {
    return { fault: "The proof is no JWT of the type dpop+jwt that the key in its header has signed." };
  }
  const { htm, htu, ath, iat, jti } = claims;
  if (htm !== method) return { fault: `htm of the proof is not ${method}.` };
  if (typeof htu !== "string" || !targetOf(url) || targetOf(htu) !== targetOf(url)) {
    return { fault: "htu of the proof is not the URL of the request." };
  }
  if (ath !== (await hashOf(token))) return { fault: "ath of the proof is not the hash of the access token." };
  const age = typeof iat === "number" ? Date.now() / 1000 - iat : NaN;
  if (!(age <= MAX_AGE && age >= -MAX_CLOCK_AHEAD)) return { fault: "The proof is too old, or of a time to come." };
  if (typeof jti !== "string" || jti === "" || jti.length > MAX_JTI_LENGTH) {
    return { fault: `The proof needs a jti of 1 to ${MAX_JTI_LENGTH} characters.` };
  }
  return { jkt, jti, usableUntil: Math.ceil((iat as number) + MAX_AGE) * 1000 };
}

/** A URL without its query and its fragment, in its one spelling. */
function targetOf(text: string): string | undefined {
  if (!URL.canParse(text)) return undefined;
  const { origin, pathname } = new URL(text);
  return origin + pathname;
}
