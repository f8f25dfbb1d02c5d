import type { Actor } from "../authority/actor-row.ts";
import { randomBase62 } from "../crypto/random.ts";
import { actionsOfWildcard, type Catalogue } from "../permissions/catalogue.ts";
import { hasEnded, isUnlimited, type GrantLimits, type Where } from "../permissions/grant.ts";
import { DAY_MS } from "../time/lengths.ts";

/** A permission that an agent was granted. Times are milliseconds. */
export interface Grant extends GrantLimits {
  /** `gra_…`. A grant whose permission, limits or end change is another grant, with another id. */
  readonly id: string;
  /**
   * Of `service:resource:*`, the actions that the catalogue listed when it was granted: these are what it gives. Null for other
   * permissions, and for one that a former version granted of a service that is not built in: then the present catalogue counts.
   */
  readonly actions: readonly string[] | null;
  /** Whether a call has to be approved. Not offered yet. */
  readonly approval: null;
  /** Whether `grant.expiring` has been sent for it. */
  readonly isAnnounced: boolean;
  /** Whether a job has seen that it has ended, so that lists by permission no longer have its agent. */
  readonly isSwept: boolean;
  /** Null for a grant of a stranger's registration, and of a former version. */
  readonly createdBy: Actor | null;
  readonly createdAt: number;
}

/** The grants of an agent as the database has them. */
export interface AgentGrants {
  /** Those that have ended but are still kept included. */
  readonly grants: readonly Grant[];
  readonly version: number;
  readonly isRevoked: boolean;
  /** The database's time, in milliseconds. */
  readonly readAt: number;
}

/** A grant as `agents.grants` has it: what is null or false is left out. */
interface StoredGrant {
  readonly id: string;
  readonly permission: string;
  readonly actions?: readonly string[] | null;
  readonly where?: Where;
  readonly expires_at?: number;
  readonly announced?: true;
  readonly swept?: true;
  readonly created_by?: Actor | null;
  readonly created_at: number;
}

/** Reads `agents.grants`. */
export function parseGrants(json: string | null): Grant[] {
  if (json === null) return [];
  return (JSON.parse(json) as StoredGrant[]).map((stored) => ({
    id: stored.id,
    permission: stored.permission,
    actions: stored.actions ?? null,
    where: stored.where ?? null,
    expiresAt: stored.expires_at ?? null,
    approval: null,
    isAnnounced: stored.announced ?? false,
    isSwept: stored.swept ?? false,
    createdBy: stored.created_by ?? null,
    createdAt: stored.created_at,
  }));
}

/** The text of `agents.grants`. */
export const serializeGrants = (grants: readonly Grant[]): string =>
  JSON.stringify(
    grants.map(
      ({ id, permission, actions, where, expiresAt, isAnnounced, isSwept, createdBy, createdAt }): StoredGrant => ({
        id,
        permission,
        ...(actions && { actions }),
        ...(where && { where }),
        ...(expiresAt !== null && { expires_at: expiresAt }),
        ...(isAnnounced && { announced: true }),
        ...(isSwept && { swept: true }),
        created_by: createdBy,
        created_at: createdAt,
      }),
    ),
  );

/** A new grant. Who made it is written with it. @param now milliseconds. */
export const newGrant = ({ permission, where, expiresAt }: GrantLimits, catalogue: Catalogue, now: number): Grant => ({
  id: `gra_${randomBase62(24)}`,
  permission,
  actions: wildcardActions(permission, catalogue),
  where,
  expiresAt,
  approval: null,
  isAnnounced: false,
  isSwept: false,
  createdBy: null,
  createdAt: now,
});

/** The actions that a `service:resource:*` is granted with now; null for another permission. */
export function wildcardActions(permission: string, catalogue: Catalogue): readonly string[] | null {
  const [service = "", resource = "", action] = permission.split(":");
  return action === "*" && resource !== "*" ? actionsOfWildcard(catalogue, service, resource) : null;
}

/**
 * Returns what grants give, ended ones included: each as it is, and `service:resource:*` as one permission for each of its actions,
 * with the same limits.
 */
export const expandGrants = (grants: readonly Grant[]): GrantLimits[] =>
  grants.flatMap(({ permission, actions, where, expiresAt }) =>
    actions
      ? actions.map((action) => ({ permission: `${permission.slice(0, -1)}${action}`, where, expiresAt }))
      : [{ permission, where, expiresAt }],
  );

/** What grants give at a time, as {@link expandGrants} says it. @param now milliseconds. */
export const grantsNow = (grants: readonly Grant[], now: number): GrantLimits[] =>
  expandGrants(grants.filter((grant) => !hasEnded(grant, now)));

/** The sorted set of permissions that grants give at a time, limited or not, as they were granted. @param now milliseconds. */
export const permissionsNow = (grants: readonly Grant[], now: number): string[] =>
  sortedPermissions(grants.filter((grant) => !hasEnded(grant, now)));

/**
 * The sorted set of permissions that grants give without a limit and without an end, as they were granted: what `agents.permissions`
 * contains, by which a batch checks its caller, and which is all that a Worker without limits sees.
 */
export const unlimitedPermissions = (grants: readonly Grant[]): string[] =>
  sortedPermissions(grants.filter(isUnlimited));

const sortedPermissions = (grants: readonly GrantLimits[]): string[] =>
  [...new Set(grants.map(({ permission }) => permission))].toSorted();

/** How long a grant that has ended is kept, so that a refusal can say that it has ended, and that nobody grants it without its limits. */
const ENDED_GRANT_MS = 30 * DAY_MS;

/** What a job has to do about a grant next, and when, in milliseconds. Null for a grant without an end. */
export function nextStep({ expiresAt, isAnnounced, isSwept, createdAt }: Grant) {
  if (expiresAt === null) return null;
  // Whoever makes a grant for less than a day knows that it ends.
  if (!isAnnounced && expiresAt - createdAt > DAY_MS) return { step: "announce", at: expiresAt - DAY_MS } as const;
  return isSwept
    ? ({ step: "delete", at: expiresAt + ENDED_GRANT_MS } as const)
    : ({ step: "sweep", at: expiresAt } as const);
}

/** When a job has to look at the grants again, in milliseconds. Null if none has an end. */
export function nextDue(grants: readonly Grant[]): number | null {
  const times = grants.flatMap((grant) => nextStep(grant)?.at ?? []);
  return times.length === 0 ? null : Math.min(...times);
}
