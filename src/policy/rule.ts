import { NAME_PATTERN } from "../permissions/grammar.ts";
import { ANY, formsMeet, literal, patternOf, TEXT, TYPES, type Forms } from "./segment-form.ts";

const READ_METHODS = ["GET", "HEAD"] as const;
const WRITE_METHODS = ["POST", "PUT", "PATCH", "DELETE"] as const;
export const METHODS: ReadonlySet<string> = new Set([...READ_METHODS, ...WRITE_METHODS]);

export type Matcher =
  | { readonly kind: "literal"; readonly text: string }
  /** Any one segment without a `%2F`, except these words in any case. */
  | { readonly kind: "any"; readonly not: readonly string[] }
  /** Any one segment, `%2F` allowed, except these words after a `%2F`: an upstream that decodes it first would read another path. */
  | { readonly kind: "text"; readonly not: readonly string[] }
  /** One or more segments, `%2F` allowed. Only at the end. */
  | { readonly kind: "tail" }
  | { readonly kind: "type"; readonly name: string; readonly pattern: RegExp }
  /** A parameter with plain text before or after it: `{model}:generateContent`. Without a name of a type it is any text. */
  | {
      readonly kind: "affixed";
      readonly before: string;
      readonly type: { readonly name: string; readonly pattern: RegExp } | null;
      readonly after: string;
    }
  | { readonly kind: "choice"; readonly texts: readonly string[] };

/** One line of a service's table. */
export interface Rule {
  /** The line as it is written, which explanations show. */
  readonly source: string;
  readonly methods: readonly string[];
  readonly segments: readonly Matcher[];
  /** Whether the path ends in a slash. `either` matches both. */
  readonly slash: boolean | "either";
  /** Full permissions, all of them required. */
  readonly required: readonly string[];
}

/**
 * Reads `METHODS PATH PERMISSION`.
 *
 * - METHODS: `GET`, `POST,PUT`, or `*` for all. GET covers HEAD.
 * - PATH: whole segments. `{name}` one segment, `{name!a|b}` one but these words, `{name:int}` one of the types, `{name:a|b}` a choice, `{name:text}` one segment that may
 *   contain `%2F`, `{name:text!a|b}` the same without `%2Fa` and `%2Fb`, `{name...}` the rest of the path. All but the last two may have
 *   plain text before and after them: `{name}.json`. A slash at the end matches just that, unless the service takes both.
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
  const { segments, slash } = parsePath(path);
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
    rules.push({ source, methods: withHead, segments, slash, required });
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

/** Reads the path of a rule. The path `/` has no segments, and is the same with and without its slash. */
function parsePath(path: string): Pick<Rule, "segments" | "slash"> {
  if (!path.startsWith("/")) throw new Error(`the path ${path} does not begin with /`);
  if (path === "/") return { segments: [], slash: "either" };
  const slash = path.endsWith("/");
  const texts = path.slice(1, slash ? -1 : undefined).split("/");
  return { segments: texts.map((text, position) => parseSegment(text, position === texts.length - 1)), slash };
}

const PLAIN_TEXT = /^[A-Za-z0-9_.~!$&'()*+,=:@-]*$/;

function parseSegment(text: string, isLast: boolean): Matcher {
  const [, before = "", parameter, after = ""] = /^([^{}]*)\{([^{}]*)\}([^{}]*)$/.exec(text) ?? [];
  const plain = parameter === undefined ? text : before + after;
  if (/\}.*\{.*\}/.test(text)) throw new Error(`the segment "${text}" has more than one parameter`);
  if (!PLAIN_TEXT.test(plain) || (parameter === undefined && !/[^.]/.test(text)) || text.endsWith(".")) {
    throw new Error(
      `the segment "${text}" is neither plain text nor {parameter}, with or without plain text around it`,
    );
  }
  if (parameter === undefined) return { kind: "literal", text };
  const [, name, tail, type, words] = /^([A-Za-z_][A-Za-z0-9_]*)(?:(\.\.\.)|:(.+)|!(.+))?$/.exec(parameter) ?? [];
  if (name === undefined) throw new Error(`the segment "${text}" has a parameter without a name`);
  const isWhole = plain === "";
  if (tail) {
    if (!isLast || !isWhole) throw new Error(`${text} may only stand at the end of the path, as a whole segment`);
    return { kind: "tail" };
  }
  if (words !== undefined && !isWhole) throw new Error(`${text}: words are left out of whole segments only`);
  if (!type) {
    const excluded = words === undefined ? [] : words.split("|").map(asLenientRouter);
    return isWhole ? { kind: "any", not: excluded } : { kind: "affixed", before, type: null, after };
  }
  const [kind, not = ""] = type.split("!");
  if (kind === "text") {
    if (!isWhole) throw new Error(`${text}: {${name}:text} can only be a whole segment`);
    return { kind, not: not === "" ? [] : not.toLowerCase().split("|") };
  }
  const pattern = typePattern(type);
  if (pattern) {
    const typed = { name: type, pattern };
    return isWhole ? { kind: "type", ...typed } : { kind: "affixed", before, type: typed, after };
  }
  const choices = type.split("|");
  if (choices.length < 2 || choices.includes(""))
    throw new Error(`${text}: a type is ${Object.keys(TYPES).join(", ")}, text, or a choice a|b`);
  return { kind: "choice", texts: choices.map((choice) => before + choice + after) };
}

const patterns = new Map<string, RegExp>();

/** Returns the pattern of a type, or undefined if there is no type of this name. */
function typePattern(name: string): RegExp | undefined {
  const forms = Object.hasOwn(TYPES, name) ? TYPES[name] : undefined;
  if (forms && !patterns.has(name)) patterns.set(name, patternOf(forms));
  return forms && patterns.get(name);
}

/** Returns whether both rules match some method and path. */
export function overlap(one: Rule, other: Rule): boolean {
  return (
    one.methods.some((method) => other.methods.includes(method)) &&
    (one.slash === other.slash || one.slash === "either" || other.slash === "either") &&
    pathsMeet(one.segments, other.segments)
  );
}

function pathsMeet(one: readonly Matcher[], other: readonly Matcher[]): boolean {
  for (let i = 0; ; i++) {
    const a = one[i];
    const b = other[i];
    if (!a || !b) return !a && !b;
    if (a.kind === "tail" || b.kind === "tail") return true;
    if (!matchersMeet(a, b)) return false;
  }
}

const meetings = new Map<string, boolean>();

/** Returns whether some segment matches both. */
export function matchersMeet(a: Matcher, b: Matcher): boolean {
  if (a.kind === "literal") return matches(b, a.text);
  if (b.kind === "literal") return matches(a, b.text);
  if (a.kind === "choice") return a.texts.some((text) => matches(b, text));
  if (b.kind === "choice") return b.texts.some((text) => matches(a, text));
  const key = `${matcherKey(a)} ${matcherKey(b)}`;
  let meets = meetings.get(key);
  if (meets === undefined) meetings.set(key, (meets = formsMeet(formsOf(a), formsOf(b))));
  return meets;
}

/** Returns a text that is equal for two matchers exactly if they match the same by their definition. */
export function matcherKey(matcher: Matcher): string {
  switch (matcher.kind) {
    case "literal":
      return matcher.text;
    case "any":
      return `{!${matcher.not.join("|")}}`;
    case "text":
      return `{text!${matcher.not.join("|")}}`;
    case "tail":
      return "{...}";
    case "type":
      return `{${matcher.name}}`;
    case "affixed":
      return `${matcher.before}{${matcher.type?.name ?? ""}}${matcher.after}`;
    case "choice":
      return `{${matcher.texts.join("|")}}`;
  }
}

/** Returns the forms of what a matcher matches, and of the words that it leaves out. */
function formsOf(matcher: Matcher): Forms {
  switch (matcher.kind) {
    case "any":
      return ANY;
    case "text":
    case "tail":
      return TEXT;
    case "type":
      return TYPES[matcher.name]!;
    case "literal":
      return [literal(matcher.text)];
    case "choice":
      return matcher.texts.map(literal);
    case "affixed": {
      const { before, type, after } = matcher;
      const inner = type ? TYPES[type.name]! : ANY;
      return inner.map((runs) => literal(before).concat(runs, literal(after)));
    }
  }
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
      return !text.includes("/") && (matcher.not.length === 0 || !matcher.not.includes(asLenientRouter(text)));
    case "text":
      return !text.split("/").some((part, index) => index > 0 && matcher.not.includes(asLenientRouter(part)));
    case "tail":
      return true;
    case "type":
      return matcher.pattern.test(text);
    case "affixed": {
      const { before, type, after } = matcher;
      if (text.length <= before.length + after.length || !text.startsWith(before) || !text.endsWith(after))
        return false;
      const inner = text.slice(before.length, text.length - after.length);
      return type ? type.pattern.test(inner) : !inner.includes("/");
    }
    case "choice":
      return matcher.texts.includes(text);
  }
}
