import * as z from "zod/mini";
import { STATUSES, TIERS } from "../agents/agent.ts";

export const agentSchema = z.object({
  agent_id: z.string(),
  name: z.string(),
  owner_email: z.string(),
  permissions: z.array(z.string()),
  status: z.enum(STATUSES),
  tier: z.enum(TIERS),
  created_at: z.iso.datetime(),
  updated_at: z.iso.datetime(),
});

const credentialsSchema = z.object({
  api_key: z.string().check(z.describe("Shown in this response and never again.")),
  token_type: z.literal("Bearer"),
});

const registered = z.object({
  success: z.literal(true),
  message: z.string(),
  agent: agentSchema,
  credentials: credentialsSchema,
});

const oneAgent = z.object({
  success: z.literal(true),
  agent: agentSchema,
  last_verified_at: z
    .nullable(z.iso.datetime())
    .check(z.describe("When the agent last proved itself with its API key; null if it never has.")),
});
const changedAgent = z.object({ success: z.literal(true), message: z.string(), agent: agentSchema });
const deletedAgent = z.object({ success: z.literal(true), message: z.string() });

const rotatedKey = z.object({
  success: z.literal(true),
  message: z.string(),
  credentials: credentialsSchema,
  previous_key_expires_at: z.iso.datetime(),
});

const agentList = z.object({
  success: z.literal(true),
  agents: z.array(agentSchema),
  total: z.int(),
  limit: z.int(),
  offset: z.int(),
  has_more: z.boolean(),
  next_cursor: z.nullable(z.string()).check(z.describe("The `cursor` of the next page; null on the last one.")),
});

/** What each route does, and what it answers when all is well. For the reference and the tests: the Worker does not carry it. */
export const agentResponses = {
  "POST /agents/register": {
    summary: "Register an agent; its API key is shown here and never again",
    answer: registered,
  },
  "GET /agents": {
    summary: "List agents, newest first; q finds those whose name, owner or id begins with it",
    answer: agentList,
  },
  "GET /agents/{id}": { summary: "Read an agent", answer: oneAgent },
  "POST /agents/{id}/revoke": {
    summary:
      "Revoke an agent for good, and with it every token and key it has; proxied reads end within STANDING_TTL_SECONDS",
    answer: changedAgent,
  },
  "PUT /agents/{id}/status": {
    summary:
      "Set an agent's status; revoked is final, and leaving active ends its tokens, for proxied reads within STANDING_TTL_SECONDS",
    answer: changedAgent,
  },
  "PUT /agents/{id}/tier": { summary: "Set an agent's tier, and with it its rate limit", answer: changedAgent },
  "PUT /agents/{id}/permissions": {
    summary:
      "Set what an agent may do; its tokens are narrowed to it with their next request, proxied reads within STANDING_TTL_SECONDS",
    answer: changedAgent,
  },
  "POST /agents/{id}/rotate-key": {
    summary:
      "Give an agent a fresh API key; the former stays good for the overlap, and with none its sessions end as well",
    answer: rotatedKey,
  },
  "DELETE /agents/{id}": {
    summary: "Delete an agent with its keys, sessions and webhooks; its activity stays for its retention",
    answer: deletedAgent,
  },
};
