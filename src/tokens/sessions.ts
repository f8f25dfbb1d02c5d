import type { Authority } from "../authority/authority.ts";
import { nameOfActor, newEntry, type RecordOrigin } from "../outbox/record.ts";
import type { Session } from "./records.ts";
import { endSessionOf, readSessions } from "./store/session-list.ts";

/** The position in the list after which a page begins. Sessions are listed newest first. */
interface SessionPosition {
  readonly createdAt: number;
  readonly id: string;
}

/** One page of an agent's sessions, the newest first: one row more than the limit if there are more. Undefined for no agent. */
export const listSessions = (
  db: D1Database,
  agentId: string,
  { limit, after }: { limit: number; after: SessionPosition | undefined },
): Promise<Session[] | undefined> => readSessions(db, agentId, { limit: limit + 1, after });

/**
 * Ends a session of an agent: its refresh token at once, its access tokens with the next check. One D1 round trip.
 *
 * @returns whether the agent had such a session that had not ended.
 * @throws {AuthorityLostError}
 */
export function endSession(
  db: D1Database,
  agentId: string,
  sessionId: string,
  { by, origin, now }: { by: Authority; origin: RecordOrigin; now: number },
): Promise<boolean> {
  const message = `session ${sessionId} ended by ${nameOfActor(origin)}`;
  const before = { session_id: sessionId };
  const record = newEntry("session.ended", now, origin, { agentId, before, message });
  return endSessionOf(db, agentId, sessionId, { by, record });
}
