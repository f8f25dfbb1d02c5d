import * as z from "zod/mini";
import type { Caller } from "../access/authenticate.ts";
import { originOf } from "../access/origin.ts";
import type { PersonCaller } from "../access/person.ts";
import { requireAssertion } from "../access/assertion.ts";
import { requireRecentProof } from "../access/recent-proof.ts";
import { route } from "../access/route.ts";
import { removeAgent } from "../agents/change.ts";
import { fromCursor, toCursor, type AgentFilter } from "../agents/page.ts";
import { findAgent, listAgents } from "../agents/read.ts";
import { createAgent, decideRegistration } from "../agents/register.ts";
import { deleteSomeSessions } from "../tokens/delete.ts";
import { ADMIN } from "../permissions/grammar.ts";
import { forbidden, notFound, unavailable } from "../http/errors.ts";
import { readableText } from "../validation/readable-text.ts";
import { cacheRevocation, invalidPermissions, permissionsSchema, toAgentChange } from "./agent-changes.ts";
import { agentFilter, FILTER_NAMES, toFilter } from "./agent-filter.ts";
import { agentName, allowedIps, keyExpiresIn, metadata, ownerEmail, toLifeMs } from "./agent-fields.ts";
import {
  agentDetailsSchema,
  agentSchema,
  credentialsSchema,
  toAgentDetails,
  toAgentResponse,
  toCredentials,
} from "./agent-schema.ts";
import { cursorOf, nextCursor, onePosition, pagingByEither } from "./pagination.ts";
import { toTimestamp } from "./timestamp.ts";
import { once } from "../validation/once.ts";

export const registerBody = once(() =>
  z.object({
    name: agentName(),
    owner_email: ownerEmail(),
    permissions: z.optional(z.nullable(permissionsSchema())),
    description: z.optional(z.nullable(readableText(500))),
    metadata: z.optional(z.nullable(metadata())),
    allowed_ips: z.optional(allowedIps()),
    key_expires_in: z.optional(keyExpiresIn()),
  }),
);

const listQuery = once(() =>
  z.object({
    ...pagingByEither(),
    cursor: cursorOf((text) => fromCursor(text) !== undefined),
    q: z.optional(
      z
        .string()
        .check(z.trim(), z.maxLength(100), z.describe("The beginning of a name, of an owner's address or of an id.")),
    ),
    ...agentFilter().shape,
  }),
);

/** Steps in which a request deletes the sessions of an agent that has very many: it then takes about a minute. */
const MAX_DELETION_STEPS = 200;

const deletionUnfinished = () =>
  unavailable(
    "deletion_unfinished",
    "The agent has very many sessions, of which some are left. Its tokens have ended. Send the request again.",
  );

/**
 * Narrows a list to the agents that a person owns, unless they see all.
 *
 * @throws {ApiError} 403 for the agents of somebody else.
 */
function ownOnly(caller: Caller | PersonCaller, asked: string | undefined): { owner_person_id?: string } {
  if (caller.seesAll) return {};
  if (asked !== undefined && asked !== caller.id) {
    throw forbidden("role_required", "An owner may only list the agents that are theirs.");
  }
  return { owner_person_id: caller.id };
}

/** Registering, listing, reading and deleting agents. */
export const agentRoutes = [
  route({
    method: "POST",
    path: "/agents/register",
    auth: "registration",
    summary: "Register an agent; its API key is shown here and never again",
    limited: "address",
    idempotent: { secrets: ["credentials.api_key"] },
    body: registerBody,
    response: () =>
      z.object({
        success: z.literal(true),
        message: z.string(),
        agent: agentSchema(),
        credentials: credentialsSchema(),
      }),
    status: 201,
    async handle(call) {
      const { env, config, body, caller, now } = call;
      const permissions = body.permissions ?? [];
      const decision = decideRegistration(permissions, caller, config.registration, config.catalogue);
      switch (decision.verdict) {
        case "malformed":
          throw invalidPermissions(decision.faults);
        case "closed":
          throw forbidden(
            "registration_closed",
            "Only an administrator registers agents here. Ask one, or send the bootstrap token.",
          );
        case "exceeds_grantor":
          throw forbidden(
            "grant_beyond_caller",
            `${decision.permissions.join(", ")} can only be granted by an administrator.`,
            { required: "*:*:*", granted: caller.kind === "agent" ? [...caller.permissions] : [] },
          );
      }
      if (call.person && permissions.includes(ADMIN)) await requireAssertion({ ...call, caller: call.person });
      const newAgent = {
        name: body.name,
        ownerEmail: body.owner_email,
        description: body.description ?? null,
        permissions,
        metadata: body.metadata ?? {},
        allowedIps: body.allowed_ips ?? null,
        keyLifeMs: toLifeMs(body.key_expires_in),
      };
      const { agent, apiKey } = await createAgent(env.DB, newAgent, decision.status, caller, {
        peppers: config.peppers,
        catalogue: config.catalogue,
        now,
        origin: originOf(call),
      });
      return {
        success: true,
        message:
          agent.status === "active"
            ? "Agent registered. Keep the API key: it is not shown again."
            : "Agent registered and waiting for an administrator's approval. Keep the API key: it is not shown again.",
        agent: toAgentResponse(agent),
        credentials: toCredentials(apiKey),
      };
    },
  }),

  route({
    method: "GET",
    path: "/agents",
    auth: "admin",
    // An owner is shown the agents that are theirs.
    roles: ["admin", "owner", "auditor"],
    summary:
      "List agents, newest first, by status, tier, owner, permission or last use; q finds those whose name, owner or id begins with it",
    query: listQuery,
    response: () =>
      z.object({
        success: z.literal(true),
        agents: z.array(agentSchema()),
        details: z.record(z.string(), agentDetailsSchema()).check(z.describe("The details of each agent, by its id.")),
        total: z
          .int()
          .check(
            z.describe("With `tier`, `owner_email`, `permission` or `last_verified_before`: of the newest 2,000."),
          ),
        limit: z.int(),
        offset: z.int(),
        has_more: z.boolean(),
        next_cursor: nextCursor(),
      }),
    async handle({ env, query: asked, caller }) {
      const query = { ...asked, ...ownOnly(caller, asked.owner_person_id) };
      const { limit, offset, q, cursor: position } = query;
      const filter = toFilter(query);
      onePosition(query, ["offset", "cursor"]);
      const { status: _, ...narrower } = filter;
      const named = Object.keys(narrower).find((name) => narrower[name as keyof typeof narrower] !== undefined);
      // A search has at most some hundred matches of each index, and a filtered page may be short: neither knows all the other skips.
      if (named) {
        onePosition(query, [FILTER_NAMES[named as keyof AgentFilter], "q"]);
        onePosition(query, [FILTER_NAMES[named as keyof AgentFilter], "offset"]);
      }
      const after = position ? fromCursor(position) : undefined;
      const page = await listAgents(env.DB, { limit, offset: offset ?? 0, q, after, filter });
      return {
        success: true,
        agents: page.agents.map(({ agent }) => toAgentResponse(agent)),
        details: Object.fromEntries(page.agents.map((one) => [one.agent.id, toAgentDetails(one)])),
        total: page.total,
        limit,
        offset: offset ?? 0,
        has_more: page.next !== null,
        next_cursor: page.next && toCursor(page.next),
      };
    },
  }),

  route({
    method: "GET",
    path: "/agents/{id}",
    auth: "self",
    summary: "Read an agent",
    response: () =>
      z.object({
        success: z.literal(true),
        agent: agentSchema(),
        last_verified_at: z.nullable(z.iso.datetime()).check(z.describe("As in `details`.")),
        details: agentDetailsSchema(),
      }),
    async handle({ env, params }) {
      const found = await findAgent(env.DB, params.id);
      if (!found) throw notFound("The agent");
      return {
        success: true,
        agent: toAgentResponse(found.agent),
        last_verified_at: toTimestamp(found.agent.lastVerifiedAt),
        details: toAgentDetails(found),
      };
    },
  }),

  route({
    method: "DELETE",
    path: "/agents/{id}",
    auth: "admin",
    summary: "Delete an agent with its keys, sessions and webhooks; its activity stays for its retention",
    response: () => z.object({ success: z.literal(true), message: z.string() }),
    async handle(call) {
      // Clients that were published send no body with it, and tokens that go back to an older proof.
      const authority = call.caller.kind === "person" ? await requireRecentProof(call) : call.authority;
      const change = toAgentChange({ ...call, authority });
      let removal = await removeAgent(call.env.DB, change);
      for (let step = 0; removal.result === "too_many_sessions"; step++) {
        // Its tokens have ended, so that only verifications of this very moment can add to the sessions.
        if (step === MAX_DELETION_STEPS) throw deletionUnfinished();
        await deleteSomeSessions(call.env.DB, change.by, change.id);
        removal = await removeAgent(call.env.DB, change);
      }
      if (removal.result === "unknown") throw notFound("The agent");
      cacheRevocation(call, change.id, removal.tokenVersion);
      return { success: true, message: `Agent ${change.id} is deleted.` };
    },
  }),
];
