import type { Catalogue } from "../permissions/catalogue.ts";
import { wholeService } from "../permissions/grammar.ts";
import { beyond } from "../permissions/match.ts";
import { canonicalSegments, splitTarget, type PathFault } from "./path.ts";
import { queryFault } from "./query.ts";
import { isRead, WRITE_METHODS } from "./rule.ts";
import type { Service } from "./services.ts";
import { findRule, slashesAllowed } from "./table.ts";

export type RefusalCode = PathFault | "unknown_service" | "method_not_allowed" | "parameter_refused" | "bad_query";

/** A request that has no one meaning, or none that may be forwarded. */
export interface Refusal {
  readonly decision: "refuse";
  readonly status: 400 | 404 | 405;
  readonly code: RefusalCode;
  readonly message: string;
}

/** A request with one meaning: what it needs, and what would be fetched. */
export interface Meaning {
  readonly decision: "judge";
  readonly service: Service;
  readonly method: string;
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
  dot_segment: "The path holds a dot segment.",
  path_parameter: "The path holds a ; parameter.",
  trailing_dot_or_space: "A segment of the path ends in a dot or a space.",
  encoded_slash: "The path holds %2F where this API takes no free text.",
  path_too_long: "The path is longer than 8,192 characters.",
};

/**
 * What a request means, before anyone asks who sent it.
 *
 * @param target the raw path below `/proxy/{service}`, with its query.
 */
export function meaningOf(
  services: ReadonlyMap<string, Service>,
  serviceName: string,
  method: string,
  target: string,
): Meaning | Refusal {
  const { path: rawPath, query } = splitTarget(target);
  const segments = canonicalSegments(rawPath);
  if (typeof segments === "string") return refuse(400, segments, `${FAULTS[segments]} Nothing was forwarded.`);

  const service = services.get(serviceName);
  if (!service) {
    return refuse(404, "unknown_service", `There is no service of this name. GET /permissions/list names them.`);
  }
  const read = isRead(method);
  if (!read && !(WRITE_METHODS as readonly string[]).includes(method)) {
    return refuse(405, "method_not_allowed", "The gateway forwards GET, HEAD, POST, PUT, PATCH and DELETE.");
  }
  const fault = queryFault(query, service.definition.refusedParameters);
  if (fault) {
    return refuse(
      400,
      fault.code,
      fault.code === "bad_query"
        ? `The query parameter "${fault.parameter}" is not plainly encoded.`
        : `The query parameter ${fault.parameter} is not forwarded: the gateway puts the credential in and decides by the method. Leave it out.`,
    );
  }
  const rule = findRule(service.table(), method, segments);
  if (!slashesAllowed(rule, segments)) return refuse(400, "encoded_slash", FAULTS.encoded_slash);

  return {
    decision: "judge",
    service,
    method,
    write: !read,
    path: `/${segments.map((segment) => segment.encoded).join("/")}`,
    query,
    rule: rule?.source ?? null,
    required: rule?.required ?? [wholeService(service.name)],
  };
}

/** The required permissions that the grants do not reach: none means allowed. */
export function missing(meaning: Meaning, grants: ReadonlySet<string>, catalogue: Catalogue): string[] {
  return beyond(meaning.required, grants, catalogue);
}

/**
 * The upstream's URL for a meaning.
 *
 * @throws {Error} if a URL parser reads it as anything but the origin and the path that were judged.
 */
export function upstreamUrl({ service, path, query }: Meaning): URL {
  const pathname = path === "/" ? service.basePath || "/" : service.basePath + path;
  const url = new URL(service.origin + pathname + (query && `?${query}`));
  if (url.origin !== service.origin || url.pathname !== pathname || url.username || url.password) {
    throw new Error("the upstream URL is not the one that was judged");
  }
  return url;
}

function refuse(status: Refusal["status"], code: RefusalCode, message: string): Refusal {
  return { decision: "refuse", status, code, message };
}
