import { actionsOf, type Catalogue } from "./catalogue.ts";
import { ADMIN, serviceWildcard } from "./grammar.ts";

/**
 * Whether a set of grants reaches one required permission.
 *
 * `service:resource:*` reaches only actions that the catalogue lists, so that a grant given while a resource was
 * read-only never grows into a write. Write does not imply read.
 */
export function isGranted(grants: ReadonlySet<string>, required: string, catalogue: Catalogue): boolean {
  if (grants.has(required) || grants.has(ADMIN)) return true;
  const [service = "", resource = "", action = ""] = required.split(":");
  if (service === "*") return false;
  if (grants.has(serviceWildcard(service))) return true;
  if (resource === "*") return false;
  if (action === "*") {
    const actions = actionsOf(catalogue, service, resource);
    return actions.length > 0 && actions.every((one) => grants.has(`${service}:${resource}:${one}`));
  }
  return grants.has(`${service}:${resource}:*`) && actionsOf(catalogue, service, resource).includes(action);
}

/** The part of `wanted` that `grants` does not reach. */
export function missingPermissions(
  wanted: readonly string[],
  grants: ReadonlySet<string>,
  catalogue: Catalogue,
): string[] {
  return wanted.filter((permission) => !isGranted(grants, permission, catalogue));
}

/**
 * What a token may still do: what it says, narrowed by what its agent holds now.
 *
 * Either side may be the wider one (`github:*:*` in the token, `github:issues:read` held), so the result is what
 * each reaches of the other.
 */
export function intersectPermissions(
  claimed: readonly string[],
  held: readonly string[],
  catalogue: Catalogue,
): ReadonlySet<string> {
  const claimedSet = new Set(claimed);
  const heldSet = new Set(held);
  return new Set([
    ...claimed.filter((permission) => isGranted(heldSet, permission, catalogue)),
    ...held.filter((permission) => isGranted(claimedSet, permission, catalogue)),
  ]);
}
