import { NAME_PATTERN } from "../permissions/grammar.ts";

const READ_METHODS = ["GET", "HEAD"] as const;
const WRITE_METHODS = ["POST", "PUT", "PATCH", "DELETE"] as const;
export const METHODS: ReadonlySet<string> = new Set([...READ_METHODS, ...WRITE_METHODS]);

/** The types of path parameters. A parameter without a type matches any one segment without a `%2F`. */
const TYPES: Readonly<Record<string, RegExp>> = {
  int: /^\d+$/,
  uuid: /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i,
  /** An API version as a number: `v61.0`. */
  version: /^v\d{1,3}\.\d$/,
  /** An API version as a month: `2026-03`, `2026-03-beta`. */
  month: /^\d{4}-\d{2}(?:-beta)?$/,
  /** A record's id of 15 characters, or of 18 with their checksum. */
  record: /^[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?$/,
  /** The name of a custom field. */
  custom: /^[A-Za-z]\w{0,56}__c$/i,
};

/** The pairs of types, in alphabetical order, that match some text in common. A test shows that no other two types do. */
const OVERLAPPING_TYPES = new Set(["int record"]);

export type Matcher =
  | { readonly kind: "literal"; readonly text: string }
  | { readonly kind: "any" }
  /** Any one segment, `%2F` allowed, except these words after a `%2F`: an upstream that decodes it first would read another path. */
  | { readonly kind: "text"; readonly not: readonly string[] }
  /** One or more segments, `%2F` allowed. Only at the end. */
  | { readonly kind: "tail" }
  | { readonly kind: "type"; readonly name: string; readonly pattern: RegExp }
  | { readonly kind: "choice"; readonly texts: readonly string[] };

/** One line of a service's table. */
export interface Rule {
  /** The line as it is written, which explanations show. */
  readonly source: string;
  readonly methods: readonly string[];
  readonly segments: readonly Matcher[];
  /** Full permissions, all of them required. */
  readonly required: readonly string[];
}

/**
 * Reads `METHODS PATH PERMISSION`.
 *
 * - METHODS: `GET`, `POST,PUT`, or `*` for all. GET covers HEAD.
 * - PATH: whole segments. `{name}` one segment, `{name:int}` one of the types, `{name:a|b}` a choice, `{name:text}` one segment that may
 *   contain `%2F`, `{name:text!a|b}` the same without `%2Fa` and `%2Fb`, `{name...}` the rest of the path.
 * - PERMISSION: `issues:read`, several joined by `+`, or `issues` alone: read for GET and HEAD, write for the others.
 *
 * One line may become two rules, a reading and a writing one.
 *
 * @throws {Error} saying what is wrong with the line.
 */
export function parseRule(source: string, service: string): Rule[] {
  const parts = source.trim().split(/\s+/);
  const [methodsText, path, permissionText] = parts;
  if (parts.length !== 3 || !methodsText || !path || !permissionText) {
    throw new Error('a rule has three parts: METHODS /path permission, for example "GET /orders/{id} orders:read"');
  }
  const methods = methodsText === "*" ? ["GET", ...WRITE_METHODS] : methodsText.split(",");
  for (const method of methods) {
    if (!METHODS.has(method)) throw new Error(`${method} is not a method that the gateway forwards`);
  }
  const segments = parsePath(path);
  const reads = methods.filter(isRead);
  const writes = methods.filter((method) => !isRead(method));
  const rules: Rule[] = [];
  for (const [group, action] of [
    [reads, "read"],
    [writes, "write"],
  ] as const) {
    if (group.length === 0) continue;
    const required = permissions(permissionText, action, service);
    const withHead = group.includes("GET") && !group.includes("HEAD") ? [...group, "HEAD"] : group;
    rules.push({ source, methods: withHead, segments, required });
  }
  return rules;
}

export const isRead = (method: string): boolean => method === "GET" || method === "HEAD";

/**
 * Returns the full permissions that `a:read+b` names.
 *
 * @param action the action of a permission that is written without one.
 * @throws {Error} saying which of them is malformed.
 */
export function permissions(text: string, action: string, service: string): string[] {
  return text.split("+").map((one) => fullPermission(one, action, service));
}

function fullPermission(text: string, action: string, service: string): string {
  const parts = text.split(":");
  if (parts.length > 2 || parts.some((part) => !NAME_PATTERN.test(part))) {
    throw new Error(`${text} is not a permission of ${service}: write resource:action, or resource alone`);
  }
  return `${service}:${parts[0]}:${parts[1] ?? action}`;
}

function parsePath(path: string): Matcher[] {
  if (!path.startsWith("/")) throw new Error(`the path ${path} does not begin with /`);
  if (path === "/") return [];
  const texts = path.slice(1).split("/");
  return texts.map((text, position) => {
    const parameter = /^\{([A-Za-z_][A-Za-z0-9_]*)(?:(\.\.\.)|:([^{}]+))?\}$/.exec(text);
    if (!parameter) {
      if (!/^[A-Za-z0-9_.~!$&'()*+,=:@-]+$/.test(text) || /^\.+$|\.$/.test(text)) {
        throw new Error(`the segment "${text}" is neither plain text nor {parameter}`);
      }
      return { kind: "literal", text };
    }
    const [, , tail, type] = parameter;
    if (tail) {
      if (position !== texts.length - 1) throw new Error(`${text} may only stand at the end of the path`);
      return { kind: "tail" };
    }
    if (!type) return { kind: "any" };
    const [kind, not = ""] = type.split("!");
    if (kind === "text") return { kind, not: not.toLowerCase().split("|") };
    const pattern = Object.hasOwn(TYPES, type) ? TYPES[type] : undefined;
    if (pattern) return { kind: "type", name: type, pattern };
    const choices = type.split("|");
    if (choices.length < 2 || choices.includes(""))
      throw new Error(`${text}: a type is ${Object.keys(TYPES).join(", ")}, text, or a choice a|b`);
    return { kind: "choice", texts: choices };
  });
}

/** Returns whether both rules match some method and path. */
export function overlap(one: Rule, other: Rule): boolean {
  return one.methods.some((method) => other.methods.includes(method)) && pathsMeet(one.segments, other.segments);
}

function pathsMeet(one: readonly Matcher[], other: readonly Matcher[]): boolean {
  for (let i = 0; ; i++) {
    const a = one[i];
    const b = other[i];
    if (!a || !b) return !a && !b;
    if (a.kind === "tail" || b.kind === "tail") return true;
    if (!segmentsMeet(a, b)) return false;
  }
}

function segmentsMeet(a: Matcher, b: Matcher): boolean {
  if (a.kind === "literal") return matches(b, a.text);
  if (b.kind === "literal") return matches(a, b.text);
  if (a.kind === "choice") return a.texts.some((text) => matches(b, text));
  if (b.kind === "choice") return b.texts.some((text) => matches(a, text));
  if (a.kind === "type" && b.kind === "type")
    return a.name === b.name || OVERLAPPING_TYPES.has([a.name, b.name].sort().join(" "));
  return true;
}

/**
 * Returns a part of a path as the most lenient router compares it: up to an encoded `?` or `#`, which ends the path on a server that
 * decodes before it parses; without case, in the forms that normalization (NFKC) makes equal, so that the long s (`\u017f`) is an s; and
 * without the `.json` that Rails strips from its end.
 */
export const asLenientRouter = (part: string): string =>
  part
    .split(/[?#]/, 1)[0]!
    .normalize("NFKC")
    .toUpperCase()
    .toLowerCase()
    .replace(/\.json$/, "");

/** Returns whether a matcher matches this segment (percent-decoded). */
export function matches(matcher: Matcher, text: string): boolean {
  switch (matcher.kind) {
    case "literal":
      return matcher.text === text;
    case "any":
      return !text.includes("/");
    case "text":
      return !text.split("/").some((part, index) => index > 0 && matcher.not.includes(asLenientRouter(part)));
    case "tail":
      return true;
    case "type":
      return matcher.pattern.test(text);
    case "choice":
      return matcher.texts.includes(text);
  }
}
