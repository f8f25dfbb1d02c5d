import * as z from "zod/mini";
import { requireProofForKey, requireRecentProof } from "../access/recent-proof.ts";
import { route } from "../access/route.ts";
import { MAX_KEYS_PER_AGENT, type AgentKey } from "../agents/key.ts";
import { addPublicKey, createKey, deleteKey, listEndingKeys, listKeys } from "../agents/keys.ts";
import { fromCursor, toCursor } from "../agents/page.ts";
import { KEY_ALGORITHMS, readPublicJwk, type ReceivedJwk } from "../agents/public-key.ts";
import { badRequest, conflict, notFound, type ApiError } from "../http/errors.ts";
import { readableLine } from "../validation/readable-text.ts";
import { wholeNumber } from "../validation/whole-number.ts";
import { cacheSessionEnds, changeRefused, ownKeySchema, toAgentChange } from "./agent-changes.ts";
import { allowedIps, keyExpiresIn, toLifeMs } from "./agent-fields.ts";
import { actorSchema, credentialsSchema, toCredentials } from "./agent-schema.ts";
import { agentListQuery, cursorPage, nextCursor } from "./pagination.ts";
import { toTimestamp } from "./timestamp.ts";
import { once } from "../validation/once.ts";

const success = once(() => z.literal(true));
const message = once(() => z.string());

/** The Key object of the wire: exactly these keys. */
const keySchema = once(() =>
  z.object({
    id: z.string(),
    type: z.enum(["secret", "jwk"]),
    label: z.nullable(z.string()),
    hint: z
      .string()
      .check(
        z.describe(
          "The last four characters, of a public key those of its `kid`; empty for an old key until it is used.",
        ),
      ),
    created_at: z.iso.datetime(),
    created_by: z.nullable(actorSchema()),
    expires_at: z.nullable(z.iso.datetime()),
    last_used_at: z
      .nullable(z.iso.datetime())
      .check(z.describe("When a session was last opened with it, to within a minute.")),
    allowed_ips: z.nullable(z.array(z.string())).check(z.describe("Networks; null for those of the agent.")),
  }),
);

/** What a public key has beside the Key object: by the key's id. */
const keyDetailsSchema = once(() =>
  z
    .record(z.string(), z.object({ kid: z.string(), alg: z.enum(KEY_ALGORITHMS) }))
    .check(z.describe("The public keys among them, by their ids.")),
);

const member = once(() => z.optional(z.nullable(z.string().check(z.maxLength(1024)))));

/** A public key as JWK. Private members are none of it, so they are refused by their names like every unknown one. */
const jwkSchema = once(() =>
  z
    .object({
      kty: z.string().check(z.maxLength(16)),
      crv: member(),
      x: member(),
      y: member(),
      n: member(),
      e: member(),
      alg: member(),
      kid: z.optional(
        z.nullable(z.string().check(z.regex(/^[\x21-\x7e]{1,255}$/, "must be 1 to 255 visible ASCII characters"))),
      ),
      use: member(),
      key_ops: z.optional(z.nullable(z.array(z.string().check(z.maxLength(32))).check(z.maxLength(8)))),
      ext: z.optional(z.nullable(z.boolean())),
    })
    .check(
      z.describe(
        "A public key (RFC 7517) instead of an API key: EC P-256 (ES256), OKP Ed25519 (EdDSA), or RSA of 2048 to 4096 bits with `alg` RS256 or PS256. Without a `kid` it gets its thumbprint.",
      ),
    ),
);

const DAY_MS = 86_400_000;
const DEFAULT_DAYS = 14;
const MAX_DAYS = 366;

/** Several API keys of an agent: one for each place that it runs at, ended one by one. */
export const keyRoutes = [
  route({
    method: "GET",
    path: "/keys",
    auth: "admin",
    // An owner is shown the keys of the agents that are theirs.
    roles: ["admin", "owner", "auditor"],
    summary:
      "List the keys that end within some days, those that end first at the front; an owner is shown their own agents'",
    query: () =>
      z.object({
        ...agentListQuery().shape,
        days: z._default(wholeNumber(1, MAX_DAYS).check(z.describe("How many days from now.")), DEFAULT_DAYS),
      }),
    response: () =>
      z.object({
        success: success(),
        keys: z.array(keySchema()).check(z.describe("Those of revoked agents are left out, so a page may be short.")),
        details: z
          .record(z.string(), z.object({ agent_id: z.string(), agent_name: z.string() }))
          .check(z.describe("Whose each key is, by its id.")),
        next_cursor: nextCursor(),
      }),
    async handle({ env, query, caller }) {
      const { keys, next } = await listEndingKeys(env.DB, {
        withinMs: query.days * DAY_MS,
        ownerId: caller.seesAll ? undefined : caller.id,
        limit: query.limit,
        after: query.cursor === undefined ? undefined : fromCursor(query.cursor),
      });
      return {
        success: true,
        keys: keys.map(({ key }) => toKeyResponse(key)),
        details: Object.fromEntries(
          keys.map(({ key, agentId, agentName }) => [key.id, { agent_id: agentId, agent_name: agentName }]),
        ),
        next_cursor: next && toCursor(next),
      };
    },
  }),

  route({
    method: "GET",
    path: "/agents/{id}/keys",
    auth: "self",
    summary: "List an agent's valid keys, newest first, without what is secret",
    query: agentListQuery,
    response: () =>
      z.object({
        success: success(),
        keys: z.array(keySchema()),
        details: keyDetailsSchema(),
        next_cursor: nextCursor(),
      }),
    async handle({ env, params, query }) {
      const after = query.cursor === undefined ? undefined : fromCursor(query.cursor);
      const keys = await listKeys(env.DB, params.id, { limit: query.limit, after });
      if (!keys) throw notFound("The agent");
      const { rows, next_cursor } = cursorPage(keys, query);
      return { success: true, keys: rows.map(toKeyResponse), details: toKeyDetails(rows), next_cursor };
    },
  }),

  route({
    method: "POST",
    path: "/agents/{id}/keys",
    auth: "self",
    idempotent: { secrets: ["credentials.api_key"] },
    summary:
      "Give an agent another API key, shown here and never again, or register a public key of it; the others stay as they are",
    body: () =>
      z._default(
        z.object({
          label: z.optional(z.nullable(readableLine(1, 100))),
          expires_in: z.optional(keyExpiresIn()),
          allowed_ips: z.optional(allowedIps()),
          jwk: z.optional(z.nullable(jwkSchema())),
          api_key: ownKeySchema(),
        }),
        {},
      ),
    response: () =>
      z.object({
        success: success(),
        message: message(),
        key: keySchema(),
        credentials: z.optional(credentialsSchema()).check(z.describe("The new API key; none for a public key.")),
        details: z.optional(keyDetailsSchema()),
      }),
    status: 201,
    async handle(call) {
      const { env, config, body } = call;
      const authority = await requireProofForKey(call, body.api_key);
      const settings = {
        label: body.label ?? null,
        lifeMs: toLifeMs(body.expires_in),
        allowedIps: body.allowed_ips ?? null,
      };
      const change = toAgentChange({ ...call, authority });
      if (body.jwk) {
        const { jwk } = await parseJwk(body.jwk);
        const added = await addPublicKey(env.DB, change, settings, jwk);
        if (added.result !== "created") throw keyRefused(added.result);
        return {
          success: true,
          message: "Public key registered. Assertions that are signed with its private key are accepted from now on.",
          key: toKeyResponse(added.key),
          details: toKeyDetails([added.key]),
        };
      }
      const created = await createKey(env.DB, change, settings, config.peppers);
      if (created.result !== "created") throw keyRefused(created.result);
      const { key, apiKey } = created;
      return {
        success: true,
        message: "Key created. Keep it: it is not shown again.",
        key: toKeyResponse(key),
        credentials: toCredentials(apiKey),
      };
    },
  }),

  route({
    method: "DELETE",
    path: "/agents/{id}/keys/{key_id}",
    auth: "self",
    summary: "End a key and the sessions that it opened",
    body: () => z.nullish(z.object({ api_key: ownKeySchema() })),
    response: () => z.object({ success: success(), message: message() }),
    async handle(call) {
      const { env, params } = call;
      const authority = await requireRecentProof(call, call.body?.api_key);
      const ended = await deleteKey(env.DB, toAgentChange({ ...call, authority }), params.key_id);
      if (!ended) throw notFound("The key");
      cacheSessionEnds(call, ended);
      return { success: true, message: `The key is deleted, and ${ended.length} sessions that it opened have ended.` };
    },
  }),
];

function toKeyResponse(key: AgentKey): z.input<ReturnType<typeof keySchema>> {
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

const toKeyDetails = (keys: readonly AgentKey[]): z.input<ReturnType<typeof keyDetailsSchema>> =>
  Object.fromEntries(keys.flatMap(({ id, jwk }) => (jwk ? [[id, { kid: jwk.kid, alg: jwk.alg }]] : [])));

/** @throws {ApiError} 400 that names the member which is not one of a public key that can be used. */
async function parseJwk(received: ReceivedJwk) {
  const read = await readPublicJwk(received);
  if ("jwk" in read) return read;
  const { member: name, message: text } = read.fault;
  throw badRequest(`jwk.${name} ${text}.`, [{ field: `jwk.${name}`, message: text }]);
}

/** The error for a key that an agent does not get. */
function keyRefused(reason: "unknown" | "already_revoked" | "too_many" | "kid_taken" | "wider"): ApiError {
  switch (reason) {
    case "unknown":
    case "already_revoked":
      return changeRefused({ result: reason });
    case "wider": {
      const message = "must be among the networks of the key by which you have proved yourself";
      return badRequest(`The key would be wider than yours. allowed_ips ${message}.`, [
        { field: "allowed_ips", message },
      ]);
    }
    case "too_many":
      return conflict("too_many_keys", `An agent may have ${MAX_KEYS_PER_AGENT} keys. Delete one first.`);
    case "kid_taken":
      return conflict(
        "kid_taken",
        "The agent has a key with this `kid`. Delete that one first, or send another `kid`.",
      );
  }
}
