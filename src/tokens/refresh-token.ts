import { base64url } from "jose";
import { hmac } from "../crypto/hmac.ts";
import { toHex } from "../crypto/random.ts";

/** The first refresh token of a family: `rt_` and 32 random bytes. */
export function newRefreshToken(): string {
  return `rt_${base64url.encode(crypto.getRandomValues(new Uint8Array(32)))}`;
}

/**
 * The one successor of a refresh token. It is derived, so that a repeated refresh gets the identical answer and nothing
 * in plain text is kept; without the pepper nobody can take the step.
 */
export async function successorOf(refreshToken: string, pepper: string): Promise<string> {
  return `rt_${base64url.encode(await hmac(pepper, "refresh-successor", refreshToken))}`;
}

/** What is kept of a refresh token. */
export async function refreshTokenHash(refreshToken: string, pepper: string): Promise<string> {
  return toHex(await hmac(pepper, "refresh-token", refreshToken));
}
