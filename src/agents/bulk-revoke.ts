import { actorId, type Authority } from "../authority/authority.ts";
import { newEvent, type Event } from "../outbox/event.ts";
import { nameOfActor, newEntry, type RecordOrigin } from "../outbox/record.ts";
import type { AgentFilter } from "./page.ts";
import { readRevocable, revokeAgents } from "./store/bulk-revoke.ts";

/** How many agents one call revokes. The caller repeats it for more. */
export const MAX_REVOKED_AT_ONCE = 500;

/** How many agents a filter may have to look at. One that looks at more has to be narrowed. */
export const MAX_REVOCABLE = 20_000;

export type BulkRevocation =
  /** The filter looks at more than {@link MAX_REVOCABLE} agents. */
  | { readonly result: "too_broad" }
  /** A dry run, or another number than was expected: nothing was changed. */
  | { readonly result: "counted" | "unexpected"; readonly matched: number }
  | { readonly result: "revoked"; readonly matched: number; readonly ids: readonly string[] };

/**
 * Revokes the agents that a filter selects, for good: those that are not revoked yet, and not the caller. At most
 * {@link MAX_REVOKED_AT_ONCE} of them, the newest first. Two D1 round trips; a dry run takes one.
 *
 * @param expected how many the caller expects, from a dry run. Undefined for a dry run. If the filter selects another number when the
 *   agents are read, or when they are written, nothing is changed.
 */
export async function bulkRevoke(
  db: D1Database,
  filter: AgentFilter,
  { by, origin, now, expected }: { by: Authority; origin: RecordOrigin; now: number; expected: number | undefined },
): Promise<BulkRevocation> {
  const read = await readRevocable(db, filter, by.agentId ?? "", { looked: MAX_REVOCABLE, limit: MAX_REVOKED_AT_ONCE });
  if (read.looked > MAX_REVOCABLE) return { result: "too_broad" };
  const { matched, ids } = read;
  if (expected === undefined) return { result: "counted", matched };
  if (matched !== expected) return { result: "unexpected", matched };
  if (matched === 0) return { result: "revoked", matched, ids };
  const at = new Date(now).toISOString();
  const events = ids.flatMap((id): Event[] => [
    newEvent("agent.status_updated", id, now, {
      agent_id: id,
      status: "revoked",
      updated_at: at,
      updated_by: actorId(by),
    }),
    newEvent("agent.revoked", id, now, { agent_id: id, revoked_at: at, revoked_by: actorId(by) }),
  ]);
  const record = newEntry("agent.status_updated", now, origin, {
    after: { status: "revoked" },
    message: `status is revoked, set by ${nameOfActor(origin)} with others`,
  });
  const isDone = await revokeAgents(db, ids, { by, events, record });
  return isDone ? { result: "revoked", matched, ids } : { result: "unexpected", matched };
}
