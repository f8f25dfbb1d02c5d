import type { EncryptionKey } from "../config/config.ts";

/** A secret as it is stored: the id of its key, and the nonce and ciphertext of AES-GCM in base64. */
interface Sealed {
  readonly kid: string;
  readonly iv: string;
  readonly data: string;
}

const ALGORITHM = "AES-GCM";
const imported = new WeakMap<EncryptionKey, Promise<CryptoKey>>();

/** A new signing secret: `whsec_` and base64 of 32 random bytes (Standard Webhooks). */
export function newWebhookSecret(): string {
  return `whsec_${toBase64(crypto.getRandomValues(new Uint8Array(32)))}`;
}

/**
 * A secret encrypted under the newest key, as it is stored. The webhook's id is authenticated with it (as additional data), so a
 * secret that is copied into another webhook's row cannot be decrypted there.
 */
export async function sealSecret(secret: string, webhookId: string, keys: readonly EncryptionKey[]): Promise<string> {
  const newest = keys[0]!;
  const iv = crypto.getRandomValues(new Uint8Array(12));
  const data = await crypto.subtle.encrypt(parameters(iv, webhookId), await keyOf(newest), bytesOf(secret));
  return JSON.stringify({ kid: newest.kid, iv: toBase64(iv), data: toBase64(new Uint8Array(data)) } satisfies Sealed);
}

/** The decrypted secret. @throws {Error} if its key is not configured any more, or it was sealed for another webhook. */
export async function openSecret(sealed: string, webhookId: string, keys: readonly EncryptionKey[]): Promise<string> {
  const { kid, iv, data } = JSON.parse(sealed) as Sealed;
  const key = keys.find((one) => one.kid === kid);
  if (!key) throw new Error(`WEBHOOK_KEYS has no key with the kid ${kid}`);
  const opened = await crypto.subtle.decrypt(parameters(fromBase64(iv), webhookId), await keyOf(key), fromBase64(data));
  return new TextDecoder().decode(opened);
}

const parameters = (iv: Uint8Array<ArrayBuffer>, webhookId: string) => ({
  name: ALGORITHM,
  iv,
  additionalData: bytesOf(webhookId),
});

function keyOf(key: EncryptionKey): Promise<CryptoKey> {
  let promise = imported.get(key);
  if (!promise) {
    promise = crypto.subtle.importKey("jwk", { ...key }, ALGORITHM, false, ["encrypt", "decrypt"]);
    imported.set(key, promise);
  }
  return promise;
}

const bytesOf = (text: string) => new TextEncoder().encode(text);

export const toBase64 = (bytes: Uint8Array): string => btoa(String.fromCharCode(...bytes));

export const fromBase64 = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
