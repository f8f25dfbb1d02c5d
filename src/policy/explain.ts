import type { Config } from "../config/config.ts";
import { resolveRequest, lackingPermissions } from "./resolve.ts";
import { droppedHeaders } from "./request-headers.ts";

/** A request that is only asked about. */
export interface ExplainRequest {
  readonly service: string;
  readonly method: string;
  /** Below the service, as raw as it would come over the wire, with its query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>> | null | undefined;
  /** What the agent would hold; nothing where left out. */
  readonly permissions?: readonly string[] | null | undefined;
}

/** What would happen. */
export interface Explanation {
  readonly service: string;
  readonly method: string;
  /** The canonical path that would be fetched; null for a refusal. */
  readonly path: string | null;
  /** The permission that the rule names first; null where no rule takes the request, or it is refused. */
  readonly required: string | null;
  /** Everything that is needed; for an uncovered path the grant of the whole service. */
  readonly all_required: readonly string[];
  readonly decision: "allow" | "deny" | "refuse";
  /** `allowed`, or the code of the answer that a real call would get. */
  readonly code: string;
  /** Names of headers that would not be forwarded, and of the parameter that is refused. */
  readonly dropped: readonly string[];
}

export interface Reasons {
  /** The line of the service's table. */
  readonly rule: string | null;
  /** What is needed and not granted. */
  readonly lacking: readonly string[];
  readonly message: string;
}

/** Judges a request as the gateway would, by the same functions, and calls nothing. */
export function explain(
  { services, catalogue }: Pick<Config, "services" | "catalogue">,
  { service, method, path, headers: sent, permissions }: ExplainRequest,
): { explanation: Explanation; reasons: Reasons } {
  const { headers, unusable } = readHeaders(sent ?? {});
  const meaning = resolveRequest(services, { service, method, target: path, headers });
  if (meaning.decision === "refuse") {
    const { code, message, parameter } = meaning;
    const definition = services.get(service)?.definition;
    const dropped = [...unusable, ...(definition ? droppedHeaders(headers, definition) : headers.keys())];
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
  const { rule, required } = meaning;
  const lacking = lackingPermissions(meaning, new Set(permissions ?? []), catalogue);
  const allowed = lacking.length === 0;
  return {
    explanation: {
      service,
      method,
      path: meaning.path,
      required: rule === null ? null : (required[0] ?? null),
      all_required: required,
      decision: allowed ? "allow" : "deny",
      code: allowed ? "allowed" : "insufficient_permissions",
      dropped: [...unusable, ...droppedHeaders(headers, meaning.service.definition)],
    },
    reasons: {
      rule,
      lacking,
      message:
        (rule === null ? "Nothing in the catalogue covers this request. " : "") +
        (allowed ? "It would be forwarded." : `It needs ${lacking.join(" and ")}.`),
    },
  };
}

/** What no HTTP message could carry is no header of a request. */
function readHeaders(sent: Readonly<Record<string, string>>): { headers: Headers; unusable: string[] } {
  const headers = new Headers();
  const unusable: string[] = [];
  for (const [name, value] of Object.entries(sent)) {
    try {
      headers.append(name, value);
    } catch {
      unusable.push(name);
    }
  }
  return { headers, unusable };
}
