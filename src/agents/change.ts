import { newEvent, type Event, type EventName } from "../webhooks/event.ts";
import { notBeforeAfter, type Agent, type Status } from "./agent.ts";
import { updatePermissions, updateStatus } from "./store.ts";

/** What became of a wish to change an agent. */
export type Changed =
  | { readonly result: "changed" | "unchanged"; readonly agent: Agent }
  | { readonly result: "unknown" }
  /** A revoked agent stays as it is. */
  | { readonly result: "final" };

export interface ChangeOf {
  readonly id: string;
  /** Who changes it: the id of the caller. */
  readonly by: string;
  /** Milliseconds. */
  readonly now: number;
}

/**
 * Sets an agent's status. Leaving `active` ends all its tokens and sessions in the same statement; `revoked` is final.
 * One D1 round trip.
 */
export async function setStatus(db: D1Database, { id, by, now }: ChangeOf, status: Status): Promise<Changed> {
  const at = new Date(now).toISOString();
  const events = [event("agent.status_updated", { id, by, now }, { status })];
  if (status === "revoked") {
    events.push(newEvent("agent.revoked", id, now, { agent_id: id, revoked_at: at, revoked_by: by }));
  }
  const { changed, agent } = await updateStatus(db, id, status, { now, notBefore: notBeforeAfter(now), events });
  return judge(changed, agent, agent?.status === status);
}

/** Sets what an agent may do. Tokens in circulation are narrowed to it at once; what is added needs a new token. */
export async function setPermissions(
  db: D1Database,
  { id, by, now }: ChangeOf,
  permissions: readonly string[],
): Promise<Changed> {
  const wanted = [...new Set(permissions)];
  const events = [event("agent.permissions_updated", { id, by, now }, { permissions: wanted })];
  const { changed, agent } = await updatePermissions(db, id, wanted, { now, events });
  return judge(changed, agent, agent?.status !== "revoked");
}

function judge(changed: boolean, agent: Agent | undefined, asWished: boolean): Changed {
  if (!agent) return { result: "unknown" };
  if (changed) return { result: "changed", agent };
  return asWished ? { result: "unchanged", agent } : { result: "final" };
}

function event(name: EventName, { id, by, now }: ChangeOf, data: Record<string, unknown>): Event {
  return newEvent(name, id, now, { agent_id: id, ...data, updated_at: new Date(now).toISOString(), updated_by: by });
}
