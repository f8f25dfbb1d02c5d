import type { Authority } from "../authority/authority.ts";
import { newEvent, type Event } from "../outbox/event.ts";
import type { Agent, Status, Tier } from "./agent.ts";
import { deleteAgent, updateColumn, updateStatus } from "./store.ts";

/** What became of a wish to change an agent. */
export type AgentChangeResult =
  | { readonly result: "changed" | "unchanged"; readonly agent: Agent }
  | { readonly result: "unknown" }
  /** A revoked agent stays as it is. */
  | { readonly result: "final" };

export interface AgentChange {
  readonly id: string;
  /** Who changes it, and what the caller may do it by. */
  readonly by: Authority;
  /** Milliseconds. */
  readonly now: number;
}

/**
 * Sets an agent's status. Leaving `active` ends all its tokens and sessions in the same statement; `revoked` is final.
 * One D1 round trip.
 */
export async function setStatus(
  db: D1Database,
  { id, by, now }: AgentChange,
  status: Status,
): Promise<AgentChangeResult> {
  const at = new Date(now).toISOString();
  const events = [newEvent("agent.status_updated", id, now, { ...updateOf({ id, by, now }), status })];
  if (status === "revoked") {
    events.push(newEvent("agent.revoked", id, now, { agent_id: id, revoked_at: at, revoked_by: by.agentId }));
  }
  const { changed, agent } = await updateStatus(db, id, status, { by, events });
  return toChangeResult(changed, agent, agent?.status === status);
}

/**
 * Sets what an agent may do. Tokens in circulation are narrowed to it with their next request, for reads through the gateway
 * within `STANDING_TTL_SECONDS`; what is added needs a new token.
 */
export async function setPermissions(
  db: D1Database,
  of: AgentChange,
  permissions: readonly string[],
): Promise<AgentChangeResult> {
  const wanted = [...new Set(permissions)];
  return setColumn(
    db,
    of,
    "permissions",
    JSON.stringify(wanted),
    newEvent("agent.permissions_updated", of.id, of.now, { ...updateOf(of), permissions: wanted }),
  );
}

export async function setTier(db: D1Database, of: AgentChange, tier: Tier): Promise<AgentChangeResult> {
  return setColumn(db, of, "tier", tier, newEvent("agent.tier_updated", of.id, of.now, { ...updateOf(of), tier }));
}

async function setColumn(
  db: D1Database,
  { id, by }: AgentChange,
  column: "permissions" | "tier",
  value: string,
  told: Event,
): Promise<AgentChangeResult> {
  const { changed, agent } = await updateColumn(db, id, column, value, { by, events: [told] });
  return toChangeResult(changed, agent, agent?.status !== "revoked");
}

/**
 * Deletes an agent with its keys and sessions; its webhooks hear of it and go.
 *
 * @returns the second before which its tokens are over, or undefined if there is no such agent.
 */
export function removeAgent(db: D1Database, { id, by, now }: AgentChange): Promise<number | undefined> {
  const data = { agent_id: id, deleted_at: new Date(now).toISOString(), deleted_by: by.agentId };
  return deleteAgent(db, id, by, newEvent("agent.deleted", id, now, data));
}

function toChangeResult(changed: boolean, agent: Agent | undefined, asWished: boolean): AgentChangeResult {
  if (!agent) return { result: "unknown" };
  if (changed) return { result: "changed", agent };
  return asWished ? { result: "unchanged", agent } : { result: "final" };
}

/** What the data of every event about a change says. */
function updateOf({ id, by, now }: AgentChange) {
  return { agent_id: id, updated_at: new Date(now).toISOString(), updated_by: by.agentId };
}
