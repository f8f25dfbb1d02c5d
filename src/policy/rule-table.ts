import { actionsOf, type Catalogue } from "../permissions/catalogue.ts";
import { REFUSED_PARAMETERS, type ServiceDefinition } from "./service-definition.ts";
import { watchNames, type WatchedNames } from "./parameter-name.ts";
import { overlap, parseRule, permissions, matches, asLenientRouter, type Matcher, type Rule } from "./rule.ts";

/** A node of the tree of rules. Maps are created only when they are needed, because a large table is searched at the speed of memory. */
interface Node {
  literals: Map<string, Node> | undefined;
  parameters: { matcher: Matcher; node: Node }[] | undefined;
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
}

/**
 * Compiles the rules, the embedding parameters and the refused names of a service.
 *
 * @throws {Error} naming the line that is malformed or needs a permission that the catalogue does not have.
 */
export function compileTable(definition: ServiceDefinition, catalogue: Catalogue): RuleTable {
  const { name, rules: lines, embeds, refusedParameters = REFUSED_PARAMETERS } = definition;
  const rules: Rule[] = [];
  const root = emptyNode();
  for (const line of lines) {
    for (const rule of withContext(`rule "${line}"`, () => parseRule(line, name))) {
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
  return {
    rules,
    root,
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
  const pairs: [Rule, Rule][] = [];
  rules.forEach((rule, index) => {
    for (const earlier of rules.slice(0, index)) if (overlap(earlier, rule)) pairs.push([earlier, rule]);
  });
  return pairs;
}

function insert(root: Node, rule: Rule): void {
  let node = root;
  for (const matcher of rule.segments) {
    if (matcher.kind === "tail") {
      node.tails ??= new Map();
      for (const method of rule.methods) node.tails.set(method, rule);
      return;
    }
    node = child(node, matcher);
  }
  node.ends ??= new Map();
  for (const method of rule.methods) node.ends.set(method, rule);
}

function child(node: Node, matcher: Matcher): Node {
  if (matcher.kind === "literal") {
    node.literals ??= new Map();
    let next = node.literals.get(matcher.text);
    if (!next) node.literals.set(matcher.text, (next = emptyNode()));
    return next;
  }
  const key = JSON.stringify(matcher);
  node.parameters ??= [];
  let entry = node.parameters.find((one) => JSON.stringify(one.matcher) === key);
  if (!entry) node.parameters.push((entry = { matcher, node: emptyNode() }));
  return entry.node;
}

/**
 * Returns the rule that matches this method and path, or undefined if none does (the path is uncovered).
 *
 * @param texts the percent-decoded segments of the path.
 */
export function findRule(table: RuleTable, method: string, texts: readonly string[]): Rule | undefined {
  return search(table.root, method, texts, 0);
}

function search(node: Node, method: string, texts: readonly string[], from: number): Rule | undefined {
  const text = texts[from];
  if (text === undefined) return node.ends?.get(method);
  const literal = node.literals?.get(text);
  const found = literal && search(literal, method, texts, from + 1);
  if (found) return found;
  for (const { matcher, node: next } of node.parameters ?? []) {
    const rule = matches(matcher, text) ? search(next, method, texts, from + 1) : undefined;
    if (rule) return rule;
  }
  return node.tails?.get(method);
}

/**
 * Returns whether each `%2F` in this path is at a parameter of the rule that allows it, and whether an upstream that decodes it before
 * routing (in any case, and up to an encoded `?` or `#`) would find no rule that needs another permission. `/branches/{name:text}` does
 * not match `/branches/x%2FKeys` if there is a rule for `/branches/{name}/keys`.
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
  const others = readings.map((path) => findRule(table, method, path));
  if (others.some((other) => other?.required.some((permission) => !rule.required.includes(permission)))) return false;
  return texts.every((text, index) => {
    if (!text.includes("/")) return true;
    const matcher = rule.segments[Math.min(index, rule.segments.length - 1)];
    return matcher?.kind === "text" || matcher?.kind === "tail";
  });
}

/** Returns the segments that are left where an encoded `?` or `#` ends the path: on a server that decodes before it parses. */
export function untilMark(texts: readonly string[]): readonly string[] {
  const end = texts.findIndex((text) => /[?#]/.test(text));
  return end === -1 ? texts : [...texts.slice(0, end), texts[end]!.split(/[?#]/, 1)[0]!];
}
