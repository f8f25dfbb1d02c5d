import fc from "fast-check";

/**
 * How real encoders write a text, each with its own code and none of the product's: the runtime's where it has one.
 *
 * A text in, bytes out. `pick` answers at random, for encoders that leave some characters as they are.
 */
export type Encoder = (text: string, pick: () => boolean) => Uint8Array;

const utf8 = (text: string) => new TextEncoder().encode(text);
const base64 = (bytes: Uint8Array) => btoa(String.fromCharCode(...bytes));
const hexOf = (code: number, digits: number) => code.toString(16).padStart(digits, "0");
const utf16 = (text: string, littleEndian: boolean, size: 2 | 4 = 2) => {
  const view = new DataView(new ArrayBuffer(text.length * size));
  for (let at = 0; at < text.length; at++) {
    if (size === 2) view.setUint16(at * 2, text.charCodeAt(at), littleEndian);
    else view.setUint32(at * 4, text.charCodeAt(at), littleEndian);
  }
  return new Uint8Array(view.buffer);
};
const lines = (text: string, width: number, end: string) => text.replace(new RegExp(`.{${width}}`, "g"), `$&${end}`);
/** The bytes of a text in UTF-8, each as a text of its own. */
const eachByte = (text: string, write: (byte: number) => string) => Array.from(utf8(text), write).join("");

const NAMES: Record<string, string> = {
  "!": "excl",
  '"': "quot",
  "#": "num",
  $: "dollar",
  "%": "percnt",
  "&": "amp",
  "'": "apos",
  "(": "lpar",
  ")": "rpar",
  "*": "ast",
  "+": "plus",
  ",": "comma",
  ".": "period",
  "/": "sol",
  ":": "colon",
  ";": "semi",
  "<": "lt",
  "=": "equals",
  ">": "gt",
  "?": "quest",
  "@": "commat",
  "[": "lsqb",
  "\\": "bsol",
  "]": "rsqb",
  "^": "Hat",
  _: "lowbar",
  "`": "grave",
  "{": "lcub",
  "|": "verbar",
  "}": "rcub",
};

const json = (text: string) => JSON.stringify({ text });
const unicode = (text: string, upper = false) =>
  text.replace(/[^]/g, (char) => {
    const hex = hexOf(char.charCodeAt(0), 4);
    return `\\u${upper ? hex.toUpperCase() : hex}`;
  });
/** As Go's encoding/json, Rails and System.Text.Json do, for the sake of pages. */
const jsonForHtml = (text: string, upper = false) => json(text).replace(/[<>&'+=/`]/g, (char) => unicode(char, upper));
const percent = (text: string, upper = true) =>
  eachByte(text, (byte) => `%${upper ? hexOf(byte, 2).toUpperCase() : hexOf(byte, 2)}`);
const html = (text: string) =>
  text.replace(/[&<>"'`=/+]/g, (char) => ({ "/": "&#x2F;", "=": "&#x3D;", "+": "&#43;" })[char] ?? `&${NAMES[char]};`);
const decimal = (text: string, zeros = 0) =>
  text.replace(/[^]/gu, (char) => `&#${"0".repeat(zeros)}${char.codePointAt(0)};`);
const hexadecimal = (text: string, upper = false) =>
  text.replace(/[^]/gu, (char) => {
    const hex = char.codePointAt(0)!.toString(16);
    return upper ? `&#X${hex.toUpperCase()};` : `&#x${hex};`;
  });
/** RFC 2045 §6.7, with lines of 76. */
const quotedPrintable = (text: string, end: string) => {
  const written = Array.from(utf8(text), (byte) =>
    byte === 0x3d || byte < 0x20 || byte > 0x7e ? `=${hexOf(byte, 2).toUpperCase()}` : String.fromCharCode(byte),
  );
  let column = 0;
  return written
    .map((part) => {
      const breaks = column + part.length > 75;
      column = (breaks ? 0 : column) + part.length;
      return breaks ? `=${end}${part}` : part;
    })
    .join("");
};
const some = (text: string, pick: () => boolean, write: (char: string) => string) =>
  Array.from(text, (char) => (pick() ? write(char) : char)).join("");

export const ENCODERS: Readonly<Record<string, Encoder>> = {
  "as it is": (text) => utf8(text),
  JSON: (text) => utf8(json(text)),
  "JSON with escaped slashes": (text) => utf8(json(text).replaceAll("/", "\\/")),
  "JSON for pages": (text) => utf8(jsonForHtml(text)),
  "JSON for pages, in upper case": (text) => utf8(jsonForHtml(text, true)),
  "JSON, all escaped": (text) => utf8(`"${unicode(text)}"`),
  "JSON, all escaped in upper case": (text) => utf8(`"${unicode(text, true)}"`),
  "JSON, any escaped": (text, pick) => utf8(some(text, pick, (char) => unicode(char))),
  "JSON in JSON": (text) => utf8(json(jsonForHtml(text))),
  "JSON in JSON with escaped slashes": (text) => utf8(json(json(text).replaceAll("/", "\\/")).replaceAll("/", "\\/")),
  "JSON in JSON in JSON": (text) => utf8(json(json(json(text).replaceAll("/", "\\/")))),
  "JavaScript, all as \\x": (text) => utf8(eachByte(text, (byte) => `\\x${hexOf(byte, 2)}`)),
  "Markdown in JSON": (text) => utf8(json(text.replace(/[_*+=.\-/]/g, "\\$&"))),
  "URI component": (text) => utf8(encodeURIComponent(text)),
  "URI component in lower case": (text) => utf8(encodeURIComponent(text).replace(/%../g, (code) => code.toLowerCase())),
  "URI component that leaves slashes": (text) => utf8(encodeURIComponent(text).replaceAll("%2F", "/")),
  "RFC 3986 strictly": (text) => utf8(encodeURIComponent(text).replace(/[!'()*]/g, (char) => percent(char))),
  "form data": (text) => utf8(new URLSearchParams({ text }).toString()),
  "form data in JSON for pages": (text) => utf8(jsonForHtml(new URLSearchParams({ text }).toString())),
  "percent, all": (text) => utf8(percent(text)),
  "percent, all in lower case": (text) => utf8(percent(text, false)),
  "percent, any": (text, pick) => utf8(some(text, pick, (char) => percent(char, pick()))),
  "percent, twice": (text) => utf8(encodeURIComponent(encodeURIComponent(text))),
  "percent in a page": (text) => utf8(html(encodeURIComponent(text))),
  HTML: (text) => utf8(html(text)),
  "HTML, by name": (text) =>
    utf8(text.replace(/[^\w\s]|_/g, (char) => (NAMES[char] === undefined ? char : `&${NAMES[char]};`))),
  "HTML, all in decimal": (text) => utf8(decimal(text)),
  "HTML, all in decimal with zeros": (text) => utf8(decimal(text, 4)),
  "HTML, all in hexadecimal": (text) => utf8(hexadecimal(text)),
  "HTML, all in upper hexadecimal": (text) => utf8(hexadecimal(text, true)),
  "HTML, any": (text, pick) => utf8(some(text, pick, (char) => (pick() ? decimal(char) : hexadecimal(char)))),
  "HTML, twice": (text) => utf8(html(html(text))),
  "HTML in JSON for pages": (text) => utf8(jsonForHtml(html(text))),
  "JSON in a page": (text) => utf8(html(jsonForHtml(text))),
  "quoted-printable": (text) => utf8(quotedPrintable(text, "\r\n")),
  "quoted-printable with bare line feeds": (text) => utf8(quotedPrintable(text, "\n")),
  "quoted-printable in JSON": (text) => utf8(json(quotedPrintable(text, "\r\n"))),
  base64: (text) => utf8(base64(utf8(text))),
  base64url: (text) => utf8(base64(utf8(text)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")),
  "base64 in JSON with escaped slashes": (text) => utf8(json(base64(utf8(text))).replaceAll("/", "\\/")),
  "base64 in a form": (text) => utf8(encodeURIComponent(base64(utf8(text)))),
  ...Object.fromEntries(
    [60, 64, 76].flatMap((width) =>
      ["\n", "\r\n"].flatMap((end): [string, Encoder][] => {
        const name = `lines of ${width} that end with ${JSON.stringify(end)}`;
        return [
          [`base64 in ${name}`, (text) => utf8(lines(base64(utf8(text)), width, end))],
          [
            `base64url in ${name}`,
            (text) => utf8(lines(base64(utf8(text)).replaceAll("+", "-").replaceAll("/", "_"), width, end)),
          ],
          [`base64 in indented ${name}`, (text) => utf8(lines(base64(utf8(text)), width, `${end}    `))],
          [`base64 in JSON in ${name}`, (text) => utf8(json(lines(base64(utf8(text)), width, end)))],
          [`base64 in JSON in JSON in ${name}`, (text) => utf8(json(json(lines(base64(utf8(text)), width, end))))],
          [
            `base64 in form data in ${name}`,
            (text) => utf8(new URLSearchParams({ text: lines(base64(utf8(text)), width, end) }).toString()),
          ],
          [`base64 in UTF-16 in ${name}`, (text) => utf16(lines(base64(utf8(text)), width, end), true)],
        ];
      }),
    ),
  ),
  "UTF-16 LE": (text) => utf16(text, true),
  "UTF-16 BE": (text) => utf16(text, false),
  "UTF-32 LE": (text) => utf16(text, true, 4),
  "UTF-32 BE": (text) => utf16(text, false, 4),
  "JSON for pages in UTF-16": (text) => utf16(jsonForHtml(text), true),
  "base64 of UTF-16 LE": (text) => utf8(base64(utf16(text, true))),
  "base64 of UTF-16 BE": (text) => utf8(base64(utf16(text, false))),
  hexadecimal: (text) => utf8(eachByte(text, (byte) => hexOf(byte, 2))),
  "upper hexadecimal": (text) => utf8(eachByte(text, (byte) => hexOf(byte, 2).toUpperCase())),
};

/** Answers for an encoder, and the same ones again for the same seed. */
export function picks(seed: number): () => boolean {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 31 === 1;
  };
}

/** Texts of printable ASCII that are full of what encoders change. */
export const asciiTexts = (minLength: number, maxLength: number): fc.Arbitrary<string> =>
  fc
    .array(
      fc.oneof(
        { weight: 3, arbitrary: fc.constantFrom(..."abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") },
        fc.constantFrom(..."!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"),
      ),
      { minLength, maxLength },
    )
    .map((chars) => chars.join(""));
