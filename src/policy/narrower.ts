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

/** The limits that exactly the requests meet that meet both. Null: no limit. Undefined if they cannot be written as one, or nothing meets both. */
export function bothWheres(one: Where | null, other: Where | null): Where | null | undefined {
  if (isNarrowerWhere(one, other)) return one;
  if (isNarrowerWhere(other, one)) return other;
  const both: Record<string, Conditions> = { ...other };
  for (const [field, conditions] of Object.entries(one!)) {
    const merged = Object.hasOwn(both, field) ? bothConditions(conditions, both[field]!) : conditions;
    if (!merged) return undefined;
    both[field] = merged;
  }
  return both;
}

function bothConditions(one: Conditions, other: Conditions): Conditions | undefined {
  if (impliesConditions(one, other)) return one;
  if (impliesConditions(other, one)) return other;
  const values = one.in && other.in ? one.in.filter((value) => other.in!.includes(value)) : (one.in ?? other.in);
  const excluded = [...(one.not_in ?? []), ...(other.not_in ?? [])];
  const [min, max] = [Math.max(...given(one.min, other.min)), Math.min(...given(one.max, other.max))];
  // Of two values, or of two patterns, one set of conditions has room for one.
  const hasTwo = (["eq", "glob"] as const).some(
    (name) => one[name] !== undefined && other[name] !== undefined && one[name] !== other[name],
  );
  if (hasTwo || values?.length === 0) return undefined;
  return {
    ...one,
    ...other,
    ...(values && { in: values }),
    ...(excluded.length > 0 && { not_in: [...new Set(excluded)] }),
    ...(Number.isFinite(min) && { min }),
    ...(Number.isFinite(max) && { max }),
  };
}

const given = (...numbers: readonly (number | undefined)[]): number[] => numbers.filter((one) => one !== undefined);

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
