import type { Catalogue } from "../permissions/catalogue.ts";
import { hasEnded, type GrantLimits, type Where } from "../permissions/grant.ts";
import { serviceWildcard } from "../permissions/grammar.ts";
import { isGranted } from "../permissions/match.ts";
import {
  describeViolation,
  limitedRequest,
  pathParameters,
  violations,
  type LimitedBody,
  type Violation,
} from "./limits.ts";
import type { ResolvedRequest } from "./resolve.ts";
import type { Service } from "./services.ts";

/** What a caller has. */
export interface Holdings {
  /** The permissions that its token and each of its agents have without limits now. */
  readonly permissions: ReadonlySet<string>;
  /** What the token gives, permissions without limits included. */
  readonly tokenGrants: readonly GrantLimits[];
  /** What each of its agents has at present, in the same way. Grants that have ended may be among them. */
  readonly agentGrants: readonly (readonly GrantLimits[])[];
}

/** A required permission that a caller has within limits only. */
export interface LimitedPermission {
  readonly permission: string;
  /** The limits of the token's grants: those of one of them have to be met. Empty if the token has the permission without limits. */
  readonly token: readonly Where[];
  /** The same of the grants of each agent. */
  readonly agents: readonly (readonly Where[])[];
}

/** What a caller's grants say about a request whose content has not been looked at. */
export type GrantsFound =
  /** Every required permission is granted. Those in `limited` depend on what the request says; none: it is allowed. */
  | { readonly outcome: "granted"; readonly limited: readonly LimitedPermission[] }
  /** Some are not granted. */
  | { readonly outcome: "missing"; readonly permissions: readonly string[] }
  /** Some were granted until a time that has passed. */
  | { readonly outcome: "expired"; readonly permissions: readonly string[] };

/**
 * Looks for the grants that a request needs. A grant counts only if it has not ended, and the token and each agent have to give each
 * permission.
 *
 * @param now milliseconds.
 */
export function findGrants(
  required: readonly string[],
  { permissions, tokenGrants, agentGrants }: Holdings,
  catalogue: Catalogue,
  now: number,
): GrantsFound {
  const limited: LimitedPermission[] = [];
  const missing: string[] = [];
  const expired: string[] = [];
  for (const permission of required) {
    if (isGranted(permissions, permission, catalogue)) continue;
    const token = grantsOf(permission, tokenGrants, catalogue);
    const agents = agentGrants.map((grants) => grantsOf(permission, grants, catalogue));
    if (token.length === 0 || agents.some((grants) => grants.length === 0)) {
      missing.push(permission);
      continue;
    }
    const tokenLimits = presentLimits(token, now);
    const agentLimits = agents.flatMap((grants) => {
      const limits = presentLimits(grants, now);
      return limits ? [limits] : [];
    });
    if (!tokenLimits || agentLimits.length < agents.length) expired.push(permission);
    else if ([tokenLimits, ...agentLimits].some((limits) => limits.length > 0)) {
      limited.push({ permission, token: tokenLimits, agents: agentLimits });
    }
  }
  if (missing.length > 0) return { outcome: "missing", permissions: missing };
  if (expired.length > 0) return { outcome: "expired", permissions: expired };
  return { outcome: "granted", limited };
}

/** Returns the keys of a body that need the service's wildcard: none if the caller has it without limits. @param now milliseconds. */
export function widerKeys(
  { name, definition: { widerBodyParameters = [] } }: Service,
  holdings: Holdings,
  catalogue: Catalogue,
  now: number,
): readonly string[] {
  if (widerBodyParameters.length === 0) return [];
  const found = findGrants([serviceWildcard(name)], holdings, catalogue, now);
  return found.outcome === "granted" && found.limited.length === 0 ? [] : widerBodyParameters;
}

const grantsOf = (permission: string, grants: readonly GrantLimits[], catalogue: Catalogue): readonly GrantLimits[] =>
  grants.filter((grant) => isGranted(new Set([grant.permission]), permission, catalogue));

/** The limits of the grants that have not ended: none if one of them has no limits. Undefined if all have ended. */
function presentLimits(grants: readonly GrantLimits[], now: number): Where[] | undefined {
  const present = grants.filter((grant) => !hasEnded(grant, now));
  if (present.length === 0) return undefined;
  return present.every(({ where }) => where !== null) ? present.map(({ where }) => where!) : [];
}

/** The limits that a request does not meet. */
export interface LimitsExceeded {
  readonly permission: string;
  /** Those of the grant that came nearest. */
  readonly violations: readonly Violation[];
}

const MAX_CLAUSES = 5;

/** Returns what is outside the limits, as clauses. */
export function describeExceeded({ violations: found }: LimitsExceeded): string {
  const clauses = found.slice(0, MAX_CLAUSES).map(describeViolation).join("; ");
  return found.length > MAX_CLAUSES ? `${clauses}; and ${found.length - MAX_CLAUSES} more` : clauses;
}

/**
 * Judges a request by the limits of the grants that {@link findGrants} found. Several grants of one permission are alternatives; of
 * each permission, one of the token's and one of each agent's must allow the request.
 *
 * @param body what is sent. A body that has not been read is unreadable.
 * @returns null if the request is allowed.
 */
export function judgeLimits(
  limited: readonly LimitedPermission[],
  { match, service, query }: Pick<ResolvedRequest, "match" | "service" | "query">,
  body: LimitedBody,
): LimitsExceeded | null {
  if (limited.length === 0) return null;
  const fields = service.table().limits();
  // A path with two readings has no parameters that a limit could hold for.
  const path = match?.isCertain ? pathParameters(match.rule, match.texts) : undefined;
  const request = match && path && limitedRequest({ rule: match.rule, path, query, body });
  for (const { permission, token, agents } of limited) {
    // What a request embeds in its answer is named by no field of it, and an uncovered request has no fields at all.
    const isNamed = match?.rule.required.includes(permission) === true;
    const judged = new Map<string, readonly Violation[]>();
    const judge = (where: Where): readonly Violation[] => {
      const text = textOf(where);
      let found = judged.get(text);
      if (!found) {
        found =
          request && isNamed
            ? violations(where, fields, request)
            : Object.entries(where).map(([field, constraint]) => {
                return { because: isNamed ? "unclear" : "unlisted", field, constraint, actual: null };
              });
        judged.set(text, found);
      }
      return found;
    };
    for (const limits of [...agents, token]) {
      const found = nearest(limits.map(judge));
      if (found) return { permission, violations: found };
    }
  }
  return null;
}

const texts = new WeakMap<Where, string>();

/** The text of limits. Those of a token mostly are those that its agent has, and need not be judged again. */
function textOf(where: Where): string {
  let text = texts.get(where);
  if (text === undefined) texts.set(where, (text = JSON.stringify(where)));
  return text;
}

/** The shortest list, or undefined if there is none or one is empty. */
function nearest(alternatives: readonly (readonly Violation[])[]): readonly Violation[] | undefined {
  const [shortest] = alternatives.toSorted((one, other) => one.length - other.length);
  return shortest === undefined || shortest.length === 0 ? undefined : shortest;
}
