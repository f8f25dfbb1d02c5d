const IV_LENGTH = 12;

const keyOf = (bytes: Uint8Array<ArrayBuffer>): Promise<CryptoKey> =>
  crypto.subtle.importKey("raw", bytes, "AES-GCM", false, ["encrypt", "decrypt"]);

const bytesOf = (text: string) => new TextEncoder().encode(text);

/**
 * Encrypts a text with AES-GCM.
 *
 * @param key 32 bytes.
 * @param purpose authenticated with it: a text that is sealed for one purpose cannot be opened for another.
 * @returns base64 of the nonce and the ciphertext.
 */
export async function seal(text: string, key: Uint8Array<ArrayBuffer>, purpose: string): Promise<string> {
  const iv = crypto.getRandomValues(new Uint8Array(IV_LENGTH));
  const parameters = { name: "AES-GCM", iv, additionalData: bytesOf(purpose) };
  const data = new Uint8Array(await crypto.subtle.encrypt(parameters, await keyOf(key), bytesOf(text)));
  return btoa(Array.from([...iv, ...data], (byte) => String.fromCharCode(byte)).join(""));
}

/** Decrypts what {@link seal} returned. @throws {Error} for another key or purpose, or a changed text. */
export async function open(sealed: string, key: Uint8Array<ArrayBuffer>, purpose: string): Promise<string> {
  const bytes = Uint8Array.from(atob(sealed), (char) => char.charCodeAt(0));
  const parameters = { name: "AES-GCM", iv: bytes.subarray(0, IV_LENGTH), additionalData: bytesOf(purpose) };
  const text = await crypto.subtle.decrypt(parameters, await keyOf(key), bytes.subarray(IV_LENGTH));
  return new TextDecoder().decode(text);
}
