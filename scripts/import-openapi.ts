import { overlap, parseRule, type Rule } from "../src/policy/rule.ts";
import type { OperationDescription } from "../src/policy/service-definition.ts";
import { invisibleCharacter } from "../src/validation/readable-text.ts";

/** The parts of an OpenAPI 3 description that say which operations there are (https://spec.openapis.org/oas/v3.1.1). */
interface Description {
  readonly openapi?: unknown;
  readonly info?: { readonly title?: string };
  readonly servers?: readonly {
    readonly url: string;
    readonly variables?: Readonly<Record<string, { readonly default: string }>>;
  }[];
  readonly paths?: Readonly<Record<string, PathItem>>;
  readonly security?: readonly Readonly<Record<string, unknown>>[];
  readonly components?: { readonly securitySchemes?: Readonly<Record<string, SecurityScheme>> };
}
interface PathItem {
  readonly parameters?: readonly Parameter[];
  readonly [method: string]: unknown;
}
interface OperationObject {
  readonly operationId?: string;
  readonly summary?: string;
  readonly description?: string;
  readonly tags?: readonly string[];
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: unknown;
}
interface Parameter {
  readonly name?: string;
  readonly in?: string;
  readonly required?: boolean;
  readonly description?: string;
  readonly schema?: Schema;
}
interface Schema {
  readonly type?: unknown;
  readonly format?: string;
  readonly enum?: readonly unknown[];
  readonly description?: string;
  readonly properties?: Readonly<Record<string, unknown>>;
  readonly required?: unknown;
}
interface SecurityScheme {
  readonly type?: string;
  readonly scheme?: string;
  readonly in?: string;
  readonly name?: string;
}

/** One operation of a description. */
export interface ImportedOperation {
  readonly method: string;
  /** As the description writes it. */
  readonly path: string;
  /** `resource:action`. */
  readonly permission: string;
}

/** What a description becomes. */
export interface ImportedUpstream {
  readonly title: string;
  /** Undefined if the description names no absolute URL. */
  readonly baseUrl: string | undefined;
  readonly credential: Readonly<Record<string, string>>;
  readonly resources: Readonly<Record<string, readonly string[]>>;
  readonly rules: readonly string[];
  /** What the description says of the operations, by `METHOD /path` as in the rules. */
  readonly operations: Readonly<Record<string, OperationDescription>>;
  /** The operations that a rule covers. */
  readonly covered: readonly ImportedOperation[];
  /** The operations that no rule covers, each with the reason. */
  readonly left: readonly { readonly operation: string; readonly reason: string }[];
}

const METHODS = ["get", "head", "post", "put", "patch", "delete"];
const NOT_FORWARDED = ["options", "trace"];

/** A rule that is being made: its segments as text. */
interface Draft extends ImportedOperation {
  readonly segments: string[];
  readonly slash: boolean;
  readonly described: OperationDescription;
}

/**
 * Returns the rules of an API from its OpenAPI 3 description: a resource for each tag, read for GET and HEAD and write for all others,
 * and a type for each parameter of the path whose schema has one that rules know.
 *
 * Where two paths match the same request, the one with a word in the place of a parameter wins, as OpenAPI says: the parameter leaves
 * the word out. What remains ambiguous, or cannot be written as a rule, is left out with its reason.
 *
 * @param tags if there are any, only operations with one of these tags are imported.
 * @throws {Error} if this is not an OpenAPI 3 description.
 */
export function importOpenApi(value: unknown, tags: readonly string[] = []): ImportedUpstream {
  const description = value as Description | null;
  if (typeof description?.openapi !== "string" || !description.openapi.startsWith("3.")) {
    throw new Error("This is not an OpenAPI 3 description: it has no openapi: 3.x.");
  }
  const left: { operation: string; reason: string }[] = [];
  const drafts: Draft[] = [];
  /** The operations that cannot be a rule, with a rule that matches more than they do. */
  const unwritten: (Draft & { readonly rule: Rule })[] = [];
  for (const [path, raw] of Object.entries(description.paths ?? {})) {
    const item = resolve(description, raw) as PathItem;
    for (const method of [...METHODS, ...NOT_FORWARDED]) {
      const operation = item[method] as OperationObject | undefined;
      if (!operation || (tags.length > 0 && !operation.tags?.some((tag) => tags.includes(tag)))) continue;
      const name = `${method.toUpperCase()} ${path}`;
      if (NOT_FORWARDED.includes(method)) {
        left.push({ operation: name, reason: "the gateway does not forward this method" });
        continue;
      }
      const parameters = [...(item.parameters ?? []), ...(operation.parameters ?? [])];
      const resolved = parameters.map((one) => resolve(description, one) as Parameter);
      const described = describe(description, operation, resolved);
      const draft = { ...draftOf(method.toUpperCase(), path, operation, resolved), described };
      const fault = faultOf(draft);
      if (fault === undefined) {
        drafts.push(draft);
        continue;
      }
      left.push({ operation: name, reason: fault });
      const wide = { ...draft, segments: draft.segments.map((text) => (/^[\w-]+$/.test(text) ? text : "{any}")) };
      if (faultOf(wide) === undefined) unwritten.push({ ...wide, rule: ruleOf(wide) });
    }
  }
  const kept = separate(drafts, left).filter((draft) => {
    // What cannot be a rule must not be reached by another operation's rule either, unless it needs the same.
    const hidden = unwritten.find((one) => one.permission !== draft.permission && overlap(one.rule, ruleOf(draft)));
    if (hidden) left.push({ operation: `${draft.method} ${draft.path}`, reason: `would match ${hidden.path} as well` });
    return !hidden;
  });
  const resources: Record<string, string[]> = {};
  for (const { permission } of kept) {
    const [resource = "", action = ""] = permission.split(":");
    const actions = (resources[resource] ??= []);
    if (!actions.includes(action)) actions.push(action);
  }
  for (const actions of Object.values(resources)) actions.sort();
  return {
    title: description.info?.title ?? "",
    baseUrl: baseUrlOf(description),
    credential: credentialOf(description),
    resources,
    rules: linesOf(kept),
    operations: operationsOf(kept),
    covered: kept.map(({ method, path, permission }) => ({ method, path, permission })),
    left,
  };
}

/** Follows references within the description. */
function resolve(description: Description, value: unknown): unknown {
  let current = value;
  for (let steps = 0; steps < 10; steps++) {
    const reference = (current as { $ref?: unknown } | null)?.$ref;
    if (typeof reference !== "string") return current;
    if (!reference.startsWith("#/")) throw new Error(`${reference} is in another file: bundle the description first.`);
    current = reference
      .slice(2)
      .split("/")
      .map((part) => decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~"))
      .reduce<unknown>((inner, part) => (inner as Record<string, unknown> | undefined)?.[part], description);
  }
  return current;
}

/** How much of a description is kept, so that an API with hundreds of operations stays a file that is read before it is deployed. */
const MAX_SENTENCE = 200;
const MAX_PROPERTIES = 40;

/** Returns what a model has to know of an operation: a sentence, the parameters of the query, and the members of a JSON body. */
function describe(
  description: Description,
  { operationId, summary, description: text, requestBody }: OperationObject,
  parameters: readonly Parameter[],
): OperationDescription {
  const name = operationId && snakeCase(operationId);
  const words = sentence(summary || text);
  const ofQuery = parameters.filter((one) => one.in === "query" && typeof one.name === "string");
  const query = ofQuery.map((one) => [
    one.name!,
    flat({
      ...(resolve(description, one.schema ?? {}) as Schema),
      ...(one.description && { description: one.description }),
    }),
  ]);
  const required = ofQuery.filter((one) => one.required === true).map((one) => one.name!);
  const content = (resolve(description, requestBody) as { content?: Record<string, { schema?: unknown }> } | undefined)
    ?.content;
  const schema =
    content?.["application/json"] && (resolve(description, content["application/json"].schema) as Schema | undefined);
  const properties = Object.entries(schema?.properties ?? {}).slice(0, MAX_PROPERTIES);
  const mandatory = Array.isArray(schema?.required)
    ? schema.required.filter((one) => properties.some(([key]) => key === one))
    : [];
  return {
    ...(name && /^[A-Za-z0-9][\w-]{0,62}$/.test(name) && { name }),
    ...(words && { description: words }),
    ...(ofQuery.length > 0 && { query: Object.fromEntries(query) as Record<string, Record<string, unknown>> }),
    ...(required.length > 0 && { required }),
    ...(properties.length > 0 && {
      body: {
        type: "object",
        properties: Object.fromEntries(
          properties.map(([key, value]) => [key, flat(resolve(description, value) as Schema)]),
        ),
        ...(mandatory.length > 0 && { required: mandatory }),
      },
    }),
  };
}

/** A schema without what is below it. */
function flat({ type, enum: values, format, description }: Schema): Record<string, unknown> {
  const words = sentence(description);
  const isList =
    Array.isArray(values) && values.length <= MAX_PROPERTIES && values.every((one) => typeof one === "string");
  return {
    ...((typeof type === "string" || Array.isArray(type)) && { type }),
    ...(isList && { enum: values }),
    ...(typeof format === "string" && { format }),
    ...(words && { description: words }),
  };
}

/** The first sentence or line of a text, without what its reader would not see. Undefined if nothing is left. */
function sentence(text: unknown): string | undefined {
  if (typeof text !== "string") return undefined;
  const [first = ""] = text.trim().split(/\n|(?<=[.!?])\s/, 1);
  const words = first.replace(/\s+/g, " ").trim().slice(0, MAX_SENTENCE);
  return words === "" || invisibleCharacter(words) !== undefined ? undefined : words;
}

/** `listPets` and `pets/list-all` as `list_pets` and `pets_list_all`. */
const snakeCase = (id: string): string =>
  id
    .replace(/(?<=[a-z0-9])(?=[A-Z])/g, "_")
    .replace(/\W+|-+/g, "_")
    .replace(/^_+|_+$/g, "")
    .toLowerCase();

/** The descriptions of what has become a rule. A name that two have is left out of the second. */
function operationsOf(drafts: readonly Draft[]): Record<string, OperationDescription> {
  const names = new Set<string>();
  const entries = drafts.flatMap((draft) => {
    const { name, ...rest } = draft.described;
    const isNew = name !== undefined && !names.has(name);
    if (isNew) names.add(name);
    const described = { ...(isNew && { name }), ...rest };
    const [method, path] = lineOf(draft).split(" ");
    return Object.keys(described).length > 0 ? [[`${method} ${path}`, described] as const] : [];
  });
  return Object.fromEntries(entries);
}

function draftOf(
  method: string,
  path: string,
  operation: OperationObject,
  parameters: readonly Parameter[],
): Omit<Draft, "described"> {
  const slash = path.length > 1 && path.endsWith("/");
  const texts = path === "/" ? [] : path.slice(1, slash ? -1 : undefined).split("/");
  const typeOf = (name: string): string => {
    // A parameter of the operation stands behind one of its path with the same name, and overrides it.
    const schema = parameters.findLast((one) => one.in === "path" && one.name === name)?.schema ?? {};
    const words = schema.enum ?? [];
    const isWords = words.length > 1 && words.every((one) => typeof one === "string" && /^[\w.~-]*\w$/.test(one));
    if (isWords) return `:${words.join("|")}`;
    if (schema.type === "integer") return ":int";
    return schema.format === "uuid" ? ":uuid" : "";
  };
  const segments = texts.map((text) =>
    text.replace(/\{([^{}]*)\}/g, (_, name: string) => `{${parameterName(name)}${typeOf(name)}}`),
  );
  const first = texts.find((text) => !text.includes("{")) ?? "api";
  const resource = resourceName(operation.tags?.[0] ?? first) ?? resourceName(first) ?? "api";
  const action = method === "GET" || method === "HEAD" ? "read" : "write";
  return { method, path, permission: `${resource}:${action}`, segments, slash };
}

const parameterName = (name: string): string => name.replace(/\W/g, "_").replace(/^(?=\d|$)/, "_");

/** Returns a tag as the name of a resource: `Pull Requests` and `PullRequests` are `pull_requests`. Undefined if nothing is left of it. */
export function resourceName(tag: string): string | undefined {
  const words = tag
    .normalize("NFKD")
    .replace(/(?<=[a-z0-9])(?=[A-Z])/g, "_")
    .toLowerCase();
  const name = words
    .replace(/[^a-z0-9]+/g, "_")
    .replace(/^[^a-z]+|_+$/g, "")
    .slice(0, 32)
    .replace(/_+$/, "");
  return name === "" ? undefined : name;
}

const lineOf = ({ method, segments, slash, permission }: Draft): string =>
  `${method} /${segments.join("/")}${slash ? "/" : ""} ${permission}`;

/** The rule of a draft: of one method, so it is one. */
const ruleOf = (draft: Draft): Rule => parseRule(lineOf(draft), "import")[0]!;

function faultOf(draft: Draft): string | undefined {
  try {
    ruleOf(draft);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Makes the rules of drafts separate, so that no request matches two. Those that cannot be are left out. */
function separate(drafts: readonly Draft[], left: { operation: string; reason: string }[]): Draft[] {
  const paths = new Set(drafts.map(({ method, path }) => `${method} ${path}`));
  let kept: { draft: Draft; rule: Rule }[] = [];
  for (const draft of drafts) {
    // GET covers HEAD, and both are reads.
    if (draft.method === "HEAD" && paths.has(`GET ${draft.path}`)) continue;
    let rule = ruleOf(draft);
    for (const one of kept) {
      if (!overlap(one.rule, rule)) continue;
      exclude(draft, one.draft);
      exclude(one.draft, draft);
      rule = ruleOf(draft);
      one.rule = ruleOf(one.draft);
    }
    const met = kept.filter((one) => overlap(one.rule, rule));
    if (met.length === 0) {
      kept.push({ draft, rule });
      continue;
    }
    left.push(ambiguous(draft, met[0]!.draft));
    const others = met.filter((one) => one.draft.permission !== draft.permission);
    left.push(...others.map((one) => ambiguous(one.draft, draft)));
    kept = kept.filter((one) => !others.includes(one));
  }
  return kept.map((one) => one.draft);
}

const ambiguous = ({ method, path }: Draft, other: Draft): { operation: string; reason: string } => ({
  operation: `${method} ${path}`,
  reason: `the same requests are ${other.method} ${other.path}`,
});

/** Leaves the word that another path has in the place of a parameter without a type out of that parameter, in one place of the path. */
function exclude({ segments }: Draft, { segments: others }: Draft): void {
  const at = segments.findLastIndex(
    (segment, index) => /^\{\w+(?:!.+)?\}$/.test(segment) && !/[{}]/.test(others[index] ?? "{"),
  );
  if (at === -1) return;
  const [, name, words] = /^\{(\w+)(?:!(.+))?\}$/.exec(segments[at]!)!;
  segments[at] = `{${name}!${[...new Set([...(words?.split("|") ?? []), others[at]!])].join("|")}}`;
}

/** Returns a line for each path and permission, with its methods joined. */
function linesOf(drafts: readonly Draft[]): string[] {
  const methods = new Map<string, string[]>();
  for (const draft of drafts) {
    const line = lineOf(draft).slice(draft.method.length);
    methods.set(line, [...(methods.get(line) ?? []), draft.method]);
  }
  return [...methods].map(([line, names]) => names.join(",") + line);
}

function baseUrlOf({ servers }: Description): string | undefined {
  const [server] = servers ?? [];
  const url = server?.url.replace(/\{([^{}]*)\}/g, (_, name: string) => server.variables?.[name]?.default ?? "");
  return url !== undefined && /^https?:$/.test(URL.parse(url)?.protocol ?? "") ? url.replace(/\/+$/, "") : undefined;
}

/** Returns the scheme of the first security requirement that the gateway knows, and Bearer if there is none. */
function credentialOf({ security = [], components }: Description): Readonly<Record<string, string>> {
  const schemes = components?.securitySchemes ?? {};
  const required = security.flatMap((requirement) => Object.keys(requirement)).map((name) => schemes[name]);
  for (const scheme of [...required, ...Object.values(schemes)]) {
    if (scheme?.type === "http" && scheme.scheme?.toLowerCase() === "bearer") return { scheme: "bearer" };
    if (scheme?.type === "http" && scheme.scheme?.toLowerCase() === "basic") return { scheme: "basic" };
    if (scheme?.type === "apiKey" && scheme.in === "header" && scheme.name)
      return { scheme: "header", name: scheme.name };
  }
  return { scheme: "bearer" };
}
