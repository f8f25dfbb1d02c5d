import * as z from "zod/mini";
import { STATUSES, TIERS, type Agent } from "../agents/agent.ts";
import type { DetailedAgent } from "../agents/details.ts";
import { ACTOR_TYPES } from "../authority/actor-row.ts";
import { toTimestamp } from "./timestamp.ts";
import { once } from "../validation/once.ts";

/** The Agent object of the wire: exactly these keys. */
export const agentSchema = once(() =>
  z.object({
    agent_id: z.string(),
    name: z.string(),
    owner_email: z.string(),
    permissions: z.array(z.string()),
    status: z.enum(STATUSES),
    tier: z.enum(TIERS),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  }),
);

export function toAgentResponse(agent: Agent): z.input<ReturnType<typeof agentSchema>> {
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
export const credentialsSchema = once(() =>
  z.object({
    api_key: z.string().check(z.describe("Shown in this response and never again.")),
    token_type: z.literal("Bearer"),
  }),
);

export const toCredentials = (apiKey: string): z.input<ReturnType<typeof credentialsSchema>> => ({
  api_key: apiKey,
  token_type: "Bearer",
});

/** Who created or approved something. */
export const actorSchema = once(() =>
  z.object({
    type: z.enum(ACTOR_TYPES),
    id: z.nullable(z.string()),
    name: z.nullable(z.string()).check(z.describe("The name at that time.")),
  }),
);

/** What stands beside an Agent object, which has exactly its keys for ever. */
export const agentDetailsSchema = once(() =>
  z.object({
    description: z.nullable(z.string()),
    metadata: z.record(z.string(), z.string()),
    last_verified_at: z
      .nullable(z.iso.datetime())
      .check(z.describe("When the agent last proved itself with its API key; null if it never has.")),
    created_by: z.nullable(actorSchema()).check(z.describe("Null for an agent that a stranger registered.")),
    approved_by: z.nullable(actorSchema()).check(z.describe("Who first made the agent active; null if nobody had to.")),
    rate_limit: z.nullable(z.int()).check(z.describe("Requests a minute; null for the tier's.")),
    allowed_ips: z.nullable(z.array(z.string())).check(z.describe("Networks; null for any address.")),
    dpop_bound_access_tokens: z
      .boolean()
      .check(z.describe("Whether a token of the agent is good only if it is bound to a key (DPoP).")),
    owner_person_id: z.nullable(z.string()).check(z.describe("The person who owns the agent; null for nobody.")),
    key_count: z.int().check(z.describe("Keys that are valid.")),
    session_count: z.int().check(z.describe("Sessions that can still refresh.")),
  }),
);

export function toAgentDetails({ agent, details }: DetailedAgent): z.input<ReturnType<typeof agentDetailsSchema>> {
  return {
    description: details.description,
    metadata: { ...details.metadata },
    last_verified_at: toTimestamp(agent.lastVerifiedAt),
    created_by: details.createdBy,
    approved_by: details.approvedBy,
    rate_limit: agent.rateLimit,
    allowed_ips: agent.allowedIps ? [...agent.allowedIps] : null,
    dpop_bound_access_tokens: agent.requiresDpop,
    owner_person_id: details.ownerPersonId,
    key_count: details.keyCount,
    session_count: details.sessionCount,
  };
}
