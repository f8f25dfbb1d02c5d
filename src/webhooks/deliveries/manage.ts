import { timeOrderedId } from "../../crypto/random.ts";
import { newEntry } from "../../outbox/record.ts";
import type { Write } from "../manage.ts";
import type { Delivery, DeliveryFilter, DeliveryHistory, Webhook } from "../webhook.ts";
import { readDeliveries, readDelivery, resetDelivery, type DeliveryQuery } from "./store/deliveries.ts";
import { insertDelivery } from "./store/fan-out.ts";
import { resetDeliveries, searchDeliveries, type DeliveryPage, type Redelivery } from "./store/search.ts";

/**
 * One page of a webhook's deliveries, the newest first, with one more than the limit if there are more, and how many there are, up to
 * 10,000. One D1 round trip.
 */
export const listDeliveries = (
  db: D1Database,
  webhookId: string,
  query: DeliveryQuery,
): Promise<{ deliveries: Delivery[]; total: number }> => readDeliveries(db, webhookId, query);

/** Returns one delivery of a webhook with its last attempts; undefined if the webhook has no such delivery. One D1 round trip. */
export const findDelivery = (db: D1Database, id: string, webhookId: string): Promise<DeliveryHistory | undefined> =>
  readDelivery(db, id, webhookId);

/**
 * One page of the deliveries of all webhooks that a filter matches, the newest first. A page may have fewer than its limit, or none,
 * and still have a next one, because a page searches a limited number of deliveries. One D1 round trip.
 */
export const listAllDeliveries = (
  db: D1Database,
  filter: DeliveryFilter,
  query: { before?: string | undefined; limit: number },
): Promise<DeliveryPage> => searchDeliveries(db, filter, query);

/**
 * Starts many deliveries again under their own ids, the oldest first, up to `MAX_REDELIVERED`. One D1 round trip. The caller enqueues
 * them.
 *
 * @throws {AuthorityLostError} if the caller has lost its authority meanwhile.
 */
export function redeliverAll(
  db: D1Database,
  filter: DeliveryFilter,
  { after, dryRun, by, origin, now, described }: RedeliveryOptions,
): Promise<Redelivery> {
  const record = newEntry("webhook.redelivered", now, origin, {
    agentId: by.agentId ?? null,
    after: { filter: described },
    message: `deliveries started again: ${JSON.stringify(described)}`,
  });
  return resetDeliveries(db, filter, { after, dryRun, now, by, record });
}

interface RedeliveryOptions extends Write {
  readonly after?: string | undefined;
  readonly dryRun: boolean;
  /** The filter as the caller sent it, for the record. */
  readonly described: Readonly<Record<string, unknown>>;
}

/**
 * Starts a delivery again under its own id, unless an attempt is under way or due within a minute. One D1 round trip. The caller
 * enqueues it.
 *
 * @returns the delivery and whether it was reset; undefined if the webhook has no such delivery.
 * @throws {AuthorityLostError} if the caller has lost its authority meanwhile.
 */
export const redeliver = (
  db: D1Database,
  id: string,
  webhookId: string,
  { by, origin, now }: Write,
): Promise<{ delivery: Delivery; wasReset: boolean } | undefined> =>
  resetDelivery(db, id, webhookId, {
    by,
    now,
    record: newEntry("webhook.redelivered", now, origin, {
      message: `delivery ${id} of webhook ${webhookId} started again`,
    }),
  });

/**
 * Adds a delivery of a test event for one webhook. One D1 round trip. The caller enqueues it.
 *
 * @returns undefined if the webhook was deleted meanwhile.
 * @throws {AuthorityLostError} if the caller has lost its authority meanwhile.
 */
export function addTestDelivery(
  db: D1Database,
  { id, agentId }: Webhook,
  { by, origin, now }: Write,
): Promise<Delivery | undefined> {
  const data = { agent_id: agentId, webhook_id: id };
  const event = { id: timeOrderedId("evt_", now), name: "webhook.test", agentId, at: now, data };
  const record = newEntry("webhook.tested", now, origin, { message: `webhook ${id} tested` });
  return insertDelivery(db, id, event, { now, by, record });
}
