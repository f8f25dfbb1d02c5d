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

/**
 * Passes a body on until it holds a needle, then breaks it off before the needle's first byte.
 *
 * Held back is only what may be the beginning of a needle: an event that does not end like one arrives at once.
 */
export function echoGuard(needles: readonly string[], onEcho: () => void): TransformStream<Uint8Array, Uint8Array> {
  const longest = Math.max(...needles.map((needle) => needle.length));
  const starts = new Set(needles.map((needle) => needle.charCodeAt(0)));
  let held = new Uint8Array();

  /** Where the longest end of a text stands that some needle begins with; the text's length where none does. */
  function beginning(text: string): number {
    for (let at = Math.max(0, text.length - longest + 1); at < text.length; at++) {
      if (!starts.has(text.charCodeAt(at))) continue;
      const end = text.slice(at);
      if (needles.some((needle) => needle.startsWith(end))) return at;
    }
    return text.length;
  }

  return new TransformStream({
    transform(chunk, controller) {
      const bytes = held.length === 0 ? chunk : joined(held, chunk);
      // One character for each byte: what is found in the text stands in the bytes at the same place.
      const text = decoder.decode(bytes);
      if (holdsNeedle(text, needles)) {
        onEcho();
        controller.error(new Error("the answer held the credential"));
        return;
      }
      const end = beginning(text);
      if (end > 0) controller.enqueue(end === bytes.length ? bytes : bytes.slice(0, end));
      held = bytes.slice(end);
    },
    flush(controller) {
      if (held.length > 0) controller.enqueue(held);
    },
  });
}

function joined(one: Uint8Array, other: Uint8Array): Uint8Array {
  const both = new Uint8Array(one.length + other.length);
  both.set(one);
  both.set(other, one.length);
  return both;
}
