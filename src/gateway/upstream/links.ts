const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const COMMA = 0x2c;

/** A text, in bytes, that is held back until it is whole. A longer one is no key that a pointer names, and no link that passes. */
const MAX_STRING_BYTES = 16 * 1024;

/**
 * What comes in the place of a link that the agent may not get. No client can call it, so that whoever follows it fails: null
 * would say that there is no further page.
 */
const NO_LINK = new TextEncoder().encode('"about:invalid"');

export interface LinkRewriter {
  /** What to pass on, given the next piece: slices of it, and links in the place of others. */
  push(chunk: Uint8Array): Uint8Array[];
  /** What was held back when the answer ended in the middle of a text. */
  rest(): Uint8Array;
}

/**
 * Rewrites the links at these pointers (RFC 6901) in a JSON answer that comes in pieces; every other byte stays as it is.
 *
 * Nothing but one key or one link is ever held back, so that an answer of any size streams. Only objects are looked into.
 *
 * @param resolve the link that comes in place of one; if it returns undefined, or the text is no JSON string or longer than a link
 *   may be, `about:invalid` does.
 */
export function linkRewriter(pointers: readonly string[], resolve: (url: string) => string | undefined): LinkRewriter {
  const wanted = new Set(pointers);
  const deepest = Math.max(...pointers.map((pointer) => pointer.split("/").length - 1));
  /** By depth, down to the deepest that matters: whether it is an object, and the pointer of its member that is being read. */
  const objects: boolean[] = [false];
  const places: (string | undefined)[] = [""];
  let depth = 0;
  let keyNext = false;
  let inText = false;
  let escaped = false;
  let held: number[] | undefined;
  /** In a text that something else has come in place of already. */
  let skipping = false;

  /** What comes in the place of a text that has ended; undefined where it stays. */
  function replacement(text: readonly number[]): Uint8Array | undefined {
    const value = parse(Uint8Array.from(text));
    if (keyNext) {
      places[depth] =
        value === undefined ? undefined : `${places[depth - 1]}/${value.replaceAll("~", "~0").replaceAll("/", "~1")}`;
      return undefined;
    }
    // An empty text is how some say that there is no link.
    if (value === "") return undefined;
    const link = value === undefined ? undefined : resolve(value);
    if (link === undefined) return NO_LINK;
    return link === value ? undefined : new TextEncoder().encode(JSON.stringify(link));
  }

  return {
    push(chunk) {
      const passed: Uint8Array[] = [];
      let sent = 0;
      /** Where the held text began; negative for an earlier chunk. */
      let heldFrom = -1;
      for (let at = 0; at < chunk.length; at++) {
        const byte = chunk[at]!;
        if (inText) {
          held?.push(byte);
          const ends = byte === QUOTE && !escaped;
          escaped = byte === BACKSLASH && !escaped;
          if (held && (ends || held.length > MAX_STRING_BYTES)) {
            const link = replacement(held);
            skipping = link !== undefined && !ends;
            if (link || heldFrom < 0) {
              if (heldFrom > sent) passed.push(chunk.subarray(sent, heldFrom));
              passed.push(link ?? Uint8Array.from(held));
              sent = at + 1;
            }
            held = undefined;
          }
          if (!ends) continue;
          if (skipping) sent = at + 1;
          inText = keyNext = skipping = false;
        } else if (byte === QUOTE) {
          inText = true;
          const matters = keyNext ? places[depth - 1] !== undefined : wanted.has(places[depth] ?? "");
          if (depth > deepest || !matters) continue;
          held = [byte];
          heldFrom = at;
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
      const end = held ? Math.max(0, heldFrom) : skipping ? sent : chunk.length;
      if (end > sent) passed.push(chunk.subarray(sent, end));
      return passed;
    },
    rest: () => Uint8Array.from(held ?? []),
  };
}

/** The text that a JSON string says; undefined where it is none. */
function parse(bytes: Uint8Array): string | undefined {
  try {
    return String(JSON.parse(new TextDecoder().decode(bytes)));
  } catch {
    return undefined;
  }
}
