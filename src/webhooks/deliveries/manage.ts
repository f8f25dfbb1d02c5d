import type { Authority } from "../../authority/authority.ts";
import { timeOrderedId } from "../../crypto/random.ts";
import type { Delivery, DeliveryFilter, Webhook } from "../webhook.ts";
import { readDeliveries, resetDelivery, type DeliveryQuery } from "./store/deliveries.ts";
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
export const redeliverAll = (
  db: D1Database,
  filter: DeliveryFilter,
  options: { after?: string | undefined; dryRun: boolean; now: number; by: Authority },
): Promise<Redelivery> => resetDeliveries(db, filter, options);

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
  caller: { now: number; by: Authority },
): Promise<{ delivery: Delivery; wasReset: boolean } | undefined> => resetDelivery(db, id, webhookId, caller);

/**
 * Adds a delivery of a test event for one webhook. One D1 round trip. The caller enqueues it.
 *
 * @returns undefined if the webhook was deleted meanwhile.
 * @throws {AuthorityLostError} if the caller has lost its authority meanwhile.
 */
export function addTestDelivery(
  db: D1Database,
  { id, agentId }: Webhook,
  { now, by }: { now: number; by: Authority },
): Promise<Delivery | undefined> {
  const data = { agent_id: agentId, webhook_id: id };
  const event = { id: timeOrderedId("evt_", now), name: "webhook.test", agentId, at: now, data };
  return insertDelivery(db, id, event, { now, by });
}
