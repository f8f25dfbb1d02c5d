import { actionsOf, type Catalogue } from "../permissions/catalogue.ts";
import { findHolders } from "./store.ts";

/** What the catalogue lists today, and a `service:resource:*` that was granted before does not give. */
export interface Gain {
  readonly agentId: string;
  /** The wildcard. */
  readonly permission: string;
  /** What to grant beside it, if it is wanted. */
  readonly lacks: readonly string[];
}

/** How many gains are listed. */
const MAX_GAINS = 100;

/**
 * Finds who would gain by rules and presets that came after their grants (rules reach nobody of themselves: an administrator grants
 * what they add). One D1 round trip.
 */
export async function findGains(
  db: D1Database,
  catalogue: Catalogue,
): Promise<{ gains: readonly Gain[]; isWhole: boolean }> {
  const wildcards = Object.entries(catalogue).flatMap(([service, resources]) =>
    Object.keys(resources).map((resource) => `${service}:${resource}:*`),
  );
  const { holders, isWhole } = await findHolders(db, wildcards);
  const gains = holders.flatMap(({ id, grants }) =>
    grants.flatMap(({ permission, actions }): Gain[] => {
      if (!actions) return [];
      const [service = "", resource = ""] = permission.split(":");
      const lacks = actionsOf(catalogue, service, resource)
        .filter((action) => !actions.includes(action))
        .map((action) => `${service}:${resource}:${action}`);
      return lacks.length > 0 ? [{ agentId: id, permission, lacks }] : [];
    }),
  );
  return { gains: gains.slice(0, MAX_GAINS), isWhole: isWhole && gains.length <= MAX_GAINS };
}
