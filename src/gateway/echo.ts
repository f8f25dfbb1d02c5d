/** Shorter secrets would be found by chance. */
const SHORTEST = 8;

/**
 * The forms in which a secret could come back: as it is, escaped in JSON, percent-encoded, and in base64 (both alphabets) at
 * each of the three offsets that it can have in a longer text.
 */
export function needlesOf(secrets: readonly string[]): readonly string[] {
  const needles = new Set<string>();
  for (const secret of secrets) {
    const bytes = bytesOf(secret);
    const plain = decoder.decode(bytes);
    const percent = encodeURIComponent(secret);
    const found = [
      plain,
      JSON.stringify(plain).slice(1, -1),
      plain.replaceAll("/", "\\/"),
      percent,
      percent.replace(/%../g, (code) => code.toLowerCase()),
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

const decoder = new TextDecoder("latin1");
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
    const text = decoder.decode(bytes);
    if (holdsNeedle(text, needles)) return "echo";
    for (let at = Math.max(0, text.length - longest + 1); at < text.length; at++) {
      if (!starts.has(text.charCodeAt(at))) continue;
      const end = text.slice(at);
      if (needles.some((needle) => needle.startsWith(end))) return { clear: at };
    }
    return { clear: text.length };
  };
}
