import type { EventName } from "../outbox/event.ts";

/** A webhook. Times are milliseconds. */
export interface Webhook {
  readonly id: string;
  readonly agentId: string;
  readonly url: string;
  readonly events: readonly EventName[];
  readonly description: string | null;
  readonly isActive: boolean;
  /** An administrator's webhook that receives every agent's events. */
  readonly allAgents: boolean;
  readonly disabledAt: number | null;
  readonly disabledReason: string | null;
  readonly previousSecretExpiresAt: number | null;
  readonly createdAt: number;
  readonly updatedAt: number;
}

/** The position in a list after which a page begins. Webhooks are listed oldest first. */
export interface WebhookPosition {
  /** Milliseconds. */
  readonly createdAt: number;
  readonly id: string;
}

/** Whose webhooks a caller may see: those of the agent with this id, or everybody's. */
export type Owner = string | "anybody";

export const DELIVERY_STATUSES = ["pending", "success", "failed"] as const;
export type DeliveryStatus = (typeof DELIVERY_STATUSES)[number];

/** Which deliveries are meant: those to which everything applies that is given. Times are milliseconds. */
export interface DeliveryFilter {
  /** The agent that the event is about. */
  readonly agentId?: string | undefined;
  readonly webhookId?: string | undefined;
  readonly status?: DeliveryStatus | undefined;
  readonly event?: string | undefined;
  /** Made at this time or later. */
  readonly from?: number | undefined;
  /** Made before this time. */
  readonly to?: number | undefined;
}

/** One event for one webhook. Times are milliseconds. */
export interface Delivery {
  /** Also the `webhook-id` header of every attempt. */
  readonly id: string;
  readonly webhookId: string;
  readonly eventId: string;
  readonly event: string;
  /** The agent that the event is about. */
  readonly agentId: string;
  readonly status: DeliveryStatus;
  readonly attempts: number;
  /** Null if there is no further attempt. */
  readonly nextAttemptAt: number | null;
  readonly responseStatus: number | null;
  readonly responseBody: string | null;
  readonly error: string | null;
  readonly createdAt: number;
  readonly updatedAt: number;
}

/** An attempt of a delivery that has ended. Times are milliseconds. */
export interface DeliveryAttempt {
  /** Counted from 1, and from 1 again when the delivery was started again. One whose result was lost is missing. */
  readonly number: number;
  readonly at: number;
  readonly durationMs: number;
  /** Null if there was no response. */
  readonly responseStatus: number | null;
  /** The beginning of the response's body. */
  readonly responseBody: string | null;
  readonly error: string | null;
}

/** A delivery with what was sent, and with its last attempts. */
export interface DeliveryHistory {
  readonly delivery: Delivery;
  /** The body of each attempt's request. */
  readonly body: string;
  /** The oldest first. */
  readonly attempts: readonly DeliveryAttempt[];
}
