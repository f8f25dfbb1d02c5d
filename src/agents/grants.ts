import type { Catalogue } from "../permissions/catalogue.ts";
import { validatePermission } from "../permissions/grammar.ts";

/** The permissions that cannot be granted at all, each with the reason. */
export function validatePermissions(permissions: readonly string[], catalogue: Catalogue) {
  return permissions.flatMap((permission) => {
    const message = validatePermission(permission, catalogue);
    return message ? [{ permission, message }] : [];
  });
}
