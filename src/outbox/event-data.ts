import * as z from "zod/mini";

const agent_id = z.string();
const at = z.iso.datetime();
const by = z.string().check(z.describe("The id of the agent that made the change."));
const ip_address = z.string().check(z.describe("Empty if it is not known."));

/** Only in an event that represents the events of its minute that were not sent one by one (see `MAX_EVENTS_PER_MINUTE`). */
const counted = {
  count: z.optional(z.int().check(z.describe("How many events of this minute this one represents."))),
  since: z.optional(at.check(z.describe("When the first of them happened."))),
};

/**
 * When each event is sent and what its `data` contains. The types of `newEvent` and the `webhooks` of the OpenAPI document come from
 * here. The Worker imports only the types.
 */
export const EVENT_DATA = {
  "agent.registered": {
    summary: "An agent is registered",
    data: z.object({ agent_id, name: z.string(), owner_email: z.string(), created_at: at }),
  },
  "agent.verified": {
    summary: "An agent proves itself with its API key",
    data: z.object({ agent_id, verified_at: at, ip_address, ...counted }),
  },
  "agent.verification_failed": {
    summary: "Somebody fails to prove to be an agent",
    data: z.object({
      agent_id,
      failed_at: at,
      ip_address,
      ...counted,
      addresses: z.optional(z.int().check(z.describe("From how many addresses they came."))),
    }),
  },
  "agent.revoked": {
    summary: "An agent is revoked for good",
    data: z.object({ agent_id, revoked_at: at, revoked_by: by }),
  },
  "agent.status_updated": {
    summary: "An agent's status changes, also to revoked",
    data: z.object({
      agent_id,
      status: z.enum(["active", "inactive", "suspended", "revoked"]),
      updated_at: at,
      updated_by: by,
    }),
  },
  "agent.tier_updated": {
    summary: "An agent's tier changes",
    data: z.object({ agent_id, tier: z.enum(["free", "pro", "enterprise"]), updated_at: at, updated_by: by }),
  },
  "agent.permissions_updated": {
    summary: "An agent's permissions change",
    data: z.object({ agent_id, permissions: z.array(z.string()), updated_at: at, updated_by: by }),
  },
  "agent.updated": {
    summary:
      "An agent's name, description, metadata, owner, rate limit, allowed addresses or grantable permissions change",
    data: z.object({
      agent_id,
      fields: z.array(z.string()).check(z.describe("The fields of the request that changed the agent.")),
      updated_at: at,
      updated_by: by,
      ...counted,
    }),
  },
  "agent.deleted": {
    summary: "An agent is deleted; its webhooks receive nothing after this",
    data: z.object({
      agent_id,
      deleted_at: at,
      deleted_by: z
        .string()
        .check(z.describe("The id of the agent that made the change; `agentauth` for an agent that nobody approved.")),
    }),
  },
  "agent.key_rotated": {
    summary: "An agent's API key is replaced",
    data: z.object({ agent_id, rotated_at: at, rotated_by: by, previous_key_expires_at: at, ...counted }),
  },
  "agent.key_created": {
    summary: "An agent gets an API key beside those that it has",
    data: z.object({
      agent_id,
      key_id: z.string(),
      label: z.nullable(z.string()),
      created_at: at,
      created_by: by,
      ...counted,
    }),
  },
  "agent.key_deleted": {
    summary: "An API key of an agent is ended, and with it the sessions that it opened",
    data: z.object({ agent_id, key_id: z.string(), deleted_at: at, deleted_by: by, ...counted }),
  },
  "token.reuse_detected": {
    summary: "A refresh token is used a second time, and its session is revoked",
    data: z.object({ agent_id, detected_at: at, ip_address, ...counted }),
  },
  "session.limit_reached": {
    summary:
      "An agent has more sessions than `SESSIONS_PER_AGENT`: the one used least recently can no longer be refreshed; sent once while this goes on",
    data: z.object({ agent_id, limit: z.int(), reached_at: at, ip_address, ...counted }),
  },
  "grant.expiring": {
    summary: "A grant of an agent ends within a day",
    data: z.object({ agent_id, grant_id: z.string(), permission: z.string(), expires_at: at }),
  },
  "gateway.denied": {
    summary: "The gateway refuses a request for lack of a permission, or because of the limits or the end of a grant",
    data: z.object({
      agent_id,
      denied_at: at,
      service: z.string(),
      method: z.string(),
      path: z.string().check(z.describe("Cut after 512 characters.")),
      path_digest: z.optional(
        z.string().check(z.describe("`sha-256=:…:` of the whole path if it was cut (RFC 9530).")),
      ),
      required: z.string(),
      code: z.optional(z.enum(["insufficient_permissions", "constraint_violated", "grant_expired"])),
      fields: z.optional(
        z.array(z.string()).check(z.describe("With `constraint_violated`, the fields whose limits are not met.")),
      ),
      ip_address,
      ...counted,
    }),
  },
  "webhook.disabled": {
    summary: "One of an agent's webhooks is disabled after failures; its other webhooks receive this",
    data: z.object({ agent_id, webhook_id: z.string(), disabled_at: at, reason: z.string(), ...counted }),
  },
  "webhook.test": {
    summary: "A test that was requested with POST /webhooks/{id}/test",
    data: z.object({ agent_id, webhook_id: z.string() }),
  },
} satisfies Record<string, { summary: string; data: z.ZodMiniType }>;

/** The type of an event's `data`, by the event's name. */
export type EventData = { readonly [Name in keyof typeof EVENT_DATA]: z.infer<(typeof EVENT_DATA)[Name]["data"]> };

/** The events of changes. `webhook.test` is sent to one webhook by request, so it is neither listed nor subscribed to. */
export type EventName = Exclude<keyof EventData, "webhook.test">;
