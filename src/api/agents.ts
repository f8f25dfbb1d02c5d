import * as z from "zod/mini";
import { route } from "../access/route.ts";
import { STATUSES } from "../agents/agent.ts";
import { removeAgent } from "../agents/change.ts";
import { fromCursor, toCursor } from "../agents/page.ts";
import { findAgent, listAgents } from "../agents/read.ts";
import { createAgent, decideRegistration } from "../agents/register.ts";
import { recordInBackground } from "../audit/record.ts";
import { forbidden, notFound } from "../http/errors.ts";
import { readableLine, readableText } from "../validation/readable-text.ts";
import { cacheRevocation, invalidPermissions, permissionsSchema, toAgentChange } from "./agent-changes.ts";
import { agentSchema, credentialsSchema, toAgentResponse, toCredentials } from "./agent-schema.ts";
import { page, paging } from "./pagination.ts";
import { toTimestamp } from "./timestamp.ts";

export const registerBody = z.object({
  name: readableLine(3, 100),
  owner_email: z.string().check(z.trim(), z.maxLength(255), z.email()),
  permissions: z.optional(z.nullable(permissionsSchema)),
  description: z.optional(z.nullable(readableText(500))),
});

/** Registering, listing, reading and deleting agents. */
export const agentRoutes = [
  route({
    method: "POST",
    path: "/agents/register",
    auth: "registration",
    summary: "Register an agent; its API key is shown here and never again",
    limited: "address",
    body: registerBody,
    response: z.object({
      success: z.literal(true),
      message: z.string(),
      agent: agentSchema,
      credentials: credentialsSchema,
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
      const newAgent = {
        name: body.name,
        ownerEmail: body.owner_email,
        description: body.description ?? null,
        permissions,
      };
      const { agent, apiKey } = await createAgent(env.DB, newAgent, decision.status, caller, {
        pepper: config.pepper,
        now,
      });
      recordInBackground(call, agent.id, "registered");
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
    summary: "List agents, newest first; q finds those whose name, owner or id begins with it",
    query: z.object({
      ...paging,
      status: z.optional(z.enum(STATUSES)),
      q: z.optional(
        z
          .string()
          .check(z.trim(), z.maxLength(100), z.describe("The beginning of a name, of an owner's address or of an id.")),
      ),
      cursor: z.optional(
        z.string().check(
          z.refine((text) => fromCursor(text) !== undefined, { error: "must be a next_cursor of this list" }),
          z.describe("The `next_cursor` of the previous page."),
        ),
      ),
    }),
    response: z.object({
      success: z.literal(true),
      agents: z.array(agentSchema),
      total: z.int(),
      limit: z.int(),
      offset: z.int(),
      has_more: z.boolean(),
      next_cursor: z.nullable(z.string()).check(z.describe("The `cursor` of the next page; null on the last one.")),
    }),
    async handle({ env, query }) {
      const { limit, offset, status, q, cursor } = query;
      const filter = { limit, offset, status, q, after: cursor ? fromCursor(cursor) : undefined };
      const { agents, total } = await listAgents(env.DB, filter);
      const { rows, hasMore } = page(agents, query);
      const last = rows.at(-1);
      return {
        success: true,
        agents: rows.map(toAgentResponse),
        total,
        limit,
        offset,
        has_more: hasMore,
        next_cursor: hasMore && last ? toCursor(last) : null,
      };
    },
  }),

  route({
    method: "GET",
    path: "/agents/{id}",
    auth: "self",
    summary: "Read an agent",
    response: z.object({
      success: z.literal(true),
      agent: agentSchema,
      last_verified_at: z
        .nullable(z.iso.datetime())
        .check(z.describe("When the agent last proved itself with its API key; null if it never has.")),
    }),
    async handle({ env, caller, params }) {
      const agent = caller.agent.id === params.id ? caller.agent : await findAgent(env.DB, params.id);
      if (!agent) throw notFound("The agent");
      return { success: true, agent: toAgentResponse(agent), last_verified_at: toTimestamp(agent.lastVerifiedAt) };
    },
  }),

  route({
    method: "DELETE",
    path: "/agents/{id}",
    auth: "admin",
    summary: "Delete an agent with its keys, sessions and webhooks; its activity stays for its retention",
    response: z.object({ success: z.literal(true), message: z.string() }),
    async handle(call) {
      const change = toAgentChange(call);
      const notBefore = await removeAgent(call.env.DB, change);
      if (notBefore === undefined) throw notFound("The agent");
      cacheRevocation(call, change.id, notBefore);
      recordInBackground(call, change.by.agentId, `deleted agent ${change.id}`);
      return { success: true, message: `Agent ${change.id} is deleted.` };
    },
  }),
];
