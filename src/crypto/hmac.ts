const encoder = new TextEncoder();
const keys = new Map<string, Promise<CryptoKey>>();

type Hash = "SHA-256" | "SHA-512";

function hmacKey(secret: string, hash: Hash): Promise<CryptoKey> {
  const name = `${hash} ${secret}`;
  let key = keys.get(name);
  if (!key) {
    key = crypto.subtle.importKey("raw", encoder.encode(secret), { name: "HMAC", hash }, false, ["sign"]);
    keys.set(name, key);
  }
  return key;
}

/**
 * Returns the HMAC of `purpose` and `text`. The purpose separates the uses of one secret: a value that is computed for one
 * purpose is never valid for another.
 */
export async function hmac(secret: string, purpose: string, text: string, hash: Hash = "SHA-256"): Promise<Uint8Array> {
  const mac = await crypto.subtle.sign("HMAC", await hmacKey(secret, hash), encoder.encode(`${purpose}\0${text}`));
  return new Uint8Array(mac);
}

/** Returns whether two texts are equal, in constant time: the time does not depend on where they differ. */
export async function equalSecrets(secret: string, left: string, right: string): Promise<boolean> {
  const [a, b] = await Promise.all([hmac(secret, "compare", left), hmac(secret, "compare", right)]);
  return crypto.subtle.timingSafeEqual(a, b);
}
