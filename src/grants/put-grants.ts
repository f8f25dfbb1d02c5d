import { actorId, type Authority } from "../authority/authority.ts";
import type { Config } from "../config/config.ts";
import { newEvent } from "../outbox/event.ts";
import { nameOfActor, newEntry, type RecordOrigin } from "../outbox/record.ts";
import type { Where } from "../permissions/grant.ts";
import { ADMIN, validatePermission } from "../permissions/grammar.ts";
import { parseWhere, type WhereFault } from "../policy/limits.ts";
import type { Rule } from "../policy/rule.ts";
import { newGrant, permissionsNow, serializeGrants, wildcardActions, type AgentGrants, type Grant } from "./grant.ts";
import { readGrants, updateGrants } from "./store.ts";

export const MAX_GRANTS = 50;

/** The limits of one grant, and all grants of an agent, may take this much JSON, in characters: each check of a token reads them. */
const MAX_WHERE_LENGTH = 4096;
const MAX_GRANTS_LENGTH = 32_768;

/** A grant as an administrator asks for it. */
export interface WantedGrant {
  readonly permission: string;
  /** Not checked yet. */
  readonly where: unknown;
  /** Milliseconds; null for no end. */
  readonly expiresAt: number | null;
}

/** Why grants cannot be given. `field` is that of the request: `grants.0.where.path.owner`. */
export interface GrantFault {
  readonly code: WhereFault["code"] | "unknown_permission" | "validation_error";
  readonly field: string;
  readonly message: string;
}

/**
 * Checks grants, and makes them. Equal ones are one.
 *
 * Limits are for the permissions of a resource: what `*:*:*` and `service:*:*` reach has requests that no rule describes, of which
 * nobody can say what they name. `service:resource:*` can be limited by what requests of each of its actions name. And `*:*:*` has no
 * end, because whoever has it can grant it to itself anew.
 *
 * @param now milliseconds.
 * @returns the grants, or everything that is wrong.
 */
export function makeGrants(
  wanted: readonly WantedGrant[],
  { catalogue, services }: Pick<Config, "catalogue" | "services">,
  now: number,
): { grants: Grant[] } | { faults: GrantFault[] } {
  const faults: GrantFault[] = [];
  const made = new Map<string, Grant>();
  for (const [index, { permission, where, expiresAt }] of wanted.entries()) {
    const field = `grants.${index}`;
    const refuse = (code: GrantFault["code"], part: string, message: string) =>
      void faults.push({ code, field: `${field}.${part}`, message });
    const unknown = validatePermission(permission, catalogue);
    if (unknown) {
      refuse("unknown_permission", "permission", `${permission}: ${unknown}`);
      continue;
    }
    if (expiresAt !== null && expiresAt <= now) {
      refuse("validation_error", "expires_at", "lies in the past: leave the grant out, or give it a later end.");
    }
    if (expiresAt !== null && permission === ADMIN) {
      refuse("invalid_constraint", "expires_at", `${ADMIN} cannot have an end: whoever holds it can grant it anew.`);
    }
    const limits = where == null ? null : readWhere(permission, where);
    if (limits && "fault" in limits) {
      const { code, field: of, message } = limits.fault;
      refuse(code, of === "where" ? of : `where.${of.slice(0, 100)}`, message);
      continue;
    }
    const parsed = { permission, where: limits?.where ?? null, expiresAt };
    made.set(JSON.stringify(parsed), newGrant(parsed, catalogue, now));
  }
  const grants = [...made.values()];
  if (faults.length === 0 && serializeGrants(grants).length > MAX_GRANTS_LENGTH) {
    const message = `take more than ${MAX_GRANTS_LENGTH} characters of JSON together: write fewer or shorter limits.`;
    faults.push({ code: "validation_error", field: "grants", message });
  }
  return faults.length > 0 ? { faults } : { grants };

  function readWhere(permission: string, where: unknown): { where: Where } | { fault: WhereFault } {
    const [service = "", resource] = permission.split(":");
    const refused = (message: string) => ({ fault: { code: "invalid_constraint" as const, field: "where", message } });
    const table = services.get(service)?.table();
    if (resource === "*" || !table) {
      return refused(
        `${permission} cannot have limits, because it reaches requests that no rule describes. Grant the permissions of a resource.`,
      );
    }
    const actions = wildcardActions(permission, catalogue);
    const permissions = actions ? actions.map((action) => `${permission.slice(0, -1)}${action}`) : [permission];
    const fields = table.limits();
    let parsed: Where | undefined;
    for (const one of permissions) {
      const rules: readonly Rule[] = table.rules.filter(({ required }) => required.includes(one));
      const read = parseWhere(where, fields, rules);
      if (isFault(read)) return { fault: read };
      parsed = read;
    }
    if (!parsed) return refused(`${permission} has no actions that could be limited.`);
    const sorted = sortedWhere(parsed);
    if (JSON.stringify(sorted).length > MAX_WHERE_LENGTH) {
      return refused(
        `The limits of one grant may take ${MAX_WHERE_LENGTH} characters of JSON: split it into several grants.`,
      );
    }
    return { where: sorted };
  }
}

/** A field of a `where` is named `path.…`, `query.…` or `body.…`, so that none is called `code`. */
const isFault = (read: Where | WhereFault): read is WhereFault => "code" in read;

/** The same limits have one text, whatever the order is in which they are written. */
const sortedWhere = (where: Where): Where =>
  Object.fromEntries(
    Object.entries(where)
      .toSorted(byKey)
      .map(([field, conditions]) => [field, Object.fromEntries(Object.entries(conditions).toSorted(byKey))]),
  );

const byKey = ([one]: readonly [string, unknown], [other]: readonly [string, unknown]): number =>
  one < other ? -1 : 1;

/** The grants of an agent; undefined for no agent. One D1 round trip. */
export const getGrants = (db: D1Database, agentId: string): Promise<AgentGrants | undefined> => readGrants(db, agentId);

export type GrantsResult =
  | ({ readonly result: "changed" | "unchanged" } & AgentGrants)
  | { readonly result: "unknown" | "already_revoked" }
  /** The grants are of another version than the caller has read. */
  | { readonly result: "outdated"; readonly version: number };

/**
 * Sets all grants of an agent. What is taken away or narrowed is denied from the next request on, or within `STANDING_TTL_SECONDS` for
 * reads through the gateway, also to tokens that are already issued; what is added needs a new token. One D1 round trip.
 *
 * @param version the version that the caller has read: if the agent has another one by now, nothing is changed. Undefined for any.
 */
export async function putGrants(
  db: D1Database,
  { id, by, origin, now }: { id: string; by: Authority; origin: RecordOrigin; now: number },
  grants: readonly Grant[],
  version: number | undefined,
): Promise<GrantsResult> {
  const event = newEvent("agent.permissions_updated", id, now, {
    agent_id: id,
    permissions: permissionsNow(grants, now),
    updated_at: new Date(now).toISOString(),
    updated_by: actorId(by),
  });
  const said = grants.map(({ permission, where, expiresAt }) =>
    [permission, where && "with limits", expiresAt !== null && `until ${new Date(expiresAt).toISOString()}`]
      .filter(Boolean)
      .join(" "),
  );
  const record = newEntry("agent.permissions_updated", now, origin, {
    agentId: id,
    message: `grants are ${said.join(", ") || "none"}, set by ${nameOfActor(origin)}`,
  });
  const { changed, found } = await updateGrants(db, id, { grants, version }, { by, event, record });
  if (!found) return { result: "unknown" };
  if (changed) return { result: "changed", ...found };
  if (found.isRevoked) return { result: "already_revoked" };
  if (version !== undefined && found.version !== version) return { result: "outdated", version: found.version };
  return { result: "unchanged", ...found };
}
