import { recordInBackground } from "../audit/record.ts";
import { ApiError, forbidden, notFound } from "../http/errors.ts";
import { route, type Call } from "../http/route.ts";
import { page } from "./paging.ts";
import { cacheAgentRevocation } from "../tokens/revocation.ts";
import { toAgentResponse, type Status } from "../agents/agent.ts";
import {
  removeAgent,
  setPermissions,
  setStatus,
  setTier,
  type AgentChangeResult,
  type AgentChange,
} from "../agents/change.ts";
import { validatePermissions, invalidPermissions } from "../agents/grants.ts";
import { fromCursor, toCursor } from "../agents/page.ts";
import { createAgent, decideRegistration } from "../agents/register.ts";
import { rotateKey } from "../agents/rotate-key.ts";
import * as schemas from "./agent-schemas.ts";
import { findAgent, listAgents, searchAgents } from "../agents/store.ts";

export const agentRoutes = [
  route({
    method: "POST",
    path: "/agents/register",
    auth: "registration",
    limited: "address",
    body: schemas.registerBody,
    status: 201,
    async handle(call) {
      const { env, config, body, caller, now } = call;
      // Who asks for nothing gets nothing.
      const permissions = body.permissions ?? [];
      const verdict = decideRegistration(permissions, caller, config.registration, config.catalogue);
      switch (verdict.verdict) {
        case "malformed":
          throw invalidPermissions(verdict.faults);
        case "closed":
          throw forbidden(
            "registration_closed",
            "Only an administrator registers agents here. Ask one, or send the bootstrap token.",
          );
        case "too_much":
          throw forbidden(
            "grant_beyond_caller",
            `${verdict.permissions.join(", ")} can only be granted by an administrator.`,
            { required: "*:*:*", granted: caller.kind === "agent" ? [...caller.permissions] : [] },
          );
      }
      const wish = {
        name: body.name,
        ownerEmail: body.owner_email,
        description: body.description ?? null,
        permissions,
      };
      const { agent, apiKey } = await createAgent(env.DB, wish, verdict.status, caller, {
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
        credentials: { api_key: apiKey, token_type: "Bearer" },
      };
    },
  }),

  route({
    method: "GET",
    path: "/agents",
    auth: "admin",
    query: schemas.agentsQuery,
    async handle({ env, query }) {
      const { limit, offset, status, q, cursor } = query;
      const wanted = { limit, offset, status, after: cursor ? fromCursor(cursor) : undefined };
      const { agents, total } = q ? await searchAgents(env.DB, q, wanted) : await listAgents(env.DB, wanted);
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
    async handle({ env, caller, params }) {
      const id = params.id ?? "";
      const agent = caller.agent.id === id ? caller.agent : await findAgent(env.DB, id);
      if (!agent) throw notFound("The agent");
      return { success: true, agent: toAgentResponse(agent), last_verified_at: isoOrNull(agent.lastVerifiedAt) };
    },
  }),

  route({
    method: "POST",
    path: "/agents/{id}/revoke",
    auth: "self",
    handle: (call) => changeStatus(call, "revoked"),
  }),

  route({
    method: "PUT",
    path: "/agents/{id}/status",
    auth: "admin",
    body: schemas.statusBody,
    handle: (call) => changeStatus(call, call.body.status),
  }),

  route({
    method: "PUT",
    path: "/agents/{id}/tier",
    auth: "admin",
    body: schemas.tierBody,
    async handle(call) {
      const { tier } = call.body;
      return changeResponse(call, await setTier(call.env.DB, toAgentChange(call), tier), `tier is ${tier}`);
    },
  }),

  route({
    method: "PUT",
    path: "/agents/{id}/permissions",
    auth: "admin",
    body: schemas.permissionsBody,
    async handle(call) {
      const { env, config, body } = call;
      const faults = validatePermissions(body.permissions, config.catalogue);
      if (faults.length > 0) throw invalidPermissions(faults);
      const changed = await setPermissions(env.DB, toAgentChange(call), body.permissions);
      return changeResponse(call, changed, `permissions are ${body.permissions.join(" ")}`);
    },
  }),

  route({
    method: "POST",
    path: "/agents/{id}/rotate-key",
    auth: "self",
    body: schemas.rotateKeyBody,
    async handle(call) {
      const { env, config, body } = call;
      const rotated = await rotateKey(env.DB, toAgentChange(call), body.overlap_seconds * 1000, config.pepper);
      if (rotated.result !== "rotated") throw changeRefused(rotated.result);
      const { agent, apiKey, previousExpiresAt } = rotated;
      const atOnce = body.overlap_seconds === 0;
      if (atOnce) cacheRevocation(call, agent.id, agent.notBefore);
      recordInBackground(call, agent.id, `API key rotated by ${call.caller.agent.id}`);
      return {
        success: true,
        message: atOnce
          ? "The key is replaced, and all tokens have ended. Keep the new one: it is not shown again."
          : `The key is replaced; the former is good for ${body.overlap_seconds} seconds more. Keep the new one: it is not shown again.`,
        credentials: { api_key: apiKey, token_type: "Bearer" },
        previous_key_expires_at: new Date(previousExpiresAt).toISOString(),
      };
    },
  }),

  route({
    method: "DELETE",
    path: "/agents/{id}",
    auth: "admin",
    async handle(call) {
      const of = toAgentChange(call);
      const notBefore = await removeAgent(call.env.DB, of);
      if (notBefore === undefined) throw notFound("The agent");
      cacheRevocation(call, of.id, notBefore);
      recordInBackground(call, of.by.agentId, `deleted agent ${of.id}`);
      return { success: true, message: `Agent ${of.id} is deleted.` };
    },
  }),
];

const isoOrNull = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());

type ChangeCall = Pick<
  Call<"self">,
  "caller" | "authority" | "params" | "env" | "config" | "now" | "ipAddress" | "waitUntil"
>;

const toAgentChange = ({ authority, params, now }: ChangeCall): AgentChange => ({
  id: params.id ?? "",
  by: authority,
  now,
});

function cacheRevocation({ env, config, waitUntil }: ChangeCall, agentId: string, notBefore: number): void {
  const edge = { revocations: env.REVOCATIONS, accessTokenTtl: config.accessTokenTtl };
  waitUntil(cacheAgentRevocation(edge, agentId, notBefore));
}

async function changeStatus(call: ChangeCall, status: Status) {
  const changed = await setStatus(call.env.DB, toAgentChange(call), status);
  if (changed.result === "changed" && status !== "active")
    cacheRevocation(call, changed.agent.id, changed.agent.notBefore);
  return changeResponse(call, changed, `status is ${status}`);
}

function changeResponse(call: ChangeCall, changed: AgentChangeResult, what: string) {
  if (changed.result === "unknown" || changed.result === "final") throw changeRefused(changed.result);
  const { agent } = changed;
  if (changed.result === "changed") recordInBackground(call, agent.id, `${what}, set by ${call.caller.agent.id}`);
  return {
    success: true,
    message: changed.result === "changed" ? `The agent's ${what}.` : "Nothing to change: it stands so already.",
    agent: toAgentResponse(agent),
  };
}

function changeRefused(result: "unknown" | "final"): ApiError {
  if (result === "unknown") return notFound("The agent");
  return new ApiError(409, {
    code: "agent_revoked",
    error: "Conflict",
    message: "A revoked agent cannot be changed. Register a new one.",
  });
}
