import * as z from "zod/mini";
import { STATUSES, TIERS, type Agent } from "../agents/agent.ts";
import { toTimestamp } from "./timestamp.ts";

/** The Agent object of the wire: exactly these keys. */
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

export function toAgentResponse(agent: Agent): z.input<typeof agentSchema> {
  return {
    agent_id: agent.id,
    name: agent.name,
    owner_email: agent.ownerEmail,
    permissions: [...agent.permissions],
    status: agent.status,
    tier: agent.tier,
    created_at: toTimestamp(agent.createdAt),
    updated_at: toTimestamp(agent.updatedAt),
  };
}

/** The Credentials object of the wire. */
export const credentialsSchema = z.object({
  api_key: z.string().check(z.describe("Shown in this response and never again.")),
  token_type: z.literal("Bearer"),
});

export const toCredentials = (apiKey: string): z.input<typeof credentialsSchema> => ({
  api_key: apiKey,
  token_type: "Bearer",
});
