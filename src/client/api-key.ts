import { AuthenticationError } from "./errors.ts";

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/**
 * Checks the form of an API key without asking the server: `ak_`, 43 letters and digits, and 6 that are their CRC-32 in
 * base 62.
 *
 * @throws {AuthenticationError} `malformed_api_key`, as the server answers.
 */
export function checkApiKey(apiKey: string): void {
  const [, secret, checksum] = /^ak_([0-9A-Za-z]{43})([0-9A-Za-z]{6})$/.exec(apiKey) ?? [];
  if (secret && checksumOf(secret) === checksum) return;
  const message =
    "apiKey does not have the form of an API key: ak_ and 49 letters and digits, of which the last 6 are a checksum. Copy the key again, whole.";
  throw new AuthenticationError({ status: 401, code: "malformed_api_key", message });
}

function checksumOf(text: string): string {
  let crc = ~0;
  for (const char of text) {
    crc ^= char.charCodeAt(0);
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  let rest = ~crc >>> 0;
  let digits = "";
  for (let digit = 0; digit < 6; digit++) {
    digits = ALPHABET[rest % 62]! + digits;
    rest = Math.floor(rest / 62);
  }
  return digits;
}
