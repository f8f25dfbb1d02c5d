import { fromBase64, toBase64 } from "./base64.ts";

/** A key for AES-GCM with 256 bits, as a JWK (RFC 7518 §6.4). */
export interface EncryptionKey {
  kty: "oct";
  kid: string;
  k: string;
}

/** A text as it is stored: the id of its key, and the nonce and ciphertext of AES-GCM in base64. */
interface Encrypted {
  readonly kid: string;
  readonly iv: string;
  readonly data: string;
}

export const ALGORITHM = "AES-GCM";
const imported = new WeakMap<EncryptionKey, Promise<CryptoKey>>();

/**
 * Encrypts a text under the first key.
 *
 * @param boundTo what the text belongs to, for example the id of its row. It is authenticated (as additional data), so a ciphertext that
 *   is copied to another place cannot be decrypted there.
 * @returns JSON that names the key's id.
 */
export async function encryptText(text: string, boundTo: string, keys: readonly EncryptionKey[]): Promise<string> {
  const newest = keys[0]!;
  const { iv, data } = await encrypt(text, boundTo, await keyOf(newest));
  return JSON.stringify({ kid: newest.kid, iv: toBase64(iv), data: toBase64(data) } satisfies Encrypted);
}

/**
 * Decrypts what {@link encryptText} returned.
 *
 * @param setting the name of the setting that has the keys, for the error.
 * @throws {Error} if the key is not configured any more, or the text is bound to something else.
 */
export async function decryptText(
  encrypted: string,
  boundTo: string,
  keys: readonly EncryptionKey[],
  setting: string,
): Promise<string> {
  const { kid, iv, data } = JSON.parse(encrypted) as Encrypted;
  const key = keys.find((one) => one.kid === kid);
  if (!key) throw new Error(`${setting} has no key with the kid ${kid}`);
  return decrypt({ iv: fromBase64(iv), data: fromBase64(data) }, boundTo, await keyOf(key));
}

/** The length of a nonce, in bytes. */
export const IV_LENGTH = 12;

/** What AES-GCM makes of a text. */
export interface Ciphertext {
  readonly iv: Uint8Array<ArrayBuffer>;
  readonly data: Uint8Array<ArrayBuffer>;
}

/** Encrypts a text with AES-GCM. @param boundTo additional data, without which it cannot be decrypted. */
export async function encrypt(text: string, boundTo: string, key: CryptoKey): Promise<Ciphertext> {
  const iv = crypto.getRandomValues(new Uint8Array(IV_LENGTH));
  return { iv, data: new Uint8Array(await crypto.subtle.encrypt(parameters(iv, boundTo), key, bytesOf(text))) };
}

/** Encrypts bytes with AES-GCM. Returns the nonce, followed by the ciphertext. @param boundTo as above. */
export async function encryptBytes(
  bytes: Uint8Array<ArrayBuffer>,
  boundTo: string,
  key: CryptoKey,
): Promise<Uint8Array<ArrayBuffer>> {
  const iv = crypto.getRandomValues(new Uint8Array(IV_LENGTH));
  const data = new Uint8Array(await crypto.subtle.encrypt(parameters(iv, boundTo), key, bytes));
  const encrypted = new Uint8Array(IV_LENGTH + data.length);
  encrypted.set(iv);
  encrypted.set(data, IV_LENGTH);
  return encrypted;
}

/** Decrypts what {@link encryptBytes} returned. @throws {Error} for another key or additional data, or changed bytes. */
export async function decryptBytes(
  encrypted: Uint8Array<ArrayBuffer>,
  boundTo: string,
  key: CryptoKey,
): Promise<Uint8Array<ArrayBuffer>> {
  const [iv, data] = [encrypted.slice(0, IV_LENGTH), encrypted.slice(IV_LENGTH)];
  return new Uint8Array(await crypto.subtle.decrypt(parameters(iv, boundTo), key, data));
}

/** Decrypts what {@link encrypt} returned. @throws {Error} for another key or additional data, or a changed text. */
export async function decrypt({ iv, data }: Ciphertext, boundTo: string, key: CryptoKey): Promise<string> {
  return new TextDecoder().decode(await crypto.subtle.decrypt(parameters(iv, boundTo), key, data));
}

const parameters = (iv: Uint8Array<ArrayBuffer>, boundTo: string) => ({
  name: ALGORITHM,
  iv,
  additionalData: bytesOf(boundTo),
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
