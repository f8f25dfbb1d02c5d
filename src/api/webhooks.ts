import { recordInBackground } from "../audit/record.ts";
import { timeOrderedId, randomBase62 } from "../crypto/random.ts";
import type { Caller } from "../access/authenticate.ts";
import { ADMIN } from "../permissions/grammar.ts";
import { ApiError, badRequest, forbidden, notFound } from "../http/errors.ts";
import type { RequestContext } from "../http/request-context.ts";
import { route } from "../http/route.ts";
import { enqueueDeliveries } from "../webhooks/deliveries/enqueue.ts";
import { resetDelivery, insertDelivery, readDeliveries } from "../webhooks/deliveries/store.ts";
import { EVENTS } from "../outbox/event.ts";
import { createBody, deliveryQuery, regenerateBody, updateBody } from "./webhook-schemas.ts";
import { newWebhookSecret, sealSecret } from "../webhooks/secret.ts";
import {
  deleteWebhook,
  findWebhook,
  insertWebhook,
  listWebhooks,
  replaceSecret,
  updateWebhook,
  type Owner,
} from "../webhooks/store.ts";
import { validateTarget } from "../webhooks/target.ts";
import { targetPolicy } from "../webhooks/target-policy.ts";
import { toDeliveryResponse, toWebhookStateResponse, toWebhookResponse, type Webhook } from "../webhooks/webhook.ts";

const MAX_WEBHOOKS_PER_AGENT = 20;

export const webhookRoutes = [
  route({
    method: "POST",
    path: "/webhooks",
    auth: "bearer",
    body: createBody,
    status: 201,
    async handle(call) {
      const { env, config, body, caller, authority, now } = call;
      checkTarget(call, body.url);
      if (body.all_agents && !caller.isAdmin) {
        throw forbidden("insufficient_permissions", "Only an administrator is told of every agent.", {
          required: "*:*:*",
          granted: [...caller.permissions],
        });
      }
      const webhook: Webhook = {
        id: `whk_${randomBase62(24)}`,
        agentId: caller.agent.id,
        url: body.url,
        events: [...new Set(body.events)],
        description: body.description ?? null,
        isActive: true,
        allAgents: body.all_agents,
        disabledAt: null,
        disabledReason: null,
        previousSecretExpiresAt: null,
        createdAt: now,
        updatedAt: now,
      };
      const secret = newWebhookSecret();
      const sealed = await sealSecret(secret, webhook.id, config.webhookKeys);
      const by = body.all_agents ? { ...authority, holds: [ADMIN] } : authority;
      if (!(await insertWebhook(env.DB, webhook, sealed, MAX_WEBHOOKS_PER_AGENT, by))) {
        throw conflict("too_many_webhooks", `An agent may have ${MAX_WEBHOOKS_PER_AGENT} webhooks. Delete one first.`);
      }
      recordInBackground(call, caller.agent.id, `webhook ${webhook.id} registered`);
      return {
        success: true,
        message: "Webhook registered. Keep the secret: it is not shown again.",
        webhook: toWebhookResponse(webhook, secret),
      };
    },
  }),

  route({
    method: "GET",
    path: "/webhooks",
    auth: "bearer",
    async handle({ env, caller }) {
      const webhooks = await listWebhooks(env.DB, caller.agent.id);
      return { success: true, webhooks: webhooks.map((webhook) => toWebhookResponse(webhook)) };
    },
  }),

  route({
    method: "GET",
    path: "/webhooks/events",
    auth: "none",
    handle: () => ({ events: EVENTS }),
  }),

  route({
    method: "GET",
    path: "/webhooks/{id}",
    auth: "own",
    async handle({ env, caller, params }) {
      return webhookResponse(await findWebhook(env.DB, params.id ?? "", toOwner(caller)));
    },
  }),

  route({
    method: "PUT",
    path: "/webhooks/{id}",
    auth: "own",
    body: updateBody,
    async handle(call) {
      const { env, body, caller, authority: by, params, now } = call;
      const { url, events, description, is_active: isActive } = body;
      if (url !== undefined) checkTarget(call, url);
      const change = { url, events: events && [...new Set(events)], description, isActive };
      const webhook = await updateWebhook(env.DB, params.id ?? "", toOwner(caller), change, { now, by });
      if (webhook) recordInBackground(call, webhook.agentId, `webhook ${webhook.id} changed`);
      return webhookResponse(webhook);
    },
  }),

  route({
    method: "DELETE",
    path: "/webhooks/{id}",
    auth: "own",
    async handle(call) {
      const id = call.params.id ?? "";
      const owner = await deleteWebhook(call.env.DB, id, toOwner(call.caller), call.authority);
      if (owner === undefined) throw notFound("The webhook");
      recordInBackground(call, owner, `webhook ${id} deleted`);
      return { success: true, message: "Webhook deleted." };
    },
  }),

  route({
    method: "POST",
    path: "/webhooks/{id}/regenerate-secret",
    auth: "own",
    body: regenerateBody,
    async handle(call) {
      const { env, config, body, caller, authority: by, params, now } = call;
      const id = params.id ?? "";
      const secret = newWebhookSecret();
      const sealed = await sealSecret(secret, id, config.webhookKeys);
      const previousExpiresAt = now + body.overlap_seconds * 1000;
      const webhook = await replaceSecret(env.DB, id, toOwner(caller), sealed, { previousExpiresAt, now, by });
      if (!webhook) throw notFound("The webhook");
      recordInBackground(call, webhook.agentId, `secret of webhook ${id} regenerated`);
      return {
        success: true,
        message: "Secret regenerated. Keep it: it is not shown again.",
        webhook: toWebhookResponse(webhook, secret),
      };
    },
  }),

  route({
    method: "GET",
    path: "/webhooks/{id}/deliveries",
    auth: "own",
    query: deliveryQuery,
    async handle({ env, caller, params, query }) {
      const webhook = await requireOwnWebhook(env.DB, params.id ?? "", caller);
      const { deliveries, total } = await readDeliveries(env.DB, webhook.id, query);
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
    async handle({ env, caller, authority: by, params, now, waitUntil }) {
      const webhook = await requireOwnWebhook(env.DB, params.id ?? "", caller);
      requireActiveWebhook(webhook);
      const found = await resetDelivery(env.DB, params.delivery_id ?? "", webhook.id, { now, by });
      if (!found) throw notFound("The delivery");
      if (!found.begun) throw conflict("delivery_pending", "An attempt is under way or due. Ask again in a minute.");
      waitUntil(enqueueDeliveries(env.DELIVERIES, [found.delivery.id], now, now));
      return { success: true, message: "Delivery begun anew.", delivery: toDeliveryResponse(found.delivery) };
    },
  }),

  route({
    method: "POST",
    path: "/webhooks/{id}/test",
    auth: "own",
    async handle({ env, caller, authority: by, params, now, waitUntil }) {
      const webhook = await requireOwnWebhook(env.DB, params.id ?? "", caller);
      requireActiveWebhook(webhook);
      const { agentId, id: webhookId } = webhook;
      const data = { agent_id: agentId, webhook_id: webhookId };
      const event = { id: timeOrderedId("evt_", now), name: "webhook.test", agentId, at: now, data };
      const delivery = await insertDelivery(env.DB, webhookId, event, { now, by });
      if (!delivery) throw notFound("The webhook");
      waitUntil(enqueueDeliveries(env.DELIVERIES, [delivery.id], now, now));
      return { success: true, message: "Test event on its way.", delivery: toDeliveryResponse(delivery) };
    },
  }),
];

const toOwner = ({ agent, isAdmin }: Caller): Owner => (isAdmin ? "anybody" : agent.id);

/** A webhook of somebody else's does not exist for the caller. @throws {ApiError} 404 */
async function requireOwnWebhook(db: D1Database, id: string, caller: Caller): Promise<Webhook> {
  const webhook = await findWebhook(db, id, toOwner(caller));
  if (!webhook) throw notFound("The webhook");
  return webhook;
}

function webhookResponse(webhook: Webhook | undefined) {
  if (!webhook) throw notFound("The webhook");
  return { success: true, webhook: toWebhookResponse(webhook), ...toWebhookStateResponse(webhook) };
}

/** @throws {ApiError} 400 */
function checkTarget({ config, request }: RequestContext, url: string): void {
  const fault = validateTarget(url, targetPolicy(config, request.url));
  if (fault) throw badRequest(`A webhook cannot be sent there: url ${fault}.`, [{ field: "url", message: fault }]);
}

function requireActiveWebhook({ isActive }: Webhook): void {
  if (!isActive) throw conflict("webhook_inactive", "The webhook is switched off. PUT is_active: true first.");
}

function conflict(code: string, message: string): ApiError {
  return new ApiError(409, { code, error: "Conflict", message });
}
