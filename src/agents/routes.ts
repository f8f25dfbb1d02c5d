import { note } from "../activity/record.ts";
import { ApiError, forbidden, notFound } from "../http/errors.ts";
import { route, type Call } from "../http/route.ts";
import { tellEdgeOfAgent } from "../tokens/revocation.ts";
import { toWire, type Agent, type Status } from "./agent.ts";
import { setPermissions, setStatus, type Changed, type ChangeOf } from "./change.ts";
import { faultsOf, ungrantable } from "./grants.ts";
import { createAgent, judgeRegistration } from "./register.ts";
import { changedAgent, oneAgent, permissionsBody, registerBody, registered, statusBody } from "./schemas.ts";
import { findAgent } from "./store.ts";

/** What an agent gets that asks for nothing in particular. */
const DEFAULT_PERMISSIONS: readonly string[] = ["zendesk:tickets:read"];

export const agentRoutes = [
  route({
    method: "POST",
    path: "/agents/register",
    auth: "registration",
    limited: "address",
    summary: "Register an agent; its API key is shown here and never again",
    body: registerBody,
    answer: registered,
    status: 201,
    async handle(call) {
      const { env, config, body, caller, now } = call;
      const permissions = body.permissions ?? DEFAULT_PERMISSIONS;
      const verdict = judgeRegistration(permissions, caller, config.registration, config.catalogue);
      switch (verdict.verdict) {
        case "malformed":
          throw ungrantable(verdict.faults);
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
      const { agent, apiKey } = await createAgent(env.DB, wish, verdict.status, config.pepper, now);
      note(call, agent.id, "registered");
      return {
        success: true,
        message:
          agent.status === "active"
            ? "Agent registered. Keep the API key: it is not shown again."
            : "Agent registered and waiting for an administrator's approval. Keep the API key: it is not shown again.",
        agent: toWire(agent),
        credentials: { api_key: apiKey, token_type: "Bearer" },
      };
    },
  }),

  route({
    method: "GET",
    path: "/agents/{id}",
    auth: "self",
    summary: "Read an agent",
    answer: oneAgent,
    async handle({ env, caller, params }) {
      const id = params.id ?? "";
      const agent = caller.agent.id === id ? caller.agent : await findAgent(env.DB, id);
      if (!agent) throw notFound("The agent");
      return { success: true, agent: toWire(agent), last_verified_at: isoOrNull(agent.lastVerifiedAt) };
    },
  }),

  route({
    method: "POST",
    path: "/agents/{id}/revoke",
    auth: "self",
    summary: "Revoke an agent for good, and with it every token and key it has",
    answer: changedAgent,
    handle: (call) => changeStatus(call, "revoked"),
  }),

  route({
    method: "PUT",
    path: "/agents/{id}/status",
    auth: "admin",
    summary: "Set an agent's status; revoked is final, and leaving active ends its tokens",
    body: statusBody,
    answer: changedAgent,
    handle: (call) => changeStatus(call, call.body.status),
  }),

  route({
    method: "PUT",
    path: "/agents/{id}/permissions",
    auth: "admin",
    summary: "Set what an agent may do; its tokens are narrowed to it at once",
    body: permissionsBody,
    answer: changedAgent,
    async handle(call) {
      const { env, config, body } = call;
      const faults = faultsOf(body.permissions, config.catalogue);
      if (faults.length > 0) throw ungrantable(faults);
      const changed = await setPermissions(env.DB, changeOf(call), body.permissions);
      return changeAnswer(call, changed, `permissions set to ${body.permissions.join(" ")}`);
    },
  }),
];

const isoOrNull = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());

type ChangeCall = Pick<Call<"self">, "caller" | "params" | "env" | "config" | "now" | "ipAddress" | "waitUntil">;

const changeOf = ({ caller, params, now }: ChangeCall): ChangeOf => ({ id: params.id ?? "", by: caller.agent.id, now });

async function changeStatus(call: ChangeCall, status: Status) {
  const { env, config } = call;
  const changed = await setStatus(env.DB, changeOf(call), status);
  if (changed.result === "changed" && status !== "active") {
    const edge = { revocations: env.REVOCATIONS, accessTokenTtl: config.accessTokenTtl };
    call.waitUntil(tellEdgeOfAgent(edge, changed.agent.id, changed.agent.notBefore));
  }
  return changeAnswer(call, changed, `status set to ${status}`);
}

function changeAnswer(call: ChangeCall, changed: Changed, what: string) {
  const agent = changedOrThrow(changed);
  if (changed.result === "changed") note(call, agent.id, `${what} by ${call.caller.agent.id}`);
  return {
    success: true,
    message: changed.result === "changed" ? `Agent: ${what}.` : "Nothing to change: it stands so already.",
    agent: toWire(agent),
  };
}

/** @throws {ApiError} 404 for no such agent, 409 for one that is revoked. */
function changedOrThrow(changed: Changed): Agent {
  switch (changed.result) {
    case "unknown":
      throw notFound("The agent");
    case "final":
      throw new ApiError(409, {
        code: "agent_revoked",
        error: "Conflict",
        message: "A revoked agent cannot be changed. Register a new one.",
      });
    case "changed":
    case "unchanged":
      return changed.agent;
  }
}
