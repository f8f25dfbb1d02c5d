import { base64url } from "jose";

/** The order of the group of P-256 (FIPS 186-5 §A.1.1): of a signature (r, s), (r, n − s) is one as well. */
const N = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
const HALF_N = N >> 1n;

/** Characters of an ES256 signature, which are the last of a token. */
const SIGNATURE_LENGTH = 86;

/** The signature of a token in compact serialization as r and s (RFC 7518 §3.4). */
function signatureOf(token: string): { r: Uint8Array; s: bigint } {
  const bytes = base64url.decode(token.slice(-SIGNATURE_LENGTH));
  const s = bytes.subarray(32).reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);
  return { r: bytes.subarray(0, 32), s };
}

/** Whether the s of a token's ES256 signature is the lower one of the two that are valid. */
export const hasLowS = (token: string): boolean => signatureOf(token).s <= HALF_N;

/** The same token with the lower s. WebCrypto makes either. */
export function withLowS(token: string): string {
  const { r, s } = signatureOf(token);
  if (s <= HALF_N) return token;
  const signature = new Uint8Array(64);
  signature.set(r);
  let rest = N - s;
  for (let at = 63; at >= 32; at--) {
    signature[at] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return token.slice(0, -SIGNATURE_LENGTH) + base64url.encode(signature);
}
