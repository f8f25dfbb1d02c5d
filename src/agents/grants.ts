import { badRequest } from "../http/errors.ts";
import type { Catalogue } from "../permissions/catalogue.ts";
import { validatePermission } from "../permissions/grammar.ts";

/** What cannot be granted at all, each with the reason. */
export function validatePermissions(permissions: readonly string[], catalogue: Catalogue) {
  return permissions.flatMap((permission) => {
    const message = validatePermission(permission, catalogue);
    return message ? [{ permission, message }] : [];
  });
}

/** 400 naming every permission that cannot be granted. */
export function invalidPermissions(faults: ReturnType<typeof validatePermissions>) {
  const [first] = faults;
  return badRequest(
    `Not every permission can be granted. ${first?.permission}: ${first?.message}`,
    faults,
    "unknown_permission",
  );
}
