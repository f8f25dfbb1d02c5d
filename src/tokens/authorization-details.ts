import type { Grant } from "../grants/grant.ts";
import { expandGrants, grantsNow } from "../grants/grant.ts";
import { actionsOfWildcard, type Catalogue } from "../permissions/catalogue.ts";
import { hasEnded, isUnlimited, unlimited, type GrantLimits, type Where } from "../permissions/grant.ts";
import { isGranted } from "../permissions/match.ts";
import { isNarrower } from "../policy/narrower.ts";
import { isObject } from "../validation/is-object.ts";

/** The type of an authorization detail (RFC 9396 §2) that is a permission with limits. */
export const GRANT_TYPE = "agentauth_grant";

/**
 * The type of the one detail that names grants of the agent instead of containing their limits, because these would make the token too
 * long. It has another type, so that nobody who reads {@link GRANT_TYPE} takes it for a permission without limits.
 */
const REFERENCE_TYPE = "agentauth_grant_reference";

/** Grants that a token has by their ids. A grant with other limits has another id, so what they give is what they gave. */
export interface GrantReference {
  readonly ids: readonly string[];
  /** The permissions that the token is narrowed to; null: all that the grants give. */
  readonly within: readonly string[] | null;
}

/** What a token gives. */
export interface TokenGrants {
  /** Permissions without a limit and without an end: `scope`. */
  readonly scope: readonly string[];
  /** Permissions with limits or an end: `authorization_details`. */
  readonly details: readonly GrantLimits[];
  readonly reference: GrantReference | null;
}

/** Grants that end within this time are left out of a token, whose life would be too short otherwise, in milliseconds. */
export const MIN_GRANT_LIFE_MS = 300_000;

/** The claims of {@link TokenGrants} may take this many characters of JSON: a token, of which they are base64url, has to fit into a header. */
const MAX_CLAIM_LENGTH = 5400;

/** Of the longest permissions, 98 characters each, this many fit. */
const MAX_PLAIN_PERMISSIONS = 50;

/**
 * Returns what a token of an agent gives: what its grants give now, narrowed to a scope.
 *
 * `service:resource:*` stands expanded, so that nobody who verifies the token by itself reads more into it than was granted.
 *
 * @param scope the permissions that its session is limited to; null for all that the agent has.
 * @param now milliseconds, by the database's clock.
 * @param requested what the client has asked for by `authorization_details`, which `grantDetails` has found within the grants. The token
 *   has it beside what is within the scope; without a scope it has nothing else. Undefined: nothing was asked for in this way.
 * @returns also the earliest end of a grant in it, in milliseconds; null if none has an end.
 */
export function tokenGrantsOf(
  grants: readonly Grant[],
  scope: readonly string[] | null,
  catalogue: Catalogue,
  now: number,
  requested?: readonly GrantLimits[],
): TokenGrants & { readonly endsAt: number | null } {
  const within = scope ?? (requested ? [] : null);
  const lasting = grants.filter((grant) => !hasEnded(grant, now + MIN_GRANT_LIFE_MS));
  const chosen = requested ?? [];
  const full = toTokenGrants([...narrow(expandGrants(lasting), within, catalogue), ...chosen], catalogue);
  if (fitsToken(full)) return { ...full, endsAt: earliestEnd(full.details) };

  // Too long. Grants with limits, and wildcards of many actions, are named by their ids.
  const isPlain = (grant: Grant) => isUnlimited(grant) && grant.actions === null;
  const plain = sortedPermissions([
    ...expandWildcards(narrow(expandGrants(lasting.filter(isPlain)), within, catalogue), catalogue),
    ...chosen.filter(isUnlimited),
  ]);
  const named = lasting.filter(
    (grant) => !isPlain(grant) && narrow(expandGrants([grant]), within, catalogue).length > 0,
  );
  const kept = chosen.filter((one) => !isUnlimited(one));
  const reference = { ids: named.map(({ id }) => id), within };
  const short: TokenGrants = { scope: plain, details: kept, reference };
  if (fitsToken(short)) return { ...short, endsAt: earliestEnd([...named, ...kept]) };
  // Fifty permissions of the longest names, and a scope of as many others: what does not fit is not in the token.
  if (kept.length > 0) return { scope: [], details: kept, reference: null, endsAt: earliestEnd(kept) };
  const fitting = plain.slice(0, MAX_PLAIN_PERMISSIONS);
  return { scope: fitting, details: [], reference: null, endsAt: null };
}

/** What a token gives that has all of these grants, with `service:resource:*` expanded. */
export function toTokenGrants(given: readonly GrantLimits[], catalogue: Catalogue): TokenGrants {
  const expanded = expandWildcards(given, catalogue);
  return {
    scope: sortedPermissions(expanded.filter(isUnlimited)),
    details: expanded.filter((one) => !isUnlimited(one)),
    reference: null,
  };
}

/** Whether a token has room for this. */
export const fitsToken = (given: TokenGrants): boolean => claimLength(given) <= MAX_CLAIM_LENGTH;

/** The earliest end of grants, in milliseconds; null if none has an end. */
export function earliestEnd(given: readonly Pick<GrantLimits, "expiresAt">[]): number | null {
  const times = given.flatMap(({ expiresAt }) => expiresAt ?? []);
  return times.length === 0 ? null : Math.min(...times);
}

const sortedPermissions = (grants: readonly GrantLimits[]): string[] =>
  [...new Set(grants.map(({ permission }) => permission))].toSorted();

/** Grants as far as they are within a scope, with their limits. Either side may be the wider one. */
export function narrow(
  grants: readonly GrantLimits[],
  scope: readonly string[] | null,
  catalogue: Catalogue,
): readonly GrantLimits[] {
  if (scope === null) return grants;
  const wanted = new Set(scope);
  return grants.flatMap((grant) => {
    if (isGranted(wanted, grant.permission, catalogue)) return [grant];
    const gives = new Set([grant.permission]);
    const { where, expiresAt } = grant;
    const narrower = scope.filter((one) => isGranted(gives, one, catalogue));
    return narrower.map((permission) => ({ permission, where, expiresAt }));
  });
}

/** Each `service:resource:*` as the actions that the catalogue lists now. */
const expandWildcards = (grants: readonly GrantLimits[], catalogue: Catalogue): GrantLimits[] =>
  grants.flatMap((grant) => {
    const [service = "", resource = "", action] = grant.permission.split(":");
    if (action !== "*" || resource === "*") return [grant];
    const { where, expiresAt } = grant;
    return actionsOfWildcard(catalogue, service, resource).map((one) => {
      return { permission: `${service}:${resource}:${one}`, where, expiresAt };
    });
  });

const claimLength = (given: TokenGrants): number =>
  given.scope.join(" ").length + JSON.stringify(toAuthorizationDetails(given) ?? "").length;

/** The claim `authorization_details` (RFC 9396 §9.1); undefined if the token has none. */
export function toAuthorizationDetails({ details, reference }: Omit<TokenGrants, "scope">): object[] | undefined {
  const claim: object[] = details.map(({ permission, where, expiresAt }) => ({
    type: GRANT_TYPE,
    permission,
    ...(where && { where }),
    ...(expiresAt !== null && { expires_at: new Date(expiresAt).toISOString() }),
  }));
  if (reference)
    claim.push({ type: REFERENCE_TYPE, ids: reference.ids, ...(reference.within && { within: reference.within }) });
  return claim.length === 0 ? undefined : claim;
}

/**
 * Reads the claim `authorization_details` of a token whose signature is ours. Details of other types give nothing here.
 *
 * @returns undefined if it has a form in which we do not write it.
 */
export function readAuthorizationDetails(claim: unknown): Omit<TokenGrants, "scope"> | undefined {
  if (claim === undefined) return { details: [], reference: null };
  if (!Array.isArray(claim)) return undefined;
  const details: GrantLimits[] = [];
  let reference: GrantReference | null = null;
  for (const one of claim as unknown[]) {
    if (!isObject(one)) return undefined;
    if (one.type === GRANT_TYPE) {
      const limits = readLimits(one);
      if (!limits) return undefined;
      details.push(limits);
    } else if (one.type === REFERENCE_TYPE) {
      const { ids, within = null } = one;
      if (reference || !isTexts(ids) || !(within === null || isTexts(within))) return undefined;
      reference = { ids, within };
    }
  }
  return { details, reference };
}

function readLimits({ permission, where = null, expires_at: end }: Record<string, unknown>): GrantLimits | undefined {
  const expiresAt = end === undefined ? null : typeof end === "string" ? Date.parse(end) : NaN;
  if (typeof permission !== "string" || Number.isNaN(expiresAt)) return undefined;
  if (where !== null && !isObject(where)) return undefined;
  // A detail without limits is none of ours: those stand in `scope`.
  if (where === null && expiresAt === null) return undefined;
  return { permission, where: where as Where | null, expiresAt };
}

/**
 * Returns all that a token gives, each with its limits. Grants that it names are those that the agent still has.
 *
 * @param grants those of its agent.
 */
export function grantsOfToken(
  { scope, details, reference }: TokenGrants,
  grants: readonly Grant[],
  catalogue: Catalogue,
): GrantLimits[] {
  const ids = new Set(reference?.ids);
  const named = expandGrants(grants.filter(({ id }) => ids.has(id)));
  return [...scope.map(unlimited), ...details, ...narrow(named, reference?.within ?? null, catalogue)];
}

/**
 * The limited permissions of a token that each of its agents still has, exactly so or wider, as `authorization_details`; undefined for none.
 * What an agent has with other limits is left out: whoever reads them knows those of the token only.
 *
 * @param tokenGrants all that the token gives.
 * @param agentGrants the grants of each agent that the token depends on.
 * @param now milliseconds.
 */
export function presentDetails(
  tokenGrants: readonly GrantLimits[],
  agentGrants: readonly (readonly Grant[])[],
  catalogue: Catalogue,
  now: number,
): object[] | undefined {
  const held = agentGrants.map((grants) => grantsNow(grants, now));
  const details = tokenGrants.filter(
    (one) => !isUnlimited(one) && !hasEnded(one, now) && held.every((grants) => isHeld(one, grants, catalogue)),
  );
  return toAuthorizationDetails({ details, reference: null });
}

/**
 * Whether a token gives all that its agent has now. Grants that end within {@link MIN_GRANT_LIFE_MS} do not count: they are in no token.
 *
 * @param tokenGrants all that the token gives.
 * @param now milliseconds.
 */
export function givesAll(
  tokenGrants: readonly GrantLimits[],
  grants: readonly Grant[],
  catalogue: Catalogue,
  now: number,
): boolean {
  const whole = new Set(tokenGrants.filter(isUnlimited).map(({ permission }) => permission));
  return expandWildcards(grantsNow(grants, now + MIN_GRANT_LIFE_MS), catalogue).every(
    (one) => isGranted(whole, one.permission, catalogue) || isHeld(one, tokenGrants, catalogue),
  );
}

/** Whether one of these grants gives all that a permission with limits gives. */
const isHeld = (one: GrantLimits, grants: readonly GrantLimits[], catalogue: Catalogue): boolean =>
  grants.some((grant) => isGranted(new Set([grant.permission]), one.permission, catalogue) && isNarrower(one, grant));

const isTexts = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((one) => typeof one === "string");
