import { sql } from "../database/sql.ts";
import type { Delivery, DeliveryAttempt, DeliveryStatus } from "./webhook.ts";

/** A row of `deliveries` with the {@link DELIVERY_COLUMNS}. */
export interface DeliveryRow {
  id: string;
  webhook_id: string;
  event_id: string;
  event: string;
  agent_id: string;
  status: DeliveryStatus;
  attempts: number;
  next_attempt_at: number | null;
  response_status: number | null;
  response_body: string | null;
  error: string | null;
  created_at: number;
  updated_at: number;
}

/** One attempt in `deliveries.attempt_log`. Times are milliseconds. */
export interface LoggedAttempt {
  number: number;
  at: number;
  duration_ms: number;
  status: number | null;
  error: string | null;
  body: string | null;
}

/** The columns of {@link DeliveryRow}: all but the body. */
export const DELIVERY_COLUMNS = sql`id, webhook_id, event_id, event, agent_id, status, attempts, next_attempt_at,
  response_status, response_body, error, created_at, updated_at`;

export function toDelivery(row: DeliveryRow): Delivery {
  return {
    id: row.id,
    webhookId: row.webhook_id,
    eventId: row.event_id,
    event: row.event,
    agentId: row.agent_id,
    status: row.status,
    attempts: row.attempts,
    nextAttemptAt: row.next_attempt_at,
    responseStatus: row.response_status,
    responseBody: row.response_body,
    error: row.error,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

/** Reads `attempt_log`. The oldest attempt is the first. */
export const toAttempts = (log: string | null): DeliveryAttempt[] =>
  (JSON.parse(log ?? "[]") as LoggedAttempt[]).map(({ number, at, duration_ms, status, error, body }) => ({
    number,
    at,
    durationMs: duration_ms,
    responseStatus: status,
    responseBody: body,
    error,
  }));
