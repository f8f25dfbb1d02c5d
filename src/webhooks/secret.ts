import type { EncryptionKey } from "../config/config.ts";

/** A secret as it is kept: under which key, and what AES-GCM made of it, base64url. */
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
 * A secret encrypted under the newest key, as it is kept. It is bound to its webhook: a row that is copied to another
 * webhook cannot be opened there.
 */
export async function sealSecret(secret: string, webhookId: string, keys: readonly EncryptionKey[]): Promise<string> {
  const newest = keys[0]!;
  const iv = crypto.getRandomValues(new Uint8Array(12));
  const data = await crypto.subtle.encrypt(parameters(iv, webhookId), await keyOf(newest), bytesOf(secret));
  return JSON.stringify({ kid: newest.kid, iv: toBase64(iv), data: toBase64(new Uint8Array(data)) } satisfies Sealed);
}

/** @throws {Error} if its key is not configured any more, or it was not sealed for this webhook. */
export async function openSecret(kept: string, webhookId: string, keys: readonly EncryptionKey[]): Promise<string> {
  const { kid, iv, data } = JSON.parse(kept) as Sealed;
  const key = keys.find((one) => one.kid === kid);
  if (!key) throw new Error(`WEBHOOK_KEYS holds no key ${kid}`);
  const opened = await crypto.subtle.decrypt(parameters(fromBase64(iv), webhookId), await keyOf(key), fromBase64(data));
  return new TextDecoder().decode(opened);
}

const parameters = (iv: Uint8Array<ArrayBuffer>, webhookId: string) => ({
  name: ALGORITHM,
  iv,
  additionalData: bytesOf(webhookId),
});

function keyOf(key: EncryptionKey): Promise<CryptoKey> {
  let known = imported.get(key);
  if (!known) {
    known = crypto.subtle.importKey("jwk", { ...key }, ALGORITHM, false, ["encrypt", "decrypt"]);
    imported.set(key, known);
  }
  return known;
}

const bytesOf = (text: string) => new TextEncoder().encode(text);

export const toBase64 = (bytes: Uint8Array): string => btoa(String.fromCharCode(...bytes));

export const fromBase64 = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
