import {
  CARRIAGE_RETURN,
  LINE_FEED,
  beginsLineBreak,
  byteOf,
  codeOf,
  INCOMPLETE,
  isBlank,
  lengthOf,
  escapesBeyondAscii,
  MARKER_NUMBER,
  MARKERS,
  mayBeEscape,
  mayContinue,
  mayStandBeside,
  MAX_DEPTH,
  MAX_ESCAPE,
  readByte,
  readDeeper,
  readLineBreak,
} from "./escapes.ts";

/** Shorter texts would be found by chance. In bytes. */
const MIN_LENGTH = 8;

/**
 * The texts as which a secret can appear in an answer, one character a byte: in UTF-8 and in encodings that are mistaken for it, in
 * hexadecimal, and in base64 (both alphabets) at each of the three offsets that it can have in a longer text.
 *
 * {@link containsSecret} and {@link secretScanner} find each of them also if characters of it are escaped or lines are broken.
 */
export type SecretEncodings = readonly string[];

/** Returns the encodings of these secrets to search for, without those that are too short. */
export function secretEncodings(secrets: readonly string[]): SecretEncodings {
  const encodings = new Set<string>();
  for (const secret of secrets) {
    const utf8 = toByteString(utf8Encoder.encode(secret));
    const utf16 = [utf16Of(secret, true).replace(/\0$/, ""), utf16Of(secret, false).replace(/^\0/, "")];
    const plain = [utf8, toByteString(utf8Encoder.encode(latin1.decode(toBytes(utf8))))];
    // The zeros of UTF-16 are read as a part of the character beside them.
    for (const text of utf16) plain.push(text.replaceAll("\0", ""));
    for (const text of plain) encodings.add(text).add(text.replaceAll(" ", "+"));
    const hex = Array.from(utf8, (byte) => byte.charCodeAt(0).toString(16).padStart(2, "0")).join("");
    encodings.add(hex).add(hex.toUpperCase());
    for (const text of [utf8, ...utf16]) {
      for (const offset of [0, 1, 2]) {
        // Only the characters that depend on the secret alone, and not on its neighbors.
        const from = Math.ceil((offset * 8) / 6);
        const to = Math.floor(((offset + text.length) * 8) / 6);
        const base64 = btoa("\0".repeat(offset) + text).slice(from, to);
        encodings.add(base64).add(base64.replaceAll("+", "-").replaceAll("/", "_"));
      }
    }
  }
  return [...encodings].filter(({ length }) => length >= MIN_LENGTH);
}

/** Returns the encodings in lower case, as the runtime writes the names of headers. */
export function inLowerCase(encodings: SecretEncodings): SecretEncodings {
  let lower = lowerCased.get(encodings);
  if (!lower) lowerCased.set(encodings, (lower = [...new Set(encodings.map((text) => text.toLowerCase()))]));
  return lower;
}

/** Returns whether a text, or a whole body, contains one of the encodings. */
export function containsSecret(text: string | Uint8Array, encodings: SecretEncodings): boolean {
  // A character of a text is three bytes of UTF-8 at the most.
  if (encodings.length === 0 || text.length * 3 < MIN_LENGTH) return false;
  const bytes = typeof text === "string" ? utf8Encoder.encode(text) : text;
  const { containsPlain, findEscaped } = searchFor(encodings);
  return containsPlain(bytes) || findEscaped(bytes, []) === "secret";
}

/** How many bytes may be passed on, or `secret` if they contain one. */
export type ScanResult = { readonly clear: number } | "secret";

/**
 * Returns a function that searches a body which arrives in chunks.
 *
 * It is called with all bytes that it has not cleared yet, followed by the next chunk. It clears everything except bytes that may be the
 * beginning of a secret, so an event that does not end like one is passed on at once.
 */
export function secretScanner(encodings: SecretEncodings): (bytes: Uint8Array) => ScanResult {
  const { containsPlain, findEscaped, findBeginning } = searchFor(encodings);
  let resumed: readonly Match[] = [];
  return (bytes) => {
    if (containsPlain(bytes)) return "secret";
    const begun = findEscaped(bytes, resumed);
    if (begun === "secret") return begun;
    findBeginning(bytes, begun);
    const { clear } = begun;
    // The bytes that are not cleared come again with the next chunk, and are searched again from the start.
    resumed = begun.resumable
      .filter(({ start }) => start < clear)
      .map(({ encoding, matched, start, at, afterBreak }) => {
        return { encoding, matched, start: start - clear, at: at - clear, afterBreak };
      });
    return { clear };
  };
}

/** If at least this many characters of a secret precede a line break, they are buffered until more bytes arrive. */
const MIN_BUFFERED_LINE = 8;

/** How much of an encoding has been matched, and where its rest is expected. */
interface Match {
  readonly encoding: Uint8Array;
  readonly matched: number;
  /** Where the match begins: negative in bytes that were passed on already. */
  readonly start: number;
  readonly at: number;
  /** Whether a line break was the last that was read. */
  readonly afterBreak: boolean;
}

/** The matches that may become a secret with the bytes that follow. */
interface Begun {
  /** The offset of the first match that has to be buffered. */
  clear: number;
  /** The matches that continue in the bytes that follow although they are not buffered. */
  resumable: Match[];
}

/** A position in an encoding. */
interface Place {
  readonly encoding: Uint8Array;
  readonly index: number;
}

interface Search {
  readonly containsPlain: (bytes: Uint8Array) => boolean;
  readonly findEscaped: (bytes: Uint8Array, resumed: readonly Match[]) => Begun | "secret";
  readonly findBeginning: (bytes: Uint8Array, begun: Begun) => void;
}

const searches = new WeakMap<SecretEncodings, Search>();
const lowerCased = new WeakMap<SecretEncodings, SecretEncodings>();

function searchFor(encodings: SecretEncodings): Search {
  let search = searches.get(encodings);
  if (!search) {
    const all = encodings.map(toBytes);
    searches.set(encodings, (search = { containsPlain: plainSearch(all), ...escapedSearch(all) }));
  }
  return search;
}

const WORD = 4;
const HASH_BITS = 13;
const hashOf = (word: number): number => Math.imul(word, 0x9e3779b1) >>> (32 - HASH_BITS);

/**
 * Finds encodings that are in the bytes without escapes or line breaks.
 *
 * It looks at words of four bytes that are so far apart that the shortest encoding covers one of them. If that word is in no encoding, no
 * encoding is there; otherwise the encoding is compared byte by byte.
 */
function plainSearch(encodings: readonly Uint8Array[]): (bytes: Uint8Array) => boolean {
  const stride = Math.floor((Math.min(...encodings.map(({ length }) => length)) - WORD + 1) / WORD);
  const seen = new Uint8Array(1 << HASH_BITS);
  const places = new Map<number, Place[]>();
  for (const encoding of encodings) {
    // A longer encoding covers such a word with its beginning already.
    for (let index = 0; index < stride * WORD; index++) {
      const word = new Int32Array(encoding.slice(index, index + WORD).buffer)[0]!;
      seen[hashOf(word)] = 1;
      places.set(word, [...(places.get(word) ?? []), { encoding, index }]);
    }
  }
  return (bytes) => {
    // A word begins at a multiple of four bytes of its buffer.
    const { buffer, byteOffset, length } = bytes.byteOffset % WORD === 0 ? bytes : bytes.slice();
    const words = new Int32Array(buffer, byteOffset, Math.floor(length / WORD));
    for (let at = 0; at < words.length; at += stride) {
      const word = words[at]!;
      if (seen[hashOf(word)] === 0) continue;
      for (const { encoding, index } of places.get(word) ?? []) {
        const from = at * WORD - index;
        if (encoding.every((byte, offset) => bytes[from + offset] === byte)) return true;
      }
    }
    return false;
  };
}

/**
 * Finds encodings of which at least one character is escaped or one line is broken.
 *
 * Every such encoding has a first escape (or line break), and the bytes in front of it are plain. So each marker that may begin an escape
 * is read; if its character occurs in an encoding, and the bytes in front of it are those of that encoding, the rest is matched. This is done only
 * in runs of bytes that can all belong to an encoding or an escape and that are at least as long as the shortest encoding.
 */
function escapedSearch(encodings: readonly Uint8Array[]): Pick<Search, "findEscaped" | "findBeginning"> {
  const places: Place[][] = Array.from({ length: 256 }, () => []);
  for (const encoding of encodings) encoding.forEach((byte, index) => places[byte]!.push({ encoding, index }));
  const beginnings = places.map((list) => list.filter(({ index }) => index === 0).map(({ encoding }) => encoding));
  const longest = Math.max(...encodings.map(({ length }) => length));
  /** For the number of a marker and the byte beside it: 1 if they may begin an escape or a line break that matters. */
  const neighbors = new Uint8Array((MARKERS.length + 1) << 8);
  const isWanted = (byte: number) => places[byte]!.length > 0;
  for (const marker of MARKERS) {
    const row = neighbors.subarray(MARKER_NUMBER[marker]! << 8);
    for (let byte = 0; byte < 256; byte++) row[byte] = mayStandBeside(marker, byte, isWanted) ? 1 : 0;
  }
  /** For each byte: 1 if it is in no encoding and in no escape, and 2 if that depends on the byte before it. */
  const breakers = Uint8Array.from({ length: 256 }, (_, byte) =>
    isWanted(byte) ? 0 : byte === 0 || isBlank(byte) ? 2 : mayBeEscape(byte) ? 0 : 1,
  );
  const shortest = Math.min(...encodings.map(({ length }) => length));

  const isBreaker = (bytes: Uint8Array, at: number): boolean => {
    const breaker = breakers[bytes[at]!]!;
    return breaker === 1 || (breaker === 2 && !mayContinue(bytes, at));
  };
  function lastBreaker(bytes: Uint8Array, start: number, end: number): number {
    let at = end - 1;
    while (at >= start && !isBreaker(bytes, at)) at--;
    return at;
  }
  /** Returns whether a marker is beside a byte with which it may begin an escape or a line break that matters. */
  function isCandidate(bytes: Uint8Array, at: number): boolean {
    const isBreak = bytes[at] === LINE_FEED || bytes[at] === CARRIAGE_RETURN;
    return neighbors[(MARKER_NUMBER[bytes[at]!]! << 8) | bytes[isBreak ? at - 1 : at + 1]!] === 1;
  }
  const isAscii = encodings.every((encoding) => encoding.every((byte) => byte < 0x80));

  function placesOf(code: number): readonly Place[] {
    const byte = byteOf(code);
    if (byte !== undefined) return places[byte]!;
    return isAscii ? [] : places[bytesOf(code)[0]!]!;
  }

  /** Matches what follows an escape or a line break. Returns true if a secret ends there. */
  function continues(bytes: Uint8Array, match: Match, begun: Begun): boolean {
    const result = matchFrom(bytes, match);
    if (result === "secret") return true;
    if (result === "incomplete") {
      const isPassedOn = match.start < 0;
      begun.clear = Math.min(begun.clear, isPassedOn ? match.at : match.start);
      if (isPassedOn) begun.resumable.push(match);
    } else if (typeof result === "number") {
      begun.resumable.push({ ...match, matched: result, at: bytes.length, afterBreak: true });
    }
    return false;
  }

  /** Tries a marker as the first escape of a secret, and then as its first line break. */
  function beginsSecret(bytes: Uint8Array, at: number, begun: Begun): boolean {
    if (isAscii && escapesBeyondAscii(bytes, at)) return false;
    let before: number | undefined;
    let character = readByte(bytes, at);
    for (let depth = 0; character !== before && character !== INCOMPLETE; depth++) {
      const code = codeOf(character);
      const length = lengthOf(character);
      if (length > 1) {
        for (const { encoding, index } of placesOf(code)) {
          const matched = index + matchingBytes(encoding, index, code);
          if (matched === index || !endsWith(bytes, at, encoding, index)) continue;
          const match = { encoding, matched, start: at - index, at: at + length, afterBreak: false };
          if (continues(bytes, match, begun)) return true;
        }
      }
      if (beginsLineBreak(code) && breaksLine(bytes, at, begun)) return true;
      if (depth === MAX_DEPTH) return false;
      before = character;
      character = readDeeper(bytes, at, character, depth);
    }
    return false;
  }

  /** Tries a line break between two characters of a secret of which the first is plain. */
  function breaksLine(bytes: Uint8Array, at: number, begun: Begun): boolean {
    const before = at > 0 ? places[bytes[at - 1]!]! : [];
    const length = before.length > 0 ? readLineBreak(bytes, at) : 0;
    if (length <= 0) return false;
    for (const { encoding, index } of before) {
      const matched = index + 1;
      if (matched === encoding.length || !endsWith(bytes, at, encoding, matched)) continue;
      const match = { encoding, matched, start: at - matched, at: at + length, afterBreak: true };
      if (continues(bytes, match, begun)) return true;
    }
    return false;
  }

  return {
    findEscaped(bytes, resumed) {
      const begun: Begun = { clear: bytes.length, resumable: [] };
      for (const match of resumed) {
        let { at } = match;
        while (at < bytes.length && isBlank(bytes[at]!) && bytes[at] !== match.encoding[match.matched]) at++;
        if (continues(bytes, { ...match, at }, begun)) return "secret";
      }
      for (let start = 0; start + shortest <= bytes.length;) {
        // Compares from the end, so that most windows are rejected after one word.
        const inner = lastBreaker(bytes, start, start + shortest);
        if (inner >= start) {
          start = inner + 1;
          continue;
        }
        let end = start + shortest;
        while (end < bytes.length && !isBreaker(bytes, end)) end++;
        const numbers = MARKER_NUMBER;
        for (let at = start; at < end; at++) {
          if (numbers[bytes[at]!] !== 0 && isCandidate(bytes, at) && beginsSecret(bytes, at, begun)) return "secret";
        }
        start = end + 1;
      }
      return begun;
    },
    findBeginning(bytes, begun) {
      // A match that begins before this offset and was not found is plain and too long, or its escape has been read already.
      const first = Math.max(0, bytes.length - longest - MAX_ESCAPE);
      for (let at = lastBreaker(bytes, first, bytes.length) + 1; at < begun.clear; at++) {
        const byte = bytes[at]!;
        const isMarker = MARKER_NUMBER[byte] !== 0;
        const next = at + 1 < bytes.length ? bytes[at + 1]! : undefined;
        for (const encoding of isMarker ? encodings : beginnings[byte]!) {
          // The second byte is enough to reject most of them.
          const goesOn = next === undefined || next === encoding[1] || MARKER_NUMBER[next] !== 0;
          if (!goesOn && !isMarker) continue;
          continues(bytes, { encoding, matched: 0, start: at, at, afterBreak: false }, begun);
        }
      }
    },
  };
}

/** Returns whether the bytes before an offset are the beginning of an encoding, of this length. */
function endsWith(bytes: Uint8Array, at: number, encoding: Uint8Array, length: number): boolean {
  for (let back = 1; back <= length; back++) if (bytes[at - back] !== encoding[length - back]) return false;
  return true;
}

/**
 * Matches the rest of an encoding, in which each character may be escaped or not and a line may break before each.
 *
 * @returns "secret" if all of it matches, "incomplete" if the bytes end too early to know, undefined if other bytes are there. If
 *   the bytes end with a line break after few characters, how many characters matched.
 */
function matchFrom(bytes: Uint8Array, match: Match): "secret" | "incomplete" | number | undefined {
  const { encoding } = match;
  let result: "incomplete" | number | undefined;
  const states: Pick<Match, "at" | "matched" | "afterBreak">[] = [match];
  let tried: Set<number> | undefined;
  for (let state = states.pop(); state; state = states.pop()) {
    let { at, matched, afterBreak } = state;
    while (matched < encoding.length && bytes[at] === encoding[matched] && MARKER_NUMBER[bytes[at]!] === 0) {
      at++;
      matched++;
      afterBreak = false;
    }
    if (matched === encoding.length) return "secret";
    if (at === bytes.length) {
      if (!afterBreak || matched >= MIN_BUFFERED_LINE) result = "incomplete";
      else result ??= matched;
      continue;
    }
    if (MARKER_NUMBER[bytes[at]!] === 0) continue;
    // A marker can be itself or begin an escape. Both are tried once, so the time is bounded by the length of the text.
    const key = at * encoding.length + matched;
    if (tried?.has(key)) continue;
    (tried ??= new Set()).add(key);
    let before: number | undefined;
    let character = readByte(bytes, at);
    for (let depth = 0; character !== before; depth++) {
      if (character === INCOMPLETE) {
        result = "incomplete";
        break;
      }
      const code = codeOf(character);
      const count = matchingBytes(encoding, matched, code);
      if (count > 0) states.push({ at: at + lengthOf(character), matched: matched + count, afterBreak: false });
      if (beginsLineBreak(code) && matched > 0 && !afterBreak) {
        const length = readLineBreak(bytes, at);
        if (length === INCOMPLETE) result = "incomplete";
        else if (length > 0) states.push({ at: at + length, matched, afterBreak: true });
      }
      if (depth === MAX_DEPTH) break;
      before = character;
      character = readDeeper(bytes, at, character, depth);
    }
  }
  return result;
}

/** Returns how many bytes of an encoding a character matches at that index; 0 if it is another character. */
function matchingBytes(encoding: Uint8Array, index: number, code: number): number {
  const byte = byteOf(code);
  if (byte !== undefined) return encoding[index] === byte ? 1 : 0;
  const bytes = bytesOf(code);
  return bytes.every((byte, offset) => encoding[index + offset] === byte) ? bytes.length : 0;
}

/** Returns the bytes of a code in UTF-8. */
function bytesOf(code: number): ArrayLike<number> & Iterable<number> & Pick<Uint8Array, "every"> {
  const byte = byteOf(code);
  return byte === undefined ? utf8Encoder.encode(String.fromCodePoint(code)) : Uint8Array.of(byte);
}

const utf8Encoder = new TextEncoder();
const latin1 = new TextDecoder("latin1");

const toBytes = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0));
const toByteString = (bytes: Uint8Array): string => Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");

/** UTF-16, one byte a character. */
function utf16Of(text: string, littleEndian: boolean): string {
  const bytes = new Uint8Array(text.length * 2);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < text.length; at++) view.setUint16(at * 2, text.charCodeAt(at), littleEndian);
  return toByteString(bytes);
}
