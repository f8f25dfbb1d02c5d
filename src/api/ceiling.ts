import { findAgent } from "../agents/read.ts";
import type { Authority } from "../authority/authority.ts";
import { browserRequired } from "../http/errors.ts";
import type { RequestContext } from "../http/request-context.ts";
import { grantText, hasEnded, type GrantLimits } from "../permissions/grant.ts";
import { isGranted } from "../permissions/match.ts";

/**
 * Checks what a command grants that a person has let in (RFC 8628): what the agent has already, and what an administrator lets others
 * grant it (`grantable`). Whoever has stolen the command's token widens nothing.
 *
 * @param keepsLimits whether a permission that the agent has keeps the limits that it has there.
 * @returns the authority, which makes it a condition of the batch that writes, and the version of the grants that was read. Of everybody
 * else the same authority, and no version.
 * @throws {ApiError} 403 `browser_required` for more.
 */
export async function belowCeiling(
  { env, config, now, params }: Pick<RequestContext, "env" | "config" | "now"> & { params: { readonly id: string } },
  by: Authority,
  wanted: readonly GrantLimits[],
  { keepsLimits }: { keepsLimits: boolean },
): Promise<{ by: Authority; version: number | undefined }> {
  if (by.personId === undefined || !by.byCommand) return { by, version: undefined };
  const found = await findAgent(env.DB, params.id);
  // The change itself says that there is no such agent.
  if (!found) return { by, version: undefined };
  const present = found.agent.grants.filter((one) => !hasEnded(one, now));
  const nameOf = keepsLimits ? ({ permission }: GrantLimits) => permission : grantText;
  const names = new Set(present.map(nameOf));
  const held: string[] = [];
  const grantable: string[] = [];
  for (const one of wanted) {
    if (names.has(nameOf(one))) {
      held.push(one.permission);
      continue;
    }
    const above = found.details.grantable.find((wider) =>
      isGranted(new Set([wider]), one.permission, config.catalogue),
    );
    if (above === undefined) {
      throw browserRequired(
        `${one.permission} is more than an administrator lets others grant this agent (\`grantable\`).`,
      );
    }
    grantable.push(above);
  }
  return { by: { ...by, ceiling: { agentId: params.id, held, grantable } }, version: found.agent.grantsVersion };
}
