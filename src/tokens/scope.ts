import type { Agent } from "../agents/agent.ts";
import { grantsNow } from "../grants/grant.ts";
import type { Catalogue } from "../permissions/catalogue.ts";
import { missingPermissions } from "../permissions/match.ts";

/**
 * The permissions of a scope that an agent does not have, with or without limits: what `holdsScope` decides in a statement.
 *
 * @param now milliseconds.
 */
export function beyondAgent(
  scope: readonly string[],
  { grants, permissions }: Pick<Agent, "grants" | "permissions">,
  catalogue: Catalogue,
  now: number,
): string[] {
  const held = new Set(grantsNow(grants, now).map(({ permission }) => permission));
  const wanted = scope.filter((one) => !permissions.includes(one));
  return missingPermissions(wanted, held, catalogue);
}
