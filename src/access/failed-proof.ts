import type { Status } from "../agents/agent.ts";
import { recordInBackground } from "../audit/record.ts";
import type { RequestContext } from "../http/request-context.ts";
import { newEvent } from "../outbox/event.ts";
import { newEntry } from "../outbox/record.ts";
import { originOf } from "./origin.ts";
import { limitFailedVerifications } from "./rate-limit.ts";

/**
 * Counts and records that somebody failed to prove to be an agent, with the event `agent.verification_failed`. Only failures count: a
 * stranger who knows an agent's id cannot lock it out.
 *
 * @throws {ApiError} 429.
 */
export async function recordFailedProof(context: RequestContext, agentId: string): Promise<void> {
  const { env, now, ipAddress } = context;
  await limitFailedVerifications(env, agentId);
  const refused = { agentId, outcome: "denied", message: "verification failed" } as const;
  recordInBackground(context, newEntry("token.refused", now, originOf(context), refused), {
    isUnproven: true,
    event: newEvent("agent.verification_failed", agentId, now, {
      agent_id: agentId,
      failed_at: new Date(now).toISOString(),
      ip_address: ipAddress,
    }),
  });
}

/** What somebody waits for whose key is right, but whose agent is not active. */
export const WHAT_TO_WAIT_FOR: Readonly<Record<Exclude<Status, "active">, string>> = {
  inactive: "It can verify once an administrator has approved it.",
  suspended: "It can verify again once an administrator has activated it.",
  revoked: "It stays revoked: register another agent.",
};
