import { formatForm, parseForm } from "./form.ts";
import type { LimitedBody } from "./limits.ts";
import { contentCoding } from "./content-coding.ts";
import { endToEndHeader } from "./request-headers.ts";
import { formatMediaType, isUtf8, parseMediaType, type MediaType } from "./media-type.ts";
import { formatMultipart, parseMultipart } from "./multipart.ts";
import { watchedNameIn, watchNames, type WatchedNames } from "./parameter-name.ts";

/** The longest body that is read to be checked, in bytes. */
export const MAX_CHECKED_BODY = 1024 * 1024;

/** Why a body is not sent on. */
export interface BodyFault {
  readonly code: "body_too_large" | "body_type_refused" | "bad_body" | "parameter_refused";
  /** The key that is refused. */
  readonly parameter?: string;
  /** What is wrong with the body, as the end of a sentence. */
  readonly reason?: string;
}

/** A body to forward, with the `Content-Type` by which it was checked. It is sent with no other type. */
export interface BodyToSend {
  readonly body: BodyInit | null;
  /** Undefined if there is no body. The request's own header is then forwarded unchanged. */
  readonly contentType?: string;
  /** What was parsed, and is sent: the limits of grants are judged by it. */
  readonly content: LimitedBody;
}

/** What a service says about bodies. */
export interface BodyRules {
  /** Names that are refused in a form, urlencoded or multipart. */
  readonly forms: WatchedNames;
  /**
   * Keys that are refused in JSON and in forms: `token`, or `inputs.associations` below a JSON key. `sorts.propertyName=associations` is
   * refused only where its value contains this word.
   */
  readonly keys: readonly string[];
  /** Those of `keys` whose value may be null, which names nothing. */
  readonly nullable?: readonly string[];
  /** Whether the body is a file. */
  readonly isFile: boolean;
  /** Whether limits of grants apply to the request: every body that can be parsed is read then, and the others are unreadable. */
  readonly isLimited?: boolean;
  /** Whether a rule of the table matches the request. If none does, bodies that are neither JSON nor a form are streamed unchecked. */
  readonly isCovered: boolean;
}

/** What happens to a body by its type: it is streamed, or it is read whole and checked as JSON or as a form. */
export type BodyTreatment = { readonly kind: "stream" | "json" | "form" | "multipart"; readonly type: MediaType };

// Of ES2025: numbers keep the digits that they were written with.
declare global {
  interface JSON {
    rawJSON(text: string): unknown;
  }
}

/** The type of a body that declares none (RFC 9110 §8.3). The upstream gets it too, because Rack parses a body without a type as a form. */
const UNTYPED = "application/octet-stream";

/**
 * Decides by the headers whether a body has to be read. The type is the one that is forwarded: headers that `Connection` names are
 * ignored.
 *
 * @returns the treatment, or the fault `body_type_refused` for a type that is malformed, that some upstreams parse as a form although it
 *   is neither of the two form types, or that cannot be checked. The fault applies only if the body turns out not to be empty.
 */
export function bodyTreatment(
  headers: Headers,
  { forms, keys, isCovered, isFile, isLimited = false }: BodyRules,
): BodyTreatment | BodyFault {
  const type = parseMediaType(endToEndHeader(headers, "content-type") || UNTYPED);
  if (!type) return { code: "body_type_refused", reason: "its Content-Type is malformed" };
  const kind = kindOf(type);
  const isForm = kind === "form" || kind === "multipart";
  if (isFile) {
    return kind === "other"
      ? { kind: "stream", type }
      : {
          code: "body_type_refused",
          reason: `it is a file, and ${type.type} is parsed: send it as application/binary`,
        };
  }
  if (kind === "form-like" && forms.exact.size > 0) {
    return { code: "body_type_refused", reason: `some upstreams read ${type.type} as a form` };
  }
  const isChecked = isLimited || (isForm ? forms.exact.size + keys.length > 0 : keys.length > 0);
  if (!isChecked) return { kind: "stream", type };
  if (!isForm && kind !== "json") {
    return isCovered ? { code: "body_type_refused", reason: `it is ${type.type}` } : { kind: "stream", type };
  }
  if (!isUtf8(type)) return { code: "body_type_refused", reason: "its charset is not UTF-8" };
  if (contentCoding(endToEndHeader(headers, "content-encoding")) !== "none") {
    return { code: "body_type_refused", reason: "it has a Content-Encoding" };
  }
  return { kind, type };
}

/**
 * Parses a whole body by one strict grammar, looks for refused names, and serializes what was parsed: the upstream gets what was
 * checked. In a form, a key below another (`inputs.associations`) is refused by its first part.
 *
 * JSON under the type of a form, which is what `curl -d` sends, is forwarded as JSON.
 *
 * @returns the body to forward, or the fault for which it is refused.
 */
export function checkBody(
  bytes: ArrayBuffer,
  treatment: BodyTreatment | BodyFault,
  rules: BodyRules,
): BodyToSend | BodyFault {
  const { forms, keys } = rules;
  if (bytes.byteLength === 0) return { body: null, content: { kind: "none" } };
  if ("code" in treatment) return treatment;
  const { kind, type } = treatment;
  if (kind === "stream") return { body: bytes, contentType: formatMediaType(type), content: { kind: "unreadable" } };
  if (kind === "json")
    return checkJson(bytes, type, rules) ?? { code: "bad_body", reason: "it is not valid JSON in UTF-8" };
  const firsts = keys.map((key) => ({ key, first: watchNames([key.split(/[.=]/, 1)[0]!]) }));
  const refused = (name: string): string | undefined =>
    watchedNameIn(name, forms) ?? firsts.find(({ first }) => watchedNameIn(name, first))?.key;
  if (kind === "multipart") {
    const parts = parseMultipart(bytes, type.parameters.get("boundary"));
    if (typeof parts === "string") return { code: "bad_body", reason: parts };
    const parameter = firstFound(parts, ({ name }) => refused(name));
    return parameter === undefined
      ? { ...formatMultipart(parts), content: { kind: "multipart", parts } }
      : { code: "parameter_refused", parameter };
  }
  const json = /^[\s]*[{[]/.test(new TextDecoder().decode(bytes.slice(0, 64)))
    ? checkJson(bytes, JSON_TYPE, rules, forms)
    : null;
  if (json) return json;
  const form = parseForm(bytes);
  if (typeof form === "string") return { code: "bad_body", reason: form };
  const parameter = firstFound(form.names, refused);
  return parameter === undefined
    ? {
        body: formatForm(form.fields),
        contentType: formatMediaType(type),
        content: { kind: "form", fields: form.fields },
      }
    : { code: "parameter_refused", parameter };
}

const JSON_TYPE: MediaType = { type: "application/json", parameters: new Map() };

/**
 * Classifies a type. Form-like are the types that some parser reads as a form: Rack every `multipart/*` that it knows, formidable every
 * type that contains `urlencoded`, and PHP every type that begins like a form's.
 */
function kindOf({ type }: MediaType): BodyTreatment["kind"] | "form-like" | "other" {
  if (/^application\/(?:[\w.-]+\+)?json$/.test(type)) return "json";
  if (type === "application/x-www-form-urlencoded") return "form";
  if (type === "multipart/form-data") return "multipart";
  return /^multipart\/|url-?encoded|form-?data/.test(type) ? "form-like" : "other";
}

function firstFound<T>(items: readonly T[], find: (item: T) => string | undefined): string | undefined {
  for (const item of items) {
    const found = find(item);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Returns undefined if the body is not JSON. If a key occurs twice, the last value is checked and forwarded. */
function checkJson(
  bytes: ArrayBuffer,
  type: MediaType,
  { keys, nullable = [] }: BodyRules,
  forms?: WatchedNames,
): BodyToSend | BodyFault | undefined {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(bytes);
    const value = parseJson(text);
    // JSON that came as a form may have no name that a form may not have, because its upstream may read both alike.
    const name =
      forms && typeof value === "object"
        ? firstFound(Object.keys(value ?? {}), (one) => watchedNameIn(one, forms))
        : undefined;
    if (name !== undefined) return { code: "parameter_refused", parameter: name };
    const parameter = keys.find((key) => {
      const [path = "", word] = key.split("=");
      return hasKey(
        value,
        path.split(".").map((step) => watchNames([step])),
        { word, mayBeNull: nullable.includes(key) },
      );
    });
    if (parameter !== undefined) return { code: "parameter_refused", parameter };
    return { body: JSON.stringify(value), contentType: formatMediaType(type), content: { kind: "json", text } };
  } catch {
    // A SyntaxError, a TypeError for a text that is not UTF-8, or a RangeError for one that is nested too deeply.
    return undefined;
  }
}

function parseJson(text: string): unknown {
  const reviver = (_: string, value: unknown, context?: { source?: string }) =>
    typeof value === "number" && context?.source !== undefined ? JSON.rawJSON(context.source) : value;
  return JSON.parse(text, reviver);
}

/**
 * Returns whether a path of keys leads to a value. Each entry of a list on the way is searched; an empty list does not count as a value. An object in
 * the place of a list counts as one that has the key, because some parsers read it as the list of its values.
 */
function hasKey(value: unknown, [key, ...rest]: readonly WatchedNames[], meant: Meant): boolean {
  if (Array.isArray(value)) return value.some((one) => hasKey(one, key ? [key, ...rest] : [], meant));
  if (!key) return meant.word !== undefined && typeof value === "string" && contains(value, meant.word);
  if (typeof value !== "object" || value === null) return false;
  return Object.entries(value).some(
    ([name, inner]) =>
      watchedNameIn(name, key) !== undefined &&
      (rest.length === 0 ? isGiven(inner, meant) : isBelow(inner, rest, meant)),
  );
}

/** What counts as a value. */
interface Meant {
  /** If given, only a text that contains this word counts, by itself or in a list. */
  readonly word: string | undefined;
  /** Whether null is no value. */
  readonly mayBeNull: boolean;
}

function isGiven(value: unknown, meant: Meant): boolean {
  if (meant.word !== undefined) return hasKey(value, [], meant);
  return !(meant.mayBeNull && value === null) && !(Array.isArray(value) && value.length === 0);
}

function isBelow(value: unknown, keys: readonly WatchedNames[], meant: Meant): boolean {
  if (Array.isArray(value)) return hasKey(value, keys, meant);
  return typeof value === "object" && value !== null && (meant.word === undefined || contains(value, meant.word));
}

/** Returns whether a text, or any text within a list or an object, contains a word, in any case and however its characters are composed. */
function contains(value: unknown, word: string): boolean {
  if (typeof value === "string") return value.normalize("NFKD").toUpperCase().toLowerCase().includes(word);
  return typeof value === "object" && value !== null && Object.values(value).some((inner) => contains(inner, word));
}
