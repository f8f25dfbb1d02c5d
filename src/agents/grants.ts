import { badRequest } from "../http/errors.ts";
import type { Catalogue } from "../permissions/catalogue.ts";
import { whyNotGrantable } from "../permissions/grammar.ts";

/** What cannot be granted at all, each with the reason. */
export function faultsOf(permissions: readonly string[], catalogue: Catalogue) {
  return permissions.flatMap((permission) => {
    const message = whyNotGrantable(permission, catalogue);
    return message ? [{ permission, message }] : [];
  });
}

/** 400 naming every permission that cannot be granted. */
export function ungrantable(faults: ReturnType<typeof faultsOf>) {
  const [first] = faults;
  return badRequest(
    `Not every permission can be granted. ${first?.permission}: ${first?.message}`,
    faults,
    "unknown_permission",
  );
}
