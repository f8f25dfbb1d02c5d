import { hmac } from "../crypto/hmac.ts";
import type { Peppers } from "../crypto/pepper.ts";
import { randomBase62, toBase62, toHex } from "../crypto/random.ts";

/** 43 characters of base 62 encode 256 bits. */
const SECRET_LENGTH = 43;
const CHECKSUM_LENGTH = 6;

/**
 * Makes a new API key: `ak_`, 43 random characters, and their CRC-32 in base 62. A secret scanner or a form can recognize a key, or
 * a typing error in one, without calling the service.
 */
export function newApiKey(): string {
  const secret = randomBase62(SECRET_LENGTH);
  return `ak_${secret}${checksum(secret)}`;
}

/** Whether a text has the form and the checksum of an API key. Does not check that such a key exists. */
export function isApiKey(text: string): boolean {
  const match = /^ak_([0-9A-Za-z]{43})([0-9A-Za-z]{6})$/.exec(text);
  return match !== null && checksum(match[1]!) === match[2];
}

/** A key as it is stored: by its hash, and recognizable by an id and its last characters. */
export interface StoredKey {
  readonly id: string;
  readonly hash: string;
  /** The key of `SECRET_PEPPER` that the hash was made with. */
  readonly pepperId: string;
  /** The last four characters. */
  readonly hint: string;
}

/** The stored form of a new key, with a new id. */
export async function toStoredKey(apiKey: string, [pepper]: Peppers): Promise<StoredKey> {
  const hash = await apiKeyHash(apiKey, pepper.secret);
  return { id: `key_${randomBase62(24)}`, hash, pepperId: pepper.id, hint: apiKey.slice(-4) };
}

/** The hash of an API key under each key of `SECRET_PEPPER`, in their order: one of them is the stored one. */
export const apiKeyHashes = (apiKey: string, peppers: Peppers): Promise<string[]> =>
  Promise.all(peppers.map(({ secret }) => apiKeyHash(apiKey, secret)));

/** The stored form of an API key: its HMAC under the pepper. A key has 256 random bits, so no slow hash is needed. */
async function apiKeyHash(apiKey: string, pepper: string): Promise<string> {
  return toHex(await hmac(pepper, "api-key", apiKey));
}

function checksum(text: string): string {
  let crc = ~0;
  for (const char of text) {
    crc ^= char.charCodeAt(0);
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return toBase62(~crc >>> 0, CHECKSUM_LENGTH);
}
