import { formatMediaType, isUtf8, parseMediaType } from "./media-type.ts";
import { decodeUtf8 } from "../validation/utf8.ts";

/** One part of a `multipart/form-data` body (RFC 7578). */
export interface Part {
  readonly name: string;
  readonly filename: string | undefined;
  readonly contentType: string | undefined;
  readonly content: Uint8Array<ArrayBuffer>;
}

const MAX_PARTS = 1000;
/** All headers of one part, in bytes. */
const MAX_PART_HEADERS = 4096;

/** RFC 2046 §5.1.1. */
const BOUNDARY = /^[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]$/;
const HEADER = /^([A-Za-z-]+):[ ]*(.*?)[ ]*$/;
const DISPOSITION = /^form-data((?: *; *(?:name|filename)="[^"\\]*"){1,2})$/i;
const DISPOSITION_PARAMETER = /; *(name|filename)="([^"\\]*)"/gi;
/** Also the line breaks that only some languages know. */
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;

/** Thrown inside this file for a body that does not follow the grammar. */
class MalformedBody extends Error {}

/**
 * Parses a `multipart/form-data` body by a strict subset of RFC 7578 and RFC 2046, in which nothing can be read in two ways.
 *
 * Lines end in CRLF, the first delimiter is the first line, and nothing but a line break follows the last. A part has a
 * `Content-Disposition: form-data` with a quoted `name` and at most a quoted `filename`, and may have a `Content-Type`. A
 * `Content-Transfer-Encoding` that encodes nothing and a `Content-Length` that is right, which some clients send, are read and
 * left out. Refused are folded and repeated headers, `name*` and `filename*`, back-slashes, control characters, and names with a
 * `;`, `=` or `%XX`, in which some parsers read another name.
 *
 * (No package on npm does this: busboy, formidable, multer and @remix-run/multipart-parser skip what they do not know.)
 *
 * @param boundary the parameter of the `Content-Type`.
 * @returns the parts, or a sentence that says what is wrong.
 */
export function parseMultipart(body: ArrayBuffer, boundary: string | undefined): readonly Part[] | string {
  if (boundary === undefined || !BOUNDARY.test(boundary)) return "its Content-Type names no valid boundary";
  try {
    return partsOf(body, `\r\n--${boundary}`);
  } catch (error) {
    if (error instanceof MalformedBody) return error.message;
    throw error;
  }
}

function partsOf(body: ArrayBuffer, delimiter: string): Part[] {
  // One character for each byte: an offset in the text is one in the body.
  const text = `\r\n${new TextDecoder("windows-1252").decode(body)}`;
  const parts: Part[] = [];
  if (!text.startsWith(delimiter)) throw new MalformedBody("it does not begin with its boundary");
  let at = delimiter.length;
  while (!text.startsWith("--", at)) {
    if (!text.startsWith("\r\n", at)) throw new MalformedBody("a boundary is not followed by a line break (CRLF)");
    if (parts.length === MAX_PARTS) throw new MalformedBody(`it has more than ${MAX_PARTS} parts`);
    const start = at + "\r\n".length;
    const headersEnd = text.slice(start, start + MAX_PART_HEADERS).indexOf("\r\n\r\n");
    if (headersEnd === -1) throw new MalformedBody(`the headers of a part do not end within ${MAX_PART_HEADERS} bytes`);
    const contentStart = start + headersEnd + "\r\n\r\n".length;
    const end = text.indexOf(delimiter, contentStart);
    if (end === -1) throw new MalformedBody("its last part does not end with the boundary");
    // `text` has a line break in front of the body, so its offsets are two more than the body's.
    const bytes = (from: number, to: number) => new Uint8Array(body, from - 2, to - from);
    parts.push(partOf(bytes(start, start + headersEnd), bytes(contentStart, end)));
    at = end + delimiter.length;
  }
  if (!/^--(?:\r\n)?$/.test(text.slice(at, at + 5))) throw new MalformedBody("something follows its last boundary");
  return parts;
}

function partOf(headerBytes: Uint8Array, content: Uint8Array<ArrayBuffer>): Part {
  const headers = new Map<string, string>();
  for (const line of decodeHeader(headerBytes).split("\r\n")) {
    const [, name = "", value = ""] = HEADER.exec(line) ?? [];
    if (name === "" || CONTROL.test(value)) throw new MalformedBody("a part has a malformed or folded header");
    if (headers.has(name.toLowerCase())) throw new MalformedBody(`a part has two ${name} headers`);
    headers.set(name.toLowerCase(), value);
  }
  const disposition = dispositionOf(headers.get("content-disposition") ?? "");
  const contentType = headers.get("content-type");
  const type = contentType === undefined ? undefined : partType(contentType);
  const length = headers.get("content-length") ?? `${content.length}`;
  const coding = headers.get("content-transfer-encoding") ?? "binary";
  if (length !== `${content.length}`) throw new MalformedBody("the Content-Length of a part is not its length");
  if (!/^(?:binary|7bit|8bit)$/i.test(coding)) {
    throw new MalformedBody("a part has a Content-Transfer-Encoding other than binary, 7bit or 8bit");
  }
  for (const name of headers.keys()) {
    if (!/^content-(?:disposition|type|length|transfer-encoding)$/.test(name)) {
      throw new MalformedBody(`a part has the header ${name}, which forms do not have`);
    }
  }
  return { ...disposition, contentType: type, content };
}

function dispositionOf(text: string): { name: string; filename: string | undefined } {
  const [, parameters] = DISPOSITION.exec(text) ?? [];
  if (parameters === undefined) {
    throw new MalformedBody(
      'a part has no Content-Disposition of the form form-data; name="…"; filename="…", with both in quotes and without \\',
    );
  }
  const found = [...parameters.matchAll(DISPOSITION_PARAMETER)].map(([, key, value]) => [key!.toLowerCase(), value!]);
  const { name = "", filename } = Object.fromEntries(found) as { name?: string; filename?: string };
  if (found.length > 1 && filename === undefined) throw new MalformedBody("a part has two names");
  if (name === "" || /[;=]|%[0-9A-Fa-f]{2}/.test(name)) {
    throw new MalformedBody("a part has no name, or one that contains ; = or a percent-encoded character");
  }
  if (filename !== undefined && /name\s*\*?\s*=/i.test(filename))
    throw new MalformedBody('a filename contains "name="');
  return { name, filename };
}

/** The Content-Type of a part: text in UTF-8 or a file, without nested parts and without a parameter that renames the part. */
function partType(text: string): string {
  const type = parseMediaType(text);
  const isPlain =
    type &&
    isUtf8(type) &&
    !/^(?:multipart|message)\//.test(type.type) &&
    !["name", "filename", "boundary"].some((name) => type.parameters.has(name));
  if (!isPlain) throw new MalformedBody("the Content-Type of a part is malformed, not in UTF-8, or has nested parts");
  return formatMediaType(type);
}

function decodeHeader(bytes: Uint8Array): string {
  const text = decodeUtf8(bytes);
  if (text === undefined) throw new MalformedBody("a header of a part is not UTF-8");
  return text;
}

/**
 * Serializes parts as a `multipart/form-data` body. The boundary is new and random, so that no content contains it.
 *
 * @returns the body and its `Content-Type`.
 */
export function formatMultipart(parts: readonly Part[]): { body: Blob; contentType: string } {
  const boundary = `agentauth-${crypto.randomUUID()}`;
  const chunks = parts.flatMap(({ name, filename, contentType, content }) => [
    `--${boundary}\r\nContent-Disposition: form-data; name="${name}"`,
    filename === undefined ? "" : `; filename="${filename}"`,
    contentType === undefined ? "" : `\r\nContent-Type: ${contentType}`,
    "\r\n\r\n",
    content,
    "\r\n",
  ]);
  return {
    body: new Blob([...chunks, `--${boundary}--\r\n`]),
    contentType: `multipart/form-data; boundary=${boundary}`,
  };
}
