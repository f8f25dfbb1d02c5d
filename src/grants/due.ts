import { newEvent, type Event } from "../outbox/event.ts";
import { hasEnded } from "../permissions/grant.ts";
import { nextStep, type Grant } from "./grant.ts";
import { findDue, writeDue, type DueAgent } from "./store.ts";

/** Agents that one batch writes. */
const BATCH_AGENTS = 25;

/**
 * Sends `grant.expiring` a day before the end of each grant, once; takes agents whose grant has ended out of the lists by permission; and
 * deletes grants that ended long ago. A grant gives nothing from its end on, whether this runs or not.
 *
 * @param now milliseconds, for the events' ids.
 * @returns how many agents it has looked at, up to `limit`.
 */
export async function announceAndSweepGrants(db: D1Database, now: number, limit: number): Promise<number> {
  const due = await findDue(db, limit);
  for (let from = 0; from < due.length; from += BATCH_AGENTS) {
    const statements = due.slice(from, from + BATCH_AGENTS).flatMap((agent) => {
      const events: Event[] = [];
      const grants = agent.grants.flatMap((grant) => advance(grant, agent, (event) => events.push(event), now));
      return writeDue(db, agent, grants, events);
    });
    await db.batch(statements);
  }
  return due.length;
}

/** A grant after all that is due for it has been done; none if it is deleted. */
function advance(grant: Grant, { id, readAt }: DueAgent, send: (event: Event) => void, now: number): Grant[] {
  const next = nextStep(grant);
  if (!next || next.at > readAt) return [grant];
  const again = (changed: Grant) => advance(changed, { id, readAt } as DueAgent, send, now);
  switch (next.step) {
    case "announce":
      // The job may not have run for a day.
      if (!hasEnded(grant, readAt)) {
        send(
          newEvent("grant.expiring", id, now, {
            agent_id: id,
            grant_id: grant.id,
            permission: grant.permission,
            expires_at: new Date(grant.expiresAt!).toISOString(),
          }),
        );
      }
      return again({ ...grant, isAnnounced: true });
    case "sweep":
      // That it has ended is all that still counts.
      return again({ ...grant, where: null, isSwept: true });
    case "delete":
      return [];
  }
}
