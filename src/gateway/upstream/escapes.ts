/**
 * Reads single characters of a text in whichever way encoders escape them. Pure: no state, and nothing is copied.
 *
 * Understood are JSON and JavaScript (`\u003d`, `\x3d`, `\/`), percent-encoding (RFC 3986 §2.1, also `%u003d`), HTML character
 * references, quoted-printable (RFC 2045 §6.7), UTF-16 and UTF-32 of ASCII, and these inside each other, as in JSON that contains HTML.
 */

const BACKSLASH = 0x5c;
const PERCENT = 0x25;
const AMPERSAND = 0x26;
const EQUALS = 0x3d;
const NUMBER_SIGN = 0x23;
const SEMICOLON = 0x3b;
export const CARRIAGE_RETURN = 0x0d;
export const LINE_FEED = 0x0a;
const TAB = 0x09;
const SPACE = 0x20;
const DIGIT_ZERO = 0x30;
const LOWER_U = 0x75;
const UPPER_U = 0x55;
const LOWER_X = 0x78;
const UPPER_X = 0x58;

/** How deep escapes may be nested: `\\u0026amp;` is three deep. */
export const MAX_DEPTH = 3;

/** The longest text, in bytes, that is read as one character. */
export const MAX_ESCAPE = 96;

/** The most spaces and tabs that a line may be indented with. */
const MAX_INDENTATION = 32;

/** Returned if the bytes end before a character is complete. */
export const INCOMPLETE = -1;

/** Returned if no escape begins there. */
const NO_ESCAPE = 0;

/** Added to the code of a byte that is not ASCII, to distinguish it from a code point: such a byte is only a part of a character. */
const BYTE = 0x110000;

const CODE_BITS = 21;
const CODE_MASK = (1 << CODE_BITS) - 1;

const characterOf = (length: number, code: number): number => (length << CODE_BITS) | code;

/** Returns the length in bytes of a character that was read. */
export const lengthOf = (character: number): number => character >> CODE_BITS;

/** Returns the code of a character that was read: a code point, unless {@link byteOf} returns that it is a single byte. */
export const codeOf = (character: number): number => character & CODE_MASK;

/** Returns the byte of a code: ASCII, or a part of a longer character. Undefined for a code point outside of ASCII. */
export const byteOf = (code: number): number | undefined =>
  code < 0x80 ? code : code >= BYTE ? code - BYTE : undefined;

/** Returns whether a code begins an escape. */
const beginsEscape = (code: number): boolean =>
  code === BACKSLASH || code === PERCENT || code === AMPERSAND || code === EQUALS;

/** Returns whether a code may begin a line break. `=` does in quoted-printable. */
export const beginsLineBreak = (code: number): boolean =>
  code === LINE_FEED || code === CARRIAGE_RETURN || code === EQUALS;

/** The bytes with which an escape or a line break may begin. */
export const MARKERS: readonly number[] = [BACKSLASH, PERCENT, AMPERSAND, EQUALS, LINE_FEED, CARRIAGE_RETURN, 0];

/** For each byte, the number of the marker that it is, from 1; 0 if it is not a marker. */
export const MARKER_NUMBER: Uint8Array = Uint8Array.from({ length: 256 }, (_, byte) => MARKERS.indexOf(byte) + 1);

/**
 * Returns whether a byte may follow a marker in an escape or precede a line break. This check avoids reading most markers that begin no
 * escape.
 *
 * @param isWanted whether a byte is one of those that are looked for.
 */
export function mayStandBeside(marker: number, byte: number, isWanted: (byte: number) => boolean): boolean {
  if (marker === LINE_FEED || marker === CARRIAGE_RETURN) return isWanted(byte);
  if (MARKER_NUMBER[byte] !== 0) return true;
  switch (marker) {
    case BACKSLASH:
      return isAlphanumeric(byte) ? "uUxnrt".includes(String.fromCharCode(byte)) : isWanted(byte);
    case PERCENT:
      return byte === LOWER_U || digitOf(byte, 16) !== undefined;
    case EQUALS:
      return digitOf(byte, 16) !== undefined;
    case AMPERSAND:
      return byte === NUMBER_SIGN || REFERENCES_BY_INITIAL.has(byte);
    default:
      return isWanted(byte);
  }
}

/**
 * Reads the character at an offset, and undoes up to this many nested escapes.
 *
 * @returns to be read by {@link lengthOf} and {@link codeOf}, or {@link INCOMPLETE}.
 */
function readCharacter(bytes: Uint8Array, at: number, depth: number): number {
  let character = readByte(bytes, at);
  for (let undone = 0; undone < depth && character !== INCOMPLETE; undone++) {
    const next = readDeeper(bytes, at, character, undone);
    if (next === character) break;
    character = next;
  }
  return character;
}

/**
 * Undoes one more level of escapes of a character that was read with this many levels undone.
 *
 * @returns the same character if it begins no escape.
 */
export function readDeeper(bytes: Uint8Array, at: number, character: number, depth: number): number {
  if (!beginsEscape(codeOf(character))) return character;
  const escaped = readEscape(bytes, at, character, depth);
  return escaped === NO_ESCAPE || lengthOf(escaped) > MAX_ESCAPE ? character : escaped;
}

/** Reads a character that is not escaped. UTF-16 and UTF-32 are the bytes of ASCII with one or three zeros between them, whichever comes first. */
export function readByte(bytes: Uint8Array, at: number): number {
  let from = at;
  while (from < at + 3 && bytes[from] === 0) from++;
  const byte = bytes[from];
  if (byte === undefined) return INCOMPLETE;
  return characterOf(from - at + 1, byte < 0x80 ? byte : BYTE + byte);
}

function readEscape(bytes: Uint8Array, start: number, marker: number, depth: number): number {
  const at = start + lengthOf(marker);
  switch (codeOf(marker)) {
    case BACKSLASH:
      return readBackslash(bytes, start, at, depth);
    case PERCENT: {
      const next = readCharacter(bytes, at, depth);
      if (next === INCOMPLETE) return INCOMPLETE;
      return codeOf(next) === LOWER_U
        ? readHex(bytes, start, at + lengthOf(next), depth, 4)
        : readHex(bytes, start, at, depth, 2);
    }
    case AMPERSAND:
      return readReference(bytes, start, at, depth);
    default:
      return readHex(bytes, start, at, depth, 2);
  }
}

/** The control characters that n, r and t encode after a backslash. */
const CONTROLS: ReadonlyMap<number, number> = new Map([
  [0x6e, LINE_FEED],
  [0x72, CARRIAGE_RETURN],
  [0x74, TAB],
]);

function readBackslash(bytes: Uint8Array, start: number, at: number, depth: number): number {
  const plain = readByte(bytes, at);
  // A character that could begin another kind of escape is the escaped character itself: `\=` is not quoted-printable.
  const isEscaped = beginsEscape(codeOf(plain)) && codeOf(plain) !== BACKSLASH;
  const next = isEscaped ? plain : readCharacter(bytes, at, depth);
  if (next === INCOMPLETE) return INCOMPLETE;
  const after = at + lengthOf(next);
  const code = codeOf(next);
  if (code === LOWER_U) return readCodeUnits(bytes, start, after, depth);
  if (code === UPPER_U) return readHex(bytes, start, after, depth, 8);
  if (code === LOWER_X) return readHex(bytes, start, after, depth, 2);
  const control = CONTROLS.get(code);
  if (control !== undefined) return characterOf(after - start, control);
  return isAlphanumeric(code) ? NO_ESCAPE : characterOf(after - start, code);
}

/** Returns whether a plain `\uXXXX` encodes a character outside of ASCII. This check is fast, because whole texts are written in such escapes. */
export function escapesBeyondAscii(bytes: Uint8Array, at: number): boolean {
  if (bytes[at] !== BACKSLASH || bytes[at + 1] !== LOWER_U) return false;
  const high = digitOf(bytes[at + 2] ?? 0, 16);
  const low = digitOf(bytes[at + 3] ?? 0, 16);
  return high !== undefined && low !== undefined && high + low > 0;
}

/** Reads four hexadecimal digits, or two escapes of four for a character with two code units in UTF-16. */
function readCodeUnits(bytes: Uint8Array, start: number, at: number, depth: number): number {
  const high = readHex(bytes, start, at, depth, 4);
  if (high <= 0 || codeOf(high) >> 10 !== 0xd800 >> 10) return high;
  const second = start + lengthOf(high);
  const backslash = readCharacter(bytes, second, depth);
  if (backslash === INCOMPLETE) return INCOMPLETE;
  const letter = readCharacter(bytes, second + lengthOf(backslash), depth);
  if (letter === INCOMPLETE) return INCOMPLETE;
  if (codeOf(backslash) !== BACKSLASH || codeOf(letter) !== LOWER_U) return NO_ESCAPE;
  const low = readHex(bytes, start, second + lengthOf(backslash) + lengthOf(letter), depth, 4);
  if (low <= 0) return low;
  return characterOf(lengthOf(low), 0x10000 + ((codeOf(high) & 0x3ff) << 10) + (codeOf(low) & 0x3ff));
}

/** Reads this many hexadecimal digits: two are a byte, more are a code point. */
function readHex(bytes: Uint8Array, start: number, at: number, depth: number, digits: number): number {
  let code = 0;
  for (let count = 0; count < digits; count++) {
    const digit = readCharacter(bytes, at, depth);
    if (digit === INCOMPLETE) return INCOMPLETE;
    const value = digitOf(codeOf(digit), 16);
    if (value === undefined) return NO_ESCAPE;
    code = code * 16 + value;
    at += lengthOf(digit);
  }
  if (code > 0x10ffff) return NO_ESCAPE;
  return characterOf(at - start, digits === 2 && code >= 0x80 ? BYTE + code : code);
}

/** The character references of HTML for ASCII, without letters and digits, and for line breaks. */
const REFERENCES = Object.entries({
  Tab: "\t",
  NewLine: "\n",
  excl: "!",
  quot: '"',
  QUOT: '"',
  num: "#",
  dollar: "$",
  percnt: "%",
  amp: "&",
  AMP: "&",
  apos: "'",
  lpar: "(",
  rpar: ")",
  ast: "*",
  midast: "*",
  plus: "+",
  comma: ",",
  period: ".",
  sol: "/",
  colon: ":",
  semi: ";",
  lt: "<",
  LT: "<",
  equals: "=",
  gt: ">",
  GT: ">",
  quest: "?",
  commat: "@",
  lsqb: "[",
  lbrack: "[",
  bsol: "\\",
  rsqb: "]",
  rbrack: "]",
  Hat: "^",
  lowbar: "_",
  UnderBar: "_",
  grave: "`",
  DiacriticalGrave: "`",
  lcub: "{",
  lbrace: "{",
  verbar: "|",
  vert: "|",
  VerticalLine: "|",
  rcub: "}",
  rbrace: "}",
}).map(([name, text]) => ({ name: `${name};`, code: text.charCodeAt(0) }));
const REFERENCES_BY_INITIAL = Map.groupBy(REFERENCES, ({ name }) => name.charCodeAt(0));
/** Enough digits for the largest code point in decimal, with leading zeros. */
const MAX_DIGITS = 10;

/** Reads the part of a character reference after the `&`: a number or a name. */
function readReference(bytes: Uint8Array, start: number, at: number, depth: number): number {
  const first = readCharacter(bytes, at, depth);
  if (first === INCOMPLETE) return INCOMPLETE;
  const next = at + lengthOf(first);
  if (codeOf(first) === NUMBER_SIGN) return readNumber(bytes, start, next, depth);
  for (const { name, code } of REFERENCES_BY_INITIAL.get(codeOf(first)) ?? []) {
    const end = endOfName(bytes, next, depth, name);
    if (end === INCOMPLETE) return INCOMPLETE;
    if (end !== undefined) return characterOf(end - start, code);
  }
  return NO_ESCAPE;
}

/** Returns the offset at which a name ends whose first letter was read, or undefined if the text has another name. */
function endOfName(bytes: Uint8Array, at: number, depth: number, name: string): number | undefined {
  for (let index = 1; index < name.length; index++) {
    const character = readCharacter(bytes, at, depth);
    if (character === INCOMPLETE) return INCOMPLETE;
    if (codeOf(character) !== name.charCodeAt(index)) return undefined;
    at += lengthOf(character);
  }
  return at;
}

function readNumber(bytes: Uint8Array, start: number, at: number, depth: number): number {
  let radix = 10;
  let value = 0;
  for (let count = 0; count <= MAX_DIGITS; count++) {
    const character = readCharacter(bytes, at, depth);
    if (character === INCOMPLETE) return INCOMPLETE;
    at += lengthOf(character);
    const code = codeOf(character);
    if (count === 0 && radix === 10 && (code === LOWER_X || code === UPPER_X)) {
      radix = 16;
      count = -1;
      continue;
    }
    if (code === SEMICOLON && count > 0) return characterOf(at - start, value);
    const digit = digitOf(code, radix);
    if (digit === undefined) return NO_ESCAPE;
    value = value * radix + digit;
    if (value > 0x10ffff) return NO_ESCAPE;
  }
  return NO_ESCAPE;
}

/**
 * Reads one line break and the indentation after it, as encoders put them into a text that is too long for a line: also escaped, and
 * as the soft line break of quoted-printable.
 *
 * @returns its length in bytes, 0 if there is none, or {@link INCOMPLETE}.
 */
export function readLineBreak(bytes: Uint8Array, start: number): number {
  let at = start;
  let character = readCharacter(bytes, at, MAX_DEPTH);
  if (character !== INCOMPLETE && codeOf(character) === EQUALS) {
    at += lengthOf(character);
    character = readCharacter(bytes, at, MAX_DEPTH);
  }
  if (character === INCOMPLETE) return INCOMPLETE;
  const code = codeOf(character);
  if (code !== CARRIAGE_RETURN && code !== LINE_FEED) return 0;
  at += lengthOf(character);
  character = readCharacter(bytes, at, MAX_DEPTH);
  if (code === CARRIAGE_RETURN) {
    if (character === INCOMPLETE) return INCOMPLETE;
    if (codeOf(character) === LINE_FEED) {
      at += lengthOf(character);
      character = readCharacter(bytes, at, MAX_DEPTH);
    }
  }
  for (let count = 0; count < MAX_INDENTATION; count++) {
    if (character === INCOMPLETE || !isBlank(codeOf(character))) break;
    at += lengthOf(character);
    character = readCharacter(bytes, at, MAX_DEPTH);
  }
  return at - start;
}

/** Returns whether a byte is used to indent a line. */
export const isBlank = (code: number): boolean => code === SPACE || code === TAB;

/**
 * Returns whether a zero or a blank may continue a text: a zero as a part of UTF-16 or UTF-32, which never have four in a row, and a blank
 * as the indentation after a line break, which may be escaped.
 */
export function mayContinue(bytes: Uint8Array, at: number): boolean {
  if (bytes[at] === 0) return bytes[at - 1] !== 0 || bytes[at - 2] !== 0 || bytes[at - 3] !== 0;
  let before = at - 1;
  while (before >= 0 && isBlank(bytes[before]!)) if (at - before-- > MAX_INDENTATION) return false;
  const last = bytes[before];
  const previous = bytes[before - 1];
  switch (last === undefined ? undefined : String.fromCharCode(last)) {
    case "n":
    case "r":
      return previous === BACKSLASH;
    case "a":
    case "A":
    case "d":
    case "D":
      return previous === DIGIT_ZERO;
    case "\n":
    case "\r":
    case ";":
    case "\0":
    case undefined:
      return true;
    default:
      return false;
  }
}

/** Returns whether a byte may be a part of an escape: a marker, or a byte after one. */
export const mayBeEscape = (byte: number): boolean =>
  MARKER_NUMBER[byte] !== 0 || byte === NUMBER_SIGN || byte === SEMICOLON || isAlphanumeric(byte);

/** Returns the value of a digit, or undefined if the byte is not a digit. */
function digitOf(code: number, radix: number): number | undefined {
  let value = radix;
  if (code >= 0x30 && code <= 0x39) value = code - 0x30;
  else if (code >= 0x41 && code <= 0x46) value = code - 0x37;
  else if (code >= 0x61 && code <= 0x66) value = code - 0x57;
  return value < radix ? value : undefined;
}

const isAlphanumeric = (code: number): boolean =>
  (code >= 0x30 && code <= 0x39) || (code >= 0x41 && code <= 0x5a) || (code >= 0x61 && code <= 0x7a);
