import type { BodyRules } from "./body.ts";
import type { ResolvedRequest } from "./resolve.ts";

/** What a caller's permissions say about the body of a request. */
export interface BodyDemands {
  /** The keys that need a permission which the caller does not have. */
  readonly wider: readonly string[];
  /** Whether the caller has a required permission within limits only. */
  readonly isLimited: boolean;
}

/** Returns how the body of a request is checked. */
export const bodyRules = (
  { rule, service }: Pick<ResolvedRequest, "rule" | "service">,
  { wider, isLimited }: BodyDemands,
): BodyRules => ({
  forms: service.table().formNames,
  keys: [...(service.definition.refusedBodyParameters ?? []), ...wider],
  // `associations: null` associates nothing.
  nullable: wider,
  isCovered: rule !== null,
  isLimited,
  isFile: rule !== null && service.definition.fileRules?.includes(rule) === true,
});
