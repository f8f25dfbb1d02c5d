import * as z from "zod/mini";
import { requireRecentProof } from "../access/recent-proof.ts";
import { route } from "../access/route.ts";
import { MAX_KEYS_PER_AGENT, type AgentKey } from "../agents/key.ts";
import { createKey, deleteKey, listKeys } from "../agents/keys.ts";
import { fromCursor } from "../agents/page.ts";
import { recordInBackground } from "../audit/record.ts";
import { conflict, notFound } from "../http/errors.ts";
import { readableLine } from "../validation/readable-text.ts";
import { cacheSessionEnds, changeRefused, ownKeySchema, toAgentChange } from "./agent-changes.ts";
import { allowedIps, keyExpiresIn, toLifeMs } from "./agent-fields.ts";
import { actorSchema, credentialsSchema, toCredentials } from "./agent-schema.ts";
import { agentListQuery, cursorPage, nextCursor } from "./pagination.ts";
import { toTimestamp } from "./timestamp.ts";

const success = z.literal(true);
const message = z.string();

/** The Key object of the wire: exactly these keys. */
const keySchema = z.object({
  id: z.string(),
  type: z.enum(["secret", "jwk"]),
  label: z.nullable(z.string()),
  hint: z.string().check(z.describe("The last four characters; empty for an old key until it is used.")),
  created_at: z.iso.datetime(),
  created_by: z.nullable(actorSchema),
  expires_at: z.nullable(z.iso.datetime()),
  last_used_at: z
    .nullable(z.iso.datetime())
    .check(z.describe("When a session was last opened with it, to within a minute.")),
  allowed_ips: z.nullable(z.array(z.string())).check(z.describe("Networks; null for those of the agent.")),
});

/** Several API keys of an agent: one for each place that it runs at, ended one by one. */
export const keyRoutes = [
  route({
    method: "GET",
    path: "/agents/{id}/keys",
    auth: "self",
    summary: "List an agent's valid keys, newest first, without what is secret",
    query: agentListQuery,
    response: () => z.object({ success, keys: z.array(keySchema), next_cursor: nextCursor }),
    async handle({ env, params, query }) {
      const after = query.cursor === undefined ? undefined : fromCursor(query.cursor);
      const keys = await listKeys(env.DB, params.id, { limit: query.limit, after });
      if (!keys) throw notFound("The agent");
      const { rows, next_cursor } = cursorPage(keys, query);
      return { success: true, keys: rows.map(toKeyResponse), next_cursor };
    },
  }),

  route({
    method: "POST",
    path: "/agents/{id}/keys",
    auth: "self",
    idempotent: { secrets: ["credentials.api_key"] },
    summary: "Give an agent another API key, shown here and never again; the others stay as they are",
    body: z._default(
      z.object({
        label: z.optional(z.nullable(readableLine(1, 100))),
        expires_in: z.optional(keyExpiresIn),
        allowed_ips: z.optional(allowedIps),
        api_key: ownKeySchema,
      }),
      {},
    ),
    response: () => z.object({ success, message, key: keySchema, credentials: credentialsSchema }),
    status: 201,
    async handle(call) {
      const { env, config, body } = call;
      const authority = await requireRecentProof(call, body.api_key);
      const settings = {
        label: body.label ?? null,
        lifeMs: toLifeMs(body.expires_in),
        allowedIps: body.allowed_ips ?? null,
      };
      const created = await createKey(env.DB, toAgentChange({ ...call, authority }), settings, config.peppers);
      switch (created.result) {
        case "unknown":
        case "already_revoked":
          throw changeRefused(created.result);
        case "too_many":
          throw conflict("too_many_keys", `An agent may have ${MAX_KEYS_PER_AGENT} keys. Delete one first.`);
        case "created": {
          const { key, apiKey } = created;
          recordInBackground(call, call.params.id, `API key ${key.id} created by ${call.caller.agent.id}`);
          return {
            success: true,
            message: "Key created. Keep it: it is not shown again.",
            key: toKeyResponse(key),
            credentials: toCredentials(apiKey),
          };
        }
      }
    },
  }),

  route({
    method: "DELETE",
    path: "/agents/{id}/keys/{key_id}",
    auth: "self",
    summary: "End a key and the sessions that it opened",
    body: z.nullish(z.object({ api_key: ownKeySchema })),
    response: () => z.object({ success, message }),
    async handle(call) {
      const { env, params } = call;
      const authority = await requireRecentProof(call, call.body?.api_key);
      const ended = await deleteKey(env.DB, toAgentChange({ ...call, authority }), params.key_id);
      if (!ended) throw notFound("The key");
      cacheSessionEnds(call, ended);
      recordInBackground(call, params.id, `API key ${params.key_id} deleted by ${call.caller.agent.id}`);
      return { success: true, message: `The key is deleted, and ${ended.length} sessions that it opened have ended.` };
    },
  }),
];

function toKeyResponse(key: AgentKey): z.input<typeof keySchema> {
  return {
    id: key.id,
    type: key.type,
    label: key.label,
    hint: key.hint,
    created_at: toTimestamp(key.createdAt),
    created_by: key.createdBy,
    expires_at: toTimestamp(key.expiresAt),
    last_used_at: toTimestamp(key.lastUsedAt),
    allowed_ips: key.allowedIps ? [...key.allowedIps] : null,
  };
}
