const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const COMMA = 0x2c;

/** The longest string, in bytes, that is buffered until it is complete. A longer string is not a key of a pointer, and not a link that is passed on. */
const MAX_STRING_BYTES = 16 * 1024;

/**
 * Replaces a link that the agent must not get. No client can fetch it, so following it fails. With null, a client would assume that there
 * is no further page.
 */
const NO_LINK = new TextEncoder().encode('"about:invalid"');

export interface LinkRewriter {
  /** Returns the bytes to pass on after the next chunk: slices of it, and rewritten links. */
  push(chunk: Uint8Array): Uint8Array[];
  /** Returns the buffered bytes if the response ended in the middle of a string. */
  rest(): Uint8Array;
}

/**
 * Returns a rewriter of the links at these pointers (RFC 6901) in a JSON answer that arrives in chunks. Every other byte stays as it is.
 *
 * It buffers at most one key or one link, so that an answer of any size can be streamed. Only objects are searched.
 *
 * @param resolve returns the link that replaces one. If it returns undefined, or the string is malformed or longer than a link may be,
 *   `about:invalid` replaces it.
 */
export function linkRewriter(pointers: readonly string[], resolve: (url: string) => string | undefined): LinkRewriter {
  const wanted = new Set(pointers);
  const deepest = Math.max(...pointers.map((pointer) => pointer.split("/").length - 1));
  /** For each depth, down to the deepest that matters: whether it is an object, and the pointer of the member that is being read. */
  const objects: boolean[] = [false];
  const places: (string | undefined)[] = [""];
  let depth = 0;
  let keyNext = false;
  let inText = false;
  let escaped = false;
  let buffered: number[] | undefined;
  /** Whether the rest of a string is dropped, because it has been replaced already. */
  let skipping = false;

  /** Returns the replacement of a complete string, or undefined if it stays as it is. */
  function replacement(text: readonly number[]): Uint8Array | undefined {
    const value = parse(Uint8Array.from(text));
    if (keyNext) {
      places[depth] =
        value === undefined ? undefined : `${places[depth - 1]}/${value.replaceAll("~", "~0").replaceAll("/", "~1")}`;
      return undefined;
    }
    // Some APIs write an empty string if there is no link.
    if (value === "") return undefined;
    const link = value === undefined ? undefined : resolve(value);
    if (link === undefined) return NO_LINK;
    return link === value ? undefined : new TextEncoder().encode(JSON.stringify(link));
  }

  return {
    push(chunk) {
      const passed: Uint8Array[] = [];
      let sent = 0;
      /** Where the buffered string begins in this chunk; negative if it begins in an earlier one. */
      let bufferedFrom = -1;
      for (let at = 0; at < chunk.length; at++) {
        const byte = chunk[at]!;
        if (inText) {
          buffered?.push(byte);
          const ends = byte === QUOTE && !escaped;
          escaped = byte === BACKSLASH && !escaped;
          if (buffered && (ends || buffered.length > MAX_STRING_BYTES)) {
            const link = replacement(buffered);
            skipping = link !== undefined && !ends;
            if (link || bufferedFrom < 0) {
              if (bufferedFrom > sent) passed.push(chunk.subarray(sent, bufferedFrom));
              passed.push(link ?? Uint8Array.from(buffered));
              sent = at + 1;
            }
            buffered = undefined;
          }
          if (!ends) continue;
          if (skipping) sent = at + 1;
          inText = keyNext = skipping = false;
        } else if (byte === QUOTE) {
          inText = true;
          const matters = keyNext ? places[depth - 1] !== undefined : wanted.has(places[depth] ?? "");
          if (depth > deepest || !matters) continue;
          buffered = [byte];
          bufferedFrom = at;
        } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
          keyNext = byte === OPEN_OBJECT;
          if (++depth > deepest) continue;
          objects[depth] = keyNext;
          places[depth] = undefined;
        } else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) {
          depth = Math.max(0, depth - 1);
        } else if (byte === COMMA) {
          keyNext = objects[depth] === true;
        }
      }
      const end = buffered ? Math.max(0, bufferedFrom) : skipping ? sent : chunk.length;
      if (end > sent) passed.push(chunk.subarray(sent, end));
      return passed;
    },
    rest: () => Uint8Array.from(buffered ?? []),
  };
}

/** Returns the value of a JSON string, or undefined if it is malformed. */
function parse(bytes: Uint8Array): string | undefined {
  try {
    return String(JSON.parse(new TextDecoder().decode(bytes)));
  } catch {
    return undefined;
  }
}
