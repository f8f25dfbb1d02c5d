import { toBase64 } from "../crypto/base64.ts";
import type { Answer } from "../gateway/upstream/forward.ts";
import { concatenate } from "../memory/concatenate.ts";
import { isObject } from "../validation/is-object.ts";

type Content =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "image" | "audio"; readonly data: string; readonly mimeType: string }
  | {
      readonly type: "resource";
      readonly resource: { readonly uri: string; readonly mimeType: string; readonly blob: string };
    };

/** The result of a tool (`CallToolResult`). What it contains is data of the upstream, and never an instruction of this server. */
export interface ToolResult {
  readonly content: readonly Content[];
  /**
   * The structured content, as JSON. An upstream's is its own text, which was found to be JSON: parsed and written again, it would have other
   * numbers where it has more digits than a double.
   */
  readonly structured?: string;
  readonly isError?: true;
}

/** Returns a result as JSON. @param more members of the result beside its own. */
export function toJson({ content, structured, isError }: ToolResult, more: object): string {
  const members = JSON.stringify({ content, ...(isError && { isError }), ...more });
  return structured === undefined ? members : `${members.slice(0, -1)},"structuredContent":${structured}}`;
}

/** How much of an answer a tool returns, in bytes. A model reads about four bytes a token. */
const MAX_TEXT_BYTES = 64 * 1024;
const MAX_BINARY_BYTES = 1024 * 1024;

/** Returns the result of a tool whose data is this server's own. */
export function toolResult(value: Readonly<Record<string, unknown>>): ToolResult {
  const text = JSON.stringify(value);
  return { content: [{ type: "text", text }], structured: text };
}

/** Returns the result of a call that failed, in a way that the model can mend by another call. */
export const toolError = (value: Readonly<Record<string, unknown>>): ToolResult => ({
  ...toolResult(value),
  isError: true,
});

/**
 * Returns an answer of the gateway as the result of a tool.
 *
 * JSON is text and, where the client's revision allows it, structured content; images and sound are what they are; any other file is an
 * embedded resource. An answer that is too long is cut, with a note of its length. A status of 400 or more is a tool error.
 *
 * @param answer of the upstream, or the response of the gateway that refused the request.
 * @param uri the URL of the request.
 * @param allowsAnyJson whether structured content may be any JSON and not only an object: since 2026-07-28.
 */
export async function toToolResult(answer: Answer, uri: string, allowsAnyJson: boolean): Promise<ToolResult> {
  const { status, headers } = answer;
  const type = headers.get("content-type") ?? "";
  const mimeType = /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+/.exec(type)?.[0].toLowerCase() ?? "";
  const isText = mimeType === "" || TEXT.test(mimeType);
  const isError = status >= 400 && ({ isError: true } as const);
  let read: ReadBody;
  try {
    read = await readBody(answer.body, isText ? MAX_TEXT_BYTES : MAX_BINARY_BYTES);
  } catch {
    return toolError({
      error: "The answer broke off before its end. Whether the request was done is not known.",
      status,
    });
  }
  const notes = [...statusNote(answer, read.bytes.length), ...cutNote(read, headers), ...pageNote(headers)];
  const noted = notes.map((text) => ({ type: "text", text }) as const);
  if (!isText) {
    const content: Content[] = read.isCut ? [] : [binary(read.bytes, mimeType, uri)];
    return { content: [...content, ...noted], ...isError };
  }
  const text = decoder.decode(read.bytes);
  const content = text === "" ? noted : [{ type: "text", text } as const, ...noted];
  const json = !read.isCut && JSON_TYPE.test(mimeType) ? parse(text) : undefined;
  const isStructured = json !== undefined && (allowsAnyJson || isObject(json));
  return { content, ...(isStructured && { structured: text }), ...isError };
}

const decoder = new TextDecoder();
const JSON_TYPE = /^application\/(?:[\w.-]+\+)?json$/;
const TEXT =
  /^text\/|[/+](?:json|xml|javascript|x-www-form-urlencoded|yaml|x-yaml|ndjson|x-ndjson|diff|patch)$|[.+](?:raw|diff|patch)(?:\+json)?$/;

function binary(bytes: Uint8Array, mimeType: string, uri: string): Content {
  const data = toBase64(bytes);
  if (mimeType.startsWith("image/")) return { type: "image", data, mimeType };
  if (mimeType.startsWith("audio/")) return { type: "audio", data, mimeType };
  return { type: "resource", resource: { uri, mimeType, blob: data } };
}

interface ReadBody {
  readonly bytes: Uint8Array;
  readonly isCut: boolean;
}

/** Reads a body up to a length, and lets go of the rest. */
async function readBody(body: Answer["body"], maxBytes: number): Promise<ReadBody> {
  if (!body) return { bytes: new Uint8Array(), isCut: false };
  if (body instanceof Uint8Array) return { bytes: body.subarray(0, maxBytes), isCut: body.length > maxBytes };
  const chunks: Uint8Array[] = [];
  let length = 0;
  const reader = body.getReader();
  while (length <= maxBytes) {
    const { done, value } = await reader.read();
    if (done) return { bytes: concatenate(chunks), isCut: false };
    chunks.push(value);
    length += value.byteLength;
  }
  // Not awaited: an upstream that hangs would delay the result.
  void reader.cancel().catch(() => undefined);
  return { bytes: concatenate(chunks).subarray(0, maxBytes), isCut: true };
}

/** A status is told where the body alone does not tell it: of an error, of a redirect, and of an empty answer. */
function statusNote({ status, headers }: Answer, length: number): string[] {
  const location = status >= 300 && status < 400 ? headers.get("location") : undefined;
  if (location != null) return [`HTTP status ${status}, which leads to ${location}`];
  return length === 0 || status >= 400 ? [`HTTP status ${status}.`] : [];
}

function cutNote({ bytes, isCut }: ReadBody, headers: Answer["headers"]): string[] {
  if (!isCut) return [];
  const whole = headers.get("content-length");
  const length = whole != null && /^\d+$/.test(whole) ? `${whole} bytes` : "a longer answer";
  return [
    `[Cut: these are the first ${bytes.length} bytes of ${length}. Ask for less, for example for a shorter page.]`,
  ];
}

/** The query of the next page, as the `Link` header names it (RFC 8288): the tool is called with it again. */
function pageNote(headers: Answer["headers"]): string[] {
  const [, next] = /<([^>]*)>\s*;[^,]*\brel="?next"?/i.exec(headers.get("link") ?? "") ?? [];
  const query = next === undefined ? undefined : URL.parse(next, "http://gateway")?.searchParams;
  return query && query.size > 0
    ? [`[More: the next page has the query ${JSON.stringify(Object.fromEntries(query))}.]`]
    : [];
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
