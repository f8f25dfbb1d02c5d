import type { SigningKey } from "../config/config.ts";

/** The only algorithm that tokens are signed and verified with: every verifier's library knows it, and it is pinned (RFC 8725 §3.1). */
export const ALGORITHM = "ES256";

const KEY = { name: "ECDSA", namedCurve: "P-256" };

const slots = new WeakMap<SigningKey, { private?: Promise<CryptoKey>; public?: Promise<CryptoKey> }>();

/** The newest key, which signs new tokens. */
export function signingKey(keys: readonly SigningKey[]): { kid: string; key: Promise<CryptoKey> } {
  const newest = keys[0]!;
  const slot = slotOf(newest);
  return { kid: newest.kid, key: (slot.private ??= imported("sign", newest)) };
}

/** The public key of the configured key with this id, or undefined if there is none. */
export function verificationKey(keys: readonly SigningKey[], kid: string | undefined): Promise<CryptoKey> | undefined {
  const found = keys.find((key) => key.kid === kid);
  if (!found) return undefined;
  const slot = slotOf(found);
  return (slot.public ??= imported("verify", publicHalf(found)));
}

/** The JWK Set that verifiers fetch (RFC 7517 §5). */
export function publicKeySet(keys: readonly SigningKey[]) {
  return { keys: keys.map(publicHalf) };
}

function publicHalf({ kty, crv, kid, x, y }: SigningKey) {
  return { kty, crv, kid, x, y, alg: ALGORITHM, use: "sig" } as const;
}

/** Imports with WebCrypto and not with jose, whose `importJWK` brings code for key types that are not used here. */
const imported = (use: "sign" | "verify", jwk: object) =>
  crypto.subtle.importKey("jwk", jwk as JsonWebKey, KEY, false, [use]);

function slotOf(key: SigningKey) {
  let slot = slots.get(key);
  if (!slot) slots.set(key, (slot = {}));
  return slot;
}
