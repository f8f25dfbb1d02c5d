import { serviceWildcard } from "../permissions/grammar.ts";
import { linkMode, type LinkMode } from "./body-links.ts";
import { MAX_CHECKED_BODY, type BodyFault } from "./body.ts";
import { canonicalPath, splitTarget, type CanonicalPath, type PathFault } from "./path.ts";
import { parseQuery, type QueryFault } from "./query.ts";
import { declaresBody, readRequestHeaders, type ReadHeaders, type RefusedHeader } from "./request-headers.ts";
import { isRead, METHODS, type Rule } from "./rule.ts";
import type { Service } from "./services.ts";
import { findRule, allowsEncodedSlashes, untilMark } from "./rule-table.ts";

/** The code of the error that a refused request gets. */
type RefusalCode =
  | PathFault
  | BodyFault["code"]
  | QueryFault["code"]
  | "unknown_service"
  | "method_not_allowed"
  | "upgrade_refused"
  | "bad_links_header"
  | "body_not_forwarded"
  | "header_refused";

/** A request that two servers could read differently, or that no agent may send. It is never forwarded. */
export interface Refusal {
  readonly outcome: "refused";
  /** The HTTP status of the error. */
  readonly status: 400 | 404 | 405 | 413 | 415;
  readonly code: RefusalCode;
  /** What is wrong and what to do, as one or more sentences. */
  readonly message: string;
  /** The name of the parameter, if one is refused. */
  readonly parameter?: string;
}

/** A request to `/proxy/{service}` before anything is known about its sender, and without its body. */
export interface ProxyRequest {
  readonly service: string;
  readonly method: string;
  /** The raw path below `/proxy/{service}` with its query, as in the request line. */
  readonly target: string;
  readonly headers: Headers;
}

/** A request that can be read in one way only: the permissions that it needs, and what will be fetched. */
export interface ResolvedRequest {
  readonly outcome: "resolved";
  readonly service: Service;
  readonly method: string;
  /** Whether the request may change something: true unless every required permission is a read, whatever the method is. */
  readonly write: boolean;
  /** The canonical path below the service's base URL. It is matched against the rules, and the same string is fetched. */
  readonly path: string;
  /** Whether the path was sent with a slash at its end: `/` is the same path with and without it, and what was sent is fetched. */
  readonly slash: boolean;
  /** The raw query without its `?`, as it is fetched. Empty if there is none. */
  readonly query: string;
  /** The matching line of the service's rules, or null if none matches (the request is uncovered). */
  readonly rule: string | null;
  /** How that rule matched; null if none does. */
  readonly match: Match | null;
  /** The permissions that the request needs, all of them. An uncovered request needs the service's wildcard. */
  readonly required: readonly string[];
  /** What the sender wants done to the links of a JSON answer; undefined for what the service does by itself. */
  readonly links: LinkMode | undefined;
  /** The headers that are forwarded, and the names of those that are not. */
  readonly headers: Pick<ReadHeaders, "forwarded" | "dropped">;
  /** For an uncovered request, how it could be sent to be covered, as a sentence; undefined if there is no such way. */
  readonly hint: string | undefined;
}

/** A rule that a request matches. */
interface Match {
  readonly rule: Rule;
  /** The percent-decoded segments that the rule was compared with. */
  readonly texts: readonly string[];
  /** Whether every server reads the same parameters in the path: false if it has an encoded `?` or `#`, or could match another rule. */
  readonly isCertain: boolean;
}

const PATH_FAULTS: Readonly<Record<PathFault, string>> = {
  bad_encoding: "The path contains a % that does not encode UTF-8.",
  double_encoding: "The path is percent-encoded twice.",
  backslash: "The path contains a back-slash.",
  control_character: "The path contains a control character.",
  empty_segment:
    "The path contains an empty segment: two slashes in a row, or a %2F at the end of a segment or next to another.",
  dot_segment: "The path contains a dot segment (. or .., alone or before # or ?).",
  lookalike_character: "The path contains a character that some servers read as a dot, a slash or a percent sign.",
  path_parameter: "The path contains a ; parameter.",
  trailing_dot_or_space: "A segment of the path ends in a dot or white space.",
  encoded_slash: "The path contains %2F where this API accepts no free text.",
  fragment: "The path contains a #, which no request has.",
  path_too_long: "The path is longer than 8,192 characters.",
};

/**
 * Resolves a request to the rule that it matches and the permissions that it needs. Pure: it knows neither the sender nor the body.
 *
 * @param services the services by name.
 * @returns a {@link ResolvedRequest}, or a {@link Refusal} if the path, the query, the method or the service is not one that the
 *   gateway forwards.
 */
export function resolveRequest(
  services: ReadonlyMap<string, Service>,
  { service: serviceName, method, target, headers }: ProxyRequest,
): ResolvedRequest | Refusal {
  const { path: rawPath, query } = splitTarget(target);
  const canonical = target.includes("#") ? "fragment" : canonicalPath(rawPath);
  if (typeof canonical === "string") return refuse(400, canonical, `${PATH_FAULTS[canonical]} Nothing was forwarded.`);

  const service = services.get(serviceName);
  if (!service) {
    return refuse(404, "unknown_service", `There is no service of this name. GET /permissions/list names them.`);
  }
  if (!METHODS.has(method)) {
    return refuse(405, "method_not_allowed", "The gateway forwards GET, HEAD, POST, PUT, PATCH and DELETE.");
  }
  // Read once, because each look into a `Headers` leaves JavaScript.
  const sent = new Map(headers);
  if (sent.has("upgrade")) {
    return refuse(400, "upgrade_refused", "The gateway forwards plain requests only: leave the Upgrade header out.");
  }
  const links = linkMode(sent);
  if (links === "unknown") {
    return refuse(
      400,
      "bad_links_header",
      "X-AgentAuth-Links is rewrite or keep. Leave it out for the service's own links.",
    );
  }
  // Most servers ignore it, and the runtime does not send it: a filter that is lost would turn into "everything".
  if (isRead(method) && declaresBody(sent)) {
    return refuse(
      400,
      "body_not_forwarded",
      `A ${method} has no body that the gateway could forward. Put it into the query, or use a method that has one.`,
    );
  }

  const { definition } = service;
  const table = service.table();
  const parsedQuery = parseQuery(query + encodedQuery(canonical), table.queryNames, table.embeds);
  if ("code" in parsedQuery) return refusedQuery(parsedQuery);

  const { texts, slash, encoded } = withPrefix(canonical, definition.pathPrefix);
  const suffixless = definition.jsonSuffix ? withoutJsonSuffix : (same: readonly string[]) => same;
  const matched = suffixless(texts);
  const rule = findRule(table, method, matched, slash);
  if (encoded.includes("%2F") && !allowsEncodedSlashes(table, rule, method, matched))
    return refuse(400, "encoded_slash", PATH_FAULTS.encoded_slash);

  const others = encoded.includes("%") ? otherReadings(encoded, texts, slash) : [];
  const rules = [rule, ...others.map((one) => findRule(table, method, suffixless(one.texts), one.slash))];
  const covered = parsedQuery.embedded !== null && rules.every((one) => one !== undefined);
  const required = covered
    ? unique([...rules.flatMap((one) => one.required), ...parsedQuery.embedded])
    : [serviceWildcard(service.name)];
  const write = required.some((permission) => !permission.endsWith(":read"));
  // Nothing is known about an uncovered request but its method.
  const { refused, ...read } = readRequestHeaders(sent, method, definition, covered ? write : !isRead(method));
  if (refused) return refusedHeader(refused);
  return {
    outcome: "resolved",
    service,
    method,
    write,
    path: encoded,
    slash,
    query,
    rule: covered ? rule!.source : null,
    match: covered
      ? {
          rule: rule!,
          texts: matched,
          isCertain: others.length === 0 || (!/%3F|%23/.test(encoded) && rules.every((one) => one === rule)),
        }
      : null,
    required,
    links,
    headers: read,
    hint:
      covered || parsedQuery.embedded === null
        ? undefined
        : hintFor(rule, findRule(table, method, matched, !slash), slash),
  };
}

/** Characters that may mean something in a segment, and mean nothing if they are encoded (RFC 3986 §2.2). */
const ENCODED_DELIMITERS = /%(?=2[146789ABC]|3[AD]|40)/g;

/**
 * Returns how other servers read a path with encoded characters. The rule of each reading must allow the request too.
 *
 * - A server that decodes before it parses ends the path at an encoded `?` or `#`.
 * - A server that keeps an encoded delimiter apart from a plain one reads `models/x%3Adelete` as the model `x:delete`, not as the
 *   operation `delete` of the model `x`.
 */
function otherReadings(
  encoded: string,
  texts: readonly string[],
  slash: boolean,
): Pick<CanonicalPath, "texts" | "slash">[] {
  const readings: Pick<CanonicalPath, "texts" | "slash">[] = [];
  if (/%3F|%23/.test(encoded)) {
    const ended = untilMark(texts);
    readings.push(ended.at(-1) === "" ? { texts: ended.slice(0, -1), slash: true } : { texts: ended, slash: false });
  }
  const kept = encoded.replace(ENCODED_DELIMITERS, "%25");
  if (kept !== encoded) {
    const parts = kept.slice(1, slash ? -1 : undefined).split("/");
    readings.push({ texts: parts.map(decodeURIComponent), slash });
  }
  return readings;
}

/** Returns what an uncovered request could be sent as, as a sentence, if there is a rule for that. */
function hintFor(rule: Rule | undefined, withOtherSlash: Rule | undefined, slash: boolean): string | undefined {
  if (rule) return "A character in its path has two meanings: write delimiters like : and ( as they are, not encoded.";
  if (!withOtherSlash) return undefined;
  return `There is a rule for it ${slash ? "without" : "with"} a slash at its end. If this API takes both, its administrator can set trailing_slash = "optional".`;
}

/**
 * Returns what a server that decodes a path before it parses it would read as a query after an encoded `?`, as `&…`; empty if there is
 * none. Its parameters count like those of the query: `/v1/charges/ch_1%3Fexpand=customer` needs the customers too.
 */
function encodedQuery({ texts, encoded }: CanonicalPath): string {
  if (!encoded.includes("%3F")) return "";
  const path = texts.join("/").replaceAll("%", "%25");
  return `&${path.slice(path.indexOf("?") + 1)}`;
}

const unique = (list: readonly string[]): readonly string[] => (list.length > 1 ? [...new Set(list)] : list);

function withPrefix(path: CanonicalPath, prefix: string | undefined): CanonicalPath {
  if (!prefix || path.texts[0] === prefix.slice(1)) return path;
  const { texts, slash, encoded } = path;
  const isRoot = encoded === "/" && !slash;
  return { texts: [prefix.slice(1), ...texts], slash, encoded: isRoot ? prefix : prefix + encoded };
}

function withoutJsonSuffix(texts: readonly string[]): readonly string[] {
  const last = texts.at(-1);
  return last && /.\.json$/.test(last) ? [...texts.slice(0, -1), last.slice(0, -".json".length)] : texts;
}

/**
 * Returns the upstream's URL for a resolved request.
 *
 * @param origin the service's own origin, or the one that its credential is issued for.
 * @throws {Error} if a URL parser reads anything but this origin and the path that was checked.
 */
export function upstreamUrl({ service, path, slash, query }: ResolvedRequest, origin: string): URL {
  const pathname = path === "/" && !slash ? service.basePath || "/" : service.basePath + path;
  const url = new URL(origin + pathname + (query && `?${query}`));
  if (url.origin !== origin || url.pathname !== pathname || url.username || url.password) {
    throw new Error("the upstream URL is not the one that was checked");
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

/** Returns the refusal of a request with a malformed or forbidden body. */
export function bodyRefusal({ code, parameter, reason }: BodyFault): Refusal {
  if (code === "parameter_refused") return refusedParameter(parameter ?? "", "body parameter");
  const [status, message] = BODY_FAULTS[code];
  const why = reason === undefined ? "" : ` What is wrong: ${reason}.`;
  return refuse(status, code, `${message}${why} Nothing was forwarded.`);
}

function refusedQuery({ code, parameter }: QueryFault): Refusal {
  if (code === "parameter_refused") return refusedParameter(parameter, "query parameter");
  return refuse(
    400,
    code,
    `The query parameter "${parameter}" is not plainly encoded, or spelled so that upstreams read it differently. Write name, name[] or name[0].`,
  );
}

function refusedParameter(parameter: string, what: string): Refusal {
  const message = `The ${what} ${parameter} is not forwarded: it would go around the credential, the method or the permission that are checked. Leave it out.`;
  return { ...refuse(400, "parameter_refused", message), parameter };
}

const refusedHeader = ({ name, because }: RefusedHeader): Refusal =>
  refuse(400, "header_refused", `The request header ${name} is not forwarded: ${because}. Nothing was forwarded.`);

function refuse(status: Refusal["status"], code: RefusalCode, message: string): Refusal {
  return { outcome: "refused", status, code, message };
}
