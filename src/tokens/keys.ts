import { importJWK, type CryptoKey, type JWK } from "jose";
import type { SigningKey } from "../config.ts";

/** The only algorithm that tokens are signed and verified with: every verifier's library knows it, and it is pinned (RFC 8725 §3.1). */
export const ALGORITHM = "ES256";

const imported = new WeakMap<SigningKey, { private?: Promise<CryptoKey>; public?: Promise<CryptoKey> }>();

/** The newest key, which signs. */
export function signingKey(keys: readonly SigningKey[]): { kid: string; key: Promise<CryptoKey> } {
  const newest = keys[0]!;
  const slot = slotOf(newest);
  return { kid: newest.kid, key: (slot.private ??= importJWK({ ...newest }, ALGORITHM) as Promise<CryptoKey>) };
}

/** The public half of the key with this id, whichever it is of those configured. */
export function verificationKey(keys: readonly SigningKey[], kid: string | undefined): Promise<CryptoKey> | undefined {
  const found = keys.find((key) => key.kid === kid);
  if (!found) return undefined;
  const slot = slotOf(found);
  return (slot.public ??= importJWK({ ...publicHalf(found) }, ALGORITHM) as Promise<CryptoKey>);
}

/** The JWK Set that verifiers fetch (RFC 7517 §5). */
export function publicKeySet(keys: readonly SigningKey[]): { keys: JWK[] } {
  return { keys: keys.map(publicHalf) };
}

function publicHalf({ kty, crv, kid, x, y }: SigningKey): JWK {
  return { kty, crv, kid, x, y, alg: ALGORITHM, use: "sig" };
}

function slotOf(key: SigningKey) {
  let slot = imported.get(key);
  if (!slot) imported.set(key, (slot = {}));
  return slot;
}
