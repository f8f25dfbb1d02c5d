import type { Event } from "../outbox/event.ts";

/** What a delivery carries: an event, or a test, which is not an event that webhooks subscribe to. */
export type WebhookPayload = Omit<Event, "name"> & { readonly name: string };

/** The body of a delivery. This text is signed, and it is the same in every attempt. */
export function toPayloadBody({ id, name, agentId, at, data }: WebhookPayload): string {
  return JSON.stringify({ id, event: name, agent_id: agentId, timestamp: new Date(at).toISOString(), data });
}
