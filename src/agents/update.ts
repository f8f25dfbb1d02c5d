import { actorId } from "../authority/authority.ts";
import { newEvent } from "../outbox/event.ts";
import type { Agent } from "./agent.ts";
import { changeRecord, type AgentChange } from "./change.ts";
import type { DetailedAgent, Profile } from "./details.ts";
import { updateProfile } from "./store/profile.ts";

/** The result of an update. */
export type ProfileResult =
  | ({ readonly result: "changed" | "unchanged" } & DetailedAgent)
  | { readonly result: "unknown" }
  /** A revoked agent cannot be changed. */
  | { readonly result: "already_revoked" }
  /** The agent is not what {@link AgentChange.readAt} says. */
  | { readonly result: "changed_meanwhile"; readonly agent: Agent };

/**
 * Changes what is said of an agent, and its own limits. All of it in one statement, and only if a value differs from what the agent
 * has. One D1 round trip.
 *
 * @param fields the changed properties, as the event names them.
 */
export async function updateAgent(
  db: D1Database,
  change: AgentChange,
  profile: Profile,
  fields: readonly string[],
): Promise<ProfileResult> {
  const { id, by, now, readAt } = change;
  const event = newEvent("agent.updated", id, now, {
    agent_id: id,
    updated_at: new Date(now).toISOString(),
    updated_by: actorId(by),
    fields: [...fields],
  });
  const { changed, found } = await updateProfile(db, id, profile, {
    by,
    readAt,
    event,
    record: changeRecord(change, "agent.updated", { message: `${fields.join(", ")} changed` }),
  });
  if (!found) return { result: "unknown" };
  if (!changed && found.agent.status === "revoked") return { result: "already_revoked" };
  if (!changed && readAt !== undefined && found.agent.updatedAt !== readAt) {
    return { result: "changed_meanwhile", agent: found.agent };
  }
  return { result: changed ? "changed" : "unchanged", ...found };
}
