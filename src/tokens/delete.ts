import type { Authority } from "../authority/authority.ts";
import { deleteSessionsOf } from "./store/sessions.ts";

/** Rows of each table that one step deletes. */
const STEP_ROWS = 2000;

/**
 * Deletes some of an agent's sessions before the agent is deleted, so that no statement holds the database for long. One D1 round trip.
 *
 * @throws {AuthorityLostError}
 */
export const deleteSomeSessions = (db: D1Database, by: Authority, agentId: string): Promise<void> =>
  deleteSessionsOf(db, by, agentId, STEP_ROWS);
