import type { Catalogue } from "../permissions/catalogue.ts";
import { missingPermissions } from "../permissions/match.ts";
import { resolveRequest } from "./resolve.ts";
import { droppedHeaders } from "./request-headers.ts";
import type { Service } from "./services.ts";

/** A request to explain. Nothing is sent. */
export interface ExplainRequest {
  readonly service: string;
  readonly method: string;
  /** The raw path below the service with its query, as in the request line. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>> | null | undefined;
  /** The permissions that the agent would have. By default none. */
  readonly permissions?: readonly string[] | null | undefined;
}

/** What the gateway would do with a request. */
export interface Explanation {
  readonly service: string;
  readonly method: string;
  /** The canonical path that would be fetched, or null if the request is refused. */
  readonly path: string | null;
  /** The first permission of the matching rule, or null if no rule matches or the request is refused. */
  readonly required: string | null;
  /** Every permission that is needed. An uncovered request needs the service's wildcard. */
  readonly all_required: readonly string[];
  readonly decision: "allow" | "deny" | "refuse";
  /** `allowed`, or the code of the error that a real request would get. */
  readonly code: string;
  /** The names of the headers that would not be forwarded, and of the parameter that is refused. */
  readonly dropped: readonly string[];
}

/** Why a request gets its {@link Explanation}. */
export interface Reasons {
  /** The matching line of the service's rules, or null if none matches. */
  readonly rule: string | null;
  /** The required permissions that are not granted. */
  readonly lacking: readonly string[];
  readonly message: string;
}

/** The services of the gateway, and the permissions that can be granted for them. */
export interface Policy {
  readonly services: ReadonlyMap<string, Service>;
  readonly catalogue: Catalogue;
}

/** Explains a request by the functions that decide about real ones. Pure: calls no upstream and no database. */
export function explain(
  { services, catalogue }: Policy,
  { service, method, path, headers: sent, permissions }: ExplainRequest,
): { explanation: Explanation; reasons: Reasons } {
  const { headers, invalid } = readHeaders(sent ?? {});
  const resolved = resolveRequest(services, { service, method, target: path, headers });
  if (resolved.outcome === "refused") {
    const { code, message, parameter } = resolved;
    const definition = services.get(service)?.definition;
    const dropped = [...invalid, ...(definition ? droppedHeaders(headers, definition) : headers.keys())];
    return {
      explanation: {
        service,
        method,
        path: null,
        required: null,
        all_required: [],
        decision: "refuse",
        code,
        dropped: parameter === undefined ? dropped : [...dropped, parameter],
      },
      reasons: { rule: null, lacking: [], message },
    };
  }
  const { rule, required, hint } = resolved;
  const missing = missingPermissions(required, new Set(permissions ?? []), catalogue);
  const allowed = missing.length === 0;
  return {
    explanation: {
      service,
      method,
      path: resolved.path,
      required: rule === null ? null : (required[0] ?? null),
      all_required: required,
      decision: allowed ? "allow" : "deny",
      code: allowed ? "allowed" : "insufficient_permissions",
      dropped: [...invalid, ...droppedHeaders(headers, resolved.service.definition)],
    },
    reasons: {
      rule,
      lacking: missing,
      message:
        (rule === null ? "Nothing in the catalogue covers this request. " : "") +
        (allowed ? "It would be forwarded." : `It needs ${missing.join(" and ")}.`) +
        (hint === undefined ? "" : ` ${hint}`),
    },
  };
}

/** Sorts out the names of headers that no HTTP message can carry. */
function readHeaders(sent: Readonly<Record<string, string>>): { headers: Headers; invalid: string[] } {
  const headers = new Headers();
  const invalid: string[] = [];
  for (const [name, value] of Object.entries(sent)) {
    try {
      headers.append(name, value);
    } catch {
      invalid.push(name);
    }
  }
  return { headers, invalid };
}
