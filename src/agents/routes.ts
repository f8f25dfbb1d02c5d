import { recordActivity } from "../activity/record.ts";
import { badRequest, forbidden, notFound } from "../http/errors.ts";
import { limitAddress } from "../http/rate-limit.ts";
import { route } from "../http/route.ts";
import { toWire } from "./agent.ts";
import { createAgent, judgeRegistration } from "./register.ts";
import { oneAgent, registerBody, registered } from "./schemas.ts";
import { findAgent } from "./store.ts";

/** What an agent gets that asks for nothing in particular. */
const DEFAULT_PERMISSIONS: readonly string[] = ["zendesk:tickets:read"];

export const agentRoutes = [
  route({
    method: "POST",
    path: "/agents/register",
    auth: "registration",
    summary: "Register an agent; its API key is shown here and never again",
    body: registerBody,
    answer: registered,
    status: 201,
    async handle({ env, config, body, caller, now, ipAddress, waitUntil }) {
      if (caller.kind === "stranger") await limitAddress(env, ipAddress);
      const permissions = body.permissions ?? DEFAULT_PERMISSIONS;
      const verdict = judgeRegistration(permissions, caller, config.registration, config.catalogue);
      switch (verdict.verdict) {
        case "malformed":
          throw badRequest(
            `Not every permission can be granted. ${verdict.faults[0]?.permission}: ${verdict.faults[0]?.message}`,
            verdict.faults,
            "unknown_permission",
          );
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
      waitUntil(
        recordActivity(env.ACTIVITY, {
          agentId: agent.id,
          at: now,
          ipAddress,
          status: "success",
          message: "registered",
        }),
      );
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
      return { success: true, agent: toWire(agent) };
    },
  }),
];
