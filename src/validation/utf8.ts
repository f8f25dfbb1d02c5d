/** Reused for each text: one that is not UTF-8 leaves nothing behind for the next. */
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Decodes UTF-8, a byte order mark included as a character. Returns undefined for bytes that are not UTF-8. */
export function decodeUtf8(bytes: ArrayBuffer | ArrayBufferView): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}
