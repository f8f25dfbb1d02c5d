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
