import { toBase64 } from "../crypto/base64.ts";
import { decryptText, encryptText, type EncryptionKey } from "../crypto/encryption.ts";

/** A new signing secret: `whsec_` and base64 of 32 random bytes (Standard Webhooks). */
export function newWebhookSecret(): string {
  return `whsec_${toBase64(crypto.getRandomValues(new Uint8Array(32)))}`;
}

/** A secret encrypted under the newest key, as it is stored: it is bound to the webhook's id. */
export const sealSecret = (secret: string, webhookId: string, keys: readonly EncryptionKey[]): Promise<string> =>
  encryptText(secret, webhookId, keys);

/** The decrypted secret. @throws {Error} if its key is not configured any more, or it was encrypted for another webhook. */
export const openSecret = (sealed: string, webhookId: string, keys: readonly EncryptionKey[]): Promise<string> =>
  decryptText(sealed, webhookId, keys, "WEBHOOK_KEYS");
