import * as z from "zod/mini";
import { requireRecentCommand } from "../access/recent-proof.ts";
import { route } from "../access/route.ts";
import { badRequest, conflict, forbidden, notFound } from "../http/errors.ts";
import type { RequestContext } from "../http/request-context.ts";
import { EVENTS } from "../outbox/event.ts";
import {
  changeWebhook,
  findWebhook,
  listWebhooks,
  MAX_WEBHOOKS_PER_AGENT,
  regenerateSecret,
  registerWebhook,
  removeWebhook,
} from "../webhooks/manage.ts";
import { validateTarget } from "../webhooks/target.ts";
import { targetPolicy } from "../webhooks/target-policy.ts";
import type { Webhook, WebhookPosition } from "../webhooks/webhook.ts";
import { readableText } from "../validation/readable-text.ts";
import { cursorOf, cursorPaging, nextCursor, page } from "./pagination.ts";
import { toTimestamp } from "./timestamp.ts";
import { requireReached, toOwner, toWrite } from "./webhook-deliveries.ts";
import { once } from "../validation/once.ts";

/** A week. */
const MAX_OVERLAP_SECONDS = 7 * 86_400;

const url = once(() =>
  z
    .string()
    .check(z.minLength(1), z.maxLength(2048), z.describe("An https URL; in local development also http://127.0.0.1.")),
);
const events = once(() => z.array(z.enum(EVENTS)).check(z.minLength(1), z.maxLength(EVENTS.length)));
const description = once(() => z.nullable(readableText(500)));

export const createBody = once(() =>
  z.object({
    url: url(),
    events: events(),
    description: z.optional(description()),
    all_agents: z._default(
      z.boolean().check(z.describe("Delivers the events of every agent. Administrators only.")),
      false,
    ),
  }),
);

export const updateBody = once(() =>
  z.object({
    url: z.optional(url()),
    events: z.optional(events()),
    description: z.optional(description()),
    is_active: z.optional(
      z
        .boolean()
        .check(z.describe("False stops deliveries; true starts them again, also after failures disabled the webhook.")),
    ),
  }),
);

/** The Webhook object of the wire: exactly these keys. */
const webhookSchema = once(() =>
  z.object({
    id: z.string(),
    agent_id: z.string(),
    url: z.string(),
    events: z.array(z.enum(EVENTS)),
    secret: z.string().check(z.describe("`***`, except in the response that has just created it.")),
    created_at: z.iso.datetime(),
  }),
);

/** The further properties of a webhook that is read by its id. */
const webhookState = once(() =>
  z.object({
    is_active: z.boolean(),
    all_agents: z.boolean(),
    description: z.nullable(z.string()),
    disabled_at: z.nullable(z.iso.datetime()),
    disabled_reason: z.nullable(z.string()),
    previous_secret_expires_at: z.nullable(z.iso.datetime()),
    updated_at: z.iso.datetime(),
  }),
);

/** What a list shows of each webhook beside its object. */
const webhookSummary = once(() =>
  z.object({
    is_active: z.boolean(),
    disabled_reason: z.nullable(z.string()),
    description: z.nullable(z.string()),
  }),
);

const success = once(() => z.literal(true));
const message = once(() => z.string());
const createdWebhook = () => z.object({ success: success(), message: message(), webhook: webhookSchema() });
const oneWebhook = () => z.object({ success: success(), webhook: webhookSchema(), ...webhookState().shape });

export const webhookRoutes = [
  route({
    method: "POST",
    path: "/webhooks",
    auth: "bearer",
    idempotent: { secrets: ["webhook.secret"] },
    summary: "Have events delivered to a URL; its signing secret is shown here and never again",
    body: createBody,
    response: createdWebhook,
    status: 201,
    async handle(call) {
      const { env, config, body, caller } = call;
      checkTarget(call, body.url);
      if (body.all_agents && !caller.isAdmin) {
        throw forbidden(
          "insufficient_permissions",
          "Only an administrator can subscribe to the events of every agent.",
          {
            required: "*:*:*",
            granted: [...caller.permissions],
          },
        );
      }
      const newWebhook = {
        agentId: caller.agent.id,
        url: body.url,
        events: body.events,
        description: body.description ?? null,
        allAgents: body.all_agents,
      };
      const registered = await registerWebhook(env.DB, newWebhook, config.webhookKeys, toWrite(call));
      if (!registered) {
        throw conflict("too_many_webhooks", `An agent may have ${MAX_WEBHOOKS_PER_AGENT} webhooks. Delete one first.`);
      }
      const { webhook, secret } = registered;
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
    auth: "member",
    summary: "List the calling agent's webhooks, or for administrators those of agent_id",
    query: () =>
      z.object({
        ...cursorPaging(),
        cursor: cursorOf((text) => fromCursor(text) !== undefined),
        agent_id: z.optional(
          z
            .string()
            .check(
              z.regex(/^(?:\*|[0-9A-Za-z_]{1,128})$/, { error: "must be the id of an agent, or * for all agents" }),
              z.describe("The agent whose webhooks are listed, or `*` for all agents. The calling agent by default."),
            ),
        ),
      }),
    response: () =>
      z.object({
        success: success(),
        webhooks: z.array(webhookSchema()),
        details: z
          .record(z.string(), webhookSummary())
          .check(z.describe("By the id of each webhook, what is not in its object.")),
        next_cursor: nextCursor(),
      }),
    async handle({ env, caller, query }) {
      // A person has no webhooks, so theirs are none unless agent_id says whose.
      const { agent_id: agentId = caller.id, cursor, limit } = query;
      if (agentId !== caller.id && !caller.seesAll) {
        throw forbidden("insufficient_permissions", "Only an administrator can list the webhooks of other agents.", {
          required: "*:*:*",
          granted: [...caller.permissions],
        });
      }
      const owner = agentId === "*" ? "anybody" : agentId;
      const after = cursor === undefined ? undefined : fromCursor(cursor);
      const { rows, hasMore } = page(await listWebhooks(env.DB, owner, { after, limit: limit + 1 }), { limit });
      const last = rows.at(-1);
      return {
        success: true,
        webhooks: rows.map((webhook) => toWebhookResponse(webhook)),
        details: Object.fromEntries(rows.map((webhook) => [webhook.id, toWebhookSummary(webhook)])),
        next_cursor: hasMore && last ? toCursor(last) : null,
      };
    },
  }),

  route({
    method: "GET",
    path: "/webhooks/events",
    auth: "none",
    summary: "The events that a webhook can subscribe to",
    response: () => z.object({ events: z.array(z.enum(EVENTS)) }),
    handle: () => ({ events: EVENTS }),
  }),

  route({
    method: "GET",
    path: "/webhooks/{id}",
    auth: "own",
    summary: "Read a webhook",
    response: oneWebhook,
    async handle({ env, caller, params }) {
      return toOneWebhook(await findWebhook(env.DB, params.id, toOwner(caller)));
    },
  }),

  route({
    method: "PUT",
    path: "/webhooks/{id}",
    auth: "own",
    summary: "Change a webhook, or switch it off and on",
    body: updateBody,
    response: oneWebhook,
    async handle(call) {
      const { env, body, caller, params } = call;
      const { url, events, description, is_active: isActive } = body;
      if (url !== undefined) {
        requireRecentCommand(call);
        checkTarget(call, url);
      }
      const change = { url, events, description, isActive };
      const changed = await changeWebhook(env.DB, params.id, toOwner(caller), change, toWrite(call));
      if (!changed) await requireReached(env.DB, params.id, caller);
      return toOneWebhook(changed);
    },
  }),

  route({
    method: "DELETE",
    path: "/webhooks/{id}",
    auth: "own",
    summary: "Delete a webhook with its deliveries",
    response: () => z.object({ success: success(), message: message() }),
    async handle(call) {
      const isDeleted = await removeWebhook(call.env.DB, call.params.id, toOwner(call.caller), toWrite(call));
      if (!isDeleted) throw notFound("The webhook");
      return { success: true, message: "Webhook deleted." };
    },
  }),

  route({
    method: "POST",
    path: "/webhooks/{id}/regenerate-secret",
    auth: "own",
    idempotent: { secrets: ["webhook.secret"] },
    summary: "Give a webhook a new secret; the former one signs deliveries too for overlap_seconds",
    body: () =>
      z._default(
        z.object({
          overlap_seconds: z._default(
            z
              .int()
              .check(
                z.minimum(0),
                z.maximum(MAX_OVERLAP_SECONDS),
                z.describe(
                  "How many seconds the former secret signs deliveries too. 0 ends every former secret at once.",
                ),
              ),
            0,
          ),
        }),
        { overlap_seconds: 0 },
      ),
    response: createdWebhook,
    async handle(call) {
      const { env, config, body, caller, params } = call;
      requireRecentCommand(call);
      const secrets = { overlapMs: body.overlap_seconds * 1000, keys: config.webhookKeys };
      const regenerated = await regenerateSecret(env.DB, params.id, toOwner(caller), secrets, toWrite(call));
      if (!regenerated) {
        await requireReached(env.DB, params.id, caller);
        throw notFound("The webhook");
      }
      const { webhook, secret } = regenerated;
      return {
        success: true,
        message: "Secret regenerated. Keep it: it is not shown again.",
        webhook: toWebhookResponse(webhook, secret),
      };
    },
  }),
];

/** @param secret in clear only in the response that has just created it. */
function toWebhookResponse(
  { id, agentId, url, events, createdAt }: Webhook,
  secret = "***",
): z.input<ReturnType<typeof webhookSchema>> {
  return { id, agent_id: agentId, url, events: [...events], secret, created_at: toTimestamp(createdAt) };
}

const toWebhookSummary = ({
  isActive,
  disabledReason,
  description,
}: Webhook): z.input<ReturnType<typeof webhookSummary>> => ({
  is_active: isActive,
  disabled_reason: disabledReason,
  description,
});

const CURSOR = /^([0-9a-z]{1,9})\.(whk_[0-9A-Za-z]{1,64})$/;

/** Encodes a position in the list of webhooks for a URL. */
const toCursor = ({ createdAt, id }: Webhook): string => `${createdAt.toString(36)}.${id}`;

/** Decodes a cursor. Returns undefined for a text that is not one. */
function fromCursor(text: string): WebhookPosition | undefined {
  const [, createdAt, id] = CURSOR.exec(text) ?? [];
  return createdAt && id ? { createdAt: Number.parseInt(createdAt, 36), id } : undefined;
}

function toWebhookStateResponse(webhook: Webhook): z.input<ReturnType<typeof webhookState>> {
  return {
    is_active: webhook.isActive,
    all_agents: webhook.allAgents,
    description: webhook.description,
    disabled_at: toTimestamp(webhook.disabledAt),
    disabled_reason: webhook.disabledReason,
    previous_secret_expires_at: toTimestamp(webhook.previousSecretExpiresAt),
    updated_at: toTimestamp(webhook.updatedAt),
  };
}

/** @throws {ApiError} 404 for no webhook. */
function toOneWebhook(webhook: Webhook | undefined): z.input<ReturnType<typeof oneWebhook>> {
  if (!webhook) throw notFound("The webhook");
  return { success: true, webhook: toWebhookResponse(webhook), ...toWebhookStateResponse(webhook) };
}

/** @throws {ApiError} 400 */
function checkTarget({ config, request }: RequestContext, url: string): void {
  const fault = validateTarget(url, targetPolicy(config, request.url));
  if (fault) throw badRequest(`A webhook cannot be sent there: url ${fault}.`, [{ field: "url", message: fault }]);
}
