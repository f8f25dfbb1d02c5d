import * as z from "zod/mini";
import { pagination, paging } from "../paging.ts";
import { EVENTS } from "./event.ts";
import { DELIVERY_STATUSES } from "./webhook.ts";

const url = z.string().check(z.minLength(1), z.maxLength(2048));
const events = z.array(z.enum(EVENTS)).check(z.minLength(1), z.maxLength(EVENTS.length));
const description = z.nullable(z.string().check(z.maxLength(500)));

export const createBody = z.object({
  url,
  events,
  description: z.optional(description),
  all_agents: z._default(z.boolean(), false),
});

export const updateBody = z.object({
  url: z.optional(url),
  events: z.optional(events),
  description: z.optional(description),
  is_active: z.optional(z.boolean()),
});

/** A week. */
const LONGEST_OVERLAP_SECONDS = 7 * 86_400;

export const regenerateBody = z._default(
  z.object({
    overlap_seconds: z._default(z.int().check(z.minimum(0), z.maximum(LONGEST_OVERLAP_SECONDS)), 0),
  }),
  { overlap_seconds: 0 },
);

const webhook = z.object({
  id: z.string(),
  agent_id: z.string(),
  url: z.string(),
  events: z.array(z.enum(EVENTS)),
  secret: z.string(),
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
  response_body: z.nullable(z.string()),
  error: z.nullable(z.string()),
  created_at: z.iso.datetime(),
  updated_at: z.iso.datetime(),
});

const success = z.literal(true);
const message = z.string();

export const shownWebhook = z.object({ success, message, webhook });
export const webhookList = z.object({ success, webhooks: z.array(webhook) });
export const oneWebhook = z.object({ success, webhook, ...state });
export const done = z.object({ success, message });
export const oneDelivery = z.object({ success, message, delivery });
export const deliveryList = z.object({ success, deliveries: z.array(delivery), pagination });
export const eventList = z.object({ events: z.array(z.enum(EVENTS)) });
export const deliveryQuery = z.object({ ...paging, status: z.optional(z.enum(DELIVERY_STATUSES)) });
