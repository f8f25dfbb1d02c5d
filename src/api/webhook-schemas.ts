import * as z from "zod/mini";
import { paging } from "./paging.ts";
import { readableText } from "../validation/readable-text.ts";
import { EVENTS } from "../outbox/event.ts";
import { DELIVERY_STATUSES } from "../webhooks/webhook.ts";

const url = z
  .string()
  .check(z.minLength(1), z.maxLength(2048), z.describe("An https URL; in local development also http://127.0.0.1."));
const events = z.array(z.enum(EVENTS)).check(z.minLength(1), z.maxLength(EVENTS.length));
const description = z.nullable(readableText(500));

export const createBody = z.object({
  url,
  events,
  description: z.optional(description),
  all_agents: z._default(
    z.boolean().check(z.describe("Delivers the events of every agent. Administrators only.")),
    false,
  ),
});

export const updateBody = z.object({
  url: z.optional(url),
  events: z.optional(events),
  description: z.optional(description),
  is_active: z.optional(
    z
      .boolean()
      .check(z.describe("False stops deliveries; true starts them again, also after failures disabled the webhook.")),
  ),
});

/** A week. */
const MAX_OVERLAP_SECONDS = 7 * 86_400;

export const regenerateBody = z._default(
  z.object({
    overlap_seconds: z._default(
      z
        .int()
        .check(
          z.minimum(0),
          z.maximum(MAX_OVERLAP_SECONDS),
          z.describe("How many seconds deliveries are signed with both secrets."),
        ),
      0,
    ),
  }),
  { overlap_seconds: 0 },
);

export const deliveryQuery = z.object({ ...paging, status: z.optional(z.enum(DELIVERY_STATUSES)) });
