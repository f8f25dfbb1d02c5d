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

/** Whether a body, or a piece of one, holds a needle. Every ASCII byte is itself in UTF-8, also in the midst of what is none. */
export const bodyHoldsNeedle = (bytes: Uint8Array, needles: readonly string[]): boolean =>
  holdsNeedle(utf8.decode(bytes), needles);

const hex = (char: string): string => `%${char.charCodeAt(0).toString(16).toUpperCase()}`;

// Six times as fast as latin1 in workerd.
const utf8 = new TextDecoder();
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
