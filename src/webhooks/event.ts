import { timeOrderedId } from "../crypto/random.ts";
import type { EventData } from "./event-data.ts";

/** Every event that is really fired. */
export const EVENTS = [
  "agent.registered",
  "agent.verified",
  "agent.verification_failed",
  "agent.revoked",
  "agent.status_updated",
  "agent.tier_updated",
  "agent.permissions_updated",
  "agent.deleted",
  "agent.key_rotated",
  "token.reuse_detected",
  "gateway.denied",
  "webhook.disabled",
] as const;

export type EventName = (typeof EVENTS)[number];

/** Something that an owner may want to be told of. `at` is milliseconds. */
export interface Event {
  readonly id: string;
  readonly agentId: string;
  readonly name: EventName;
  readonly at: number;
  readonly data: Readonly<Record<string, unknown>>;
}

/** A new event, whose `data` is as `EVENT_DATA` describes it. `at` is milliseconds. */
export function newEvent<Name extends EventName>(
  name: Name,
  agentId: string,
  at: number,
  data: EventData[Name],
): Event {
  return { id: timeOrderedId("evt_", at), agentId, name, at, data };
}

/** What a delivery tells: an event, or the test that is none. */
export type Told = Omit<Event, "name"> & { readonly name: string };

/** The body of a delivery: what is signed, and the same at every attempt. */
export function bodyOf({ id, name, agentId, at, data }: Told): string {
  return JSON.stringify({ id, event: name, agent_id: agentId, timestamp: new Date(at).toISOString(), data });
}
