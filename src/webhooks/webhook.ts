import type { EventName } from "../outbox/event.ts";

/** A webhook as the service knows it. Times are milliseconds. */
export interface Webhook {
  readonly id: string;
  readonly agentId: string;
  readonly url: string;
  readonly events: readonly EventName[];
  readonly description: string | null;
  readonly isActive: boolean;
  /** An administrator's: gets every agent's events. */
  readonly allAgents: boolean;
  readonly disabledAt: number | null;
  readonly disabledReason: string | null;
  readonly previousSecretExpiresAt: number | null;
  readonly createdAt: number;
  readonly updatedAt: number;
}

export const DELIVERY_STATUSES = ["pending", "success", "failed"] as const;
export type DeliveryStatus = (typeof DELIVERY_STATUSES)[number];

/** One event on its way to one webhook, under the names that it is kept and shown by. Times are milliseconds. */
export interface Delivery {
  readonly id: string;
  readonly webhook_id: string;
  readonly event_id: string;
  readonly event: string;
  readonly agent_id: string;
  readonly status: DeliveryStatus;
  readonly attempts: number;
  readonly next_attempt_at: number | null;
  readonly response_status: number | null;
  readonly response_body: string | null;
  readonly error: string | null;
  readonly created_at: number;
  readonly updated_at: number;
}

const iso = (time: number | null): string | null => (time === null ? null : new Date(time).toISOString());

/** The Webhook object of the wire: exactly these keys. The secret is shown once, when it is made. */
export function toWebhookResponse({ id, agentId, url, events, createdAt }: Webhook, secret = "***") {
  return { id, agent_id: agentId, url, events, secret, created_at: iso(createdAt) };
}

/** What else there is to know of a webhook: stands beside the object. */
export function toWebhookStateResponse(webhook: Webhook) {
  return {
    is_active: webhook.isActive,
    all_agents: webhook.allAgents,
    description: webhook.description,
    disabled_at: iso(webhook.disabledAt),
    disabled_reason: webhook.disabledReason,
    previous_secret_expires_at: iso(webhook.previousSecretExpiresAt),
    updated_at: iso(webhook.updatedAt),
  };
}

export function toDeliveryResponse(delivery: Delivery) {
  return {
    id: delivery.id,
    webhook_id: delivery.webhook_id,
    event_id: delivery.event_id,
    event: delivery.event,
    agent_id: delivery.agent_id,
    status: delivery.status,
    attempts: delivery.attempts,
    next_attempt_at: iso(delivery.next_attempt_at),
    response_status: delivery.response_status,
    response_body: delivery.response_body,
    error: delivery.error,
    created_at: iso(delivery.created_at),
    updated_at: iso(delivery.updated_at),
  };
}
