import { fromBase64, toBase64 } from "../crypto/base64.ts";
import { ALGORITHM, decrypt, encrypt, IV_LENGTH } from "../crypto/encryption.ts";

const keyOf = (bytes: Uint8Array<ArrayBuffer>): Promise<CryptoKey> =>
  crypto.subtle.importKey("raw", bytes, ALGORITHM, false, ["encrypt", "decrypt"]);

/**
 * Encrypts a text with AES-GCM.
 *
 * @param key 32 bytes.
 * @param purpose authenticated with it: a text that is sealed for one purpose cannot be opened for another.
 * @returns base64 of the nonce and the ciphertext.
 */
export async function seal(text: string, key: Uint8Array<ArrayBuffer>, purpose: string): Promise<string> {
  const { iv, data } = await encrypt(text, purpose, await keyOf(key));
  return toBase64(Uint8Array.from([...iv, ...data]));
}

/** Decrypts what {@link seal} returned. @throws {Error} for another key or purpose, or a changed text. */
export async function open(sealed: string, key: Uint8Array<ArrayBuffer>, purpose: string): Promise<string> {
  const bytes = fromBase64(sealed);
  const ciphertext = { iv: bytes.subarray(0, IV_LENGTH), data: bytes.subarray(IV_LENGTH) };
  return decrypt(ciphertext, purpose, await keyOf(key));
}
