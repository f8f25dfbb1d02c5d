import { actionsOfWildcard, type Catalogue } from "./catalogue.ts";
import { ADMIN, serviceWildcard } from "./grammar.ts";

/**
 * Returns whether a set of permissions grants the required one.
 *
 * `service:resource:*` grants only the actions of {@link actionsOfWildcard}, so that a permission granted while a resource was read-only
 * never becomes a write. Write does not imply read.
 */
export function isGranted(grants: ReadonlySet<string>, required: string, catalogue: Catalogue): boolean {
  if (grants.has(required) || grants.has(ADMIN)) return true;
  const [service = "", resource = "", action = ""] = required.split(":");
  if (service === "*") return false;
  if (grants.has(serviceWildcard(service))) return true;
  if (resource === "*") return false;
  if (action === "*") {
    const actions = actionsOfWildcard(catalogue, service, resource);
    return actions.length > 0 && actions.every((one) => grants.has(`${service}:${resource}:${one}`));
  }
  return grants.has(`${service}:${resource}:*`) && actionsOfWildcard(catalogue, service, resource).includes(action);
}

/**
 * Returns the sets of permissions of which each alone grants the required one: what {@link isGranted} decides, for a statement that
 * decides it.
 */
export function waysToGrant(required: string, catalogue: Catalogue): string[][] {
  const [service = "", resource = "", action = ""] = required.split(":");
  const ways = [[required], [ADMIN]];
  if (service === "*") return ways;
  ways.push([serviceWildcard(service)]);
  const actions = actionsOfWildcard(catalogue, service, resource);
  if (action === "*") {
    if (actions.length > 0) ways.push(actions.map((one) => `${service}:${resource}:${one}`));
  } else if (actions.includes(action)) {
    ways.push([`${service}:${resource}:*`]);
  }
  return ways;
}

/** Returns the permissions of `wanted` that are not granted, in their order. */
export function missingPermissions(
  wanted: readonly string[],
  grants: ReadonlySet<string>,
  catalogue: Catalogue,
): string[] {
  return wanted.filter((permission) => !isGranted(grants, permission, catalogue));
}

/**
 * Returns the permissions that a token still has: those that are in its claims and that its agent has now.
 *
 * Either side may be the wider one (`github:*:*` in the token, `github:issues:read` of the agent), so the result is the permissions of
 * each that the other grants.
 *
 * @param claimed the permissions in the token's claims.
 * @param current the permissions that the agent has now.
 */
export function intersectPermissions(
  claimed: readonly string[],
  current: readonly string[],
  catalogue: Catalogue,
): ReadonlySet<string> {
  const claimedSet = new Set(claimed);
  const currentSet = new Set(current);
  return new Set([
    ...claimed.filter((permission) => isGranted(currentSet, permission, catalogue)),
    ...current.filter((permission) => isGranted(claimedSet, permission, catalogue)),
  ]);
}
