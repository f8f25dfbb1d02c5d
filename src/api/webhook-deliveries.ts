import * as z from "zod/mini";
import type { Caller } from "../access/authenticate.ts";
import { originOf } from "../access/origin.ts";
import type { PersonCaller } from "../access/person.ts";
import { route } from "../access/route.ts";
import type { Authority } from "../authority/authority.ts";
import { badRequest, conflict, forbidden, notFound } from "../http/errors.ts";
import { ADMIN } from "../permissions/grammar.ts";
import { EVENTS } from "../outbox/event.ts";
import { enqueueDeliveries } from "../webhooks/deliveries/enqueue.ts";
import {
  addTestDelivery,
  findDelivery,
  listAllDeliveries,
  listDeliveries,
  redeliver,
  redeliverAll,
} from "../webhooks/deliveries/manage.ts";
import { findWebhook, type Write } from "../webhooks/manage.ts";
import {
  DELIVERY_STATUSES,
  type Delivery,
  type DeliveryAttempt,
  type DeliveryFilter,
  type Owner,
  type Webhook,
} from "../webhooks/webhook.ts";
import { cursorOf, cursorPaging, nextCursor, onePosition, page, pagination, pagingByEither } from "./pagination.ts";
import { toTimestamp } from "./timestamp.ts";
import { once } from "../validation/once.ts";

const deliverySchema = once(() =>
  z.object({
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
  }),
);

const attemptSchema = once(() =>
  z.object({
    number: z
      .int()
      .check(
        z.describe(
          "From 1, and from 1 again when the delivery is started again. One whose result was lost is missing.",
        ),
      ),
    at: z.iso.datetime(),
    duration_ms: z.int().check(z.describe("How long the receiver took to begin its response, or the attempt to fail.")),
    response_status: z.nullable(z.int()),
    response_body: z.nullable(z.string()).check(z.describe("The first 256 characters of the response.")),
    error: z.nullable(z.string()),
  }),
);

/** The id of the last delivery of a page. */
const deliveryCursor = once(() => cursorOf((text) => /^msg_[0-9a-f]{32}$/.test(text)));

const id = once(() => z.string().check(z.regex(/^\w{1,128}$/, { error: "must be an id" })));
const time = once(() => z.iso.datetime({ offset: true }));

/** Which deliveries are meant. What is not given is not compared. */
const filterShape = once(() => ({
  agent_id: z.optional(id().check(z.describe("The agent that the event is about."))),
  webhook_id: z.optional(id()),
  status: z.optional(z.enum(DELIVERY_STATUSES)),
  event: z.optional(z.enum([...EVENTS, "webhook.test"])),
  from: z.optional(time().check(z.describe("Made at this time or later (RFC 3339)."))),
  to: z.optional(time().check(z.describe("Made before this time (RFC 3339)."))),
}));
const filterSchema = once(() => z.object(filterShape()));

const redeliverBody = once(() =>
  z.object({
    filter: filterSchema().check(
      z.refine((filter) => Object.values(filter).some((value) => value !== undefined), {
        error: `must have at least one of ${Object.keys(filterShape()).join(", ")}`,
      }),
      z.describe("Which deliveries: all that is given has to apply. `status` is `failed` if it is not given."),
    ),
    dry_run: z._default(z.boolean().check(z.describe("Only counts them. False starts them again.")), true),
    cursor: deliveryCursor().check(z.describe("The `next_cursor` of the previous call.")),
  }),
);

const success = once(() => z.literal(true));
const oneDelivery = () => z.object({ success: success(), message: z.string(), delivery: deliverySchema() });

/** Reading a webhook's deliveries, repeating one, and sending a test. */
export const webhookDeliveryRoutes = [
  route({
    method: "GET",
    path: "/webhooks/{id}/deliveries",
    auth: "own",
    summary: "The deliveries of a webhook and their responses, newest first",
    query: () =>
      z.object({ ...pagingByEither(), cursor: deliveryCursor(), status: z.optional(z.enum(DELIVERY_STATUSES)) }),
    response: () =>
      z.object({
        success: success(),
        deliveries: z.array(deliverySchema()),
        pagination: pagination(),
        next_cursor: nextCursor(),
      }),
    async handle({ env, caller, params, query }) {
      onePosition(query, ["offset", "cursor"]);
      const { limit, offset = 0, cursor: before, status } = query;
      const webhook = await requireReached(env.DB, params.id, caller);
      const { deliveries, total } = await listDeliveries(env.DB, webhook.id, { status, limit, offset, before });
      const { rows, hasMore } = page(deliveries, { limit });
      return {
        success: true,
        deliveries: rows.map((delivery) => toDeliveryResponse(delivery, showsBodies(caller))),
        pagination: { total, limit, offset, has_more: hasMore },
        next_cursor: hasMore ? rows.at(-1)!.id : null,
      };
    },
  }),

  route({
    method: "GET",
    path: "/webhooks/{id}/deliveries/{delivery_id}",
    auth: "own",
    summary: "One delivery: what is sent, and what came of its last ten attempts, the oldest first",
    response: () =>
      z.object({
        success: success(),
        delivery: deliverySchema(),
        request_body: z.nullable(z.string()).check(z.describe("What each attempt sends. Null for an auditor.")),
        attempts: z.array(attemptSchema()),
      }),
    async handle({ env, caller, params }) {
      const webhook = await requireReached(env.DB, params.id, caller);
      const found = await findDelivery(env.DB, params.delivery_id, webhook.id);
      if (!found) throw notFound("The delivery");
      const isShown = showsBodies(caller);
      return {
        success: true,
        delivery: toDeliveryResponse(found.delivery, isShown),
        request_body: isShown ? found.body : null,
        attempts: found.attempts.map((attempt) => toAttemptResponse(attempt, isShown)),
      };
    },
  }),

  route({
    method: "GET",
    path: "/deliveries",
    auth: "admin",
    summary: "The deliveries of all webhooks, newest first; a page may be short and still have a next one",
    query: () => z.object({ ...cursorPaging(), cursor: deliveryCursor(), ...filterShape() }),
    response: () => z.object({ success: success(), deliveries: z.array(deliverySchema()), next_cursor: nextCursor() }),
    async handle({ env, caller, query: { limit, cursor: before, ...filter } }) {
      const { deliveries, next } = await listAllDeliveries(env.DB, toFilter(filter), { before, limit });
      const shown = deliveries.map((delivery) => toDeliveryResponse(delivery, showsBodies(caller)));
      return { success: true, deliveries: shown, next_cursor: next };
    },
  }),

  route({
    method: "POST",
    path: "/deliveries/redeliver",
    auth: "admin",
    summary: "Start many deliveries again, under their own ids; by default it only counts them",
    body: redeliverBody,
    response: () =>
      z.object({
        success: success(),
        message: z.string(),
        matched: z.int().check(z.describe("How many of the searched deliveries could be started again.")),
        redelivered: z.int().check(z.describe("How many were started again.")),
        remaining: z.int().check(z.describe("`matched` less `redelivered`. Repeat the call for them.")),
        next_cursor: z
          .nullable(z.string())
          .check(z.describe("The `cursor` of the deliveries that were not searched; null if there are none.")),
      }),
    async handle(call) {
      const { env, body, now, waitUntil } = call;
      const { dry_run: dryRun, cursor: after } = body;
      const filter = toFilter({ status: "failed", ...body.filter });
      const { ids, matched, searchedTo } = await redeliverAll(env.DB, filter, {
        ...toWrite(call),
        after,
        dryRun,
        described: body.filter,
      });
      const remaining = matched - ids.length;
      if (ids.length > 0) {
        waitUntil(enqueueDeliveries(env.DELIVERIES, ids, now, now));
      }
      return {
        success: true,
        message: redeliveryMessage({ dryRun, matched, remaining, isWhole: searchedTo === null }),
        matched,
        redelivered: ids.length,
        remaining,
        next_cursor: searchedTo,
      };
    },
  }),

  route({
    method: "POST",
    path: "/webhooks/{id}/deliveries/{delivery_id}/redeliver",
    auth: "own",
    summary: "Start a delivery again, under the same id, if it has ended or waits for longer than a minute",
    response: oneDelivery,
    async handle(call) {
      const { env, caller, params, now, waitUntil } = call;
      const webhook = await requireReached(env.DB, params.id, caller);
      requireActiveWebhook(webhook);
      const found = await redeliver(env.DB, params.delivery_id, webhook.id, toWrite(call));
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
    async handle(call) {
      const { env, caller, params, now, waitUntil } = call;
      const webhook = await requireOwnWebhook(env.DB, params.id, caller);
      requireActiveWebhook(webhook);
      const delivery = await addTestDelivery(env.DB, webhook, toWrite(call));
      if (!delivery) throw notFound("The webhook");
      waitUntil(enqueueDeliveries(env.DELIVERIES, [delivery.id], now, now));
      return { success: true, message: "Test event on its way.", delivery: toDeliveryResponse(delivery) };
    },
  }),
];

/** @throws {ApiError} 400 for a time range that ends before it begins. */
function toFilter({ from, to, ...filter }: z.output<ReturnType<typeof filterSchema>>): DeliveryFilter {
  const [fromMs, toMs] = [from, to].map((time) => (time === undefined ? undefined : Date.parse(time)));
  if (fromMs !== undefined && toMs !== undefined && toMs <= fromMs) {
    const message = "must be later than from";
    throw badRequest(`The time range is empty. to ${message}.`, [{ field: "to", message }]);
  }
  return {
    agentId: filter.agent_id,
    webhookId: filter.webhook_id,
    status: filter.status,
    event: filter.event,
    from: fromMs,
    to: toMs,
  };
}

function redeliveryMessage({
  dryRun,
  matched,
  remaining,
  isWhole,
}: {
  dryRun: boolean;
  matched: number;
  remaining: number;
  isWhole: boolean;
}): string {
  const more = isWhole ? "" : " Not all deliveries were searched: go on with next_cursor as cursor.";
  if (dryRun) return `${matched} deliveries would be started again. Send dry_run: false to do it.${more}`;
  const rest = remaining > 0 ? ` ${remaining} remain: repeat the call until remaining is 0.` : "";
  return `${matched - remaining} deliveries started again.${rest}${rest ? "" : more}`;
}

/** An auditor reads no bodies: a receiver's answer may hold what is its owner's. */
const showsBodies = (caller: Caller | PersonCaller): boolean => caller.kind === "agent" || caller.isAdmin;

function toDeliveryResponse(delivery: Delivery, showsBody = true): z.input<ReturnType<typeof deliverySchema>> {
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
    response_body: showsBody ? delivery.responseBody : null,
    error: delivery.error,
    created_at: toTimestamp(delivery.createdAt),
    updated_at: toTimestamp(delivery.updatedAt),
  };
}

const toAttemptResponse = (
  { number, at, durationMs, responseStatus, responseBody, error }: DeliveryAttempt,
  showsBody: boolean,
): z.input<ReturnType<typeof attemptSchema>> => ({
  number,
  at: toTimestamp(at),
  duration_ms: durationMs,
  response_status: responseStatus,
  response_body: showsBody ? responseBody : null,
  error,
});

/** What a change of webhooks needs of its call. */
export const toWrite = (
  call: Parameters<typeof originOf>[0] & { readonly authority: Authority; readonly now: number },
): Write => ({ by: call.authority, origin: originOf(call), now: call.now });

/** Whose webhooks a caller may reach: an administrator everyone's, and an auditor too, on the routes that only read. */
export const toOwner = ({ id, seesAll }: Caller | PersonCaller): Owner => (seesAll ? "anybody" : id);

/** A webhook that belongs to another agent does not exist for the caller. @throws {ApiError} 404 */
async function requireOwnWebhook(db: D1Database, id: string, caller: Caller | PersonCaller): Promise<Webhook> {
  const webhook = await findWebhook(db, id, toOwner(caller));
  if (!webhook) throw notFound("The webhook");
  return webhook;
}

/**
 * The same for what has to do with everybody's events: of a webhook for all agents, only an administrator reads what it was sent, and says
 * where it is. The token of its own agent may have less.
 *
 * @throws {ApiError} 404, 403.
 */
export async function requireReached(db: D1Database, id: string, caller: Caller | PersonCaller): Promise<Webhook> {
  const webhook = await requireOwnWebhook(db, id, caller);
  if (!webhook.allAgents || caller.seesAll) return webhook;
  throw forbidden("insufficient_permissions", "Only an administrator may do this with a webhook for all agents.", {
    required: ADMIN,
    granted: [...caller.permissions],
  });
}

/** @throws {ApiError} 409 */
function requireActiveWebhook({ isActive }: Webhook): void {
  if (!isActive) throw conflict("webhook_inactive", "The webhook is switched off. PUT is_active: true first.");
}
