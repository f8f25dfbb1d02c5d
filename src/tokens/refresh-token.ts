import { base64url } from "jose";
import { hmac } from "../crypto/hmac.ts";
import { toHex } from "../crypto/random.ts";

/** The first refresh token of a session: `rt_` and 32 random bytes in base64url. */
export function newRefreshToken(): string {
  return `rt_${base64url.encode(crypto.getRandomValues(new Uint8Array(32)))}`;
}

/** The values that are derived from a refresh token with the pepper. */
export interface RefreshTokenDerivation {
  /** The part that is stored, in hexadecimal. */
  readonly hash: string;
  readonly successor: string;
}

/**
 * Derives the stored hash and the successor of a refresh token.
 *
 * A token has exactly one successor, so a repeated refresh gets the same response although nothing is stored in plain text. Nobody
 * can derive it without the pepper. The two halves of the HMAC-SHA-512 are independent: the stored hash does not reveal the successor.
 */
export async function deriveSuccessor(refreshToken: string, pepper: string): Promise<RefreshTokenDerivation> {
  const mac = await hmac(pepper, "refresh-token", refreshToken, "SHA-512");
  return { hash: toHex(mac.subarray(0, 32)), successor: `rt_${base64url.encode(mac.subarray(32))}` };
}
