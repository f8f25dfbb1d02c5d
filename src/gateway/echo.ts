/** Shorter secrets would be found by chance. */
const SHORTEST = 8;

/**
 * The forms in which a secret could come back: as it is, escaped in JSON (also as for HTML), percent-encoded, and in base64
 * (both alphabets) at each of the three offsets that it can have in a longer text.
 */
export function needlesOf(secrets: readonly string[]): readonly string[] {
  const needles = new Set<string>();
  for (const secret of secrets) {
    const bytes = bytesOf(secret);
    const percent = encodeURIComponent(secret);
    const escaped = [
      percent,
      percent.replace(/[!'()*]/g, hex),
      secret.replace(/[<>&'+]/g, (char) => `\\u00${hex(char).slice(1)}`),
    ];
    // As a text, and one byte a character: the same for a secret in ASCII.
    const plain = [secret, latin1.decode(bytes)];
    const found = [
      ...plain,
      ...plain.map((text) => JSON.stringify(text).slice(1, -1)),
      ...plain.map((text) => text.replaceAll("/", "\\/")),
      ...escaped,
      ...escaped.map((text) => text.replace(/%..|u00../g, (code) => code.toLowerCase())),
    ];
    for (const offset of [0, 1, 2]) {
      // Only the characters that hang on the secret alone: not those shared with its neighbours.
      const from = Math.ceil((offset * 8) / 6);
      const to = Math.floor(((offset + bytes.length) * 8) / 6);
      const encoded = btoa("\0".repeat(offset) + String.fromCharCode(...bytes)).slice(from, to);
      found.push(encoded, encoded.replaceAll("+", "-").replaceAll("/", "_"));
    }
    for (const needle of found) if (needle.length >= SHORTEST) needles.add(needle);
  }
  return [...needles];
}

export const holdsNeedle = (text: string, needles: readonly string[]): boolean =>
  needles.some((needle) => text.includes(needle));

const searches = new WeakMap<readonly string[], (bytes: Uint8Array) => boolean>();

/** Whether a body, or a piece of one, holds a needle in UTF-8, also in the midst of what is none. */
export function bodyHoldsNeedle(bytes: Uint8Array, needles: readonly string[]): boolean {
  if (needles.length === 0) return false;
  let search = searches.get(needles);
  if (!search) searches.set(needles, (search = byteSearch(needles)));
  return search(bytes);
}

const WORD = 4;
const HASH_BITS = 13;
const hashOf = (word: number): number => Math.imul(word, 0x9e3779b1) >>> (32 - HASH_BITS);

/**
 * Looks at one word of four bytes in several, so far apart that whatever is as long as the shortest needle covers one of them:
 * where that word stands in no needle, no needle stands there. Otherwise the needle is compared byte by byte.
 */
function byteSearch(needles: readonly string[]): (bytes: Uint8Array) => boolean {
  const all = needles.map(bytesOf);
  const stride = Math.floor((Math.min(...all.map(({ length }) => length)) - WORD + 1) / WORD);
  const seen = new Uint8Array(1 << HASH_BITS);
  const places = new Map<number, [needle: Uint8Array, at: number][]>();
  for (const needle of all) {
    // A needle that is longer than the shortest covers a word already with its beginning.
    for (let at = 0; at < stride * WORD; at++) {
      const word = new Int32Array(needle.slice(at, at + WORD).buffer)[0]!;
      seen[hashOf(word)] = 1;
      places.set(word, [...(places.get(word) ?? []), [needle, at]]);
    }
  }
  return (bytes) => {
    // Words stand on a buffer's multiples of four.
    const { buffer, byteOffset, length } = bytes.byteOffset % WORD === 0 ? bytes : bytes.slice();
    const words = new Int32Array(buffer, byteOffset, Math.floor(length / WORD));
    for (let index = 0; index < words.length; index += stride) {
      const word = words[index]!;
      if (seen[hashOf(word)] === 0) continue;
      for (const [needle, at] of places.get(word) ?? []) {
        const from = index * WORD - at;
        if (needle.every((byte, offset) => bytes[from + offset] === byte)) return true;
      }
    }
    return false;
  };
}

const hex = (char: string): string => `%${char.charCodeAt(0).toString(16).toUpperCase()}`;

const latin1 = new TextDecoder("latin1");
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

/** What of a text may be passed on, or that it holds a needle. */
export type EchoVerdict = { readonly clear: number } | "echo";

/**
 * Looks for needles in a body that comes in pieces.
 *
 * Told everything that was not cleared before and what follows it, one byte a character, it clears all but what may be the
 * beginning of a needle: an event that does not end like one arrives at once.
 */
export function echoSearch(needles: readonly string[]): (bytes: Uint8Array) => EchoVerdict {
  const longest = Math.max(...needles.map((needle) => needle.length));
  const starts = new Set(needles.map((needle) => needle.charCodeAt(0)));
  return (bytes) => {
    if (bodyHoldsNeedle(bytes, needles)) return "echo";
    const from = Math.max(0, bytes.length - longest + 1);
    const tail = latin1.decode(bytes.subarray(from));
    for (let at = 0; at < tail.length; at++) {
      if (!starts.has(tail.charCodeAt(at))) continue;
      const end = tail.slice(at);
      if (needles.some((needle) => needle.startsWith(end))) return { clear: from + at };
    }
    return { clear: bytes.length };
  };
}
