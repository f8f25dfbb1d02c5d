import * as z from "zod/mini";
import { NAME_PATTERN } from "../permissions/grammar.ts";
import { isReservedRequestHeader } from "../policy/request-headers.ts";
import { isReservedResponseHeader } from "../policy/response-headers.ts";
import type { UpstreamFault, UpstreamSettings } from "../policy/services.ts";
import { explainIssue } from "../validation/explain-issue.ts";
import { jsonFault } from "../validation/json-fault.ts";
import { nearestName } from "../validation/nearest-name.ts";
import { invisibleCharacter } from "../validation/readable-text.ts";
import { isObject } from "../validation/is-object.ts";
import { once } from "../validation/once.ts";

const NAME_FAULT = "must be a name of at most 32 lower-case letters, digits, _ and -, and begin with a letter";

const name = once(() => z.string().check(z.regex(NAME_PATTERN, { error: NAME_FAULT })));

const baseUrl = once(() =>
  z.string().check(
    z.refine(isBaseUrl, {
      error: "must be an http(s) URL without user, query, fragment or trailing slash",
    }),
  ),
);

/** The name of a header that may carry a credential. Headers that frame or route the request may not. */
const headerName = once(() =>
  z.string().check(
    z.regex(/^(?!(?:host|connection|content-.*|transfer-encoding|te|trailer|upgrade|expect)$)[\w-]+$/i, {
      error: "must be a header that can carry a credential",
    }),
  ),
);

const isHeaderPattern = once(() =>
  z.regex(/^[a-z0-9][a-z0-9-]*\*?$/i, {
    error: "must be the name of a header, or its beginning and *",
  }),
);

/** A response header that agents get beside those that every upstream may send; `X-Foo-*` is every name that begins so. */
const responseHeader = once(() =>
  z.string().check(
    isHeaderPattern(),
    z.refine((pattern) => !isReservedResponseHeader(pattern.toLowerCase()), {
      error:
        "names a header that no agent gets: of cookies, credentials, browsers, caches, one hop or the gateway itself",
    }),
  ),
);

/** A place of a link in a JSON answer: a JSON pointer (RFC 6901), or the name of a member with at most one `*` at its beginning or its end. */
const linkPlace = once(() =>
  z.string().check(
    z.regex(/^(?:(?:\/(?:[^~]|~[01])*)+|\*?[^*/]+|[^*/]+\*)$/, {
      error: "must be a JSON pointer (/paging/next), or a member's name (url, *_url)",
    }),
  ),
);

const linkName = once(() =>
  z.string().check(z.regex(/^(?:\*?[^*/]+|[^*/]+\*)$/, { error: "must be a member's name (upload_url, thumb_*)" })),
);
const REQUEST_HEADER_FAULT =
  "names a header that no operator can pass on: of one hop, proxies, browsers, credentials, another method or path, the body's type, or the gateway itself";

/** A request header that this upstream gets from agents beside those that every upstream gets. */
const requestHeader = once(() =>
  z.string().check(
    isHeaderPattern(),
    z.refine((pattern) => !isReservedRequestHeader(pattern.toLowerCase()), { error: REQUEST_HEADER_FAULT }),
  ),
);

const isHeaderName = once(() => z.regex(/^[a-z0-9][a-z0-9-]*$/i, { error: "must be the name of a header" }));

/** The header in which agents send their token. */
const tokenHeader = once(() =>
  z.string().check(
    isHeaderName(),
    z.refine((header) => !isReservedRequestHeader(header.toLowerCase()), {
      error: "names a header that means something else",
    }),
  ),
);

/** The name of a header that is set on every request. `User-Agent` may be: some APIs want to know whom to write to. */
const fixedHeader = once(() =>
  z.string().check(
    isHeaderName(),
    z.refine((header) => /^user-agent$/i.test(header) || !isReservedRequestHeader(header.toLowerCase()), {
      error: REQUEST_HEADER_FAULT,
    }),
  ),
);

const headerValue = once(() =>
  z.string().check(
    z.regex(/^[\x21-\x7e](?:[\x20-\x7e]{0,1022}[\x21-\x7e])?$/, {
      error: "must be 1 to 1,024 printable ASCII characters without white space around them",
    }),
  ),
);

/** A record whose faulty keys are explained like faulty values. */
const recordOf = <Value extends z.ZodMiniType>(key: z.ZodMiniString<string>, value: Value, keyFault: string) =>
  z.record(key, value, { error: (issue) => (issue.code === "invalid_key" ? keyFault : undefined) });

const text = once(() => z.string().check(z.minLength(1, { error: "must not be empty" })));

/** The name of a parameter in a query or a form, as it is compared with those of requests. */
const parameterName = once(() =>
  z.string().check(z.regex(/^[\w-]*[a-z0-9][\w-]*$/i, { error: "must be a name of letters, digits, _ and -" })),
);

const tokenUrl = once(() =>
  z.string().check(
    z.refine((url) => /^\/[^/\\]/.test(url) || /^https?:$/.test(URL.parse(url)?.protocol ?? ""), {
      error: "must be an http(s) URL, or a path at the base URL's origin",
    }),
    z.refine((url) => !/^[^?#]*\/\/[^/]*@|#/.test(url), {
      error: "must have no user, password or fragment. The client's id and secret are secrets of their own",
    }),
  ),
);

/** Names that the gateway itself sets in a token request. A second value would make it ambiguous. */
const TOKEN_PARAMETERS = new Set(
  ["grant_type", "client_id", "client_secret", "assertion", "client_assertion", "client_assertion_type"].concat([
    "scope",
    "audience",
    "resource",
  ]),
);
const tokenParameters = once(() =>
  recordOf(
    z.string().check(
      z.minLength(1),
      z.refine((key) => !TOKEN_PARAMETERS.has(key)),
    ),
    z.string(),
    "must be a parameter that is not set by a key of its own or by the gateway",
  ),
);

const REGISTERED_CLAIMS = new Set(["iss", "aud", "iat", "nbf", "exp", "jti"]);
const claims = once(() =>
  recordOf(
    z.string().check(
      z.minLength(1),
      z.refine((key) => !REGISTERED_CLAIMS.has(key)),
    ),
    z.union([z.string(), z.number(), z.boolean(), z.array(z.string())]),
    "is set by the gateway. aud is the key audience, iss the secret CLIENT_ID",
  ),
);

const SCHEMES = once(() => ({
  bearer: z.strictObject({ scheme: z.enum(["bearer"]) }),
  basic: z.pipe(
    z.strictObject({
      scheme: z.enum(["basic"]),
      token_as: z.optional(z.enum(["password", "username"])),
      public_username: z.optional(z.boolean()),
    }),
    z.transform(({ token_as: tokenAs, public_username: publicUsername, ...rest }) => ({
      ...rest,
      ...(tokenAs !== undefined && { tokenAs }),
      ...(publicUsername !== undefined && { publicUsername }),
    })),
  ),
  header: z.strictObject({
    scheme: z.enum(["header"]),
    name: headerName(),
    prefix: z.optional(z.string().check(z.regex(/^[\x20-\x7e]*$/, { error: "must be printable ASCII" }))),
  }),
  headers: z.strictObject({
    scheme: z.enum(["headers"]),
    headers: recordOf(
      headerName(),
      z.enum(["TOKEN", "USERNAME", "CLIENT_ID", "CLIENT_SECRET"]),
      "must be a header that can carry a credential",
    ),
  }),
  query: z.strictObject({ scheme: z.enum(["query"]), name: parameterName() }),
  client_credentials: z.pipe(
    z.strictObject({
      scheme: z.enum(["client_credentials"]),
      token_url: tokenUrl(),
      auth_method: z.optional(z.enum(["client_secret_post", "client_secret_basic"])),
      body: z.optional(z.enum(["form", "json"])),
      scope: z.optional(text()),
      audience: z.optional(text()),
      resource: z.optional(z.union([text(), z.array(text()).check(z.minLength(1))])),
      parameters: z.optional(tokenParameters()),
    }),
    z.transform(({ token_url: url, auth_method: authMethod, resource, ...rest }) => ({
      ...rest,
      tokenUrl: url,
      ...(authMethod !== undefined && { authMethod }),
      ...(resource !== undefined && { resource: typeof resource === "string" ? [resource] : resource }),
    })),
  ),
  jwt_bearer: z.pipe(
    z.strictObject({
      scheme: z.enum(["jwt_bearer"]),
      token_url: tokenUrl(),
      audience: z.optional(text()),
      scope: z.optional(text()),
      claims: z.optional(claims()),
      algorithm: z.optional(z.enum(["RS256", "RS384", "RS512", "PS256", "ES256", "ES384"])),
      key_id: z.optional(text()),
      parameters: z.optional(tokenParameters()),
    }),
    z.transform(({ token_url: url, key_id: keyId, ...rest }) => ({
      ...rest,
      tokenUrl: url,
      ...(keyId !== undefined && { keyId }),
    })),
  ),
  github_app: z.pipe(
    z.strictObject({
      scheme: z.enum(["github_app"]),
      installation_id: z
        .string()
        .check(z.regex(/^[1-9]\d{0,18}$/, { error: "must be the installation's number, in quotes" })),
      repositories: z.optional(z.array(text()).check(z.minLength(1))),
      permissions: z.optional(z.record(text(), z.enum(["read", "write", "admin"]))),
    }),
    z.transform(({ installation_id: installationId, ...rest }) => ({ ...rest, installationId })),
  ),
  none: z.strictObject({ scheme: z.enum(["none"]) }),
}));

type Scheme = keyof ReturnType<typeof SCHEMES>;

const SCHEME_KEYS: Readonly<Record<Scheme, readonly string[]>> = {
  bearer: ["scheme"],
  basic: ["scheme", "token_as", "public_username"],
  header: ["scheme", "name", "prefix"],
  headers: ["scheme", "headers"],
  query: ["scheme", "name"],
  client_credentials: ["scheme", "token_url", "auth_method", "body", "scope", "audience", "resource", "parameters"],
  jwt_bearer: ["scheme", "token_url", "audience", "scope", "claims", "algorithm", "key_id", "parameters"],
  github_app: ["scheme", "installation_id", "repositories", "permissions"],
  none: ["scheme"],
};

const credential = once(() =>
  z.pipe(
    z.looseObject({ scheme: z.enum(Object.keys(SCHEMES()) as Scheme[]) }),
    z.transform((value, context): z.infer<ReturnType<typeof SCHEMES>[Scheme]> => {
      const parsed = SCHEMES()[value.scheme].safeParse(value, { error: explainIssue });
      if (parsed.success) return parsed.data;
      const faults = explainIssues(parsed.error.issues, SCHEME_KEYS[value.scheme]);
      for (const { path, message } of faults)
        context.issues.push({ code: "custom", path: [...path], message, input: value });
      return z.NEVER;
    }),
  ),
);

const rule = once(() => z.string());

/** What a grant may limit. The fields and the rules are checked by `loadServices`. */
const LIMIT_SHAPE = once(() => ({
  alone: z.optional(z.array(rule())),
  also: z.optional(z.record(rule(), z.array(z.string()).check(z.minLength(1)))),
  without: z.optional(z.array(z.string())),
  ignores_case: z.optional(z.boolean()),
  is_path: z.optional(z.boolean()),
  closed_list: z.optional(z.array(text()).check(z.minLength(1))),
}));
const limit = once(() =>
  z.pipe(
    z.strictObject(LIMIT_SHAPE()),
    z.transform(({ ignores_case: ignoresCase, is_path: isPath, closed_list: closedList, ...rest }) => ({
      ...rest,
      ...(ignoresCase !== undefined && { ignoresCase }),
      ...(isPath !== undefined && { isPath }),
      ...(closedList !== undefined && { closedList }),
    })),
  ),
);

/** A JSON Schema, which is passed on to clients as it is. */
const jsonSchema = once(() => z.record(z.string(), z.unknown()));

/** A sentence that a model reads: on one line, and without characters that its reviewer does not see. */
const sentence = once(() =>
  z.string().check(
    z.maxLength(500),
    z.refine((words) => !words.includes("\n") && invisibleCharacter(words) === undefined, {
      error: "must be one line without invisible characters",
    }),
  ),
);

const OPERATION_SHAPE = once(() => ({
  name: z.optional(
    z.string().check(z.regex(/^[A-Za-z0-9][\w-]{0,62}$/, { error: "must be letters, digits, _ and -" })),
  ),
  description: z.optional(sentence()),
  query: z.optional(z.record(z.string(), jsonSchema())),
  required: z.optional(z.array(z.string())),
  body: z.optional(jsonSchema()),
}));
const operation = once(() => z.strictObject(OPERATION_SHAPE()));

const milliseconds = once(() => z.number().check(z.int(), z.minimum(1), z.maximum(600_000)));

const upstreamShape = once(() => ({
  base_url: z.optional(baseUrl()),
  credential: z.optional(credential()),
  resources: z.optional(recordOf(name(), z.array(name()).check(z.minLength(1)), NAME_FAULT)),
  rules: z.optional(z.array(rule()).check(z.minLength(1))),
  limits: z.optional(z.record(z.string(), limit())),
  operations: z.optional(z.record(z.string(), operation())),
  request_headers: z.optional(z.array(requestHeader())),
  headers: z.optional(recordOf(fixedHeader(), headerValue(), REQUEST_HEADER_FAULT)),
  agent_token: z.optional(z.strictObject({ header: tokenHeader() })),
  response_headers: z.optional(z.array(responseHeader())),
  refuse_parameters: z.optional(z.array(parameterName())),
  body_links: z.optional(z.array(linkPlace())),
  removed_links: z.optional(z.array(linkName())),
  timeout_ms: z.optional(milliseconds()),
  idle_timeout_ms: z.optional(milliseconds()),
  presets: z.optional(z.array(z.string())),
  trailing_slash: z.optional(z.enum(["strict", "optional"])),
}));
const upstream = once(() => z.strictObject(upstreamShape()));

interface Explained {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/** The keys of a table below one of an upstream's. */
const KEYS_BELOW: Readonly<Record<string, readonly string[]>> = {
  agent_token: ["header"],
  limits: Object.keys(LIMIT_SHAPE()),
  operations: Object.keys(OPERATION_SHAPE()),
};

/** One fault for each issue, and one for each key that is unknown, with the name that was probably meant. */
function explainIssues(issues: readonly z.core.$ZodIssue[], knownKeys: readonly string[]): Explained[] {
  return issues.flatMap((issue): Explained[] => {
    if (issue.code !== "unrecognized_keys") return [{ path: issue.path, message: issue.message }];
    const known = KEYS_BELOW[String(issue.path[0])] ?? knownKeys;
    return issue.keys.map((key) => {
      const nearest = nearestName(key, known);
      const hint = nearest === undefined ? "" : ` Did you mean ${nearest}?`;
      return { path: [...issue.path, key], message: `is an unknown key.${hint} Known are ${known.join(", ")}` };
    });
  });
}

/**
 * Checks what an operator declares of one upstream. The rules themselves are checked by `loadServices`.
 *
 * @param upstreamName the upstream's name, as in its URL below `/proxy/`.
 * @param value the parsed table.
 * @returns the settings, or every fault with the keys that lead to it.
 */
export function parseUpstream(upstreamName: string, value: unknown): UpstreamSettings | readonly UpstreamFault[] {
  if (!NAME_PATTERN.test(upstreamName)) {
    return [{ upstream: upstreamName, path: [], message: "a name is lower-case letters, digits, _ and -." }];
  }
  const parsed = upstream().safeParse(value, { error: explainIssue });
  if (parsed.success) return parsed.data;
  return explainIssues(parsed.error.issues, Object.keys(upstreamShape())).map(({ path, message }) => ({
    upstream: upstreamName,
    path,
    message: `${message}.`,
  }));
}

/** Returns a fault as one sentence that names the setting: `UPSTREAMS.orders.rules.0: …`. */
export const describeFault = ({ upstream: upstreamName, path, message }: UpstreamFault): string =>
  `UPSTREAMS.${[upstreamName, ...path.map(String)].join(".")}: ${message}`;

const PREFIX = "UPSTREAMS.";

/**
 * Returns the upstreams that an operator declares, with every fault as a sentence. There are three places:
 *
 * - the files `upstreams/NAME.toml`, compiled when the Worker is built,
 * - the table `UPSTREAMS` of the variables (`[vars.UPSTREAMS.NAME]` in wrangler.toml),
 * - variables called `UPSTREAMS.NAME` (JSON) or `UPSTREAMS.NAME.KEY`, for places where no table can be written (`.dev.vars`,
 *   `--var`). They win over the other two.
 *
 * @param files the content of the files by name, checked when they were compiled.
 */
export function upstreamSettings(
  env: Record<string, unknown>,
  files: Readonly<Record<string, unknown>> = {},
): {
  upstreams: Map<string, UpstreamSettings>;
  faults: string[];
} {
  const upstreams = new Map<string, UpstreamSettings>();
  const faults: string[] = [];
  for (const [key, value] of Object.entries(declaredUpstreams(env, files, faults))) {
    const parsed = parseUpstream(key, value);
    if (Array.isArray(parsed)) faults.push(...parsed.map(describeFault));
    else upstreams.set(key, parsed as UpstreamSettings);
  }
  return { upstreams, faults };
}

function declaredUpstreams(
  env: Record<string, unknown>,
  files: Readonly<Record<string, unknown>>,
  faults: string[],
): Record<string, unknown> {
  const declared: Record<string, unknown> = Object.assign(Object.create(null), files);
  const table = parseIfJson("UPSTREAMS", env.UPSTREAMS ?? {}, faults);
  if (!isObject(table)) faults.push("UPSTREAMS: must be a table of upstreams by name.");
  for (const [key, value] of isObject(table) ? Object.entries(table) : []) {
    if (Object.hasOwn(files, key)) {
      faults.push(`UPSTREAMS.${key}: upstreams/${key}.toml declares this upstream as well. Remove one of the two.`);
    }
    declared[key] = value;
  }
  for (const [setting, value] of Object.entries(env)) {
    if (!setting.startsWith(PREFIX)) continue;
    const [key = "", part, ...rest] = setting.slice(PREFIX.length).split(".");
    if (rest.length > 0) faults.push(`${setting}: deeper settings are written as JSON in UPSTREAMS.${key}.`);
    else if (part === undefined) declared[key] = parseIfJson(setting, value, faults);
    else declared[key] = { ...(isObject(declared[key]) && declared[key]), [part]: parseIfJson(setting, value, faults) };
  }
  return declared;
}

/** Parses a text that looks like JSON; any other text is itself. */
function parseIfJson(setting: string, value: unknown, faults: string[]): unknown {
  if (typeof value !== "string" || !/^\s*[[{]/.test(value)) return value;
  const fault = jsonFault(value);
  if (fault === undefined) return JSON.parse(value);
  faults.push(`${setting}: ${fault}.`);
  return value;
}

function isBaseUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const url = new URL(text);
  const path = url.pathname === "/" ? "" : url.pathname;
  return /^https?:$/.test(url.protocol) && !path.endsWith("/") && text.replace(/\/$/, "") === url.origin + path;
}
