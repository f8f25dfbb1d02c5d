import { base64url } from "jose";
import { hmac } from "../crypto/hmac.ts";
import { toHex } from "../crypto/random.ts";

/** The first refresh token of a family: `rt_` and 32 random bytes. */
export function newRefreshToken(): string {
  return `rt_${base64url.encode(crypto.getRandomValues(new Uint8Array(32)))}`;
}

/** What follows from a refresh token under the pepper. */
export interface RefreshTokenDerivation {
  /** What is kept of it. */
  readonly hash: string;
  readonly successor: string;
}

/**
 * The one successor of a refresh token is derived, so that a repeated refresh gets the identical answer and nothing in plain
 * text is kept; without the pepper nobody can take the step. The two halves of HMAC-SHA-512 tell nothing of each other: who
 * reads what is kept of a token does not have its successor.
 */
export async function deriveSuccessor(refreshToken: string, pepper: string): Promise<RefreshTokenDerivation> {
  const mac = await hmac(pepper, "refresh-token", refreshToken, "SHA-512");
  return { hash: toHex(mac.subarray(0, 32)), successor: `rt_${base64url.encode(mac.subarray(32))}` };
}
