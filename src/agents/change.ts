import { actorId, type Authority } from "../authority/authority.ts";
import { toPermissionList, type LimitedGrant } from "../grants/grant-row.ts";
import { newEvent } from "../outbox/event.ts";
import { nameOfActor, newEntry, type Action, type AuditEntry, type RecordOrigin } from "../outbox/record.ts";
import type { Catalogue } from "../permissions/catalogue.ts";
import type { Agent, Status, Tier } from "./agent.ts";
import {
  deleteAgent,
  updatePermissions,
  updateStatus,
  updateTier,
  type Removal,
  type UpdatedAgent,
} from "./store/agents.ts";

/** The result of a change to an agent. */
export type AgentChangeResult =
  | { readonly result: "changed" | "unchanged"; readonly agent: Agent }
  | { readonly result: "unknown" }
  /** A revoked agent cannot be changed. */
  | { readonly result: "already_revoked" }
  /** The agent is not what {@link AgentChange.readAt} says. */
  | { readonly result: "changed_meanwhile"; readonly agent: Agent };

export interface AgentChange {
  readonly id: string;
  /** Who makes the change, and the authority that it needs. */
  readonly by: Authority;
  /** The `updatedAt` of the agent that the caller has read, in milliseconds: if it was changed since, nothing is changed. */
  readonly readAt?: number | undefined;
  /** What its record says of the request that makes it. */
  readonly origin: RecordOrigin;
  /** Milliseconds. */
  readonly now: number;
}

/**
 * The record of a change to an agent. What was before is read from the row when the change is written.
 *
 * @param more `message`: what happened, to which the record adds who did it.
 */
export function changeRecord(
  { id, origin, now }: Omit<AgentChange, "by">,
  action: Action,
  more: Partial<Pick<AuditEntry, "before" | "after" | "keyId" | "sessionId">> & { readonly message: string },
): AuditEntry {
  return newEntry(action, now, origin, { agentId: id, ...more, message: `${more.message} by ${nameOfActor(origin)}` });
}

/**
 * Sets an agent's status. Leaving `active` ends all its tokens and sessions in the same statement; `revoked` is final.
 * One D1 round trip.
 */
export async function setStatus(db: D1Database, change: AgentChange, status: Status): Promise<AgentChangeResult> {
  const { id, by, now, readAt } = change;
  const events = [newEvent("agent.status_updated", id, now, { ...updateData(change), status })];
  if (status === "revoked") {
    const revoked_at = new Date(now).toISOString();
    events.push(newEvent("agent.revoked", id, now, { agent_id: id, revoked_at, revoked_by: actorId(by) }));
  }
  const record = changeRecord(change, "agent.status_updated", {
    after: { status },
    message: `status is ${status}, set`,
  });
  const updated = await updateStatus(db, id, status, { by, readAt, events, record });
  return toChangeResult(updated, readAt, updated.agent?.status === status);
}

/** The result of a change of permissions. */
export type PermissionsResult =
  | AgentChangeResult
  /** The list says nothing of the limits that the agent has. */
  | { readonly result: "limited_grant"; readonly limited: LimitedGrant };

/**
 * Sets an agent's permissions, as grants without limits. A permission that is removed is denied from the next request on, or within
 * `STANDING_TTL_SECONDS` for reads through the gateway, also to tokens that are already issued. A permission that is added needs a new
 * token. One D1 round trip.
 *
 * A list never widens a grant with limits and never takes one away, because its writer may not know of the limits. The same permission
 * keeps its grants, so that writing back what was read changes nothing.
 */
export async function setPermissions(
  db: D1Database,
  change: AgentChange,
  permissions: readonly string[],
  catalogue: Catalogue,
): Promise<PermissionsResult> {
  const { id, by, now } = change;
  const sorted = [...new Set(permissions)].toSorted();
  const event = newEvent("agent.permissions_updated", id, now, { ...updateData(change), permissions: sorted });
  const record = changeRecord(change, "agent.permissions_updated", {
    after: { permissions: sorted },
    message: `permissions are ${[...new Set(permissions)].join(" ") || "none"}, set`,
  });
  const list = toPermissionList(sorted, catalogue, now);
  const updated = await updatePermissions(db, id, list, { by, events: [event], record });
  if (!updated.changed && updated.limited) return { result: "limited_grant", limited: updated.limited };
  return toChangeResult(updated, undefined, updated.agent?.status !== "revoked");
}

/** Sets an agent's tier. One D1 round trip. */
export async function setTier(db: D1Database, change: AgentChange, tier: Tier): Promise<AgentChangeResult> {
  const { id, by, now, readAt } = change;
  const event = newEvent("agent.tier_updated", id, now, { ...updateData(change), tier });
  const record = changeRecord(change, "agent.tier_updated", { after: { tier }, message: `tier is ${tier}, set` });
  const updated = await updateTier(db, id, tier, { by, readAt, events: [event], record });
  return toChangeResult(updated, readAt, updated.agent?.status !== "revoked");
}

/**
 * Deletes an agent with its keys and sessions. Its webhooks are deleted once the event has been delivered to them. One D1 round trip,
 * whose work is bounded: of an agent with more sessions, the tokens end, and the sessions have to be deleted before it.
 */
export function removeAgent(db: D1Database, change: AgentChange): Promise<Removal> {
  const { id, by, now } = change;
  const data = { agent_id: id, deleted_at: new Date(now).toISOString(), deleted_by: actorId(by) };
  const event = newEvent("agent.deleted", id, now, data);
  const record = changeRecord(change, "agent.deleted", { message: "deleted" });
  return deleteAgent(db, id, { by, event, record });
}

/** @param isSet whether the agent has the value now, for an update that changed nothing. */
function toChangeResult(
  { changed, agent }: UpdatedAgent,
  readAt: number | undefined,
  isSet: boolean,
): AgentChangeResult {
  if (!agent) return { result: "unknown" };
  if (changed) return { result: "changed", agent };
  if (readAt !== undefined && agent.updatedAt !== readAt) return { result: "changed_meanwhile", agent };
  return isSet ? { result: "unchanged", agent } : { result: "already_revoked" };
}

/** The data that every event of an update has. */
function updateData({ id, by, now }: AgentChange) {
  return { agent_id: id, updated_at: new Date(now).toISOString(), updated_by: actorId(by) };
}
