import type { EventName } from "./event.ts";

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

/** One event on its way to one webhook. Times are milliseconds. */
export interface Delivery {
  readonly id: string;
  readonly webhookId: string;
  readonly eventId: string;
  readonly event: string;
  readonly agentId: string;
  readonly status: DeliveryStatus;
  readonly attempts: number;
  readonly nextAttemptAt: number | null;
  readonly responseStatus: number | null;
  readonly responseBody: string | null;
  readonly error: string | null;
  readonly createdAt: number;
  readonly updatedAt: number;
}

const iso = (time: number | null): string | null => (time === null ? null : new Date(time).toISOString());

/** The Webhook object of the wire: exactly these keys. The secret is shown once, when it is made. */
export function toWire({ id, agentId, url, events, createdAt }: Webhook, secret = "***") {
  return { id, agent_id: agentId, url, events, secret, created_at: iso(createdAt) };
}

/** What else there is to know of a webhook: stands beside the object. */
export function stateToWire(webhook: Webhook) {
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

export function deliveryToWire(delivery: Delivery) {
  return {
    id: delivery.id,
    webhook_id: delivery.webhookId,
    event_id: delivery.eventId,
    event: delivery.event,
    agent_id: delivery.agentId,
    status: delivery.status,
    attempts: delivery.attempts,
    next_attempt_at: iso(delivery.nextAttemptAt),
    response_status: delivery.responseStatus,
    response_body: delivery.responseBody,
    error: delivery.error,
    created_at: iso(delivery.createdAt),
    updated_at: iso(delivery.updatedAt),
  };
}
