import * as z from "zod/mini";
import { pagination } from "./pagination.ts";
import { EVENTS } from "../outbox/event.ts";
import { DELIVERY_STATUSES } from "../webhooks/webhook.ts";

const webhook = z.object({
  id: z.string(),
  agent_id: z.string(),
  url: z.string(),
  events: z.array(z.enum(EVENTS)),
  secret: z.string().check(z.describe("`***`, except in the response that has just created it.")),
  created_at: z.iso.datetime(),
});

const state = {
  is_active: z.boolean(),
  all_agents: z.boolean(),
  description: z.nullable(z.string()),
  disabled_at: z.nullable(z.iso.datetime()),
  disabled_reason: z.nullable(z.string()),
  previous_secret_expires_at: z.nullable(z.iso.datetime()),
  updated_at: z.iso.datetime(),
};

const delivery = z.object({
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
const message = z.string();

const shownWebhook = z.object({ success, message, webhook });
const webhookList = z.object({ success, webhooks: z.array(webhook) });
const oneWebhook = z.object({ success, webhook, ...state });
const done = z.object({ success, message });
const oneDelivery = z.object({ success, message, delivery });
const deliveryList = z.object({ success, deliveries: z.array(delivery), pagination });
const eventList = z.object({ events: z.array(z.enum(EVENTS)) });

/** What each route does, and what it answers when all is well. For the reference and the tests: the Worker does not carry it. */
export const webhookResponses = {
  "POST /webhooks": {
    summary: "Have events delivered to a URL; its signing secret is shown here and never again",
    answer: shownWebhook,
  },
  "GET /webhooks": { summary: "List the calling agent's webhooks", answer: webhookList },
  "GET /webhooks/events": { summary: "The events that a webhook can ask for", answer: eventList },
  "GET /webhooks/{id}": { summary: "Read a webhook", answer: oneWebhook },
  "PUT /webhooks/{id}": { summary: "Change a webhook, or switch it off and on", answer: oneWebhook },
  "DELETE /webhooks/{id}": { summary: "Delete a webhook with its deliveries", answer: done },
  "POST /webhooks/{id}/regenerate-secret": {
    summary: "Give a webhook a new secret; deliveries are signed with both for overlap_seconds",
    answer: shownWebhook,
  },
  "GET /webhooks/{id}/deliveries": {
    summary: "What was sent to a webhook and what it answered, newest first",
    answer: deliveryList,
  },
  "POST /webhooks/{id}/deliveries/{delivery_id}/redeliver": {
    summary: "Begin a delivery anew, under the same id, that has ended or waits for longer than a minute",
    answer: oneDelivery,
  },
  "POST /webhooks/{id}/test": { summary: "Send a test event (webhook.test) to a webhook", answer: oneDelivery },
};
