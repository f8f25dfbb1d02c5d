import { toBase64Url } from "./base64.ts";
import { sha256 } from "./digest.ts";

/** The members of a public key that its thumbprint is made of, in their order (RFC 7638 §3.2, RFC 8037 §2). */
const MEMBERS = {
  EC: ["crv", "kty", "x", "y"],
  OKP: ["crv", "kty", "x"],
  RSA: ["e", "kty", "n"],
} as const;

/** A public key whose members have been checked. */
type Jwk = { readonly kty: keyof typeof MEMBERS; readonly [member: string]: unknown };

/** The SHA-256 thumbprint of a public key in base64url (RFC 7638). */
export async function thumbprintOf(jwk: Jwk): Promise<string> {
  return toBase64Url(await sha256(JSON.stringify(jwk, [...MEMBERS[jwk.kty]])));
}
