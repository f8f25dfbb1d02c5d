import type { Catalogue } from "../permissions/catalogue.ts";
import { grantText, hasEnded, isUnlimited, type GrantLimits } from "../permissions/grant.ts";
import { ADMIN } from "../permissions/grammar.ts";
import { isGranted } from "../permissions/match.ts";
import type { AgentGrants } from "./grant.ts";

/**
 * Whether grants loosen what limits an agent: they grant `*:*:*` anew, leave out a grant with limits or an end, or reach what such a
 * grant reaches in another way. Leaving one out counts, because the next request could grant the same without limits. So does granting
 * anew what has ended, for as long as that is kept: whoever gave it until a time has not given it for longer.
 */
export function loosensGrants(
  { grants, readAt }: Pick<AgentGrants, "grants" | "readAt">,
  wanted: readonly GrantLimits[],
  catalogue: Catalogue,
): boolean {
  const present = grants.filter((one) => !hasEnded(one, readAt));
  const presentTexts = new Set(present.map(grantText));
  const wantedTexts = new Set(wanted.map(grantText));
  const added = wanted.filter((one) => !presentTexts.has(grantText(one)));
  const limited = present.filter((one) => !isUnlimited(one));
  const overlaps = (one: GrantLimits, other: GrantLimits): boolean =>
    isGranted(new Set([one.permission]), other.permission, catalogue) ||
    isGranted(new Set([other.permission]), one.permission, catalogue);
  const ended = new Set(grants.filter((one) => hasEnded(one, readAt)).map(({ permission }) => permission));
  return (
    added.some(({ permission }) => permission === ADMIN || ended.has(permission)) ||
    limited.some((one) => !wantedTexts.has(grantText(one)) || added.some((other) => overlaps(one, other)))
  );
}
