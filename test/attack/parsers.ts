import { brotliDecompressSync, gunzipSync, inflateSync } from "node:zlib";
import type { Arrival } from "./upstream.ts";

/** One parameter as some parser reads it: the name's top level and all that stands behind it. */
export interface Parameter {
  readonly parser: string;
  readonly from: "query" | "body";
  readonly name: string;
  readonly value: string;
}

type Pairs = Array<[name: string, value: string]>;

/** Percent-decoding that gives up on nothing: what is no escape stays, what is no UTF-8 becomes U+FFFD. */
export function decodeLeniently(text: string, plus = true): string {
  const spaced = plus ? text.replaceAll("+", " ") : text;
  const bytes: number[] = [];
  for (const part of spaced.match(/%[0-9a-f]{2}|[^]/giu) ?? []) {
    if (/^%[0-9a-f]{2}$/i.test(part)) bytes.push(Number.parseInt(part.slice(1), 16));
    else bytes.push(...Buffer.from(part));
  }
  return Buffer.from(bytes).toString();
}

const pairsOf = (text: string, separators: RegExp): Pairs =>
  text
    .split(separators)
    .filter(Boolean)
    .map((pair) => {
      const end = pair.indexOf("=");
      return end === -1 ? [pair, ""] : [pair.slice(0, end), pair.slice(end + 1)];
    });

/** Rack 2.2: `&` and `;` separate, brackets in front are skipped, and the name ends at the next one. */
export function rackNames(text: string): Pairs {
  return pairsOf(text, /[&;] */).map(([name, value]) => {
    const decoded = decodeLeniently(name);
    const match = /^[[\]]*([^[\]]+)\]*/.exec(decoded);
    return [match?.[1] ?? decoded, decodeLeniently(value)];
  });
}

/** PHP 8: spaces in front go, `.` and space are `_`, an open bracket without its end is `_`, and NUL ends the name. */
export function phpName(decoded: string): string {
  const name = decoded.split("\0", 1)[0]!.replace(/^ +/, "");
  const open = name.indexOf("[");
  if (open > 0 && name.includes("]", open)) return name.slice(0, open).replace(/[ .]/g, "_");
  return name.replace(/[ .[]/g, "_");
}

export const phpNames = (text: string): Pairs =>
  pairsOf(text, /&/).map(([name, value]) => [phpName(decodeLeniently(name)), decodeLeniently(value)]);

/** Node's qs: the name ends at the first bracket, or dot where `allowDots` is set. */
export const qsNames = (text: string): Pairs =>
  pairsOf(text, /&/).flatMap(([name, value]) => {
    const decoded = decodeLeniently(name);
    const bracketed = /^\[?([^[\]]+)/.exec(decoded)?.[1] ?? decoded;
    return [bracketed, bracketed.split(".", 1)[0]!].map((one): [string, string] => [one, decodeLeniently(value)]);
  });

/** Go, Java servlets, Django and ASP.NET: the decoded name itself; the last without regard to case or space. */
export const plainNames = (text: string): Pairs =>
  pairsOf(text, /[&;]/).map(([name, value]) => [decodeLeniently(name).trim(), decodeLeniently(value)]);

const PARSERS: Readonly<Record<string, (text: string) => Pairs>> = {
  "like Rack": rackNames,
  "like PHP": phpNames,
  "like qs": qsNames,
  plain: plainNames,
};

/** Each way in which a form or a query can be read. */
export const readForm = (text: string, from: Parameter["from"]): Parameter[] =>
  Object.entries(PARSERS).flatMap(([parser, parse]) =>
    parse(text).map(([name, value]) => ({ parser, from, name, value })),
  );

/** A body as its `Content-Encoding` says, or as it is. */
export function decodedBody({ headers, body }: Pick<Arrival, "headers" | "body">): Buffer {
  const coding = headers.find(([name]) => name === "content-encoding")?.[1]?.toLowerCase() ?? "";
  try {
    if (coding.includes("gzip")) return gunzipSync(body);
    if (coding.includes("br")) return brotliDecompressSync(body);
    if (coding.includes("deflate")) return inflateSync(body);
  } catch {
    // Then no upstream can read it either.
  }
  return body;
}

/** What `Content-Type` may say that the boundary is: quoted or not, the first or the last, cut at a comma or a space or not. */
function boundariesOf(type: string): string[] {
  const found = [...type.matchAll(/boundary\s*=\s*(?:"([^"]*)"?|([^;]*))/gi)].flatMap(([, quoted, plain]) => {
    const text = quoted ?? plain ?? "";
    return [text, text.trim(), text.split(/[,\s]/, 1)[0]!];
  });
  return [...new Set(found)].filter(Boolean);
}

/** The parameters of a `Content-Disposition`, quotes respected: once with back-slashes as escapes, once without. */
function dispositionNames(value: string): string[] {
  return [true, false].flatMap((escapes) => {
    const names: string[] = [];
    let at = 0;
    while (at < value.length) {
      const match = /^\s*([^\s=;]*)\s*=+\s*/.exec(value.slice(at));
      if (!match) {
        const next = value.indexOf(";", at);
        at = next === -1 ? value.length : next + 1;
        continue;
      }
      at += match[0].length;
      const quote = value[at];
      let text = "";
      if (quote === '"' || quote === "'") {
        for (at++; at < value.length && value[at] !== quote; at++) {
          if (escapes && value[at] === "\\" && at + 1 < value.length) at++;
          text += value[at];
        }
        at++;
      } else {
        const end = value.slice(at).search(/[;\s]/);
        text = end === -1 ? value.slice(at) : value.slice(at, at + end);
        at += text.length;
      }
      const name = match[1]!.toLowerCase();
      if (name === "name") names.push(text);
      if (name === "name*") names.push(decodeLeniently(text.split("'").at(-1)!, false));
      const next = value.indexOf(";", at);
      at = next === -1 ? value.length : next + 1;
    }
    return names;
  });
}

/** A multipart body as a careless parser reads it: any line ends, folded or misspelt headers, quotes that are not closed. */
export function readMultipart(type: string, bytes: Buffer): Parameter[] {
  const text = bytes.toString("latin1");
  return boundariesOf(type).flatMap((boundary) =>
    text
      .split(`--${boundary}`)
      .slice(1)
      .flatMap((part) => {
        const [head = "", ...content] = part.split(/\r?\n\r?\n/);
        const unfolded = head.replace(/\r?\n[ \t]+/g, " ");
        const lines = unfolded.split(/\r\n|\n|\r/).filter((line) => /^\s*content-disposition\s*:/i.test(line));
        const value = content.join("\n\n").trim();
        return lines.flatMap((line) =>
          dispositionNames(line.slice(line.indexOf(":") + 1)).flatMap((raw) => {
            const name = Buffer.from(raw, "latin1").toString();
            return [name, phpName(name), rackNames(encodeURIComponent(name))[0]?.[0] ?? ""].map((one): Parameter => ({
              parser: "a careless multipart parser",
              from: "body",
              name: one,
              value,
            }));
          }),
        );
      }),
  );
}

/** Every way that the careless parsers of this file read the query and the body of an arrival. */
export function readLeniently(arrival: Arrival): Parameter[] {
  const [, query = ""] = arrival.target.split(/\?(.*)/s);
  const type = arrival.headers.find(([name]) => name === "content-type")?.[1] ?? "";
  const body = decodedBody(arrival);
  const found = readForm(query, "query");
  if (/multipart/i.test(type)) return [...found, ...readMultipart(type, body)];
  // Without a type Rack takes it for a form.
  if (type === "" || /form/i.test(type)) return [...found, ...readForm(body.toString("latin1"), "body")];
  return found;
}

/** Every key of a JSON text with its path, each occurrence, whatever stands beside it: read by tokens, not by JSON.parse. */
export function jsonKeys(bytes: Buffer): string[] {
  const texts = [bytes.toString().replace(/^\uFEFF/, "")];
  if (bytes.includes(0)) texts.push(bytes.toString("utf16le"), bigEndian(bytes));
  return texts.flatMap((text) => {
    const keys: string[] = [];
    const path: string[] = [];
    let last: string | undefined;
    for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'|[{}[\]:,]|[^\s{}[\]:,"']+/gs)) {
      if (token === "{" || token === "[") {
        path.push(last ?? "");
        last = undefined;
      } else if (token === "}" || token === "]") path.pop();
      else if (token === ":" && last !== undefined) {
        keys.push([...path.filter(Boolean), last].join("."));
      } else if (token === ",") last = undefined;
      else last = unescaped(token);
    }
    return keys;
  });
}

const unescaped = (token: string): string =>
  token
    .replace(/^["']|["']$/g, "")
    .replace(/\\u([0-9a-f]{4})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    .replace(/\\(.)/g, "$1");

const bigEndian = (bytes: Buffer): string =>
  Buffer.from(bytes.subarray(0, bytes.length & ~1))
    .swap16()
    .toString("utf16le");
