import * as z from "zod/mini";
import type { Caller } from "../access/authenticate.ts";
import { route } from "../access/route.ts";
import { conflict, notFound } from "../http/errors.ts";
import { enqueueDeliveries } from "../webhooks/deliveries/enqueue.ts";
import { addTestDelivery, listDeliveries, redeliver } from "../webhooks/deliveries/manage.ts";
import { findWebhook } from "../webhooks/manage.ts";
import { DELIVERY_STATUSES, type Delivery, type Owner, type Webhook } from "../webhooks/webhook.ts";
import { pagination, paging } from "./pagination.ts";
import { toTimestamp } from "./timestamp.ts";

const deliverySchema = z.object({
  id: z.string(),
  webhook_id: z.string(),
  event_id: z.string(),
  event: z.string(),
  agent_id: z.string(),
  status: z.enum(DELIVERY_STATUSES),
  attempts: z.int(),
  next_attempt_at: z.nullable(z.iso.datetime()),
  response_status: z.nullable(z.int()),
  response_body: z.nullable(z.string()).check(z.describe("The first kilobyte of the receiver's response.")),
  error: z.nullable(z.string()),
  created_at: z.iso.datetime(),
  updated_at: z.iso.datetime(),
});

const success = z.literal(true);
const oneDelivery = z.object({ success, message: z.string(), delivery: deliverySchema });

/** Reading a webhook's deliveries, repeating one, and sending a test. */
export const webhookDeliveryRoutes = [
  route({
    method: "GET",
    path: "/webhooks/{id}/deliveries",
    auth: "own",
    summary: "The deliveries of a webhook and their responses, newest first",
    query: z.object({ ...paging, status: z.optional(z.enum(DELIVERY_STATUSES)) }),
    response: z.object({ success, deliveries: z.array(deliverySchema), pagination }),
    async handle({ env, caller, params, query }) {
      const webhook = await requireOwnWebhook(env.DB, params.id, caller);
      const { deliveries, total } = await listDeliveries(env.DB, webhook.id, query);
      const { limit, offset } = query;
      return {
        success: true,
        deliveries: deliveries.map(toDeliveryResponse),
        pagination: { total, limit, offset, has_more: offset + deliveries.length < total },
      };
    },
  }),

  route({
    method: "POST",
    path: "/webhooks/{id}/deliveries/{delivery_id}/redeliver",
    auth: "own",
    summary: "Start a delivery again, under the same id, if it has ended or waits for longer than a minute",
    response: oneDelivery,
    async handle({ env, caller, authority: by, params, now, waitUntil }) {
      const webhook = await requireOwnWebhook(env.DB, params.id, caller);
      requireActiveWebhook(webhook);
      const found = await redeliver(env.DB, params.delivery_id, webhook.id, { now, by });
      if (!found) throw notFound("The delivery");
      if (!found.wasReset) throw conflict("delivery_pending", "An attempt is under way or due. Ask again in a minute.");
      waitUntil(enqueueDeliveries(env.DELIVERIES, [found.delivery.id], now, now));
      return { success: true, message: "Delivery started again.", delivery: toDeliveryResponse(found.delivery) };
    },
  }),

  route({
    method: "POST",
    path: "/webhooks/{id}/test",
    auth: "own",
    summary: "Send a test event (webhook.test) to a webhook",
    response: oneDelivery,
    async handle({ env, caller, authority: by, params, now, waitUntil }) {
      const webhook = await requireOwnWebhook(env.DB, params.id, caller);
      requireActiveWebhook(webhook);
      const delivery = await addTestDelivery(env.DB, webhook, { now, by });
      if (!delivery) throw notFound("The webhook");
      waitUntil(enqueueDeliveries(env.DELIVERIES, [delivery.id], now, now));
      return { success: true, message: "Test event on its way.", delivery: toDeliveryResponse(delivery) };
    },
  }),
];

function toDeliveryResponse(delivery: Delivery): z.input<typeof deliverySchema> {
  return {
    id: delivery.id,
    webhook_id: delivery.webhookId,
    event_id: delivery.eventId,
    event: delivery.event,
    agent_id: delivery.agentId,
    status: delivery.status,
    attempts: delivery.attempts,
    next_attempt_at: toTimestamp(delivery.nextAttemptAt),
    response_status: delivery.responseStatus,
    response_body: delivery.responseBody,
    error: delivery.error,
    created_at: toTimestamp(delivery.createdAt),
    updated_at: toTimestamp(delivery.updatedAt),
  };
}

/** Whose webhooks a caller may act on: an administrator's reach is everyone's. */
export const toOwner = ({ agent, isAdmin }: Caller): Owner => (isAdmin ? "anybody" : agent.id);

/** A webhook that belongs to another agent does not exist for the caller. @throws {ApiError} 404 */
async function requireOwnWebhook(db: D1Database, id: string, caller: Caller): Promise<Webhook> {
  const webhook = await findWebhook(db, id, toOwner(caller));
  if (!webhook) throw notFound("The webhook");
  return webhook;
}

/** @throws {ApiError} 409 */
function requireActiveWebhook({ isActive }: Webhook): void {
  if (!isActive) throw conflict("webhook_inactive", "The webhook is switched off. PUT is_active: true first.");
}
