import { newEvent } from "../outbox/event.ts";
import { newEntry, SYSTEM_ORIGIN } from "../outbox/record.ts";
import { deleteExpiredKeys } from "./store/keys.ts";
import { deleteUnapproved, findUnapproved } from "./store/unapproved.ts";
import { DAY_MS } from "../time/lengths.ts";

/** Deletes up to `limit` API keys whose overlap with their successor is over at `now`, in milliseconds. Returns how many. */
export const sweepKeys = (db: D1Database, now: number, limit: number): Promise<number> =>
  deleteExpiredKeys(db, now, limit);

/**
 * Deletes up to `limit` agents that were registered more than `days` days before `now`, in milliseconds, and that since then nobody has
 * approved or changed and that never verified themselves. Returns how many it found.
 */
export async function sweepUnapproved(db: D1Database, days: number, now: number, limit: number): Promise<number> {
  const ids = await findUnapproved(db, now - days * DAY_MS, limit);
  if (ids.length === 0) return 0;
  const deleted_at = new Date(now).toISOString();
  const events = ids.map((id) =>
    newEvent("agent.deleted", id, now, { agent_id: id, deleted_at, deleted_by: "agentauth" }),
  );
  const message = `deleted by agentauth: not approved within ${days} days`;
  await deleteUnapproved(db, ids, events, newEntry("agent.deleted", now, SYSTEM_ORIGIN, { message }));
  return ids.length;
}
