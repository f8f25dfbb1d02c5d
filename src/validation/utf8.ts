/** Decodes UTF-8, a byte order mark included as a character. Returns undefined for bytes that are not UTF-8. */
export function decodeUtf8(bytes: ArrayBuffer | ArrayBufferView): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}
