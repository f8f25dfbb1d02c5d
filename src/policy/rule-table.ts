import { actionsOf, type Catalogue } from "../permissions/catalogue.ts";
import { REFUSED_PARAMETERS, type ServiceDefinition } from "./service-definition.ts";
import { compileLimits, type LimitableFields } from "./limits.ts";
import { watchNames, type WatchedNames } from "./parameter-name.ts";
import {
  asLenientRouter,
  matcherKey,
  matchersMeet,
  matches,
  overlap,
  parseRule,
  permissions,
  type Matcher,
  type Rule,
} from "./rule.ts";

/** A node of the tree of rules. Maps are created only when they are needed, because a large table is searched at the speed of memory. */
interface Node {
  literals: Map<string, Node> | undefined;
  parameters: { matcher: Matcher; key: string; node: Node }[] | undefined;
  /** By the method, with a `/` behind it for a path that ends in one. */
  ends: Map<string, Rule> | undefined;
  tails: Map<string, Rule> | undefined;
}

const emptyNode = (): Node => ({ literals: undefined, parameters: undefined, ends: undefined, tails: undefined });

/** A service's rules, arranged so that finding one costs the length of the path and not the number of rules. */
export interface RuleTable {
  readonly rules: readonly Rule[];
  readonly root: Node;
  /** Embedding parameter → value → the permissions that it adds to the rule's. */
  readonly embeds: ReadonlyMap<string, ReadonlyMap<string, readonly string[]>>;
  /** Parameters of a query that are refused or embed. */
  readonly queryNames: WatchedNames;
  /** Parameters of a form that are refused. */
  readonly formNames: WatchedNames;
  /**
   * What grants may limit. Compiled when it is first asked for, because most requests are judged by no limit.
   *
   * @throws {Error} as {@link compileLimits}.
   */
  readonly limits: () => LimitableFields;
}

/**
 * Compiles the rules, the embedding parameters and the refused names of a service.
 *
 * @throws {Error} naming the line that is malformed or needs a permission that the catalogue does not have.
 */
export function compileTable(definition: ServiceDefinition, catalogue: Catalogue): RuleTable {
  const { name, rules: lines, embeds, trailingSlash, refusedParameters = REFUSED_PARAMETERS } = definition;
  const rules: Rule[] = [];
  const root = emptyNode();
  for (const line of lines) {
    for (const written of withContext(`rule "${line}"`, () => parseRule(line, name))) {
      const rule: Rule = trailingSlash === "optional" ? { ...written, slash: "either" } : written;
      assertKnownPermissions(`rule "${line}"`, rule.required, name, catalogue);
      insert(root, rule);
      rules.push(rule);
    }
  }
  const own = definition.credential.scheme === "query" ? [definition.credential.name] : [];
  // The credential's own parameter is refused even if it also embeds: the upstream would get it twice.
  const embedNames = Object.keys(embeds ?? {}).filter((parameter) => parameter !== own[0]?.toLowerCase());
  const embedding = embedNames.map((parameter) => {
    const values = embeds![parameter]!;
    const needs = Object.entries(values).map(([value, text]) => {
      const where = `${parameter}=${value}`;
      const required = text === "" ? [] : withContext(where, () => permissions(text, "read", name));
      assertKnownPermissions(where, required, name, catalogue);
      return [value, required] as const;
    });
    return [parameter, new Map(needs)] as const;
  });
  let limits: LimitableFields | undefined;
  return {
    rules,
    root,
    limits: () => (limits ??= compileLimits(definition.limits ?? {}, rules)),
    embeds: new Map(embedding),
    queryNames: watchNames([...refusedParameters, ...embedNames, ...own]),
    // Upstreams merge forms with the query, and may prefer a parameter there.
    formNames: watchNames([...(definition.refusedFormParameters ?? refusedParameters), ...own]),
  };
}

function withContext<T>(where: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new Error(`${where}: ${(cause as Error).message}`, { cause });
  }
}

function assertKnownPermissions(
  where: string,
  required: readonly string[],
  service: string,
  catalogue: Catalogue,
): void {
  for (const permission of required) {
    const [, resource = "", action = ""] = permission.split(":");
    if (!actionsOf(catalogue, service, resource).includes(action)) {
      throw new Error(`${where}: the catalogue has no ${permission}; add it under resources`);
    }
  }
}

/** Returns the pairs of rules that some request matches both of: its permission would depend on their order. */
export function overlaps(rules: readonly Rule[]): [Rule, Rule][] {
  const index = emptyIndex();
  return rules.flatMap((rule) => {
    const earlier = indexed(index, rule.segments).filter((one) => overlap(one, rule));
    addToIndex(index, rule);
    return earlier.map((one): [Rule, Rule] => [one, rule]);
  });
}

/** Rules by their segments, so that those which a rule may overlap are found without comparing it with all. */
interface Index {
  readonly ends: Rule[];
  readonly tails: Rule[];
  readonly literals: Map<string, Index>;
  readonly parameters: Map<string, { matcher: Matcher; index: Index }>;
}

const emptyIndex = (): Index => ({ ends: [], tails: [], literals: new Map(), parameters: new Map() });

function addToIndex(root: Index, rule: Rule): void {
  let index = root;
  for (const matcher of rule.segments) {
    if (matcher.kind === "tail") return void index.tails.push(rule);
    const key = matcherKey(matcher);
    const next = matcher.kind === "literal" ? index.literals.get(key) : index.parameters.get(key)?.index;
    const child = next ?? emptyIndex();
    if (!next && matcher.kind === "literal") index.literals.set(key, child);
    else if (!next) index.parameters.set(key, { matcher, index: child });
    index = child;
  }
  index.ends.push(rule);
}

/** Returns the rules whose segments all meet these. */
function indexed(index: Index, [matcher, ...rest]: readonly Matcher[]): Rule[] {
  if (!matcher) return index.ends;
  const parameters = [...index.parameters.values()];
  if (matcher.kind === "tail") {
    return [...index.tails, ...[...index.literals.values(), ...parameters.map((one) => one.index)].flatMap(all)];
  }
  const literal = matcher.kind === "literal" ? index.literals.get(matcher.text) : undefined;
  const literals =
    matcher.kind === "literal"
      ? []
      : [...index.literals].filter(([text]) => matches(matcher, text)).map(([, one]) => one);
  const met = parameters.filter((one) => matchersMeet(one.matcher, matcher)).map((one) => one.index);
  const below = [...(literal ? [literal] : []), ...literals, ...met];
  return [...index.tails, ...below.flatMap((one) => indexed(one, rest))];
}

const all = ({ ends, tails, literals, parameters }: Index): Rule[] => [
  ...ends,
  ...tails,
  ...[...literals.values(), ...[...parameters.values()].map((one) => one.index)].flatMap(all),
];

function insert(root: Node, rule: Rule): void {
  let node = root;
  for (const matcher of rule.segments) {
    if (matcher.kind === "tail") {
      node.tails ??= new Map();
      for (const key of keysOf(rule)) node.tails.set(key, rule);
      return;
    }
    node = child(node, matcher);
  }
  node.ends ??= new Map();
  for (const key of keysOf(rule)) node.ends.set(key, rule);
}

/** Returns what a rule is found by at the end of its path. */
function keysOf({ methods, slash }: Rule): string[] {
  const withSlash = methods.map((method) => `${method}/`);
  return slash === "either" ? [...methods, ...withSlash] : slash ? withSlash : [...methods];
}

function child(node: Node, matcher: Matcher): Node {
  const key = matcherKey(matcher);
  if (matcher.kind === "literal") {
    node.literals ??= new Map();
    let next = node.literals.get(key);
    if (!next) node.literals.set(key, (next = emptyNode()));
    return next;
  }
  node.parameters ??= [];
  let entry = node.parameters.find((one) => one.key === key);
  if (!entry) node.parameters.push((entry = { matcher, key, node: emptyNode() }));
  return entry.node;
}

/** The end of a request's path: its method, with a `/` behind it if the path ends in one. */
const endOf = (method: string, slash: boolean): string => (slash ? `${method}/` : method);

/**
 * Returns the rule that matches this method and path, or undefined if none does (the path is uncovered).
 *
 * @param texts the percent-decoded segments of the path.
 * @param slash whether the path ends in a slash.
 */
export function findRule(table: RuleTable, method: string, texts: readonly string[], slash: boolean): Rule | undefined {
  return search(table.root, endOf(method, slash), texts, 0);
}

function search(node: Node, end: string, texts: readonly string[], from: number): Rule | undefined {
  const text = texts[from];
  if (text === undefined) return node.ends?.get(end);
  const literal = node.literals?.get(text);
  const found = literal && search(literal, end, texts, from + 1);
  if (found) return found;
  for (const { matcher, node: next } of node.parameters ?? []) {
    const rule = matches(matcher, text) ? search(next, end, texts, from + 1) : undefined;
    if (rule) return rule;
  }
  return node.tails?.get(end);
}

/**
 * Returns whether each `%2F` in this path is at a parameter of the rule that allows it, and whether an upstream that decodes it before
 * routing would find no rule that needs another permission: in any case, up to an encoded `?` or `#`, with and without a slash at the
 * end. `/branches/{name:text}` does not match `/branches/x%2FKeys` if there is a rule for `/branches/{name}/keys`.
 *
 * Decoded, a `%2F` at the beginning of a segment is the second of two slashes, which some upstreams merge: the merged path must be
 * covered, and need nothing more. So the label `/` can be read by `/labels/%2F` where the list of labels may be read.
 */
export function allowsEncodedSlashes(
  table: RuleTable,
  rule: Rule | undefined,
  method: string,
  texts: readonly string[],
): boolean {
  if (!rule) return false;
  const decoded = texts.flatMap((text) => text.split("/"));
  const ended = untilMark(decoded);
  const readings = [decoded, decoded.map(asLenientRouter), ended.map(asLenientRouter)];
  const merged = readings.map((path) => path.filter((text) => text !== "")).filter((_, i) => readings[i]!.includes(""));
  const found = (path: readonly string[]): Rule[] =>
    [false, true].flatMap((slash) => findRule(table, method, path, slash) ?? []);
  if (merged.some((path) => found(path).length === 0)) return false;
  const others = [...readings, ...merged].flatMap(found);
  if (others.some((other) => other.required.some((permission) => !rule.required.includes(permission)))) return false;
  return texts.every((text, index) => {
    if (!text.includes("/")) return true;
    const matcher = rule.segments[Math.min(index, rule.segments.length - 1)];
    return matcher?.kind === "text" || (matcher?.kind === "tail" && !text.startsWith("/"));
  });
}

/**
 * Returns the segments that are left where an encoded `?` or `#` ends the path: on a server that decodes before it parses. The last is
 * empty if what is left ends in a slash.
 */
export function untilMark(texts: readonly string[]): readonly string[] {
  const end = texts.findIndex((text) => /[?#]/.test(text));
  return end === -1 ? texts : [...texts.slice(0, end), texts[end]!.split(/[?#]/, 1)[0]!];
}
