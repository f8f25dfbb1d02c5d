import type { Catalogue } from "../permissions/catalogue.ts";
import { serviceWildcard } from "../permissions/grammar.ts";
import { missingPermissions } from "../permissions/match.ts";
import { MAX_CHECKED_BODY, type BodyFault } from "./body.ts";
import { canonicalPath, splitTarget, type CanonicalPath, type PathFault } from "./path.ts";
import { parseQuery } from "./query.ts";
import { METHODS } from "./rule.ts";
import type { Service } from "./services.ts";
import { findRule, allowsEncodedSlashes } from "./rule-table.ts";

type RefusalCode =
  | PathFault
  | BodyFault["code"]
  | "unknown_service"
  | "method_not_allowed"
  | "parameter_refused"
  | "bad_query"
  | "upgrade_refused";

/** A request that has no one meaning, or none that may be forwarded. */
export interface Refusal {
  readonly decision: "refuse";
  readonly status: 400 | 404 | 405 | 413 | 415;
  readonly code: RefusalCode;
  readonly message: string;
  /** The parameter that is refused. */
  readonly parameter?: string;
}

/** A request as far as its meaning goes: without who sent it, and without its body. */
export interface ProxyRequest {
  readonly service: string;
  readonly method: string;
  /** The raw path below `/proxy/{service}`, with its query. */
  readonly target: string;
  readonly headers: Headers;
}

/** A request with one meaning: what it needs, and what would be fetched. */
export interface ResolvedRequest {
  readonly decision: "judge";
  readonly service: Service;
  readonly method: string;
  /** Whether it may change something: whatever needs more than reading permissions, whatever its method. */
  readonly write: boolean;
  /** Below the service: what is matched, and, behind the base path, what is fetched. */
  readonly path: string;
  readonly query: string;
  /** The line of the table, or null where none takes this request. */
  readonly rule: string | null;
  /** All of them are needed. For an uncovered path, the grant of the whole service. */
  readonly required: readonly string[];
}

const FAULTS: Readonly<Record<PathFault, string>> = {
  bad_encoding: "The path holds a % that does not encode UTF-8.",
  double_encoding: "The path is percent-encoded twice.",
  backslash: "The path holds a back-slash.",
  control_character: "The path holds a control character.",
  empty_segment: "The path holds an empty segment (//, or a slash at its end).",
  dot_segment: "The path holds a dot segment (. or .., alone or before # or ?).",
  lookalike_character: "The path holds a character that some servers read as a dot, a slash or a percent sign.",
  path_parameter: "The path holds a ; parameter.",
  trailing_dot_or_space: "A segment of the path ends in a dot or white space.",
  encoded_slash: "The path holds %2F where this API takes no free text.",
  fragment: "The path holds a #, which no request has.",
  path_too_long: "The path is longer than 8,192 characters.",
};

/** What a request means, before anyone asks who sent it. */
export function resolveRequest(
  services: ReadonlyMap<string, Service>,
  { service: serviceName, method, target, headers }: ProxyRequest,
): ResolvedRequest | Refusal {
  const { path: rawPath, query } = splitTarget(target);
  const canonical = target.includes("#") ? "fragment" : canonicalPath(rawPath);
  if (typeof canonical === "string") return refuse(400, canonical, `${FAULTS[canonical]} Nothing was forwarded.`);

  const service = services.get(serviceName);
  if (!service) {
    return refuse(404, "unknown_service", `There is no service of this name. GET /permissions/list names them.`);
  }
  if (!METHODS.has(method)) {
    return refuse(405, "method_not_allowed", "The gateway forwards GET, HEAD, POST, PUT, PATCH and DELETE.");
  }
  if (headers.has("upgrade")) {
    return refuse(400, "upgrade_refused", "The gateway forwards plain requests only: leave the Upgrade header out.");
  }
  const { definition } = service;
  const table = service.table();
  const reading = parseQuery(query, table.queryNames, table.embeds);
  if ("code" in reading) {
    return reading.code === "bad_query"
      ? refuse(
          400,
          reading.code,
          `The query parameter "${reading.parameter}" is not plainly encoded, or spelled so that upstreams read it differently. Write name, name[] or name[0].`,
        )
      : refusedParameter(reading.parameter, "query parameter");
  }
  const { texts, encoded } = withPrefix(canonical, definition.pathPrefix);
  const matched = definition.jsonSuffix ? withoutJsonSuffix(texts) : texts;
  const rule = findRule(table, method, matched);
  if (encoded.includes("%2F") && !allowsEncodedSlashes(table, rule, method, matched))
    return refuse(400, "encoded_slash", FAULTS.encoded_slash);

  const covered = rule !== undefined && reading.embedded !== null;
  const required = covered ? union(rule.required, reading.embedded) : [serviceWildcard(service.name)];
  return {
    decision: "judge",
    service,
    method,
    write: required.some((permission) => !permission.endsWith(":read")),
    path: encoded,
    query,
    rule: covered ? rule.source : null,
    required,
  };
}

const union = (some: readonly string[], more: readonly string[]): readonly string[] =>
  more.length === 0 ? some : [...new Set([...some, ...more])];

function withPrefix(path: CanonicalPath, prefix: string | undefined): CanonicalPath {
  if (!prefix || path.texts[0] === prefix.slice(1)) return path;
  const { texts, encoded } = path;
  return { texts: [prefix.slice(1), ...texts], encoded: encoded === "/" ? prefix : prefix + encoded };
}

function withoutJsonSuffix(texts: readonly string[]): readonly string[] {
  const last = texts.at(-1);
  return last && /.\.json$/.test(last) ? [...texts.slice(0, -1), last.slice(0, -".json".length)] : texts;
}

/** The required permissions that the grants do not reach: none means allowed. */
export function lackingPermissions(
  meaning: ResolvedRequest,
  grants: ReadonlySet<string>,
  catalogue: Catalogue,
): string[] {
  return missingPermissions(meaning.required, grants, catalogue);
}

/**
 * The upstream's URL for a meaning.
 *
 * @param origin the service's own, or the one that its credential is for.
 * @throws {Error} if a URL parser reads it as anything but the origin and the path that were judged.
 */
export function upstreamUrl({ service, path, query }: ResolvedRequest, origin: string): URL {
  const pathname = path === "/" ? service.basePath || "/" : service.basePath + path;
  const url = new URL(origin + pathname + (query && `?${query}`));
  if (url.origin !== origin || url.pathname !== pathname || url.username || url.password) {
    throw new Error("the upstream URL is not the one that was judged");
  }
  return url;
}

const BODY_FAULTS: Readonly<Record<Exclude<BodyFault["code"], "parameter_refused">, [Refusal["status"], string]>> = {
  body_too_large: [413, `This body has to be checked, and it is longer than ${MAX_CHECKED_BODY / 1024} KB.`],
  body_type_refused: [
    415,
    "This body cannot be checked. Send JSON (application/json) or a form (application/x-www-form-urlencoded or multipart/form-data), in UTF-8 and without Content-Encoding.",
  ],
  bad_body: [400, "The body is not what its Content-Type says, or could be read in several ways."],
};

/** The refusal of a body. */
export function bodyRefusal({ code, parameter, reason }: BodyFault): Refusal {
  if (code === "parameter_refused") return refusedParameter(parameter ?? "", "body parameter");
  const [status, message] = BODY_FAULTS[code];
  const why = reason === undefined ? "" : ` What is wrong: ${reason}.`;
  return refuse(status, code, `${message}${why} Nothing was forwarded.`);
}

function refusedParameter(parameter: string, what: string): Refusal {
  const message = `The ${what} ${parameter} is not forwarded: it would go around the credential, the method or the permission that are checked. Leave it out.`;
  return { ...refuse(400, "parameter_refused", message), parameter };
}

function refuse(status: Refusal["status"], code: RefusalCode, message: string): Refusal {
  return { decision: "refuse", status, code, message };
}
