import type { Authority } from "../../../authority/authority.ts";
import { batchAsCaller } from "../../../authority/batch.ts";
import { prepare, sql, type Sql } from "../../../database/sql.ts";
import type { AuditEntry } from "../../../outbox/record.ts";
import { insertWebhookRecord } from "../../webhook-row.ts";
import { DELIVERY_COLUMNS, toAttempts, toDelivery, type DeliveryRow } from "../../delivery-row.ts";
import type { Delivery, DeliveryHistory, DeliveryStatus } from "../../webhook.ts";
import { CLAIM_MS } from "./attempts.ts";

/** SQL for the assignments that start a delivery again. Without an attempt's id, no result of an earlier attempt is stored. */
export const resetAt = (now: number): Sql =>
  sql`status = 'pending', attempts = 0, attempt_id = NULL, next_attempt_at = ${now}, enqueued_at = ${now}, error = NULL,
    reset_at = ${now}, updated_at = ${now}`;

/**
 * Starts a delivery again under its own id, unless an attempt is under way or due soon. The result of an earlier attempt that
 * arrives after that is not stored.
 *
 * @returns the delivery as it is now and whether it was reset; undefined if the webhook has no such delivery.
 */
export async function resetDelivery(
  db: D1Database,
  id: string,
  webhookId: string,
  { now, by, record }: { now: number; by: Authority; record: AuditEntry },
): Promise<{ delivery: Delivery; wasReset: boolean } | undefined> {
  const startable = sql`id = ${id} AND webhook_id = ${webhookId} AND (status <> 'pending' OR next_attempt_at > ${now + CLAIM_MS})`;
  const [, reset, found] = await batchAsCaller<DeliveryRow>(db, by, [
    insertWebhookRecord(
      db,
      record,
      sql`FROM webhooks w WHERE w.id = ${webhookId} AND EXISTS (SELECT 1 FROM deliveries WHERE ${startable})`,
    ),
    prepare(db, sql`UPDATE deliveries SET ${resetAt(now)} WHERE ${startable}`),
    prepare(db, sql`SELECT ${DELIVERY_COLUMNS} FROM deliveries WHERE id = ${id} AND webhook_id = ${webhookId}`),
  ]);
  const row = found!.results[0];
  return row && { delivery: toDelivery(row), wasReset: reset!.meta.changes > 0 };
}

/** A total is counted up to this number. */
const MAX_COUNTED = 10_000;

/** Greater than every id. */
const AFTER_ALL_IDS = "msg~";

/** Which of a webhook's deliveries a page shows. */
export interface DeliveryQuery {
  readonly status?: DeliveryStatus | undefined;
  readonly limit: number;
  readonly offset: number;
  /** Only deliveries that are older than the one with this id. */
  readonly before?: string | undefined;
}

/**
 * A webhook's deliveries, the newest first, with one more than the limit if there are more, and how many there are, up to
 * {@link MAX_COUNTED}.
 */
export async function readDeliveries(
  db: D1Database,
  webhookId: string,
  { status, limit, offset, before = AFTER_ALL_IDS }: DeliveryQuery,
): Promise<{ deliveries: Delivery[]; total: number }> {
  const matching = status
    ? sql`FROM deliveries WHERE webhook_id = ${webhookId} AND status = ${status}`
    : sql`FROM deliveries WHERE webhook_id = ${webhookId}`;
  const [page, count] = await db.batch<DeliveryRow & { total: number }>([
    prepare(
      db,
      sql`SELECT ${DELIVERY_COLUMNS} ${matching} AND id < ${before} ORDER BY id DESC LIMIT ${limit + 1} OFFSET ${offset}`,
    ),
    prepare(db, sql`SELECT count(*) AS total FROM (SELECT 1 ${matching} LIMIT ${MAX_COUNTED})`),
  ]);
  return { deliveries: page!.results.map(toDelivery), total: count!.results[0]?.total ?? 0 };
}

/** Returns one delivery of a webhook with its attempts, or undefined if the webhook has no such delivery. */
export async function readDelivery(
  db: D1Database,
  id: string,
  webhookId: string,
): Promise<DeliveryHistory | undefined> {
  const row = await prepare(
    db,
    sql`SELECT ${DELIVERY_COLUMNS}, body, attempt_log FROM deliveries WHERE id = ${id} AND webhook_id = ${webhookId}`,
  ).first<DeliveryRow & { body: string; attempt_log: string | null }>();
  return row ? { delivery: toDelivery(row), body: row.body, attempts: toAttempts(row.attempt_log) } : undefined;
}

/** Deletes up to `limit` finished deliveries from before a time. Returns how many. */
export async function deleteFinished(db: D1Database, before: number, limit: number): Promise<number> {
  const { meta } = await prepare(
    db,
    sql`DELETE FROM deliveries WHERE id IN (
      SELECT id FROM deliveries WHERE status <> 'pending' AND updated_at < ${before} LIMIT ${limit})`,
  ).run();
  return meta.changes;
}
