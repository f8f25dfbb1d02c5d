import type { Catalogue } from "../permissions/catalogue.ts";
import { serviceWildcard } from "../permissions/grammar.ts";
import { unlimited, type GrantLimits, type Where } from "../permissions/grant.ts";
import { bodyTreatment, checkBody } from "./body.ts";
import { bodyRules } from "./body-rules.ts";
import { describeExceeded, findGrants, judgeLimits, widerKeys, type Holdings } from "./judge.ts";
import { limitableAt, toWireViolation } from "./limits.ts";
import { bodyRefusal, resolveRequest } from "./resolve.ts";
import { droppedHeaders } from "./request-headers.ts";
import { isRead } from "./rule.ts";
import type { Service } from "./services.ts";

/** A request to explain. Nothing is sent. */
export interface ExplainRequest {
  readonly service: string;
  readonly method: string;
  /** The raw path below the service with its query, as in the request line. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>> | null | undefined;
  /** The permissions that the agent would have without limits. By default none. */
  readonly permissions?: readonly string[] | null | undefined;
  /** The grants that it would have beside them. */
  readonly grants?: readonly GrantLimits[];
  /** What an agent has with its present token, in the place of `permissions` and `grants`. */
  readonly holdings?: Holdings;
  /** By default none. */
  readonly body?: string | null | undefined;
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
  /** The required permissions that are not granted, or no longer. */
  readonly lacking: readonly string[];
  /** The fields of the request that a grant may limit: those that the rule is listed for. */
  readonly limitable: readonly string[];
  /** The required permissions that are granted within limits only, each with the limits of its grants, of which one has to be met. */
  readonly limits: readonly { readonly permission: string; readonly any_of: readonly Where[] }[];
  /** The limits that are not met. */
  readonly violations: readonly ReturnType<typeof toWireViolation>[];
  readonly message: string;
}

/** The services of the gateway, and the permissions that can be granted for them. */
export interface Policy {
  readonly services: ReadonlyMap<string, Service>;
  readonly catalogue: Catalogue;
}

/**
 * Explains a request by the functions that decide about real ones. Pure: calls no upstream and no database.
 *
 * @param now milliseconds. It decides which grants have ended, and may be left out where none has an end.
 */
export function explain(
  { services, catalogue }: Policy,
  {
    service,
    method,
    path,
    headers: sent,
    body,
    permissions,
    grants,
    holdings = supposed(permissions, grants),
  }: ExplainRequest,
  now = 0,
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
      reasons: { rule: null, lacking: [], limitable: [], limits: [], violations: [], message },
    };
  }
  const { rule, required, hint, match } = resolved;
  const { definition } = resolved.service;
  const found = findGrants(required, holdings, catalogue, now);
  const limited = found.outcome === "granted" ? found.limited : [];
  const about = {
    rule,
    limitable: match ? limitableAt(resolved.service.table().limits(), match.rule) : [],
    limits: limited.flatMap(({ permission, agents }) => agents.map((any_of) => ({ permission, any_of }))),
  };
  const base = {
    service,
    method,
    path: resolved.path,
    required: rule === null ? null : (required[0] ?? null),
    all_required: required,
    dropped: [...invalid, ...droppedHeaders(headers, definition)],
  };
  const uncovered = rule === null ? "Nothing in the catalogue covers this request. " : "";
  const ending = hint === undefined ? "" : ` ${hint}`;
  const decide = (
    decision: Explanation["decision"],
    code: string,
    message: string,
    more: Partial<Pick<Reasons, "lacking" | "violations">> = {},
  ) => ({
    explanation: { ...base, decision, code },
    reasons: { ...about, lacking: [], violations: [], ...more, message: `${uncovered}${message}${ending}` },
  });
  const lack = (lacking: readonly string[], message = `It needs ${lacking.join(" and ")}.`) =>
    decide("deny", "insufficient_permissions", message, { lacking });

  if (found.outcome === "missing") return lack(found.permissions);
  if (found.outcome === "expired") {
    const message = `The grant of ${found.permissions.join(" and ")} has ended.`;
    return decide("deny", "grant_expired", message, { lacking: found.permissions });
  }
  const wider = widerKeys(resolved.service, holdings, catalogue, now);
  const rules = bodyRules(resolved, { wider, isLimited: limited.length > 0 });
  const sentBody = isRead(method) ? "" : (body ?? "");
  const checked = checkBody(
    new TextEncoder().encode(sentBody).buffer as ArrayBuffer,
    bodyTreatment(headers, rules),
    rules,
  );
  if ("code" in checked) {
    const { parameter } = checked;
    if (parameter !== undefined && wider.includes(parameter)) {
      const wildcard = serviceWildcard(resolved.service.name);
      return lack([wildcard], `Nothing in the catalogue covers ${parameter}, so it needs ${wildcard}.`);
    }
    return decide("refuse", checked.code, bodyRefusal(checked).message);
  }
  const exceeded = judgeLimits(limited, resolved, checked.content);
  if (exceeded) {
    const message = `It is outside the limits of ${exceeded.permission}: ${describeExceeded(exceeded)}.`;
    return decide("deny", "constraint_violated", message, { violations: exceeded.violations.map(toWireViolation) });
  }
  return decide("allow", "allowed", "It would be forwarded.");
}

/** What an agent would have with a token that gives all that the agent has. */
function supposed(permissions: ExplainRequest["permissions"], grants: ExplainRequest["grants"]): Holdings {
  const all = [...(permissions ?? []).map(unlimited), ...(grants ?? [])];
  return { permissions: new Set(permissions ?? []), tokenGrants: all, agentGrants: [all] };
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
