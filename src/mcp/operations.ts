import { isRead as isReadMethod, type Matcher, type Rule } from "../policy/rule.ts";
import type { OperationDescription } from "../policy/service-definition.ts";
import type { Service } from "../policy/services.ts";

/** A part of an operation's path: plain text, or the argument that stands there. */
export type PathPart = { readonly text: string } | PathArgument;

export interface PathArgument {
  /** Its name among the arguments of the tool. */
  readonly argument: string;
  readonly matcher: Matcher;
}

/** One method on one path that a rule covers, as a tool. */
export interface Operation {
  /** Unique among all operations, at most 64 characters of letters, digits, `_` and `-`. */
  readonly name: string;
  readonly service: Service;
  readonly rule: Rule;
  readonly method: string;
  /** As the rule writes it, without types: `/repos/{owner}/{repo}/issues`. */
  readonly path: string;
  readonly parts: readonly PathPart[];
  /** Whether its path ends in a slash. */
  readonly slash: boolean;
  /** What it does, in the words of its path: `list repo issues`. */
  readonly words: string;
  /** What the operator says of it. */
  readonly described: OperationDescription;
  /** Whether it adds to a collection, and changes nothing that is there. */
  readonly isAddition: boolean;
}

/** Clients take names of at most this many characters. */
const MAX_NAME = 64;

const indexes = new WeakMap<ReadonlyMap<string, Service>, ReadonlyMap<string, Operation>>();

/**
 * Returns the operations of all services by their names, in the order of the names. A name depends on the configuration and not on who
 * asks.
 *
 * @param reserved names that no operation gets.
 */
export function operationsOf(
  services: ReadonlyMap<string, Service>,
  reserved: ReadonlySet<string>,
): ReadonlyMap<string, Operation> {
  let index = indexes.get(services);
  if (!index) indexes.set(services, (index = indexOf([...services.values()].flatMap(ofService), reserved)));
  return index;
}

/** Gives each operation its name. Those that would have the same get a digest of what they are, all of them, whichever comes first. */
function indexOf(operations: readonly Operation[], reserved: ReadonlySet<string>): ReadonlyMap<string, Operation> {
  const counts = new Map<string, number>([...reserved].map((name) => [name, 1]));
  for (const { name } of operations) counts.set(name, (counts.get(name) ?? 0) + 1);
  const named = operations.map((one) => (counts.get(one.name)! > 1 ? { ...one, name: withDigest(one) } : one));
  return new Map(named.map((one) => [one.name, one] as const).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** The operations of one service, with names that may still be those of others. */
function ofService(service: Service): Operation[] {
  const { rules } = service.table();
  const { fileRules = [], alternativePaths = [] } = service.definition;
  return rules.flatMap((rule) => {
    const [, path = ""] = rule.source.trim().split(/\s+/);
    // A body that is a file is not JSON. And one tool for each thing is enough.
    if (fileRules.includes(rule.source) || alternativePaths.some((prefix) => `${path}/`.startsWith(`${prefix}/`)))
      return [];
    return variantsOf(rule, path).flatMap((parts) =>
      methodsOf(rule, rules).map((method) => toOperation(service, rule, method, parts)),
    );
  });
}

/** The methods of a rule that are tools: not HEAD, and not GET where a POST does the same with its arguments in the body. */
function methodsOf({ source, methods, required }: Rule, rules: readonly Rule[]): readonly string[] {
  const same = rules.filter((one) => one.source === source && one.required.join() === required.join());
  const hasPost = same.some((one) => one.methods.includes("POST"));
  return methods.filter((method) => method !== "HEAD" && !(method === "GET" && hasPost));
}

/** The paths of a rule. One that ends in a choice is a path for each word; any other choice is an argument. */
function variantsOf({ segments }: Rule, path: string): PathPart[][] {
  const texts = path.replace(/^\/|\/$/g, "").split("/");
  const taken = new Set<string>(["query", "body"]);
  const parts = segments.map((matcher, index): PathPart => {
    if (matcher.kind === "literal") return { text: matcher.text };
    const [, written = `part_${index + 1}`] = /\{([A-Za-z_]\w*)/.exec(texts[index] ?? "") ?? [];
    let argument = written;
    for (let next = 2; taken.has(argument); next++) argument = `${written}_${next}`;
    taken.add(argument);
    return { argument, matcher };
  });
  const last = parts.at(-1);
  if (!last || !("argument" in last) || last.matcher.kind !== "choice") return [parts];
  const before = parts.slice(0, -1);
  return last.matcher.texts.map((text) => before.concat({ text }));
}

function toOperation(service: Service, rule: Rule, method: string, parts: readonly PathPart[]): Operation {
  const slash = rule.slash === true;
  const path = `/${parts.map((part) => ("text" in part ? part.text : shown(part))).join("/")}${slash ? "/" : ""}`;
  const described = service.definition.operations?.[`${method} ${rule.source.trim().split(/\s+/)[1]}`] ?? {};
  const { verb, nouns, isAddition } = describe(method, parts);
  const words = [verb, ...nouns].join(" ").replaceAll("_", " ");
  const name = `${service.name}_${described.name ?? [verb, ...nouns].join("_")}`;
  const operation: Operation = { name, service, rule, method, path, parts, slash, words, described, isAddition };
  return name.length <= MAX_NAME ? operation : { ...operation, name: withDigest(operation) };
}

/** A parameter as descriptions show it, with the text around it. */
function shown({ argument, matcher }: PathArgument): string {
  return matcher.kind === "affixed" ? `${matcher.before}{${argument}}${matcher.after}` : `{${argument}}`;
}

/** What stands at the beginning of the paths of many APIs, and says nothing. */
const EMPTY_WORD = /^(?:api|rest|v\d[\w.]*)$/i;

/** Returns an operation in words: `GET /repos/{owner}/{repo}/issues` lists `repo issues`. */
function describe(method: string, parts: readonly PathPart[]): { verb: string; nouns: string[]; isAddition: boolean } {
  const meaning = parts.findIndex((part) => !("text" in part) || !EMPTY_WORD.test(part.text));
  const nouns = parts.slice(Math.max(meaning, 0)).flatMap((part, index, all) => {
    const word = wordOf(part);
    if (word === "") return [];
    const next = all[index + 1];
    return [next && !("text" in next) && next.matcher.kind !== "choice" ? singular(word) : word];
  });
  const last = parts.at(-1);
  const isCollection = last !== undefined && "text" in last && isPlural(wordOf(last));
  const verb = verbOf(method, isCollection, last !== undefined && "text" in last);
  if (verb === "create") nouns.push(singular(nouns.pop()!));
  return { verb, nouns: nouns.length > 0 ? nouns : ["root"], isAddition: verb === "create" };
}

function verbOf(method: string, isCollection: boolean, isText: boolean): string {
  switch (method) {
    case "GET":
      return isCollection ? "list" : "get";
    case "POST":
      return isCollection && isText ? "create" : "post";
    case "PATCH":
      return "update";
    default:
      return method.toLowerCase();
  }
}

/** The word of a part in a name: its text, or the first word of a choice. Other parameters have none. */
function wordOf(part: PathPart): string {
  const text = "text" in part ? part.text : textOf(part.matcher);
  return text.replace(/[^A-Za-z0-9]+/g, "_").replace(/^_|_$/g, "");
}

function textOf(matcher: Matcher): string {
  if (matcher.kind === "choice") return matcher.texts[0] ?? "";
  return matcher.kind === "affixed" ? `${matcher.before}_${matcher.after}` : "";
}

const isPlural = (word: string): boolean => /[^su]s$/i.test(word) && !/is$/i.test(word);

function singular(word: string): string {
  if (!isPlural(word)) return word;
  if (/[^aeiou]ies$/i.test(word)) return `${word.slice(0, -3)}y`;
  return /(?:ss|us|x|z|ch|sh)es$/i.test(word) ? word.slice(0, -2) : word.slice(0, -1);
}

/** A name with a digest of its operation in the place of what does not fit. */
function withDigest({ name, service, method, path, rule }: Operation): string {
  const digest = fnv1a(`${service.name} ${method} ${path} ${rule.source}`);
  return `${name.slice(0, MAX_NAME - digest.length - 1)}_${digest}`;
}

/** Two rounds of FNV-1a (http://www.isthe.com/chongo/tech/comp/fnv/) in base 36. It tells names apart, and protects nothing. */
function fnv1a(text: string): string {
  const round = (basis: number): number => {
    let hash = basis;
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
    return hash >>> 0;
  };
  return (round(0x811c9dc5).toString(36) + round(0x01000193).toString(36)).slice(0, 10).padStart(10, "0");
}

/** Whether an operation changes nothing: every permission that it needs is one to read, as the gateway judges it. */
export const isRead = ({ rule }: Operation): boolean =>
  rule.required.every((permission) => permission.endsWith(":read"));

/** Whether its request has a body. */
export const hasBody = ({ method }: Operation): boolean => !isReadMethod(method);
