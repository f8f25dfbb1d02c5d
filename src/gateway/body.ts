import { parameterName } from "./query.ts";

/** What a body must fit in where its keys are looked at, in bytes. */
export const LONGEST_CHECKED_BODY = 1024 * 1024;

/** Why a body is not sent on. */
export interface BodyFault {
  readonly code: "body_too_large" | "body_type_refused" | "bad_body" | "parameter_refused";
  /** The key that is refused. */
  readonly parameter?: string;
}

// Of ES2025: numbers keep the digits that they were written with.
declare global {
  interface JSON {
    rawJSON(text: string): unknown;
  }
}

/**
 * Reads a whole body and finds the keys that it may not hold.
 *
 * JSON is sent as it was understood and not as it came: of two equal keys no upstream can take the one that was not looked
 * at. Forms are searched as text, more widely than any parser would read them.
 *
 * @param covered whether a rule takes the request; beyond the catalogue, bodies of other kinds pass as they are.
 * @returns what to send, null for an empty body.
 */
export async function checkedBody(
  request: Request,
  refused: readonly string[],
  covered: boolean,
): Promise<{ body: ArrayBuffer | string | null } | BodyFault> {
  const bytes = await readAll(request).catch(() => null);
  if (!bytes) return { code: bytes === null ? "bad_body" : "body_too_large" };
  if (bytes.byteLength === 0) return { body: null };
  const [type = "", ...attributes] = (request.headers.get("content-type") ?? "")
    .toLowerCase()
    .split(";")
    .map((part) => part.trim());
  const json = /^application\/(?:[\w.-]+\+)?json$/.test(type);
  const form = type === "application/x-www-form-urlencoded";
  const multipart = type === "multipart/form-data";
  const charset = attributes.find((one) => one.startsWith("charset="))?.slice("charset=".length);
  const encoded = request.headers.get("content-encoding") ?? "identity";
  if (!(json || form || multipart)) return covered ? { code: "body_type_refused" } : { body: bytes };
  if ((charset && !/^"?(?:utf-8|us-ascii)"?$/.test(charset)) || encoded.toLowerCase() !== "identity") {
    return { code: "body_type_refused" };
  }

  if (json) {
    const value = parse(bytes);
    if (value === undefined) return { code: "bad_body" };
    const held = refused.find((key) => holds(value, key.split(".")));
    return held === undefined ? { body: JSON.stringify(value) } : { code: "parameter_refused", parameter: held };
  }
  const names = form ? formNames(bytes) : partNames(bytes);
  if (!names) return { code: "bad_body" };
  const held = refused.find((key) => names.has(key.split(".", 1)[0]!));
  return held === undefined ? { body: bytes } : { code: "parameter_refused", parameter: held };
}

/** Undefined where it is longer than may be looked at. Rejects where it breaks off or is framed wrongly. */
async function readAll(request: Request): Promise<ArrayBuffer | undefined> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of request.body ?? []) {
    length += chunk.byteLength;
    if (length > LONGEST_CHECKED_BODY) return undefined;
    chunks.push(chunk);
  }
  return new Blob(chunks).arrayBuffer();
}

function parse(bytes: ArrayBuffer): unknown {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(bytes);
    const reviver = (_: string, value: unknown, context?: { source?: string }) =>
      typeof value === "number" && context?.source !== undefined ? JSON.rawJSON(context.source) : value;
    return JSON.parse(text, reviver);
  } catch {
    return undefined;
  }
}

/** Whether a path of keys leads to something in the value, arrays on the way not counted. An empty list is nothing. */
function holds(value: unknown, keys: readonly string[]): boolean {
  const [key, ...rest] = keys;
  if (key === undefined) return !(Array.isArray(value) && value.length === 0);
  if (Array.isArray(value)) return value.some((one) => holds(one, keys));
  if (typeof value !== "object" || value === null) return false;
  return Object.entries(value).some(([name, inner]) => name.trim().toLowerCase() === key && holds(inner, rest));
}

function formNames(bytes: ArrayBuffer): Set<string> | undefined {
  const names = new Set<string>();
  for (const pair of new TextDecoder("latin1").decode(bytes).split(/[&;\r\n]/)) {
    const name = parameterName(pair.split("=", 1)[0]!);
    if (name === undefined) return undefined;
    names.add(name);
  }
  return names;
}

/** Every `name=` of a multipart body (RFC 7578), also where it stands in a part's content. The extended `name*=` is refused. */
function partNames(bytes: ArrayBuffer): Set<string> | undefined {
  const text = new TextDecoder("latin1").decode(bytes);
  if (/\bname\*|=\?[\w-]+\?[bq]\?/i.test(text)) return undefined;
  const names = new Set<string>();
  for (const [, quoted, plain] of text.matchAll(/\bname\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))/gi)) {
    const name = quoted?.replace(/\\(.)/gs, "$1") ?? plain ?? "";
    names.add(name.toLowerCase());
    names.add(parameterName(name) ?? "");
  }
  return names;
}
