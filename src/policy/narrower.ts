import type { Conditions, GrantLimits, Scalar, Where } from "../permissions/grant.ts";
import { matchesGlob } from "./limits.ts";

/**
 * Whether whatever meets one set of limits surely meets the other one, for grants of the same permission. False also where that cannot
 * be seen from the conditions alone.
 */
export const isNarrower = (
  one: Pick<GrantLimits, "where" | "expiresAt">,
  other: Pick<GrantLimits, "where" | "expiresAt">,
): boolean =>
  isNarrowerWhere(one.where, other.where) &&
  (other.expiresAt === null || (one.expiresAt !== null && one.expiresAt <= other.expiresAt));

/** The same for what two grants say of a request. Null: no limit. */
export function isNarrowerWhere(one: Where | null, other: Where | null): boolean {
  if (other === null) return true;
  if (one === null) return false;
  return Object.entries(other).every(
    ([field, conditions]) => Object.hasOwn(one, field) && impliesConditions(one[field]!, conditions),
  );
}

/** Whether every value that meets the first conditions meets the second ones. */
function impliesConditions(one: Conditions, other: Conditions): boolean {
  return Object.keys(other).every((operator) => impliesOperator(one, operator, other));
}

function impliesOperator(one: Conditions, operator: string, other: Conditions): boolean {
  // The values that the first conditions allow at most; undefined if they do not list any.
  const values = one.eq === undefined ? one.in : [one.eq];
  const all = (holds: (value: Scalar) => boolean): boolean => values !== undefined && values.every(holds);
  switch (operator) {
    case "eq":
      return all((value) => value === other.eq);
    case "in":
      return all((value) => other.in!.includes(value));
    case "min":
      return (one.min ?? -Infinity) >= other.min! || all((value) => typeof value === "number" && value >= other.min!);
    case "max":
      return (one.max ?? Infinity) <= other.max! || all((value) => typeof value === "number" && value <= other.max!);
    case "glob":
      // A pattern within a pattern is not looked for.
      return one.glob === other.glob || all((value) => typeof value === "string" && matchesGlob(other.glob!, value));
    case "not_in":
      // Whether another value is in the field's closed list is not known here.
      return other.not_in!.every((value) => one.not_in?.includes(value) === true);
    default:
      return false;
  }
}
