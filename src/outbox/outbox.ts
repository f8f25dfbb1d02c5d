import { logFailure } from "../log/failure-log.ts";
import type { ChangedRow } from "./change.ts";
import { newCountEvent, type Event } from "./event.ts";
import {
  countFailure,
  countWaitingEvent,
  deleteCounts,
  deleteEvent,
  deleteSetAside,
  findExceededCounts,
  hasEvents,
  insertEventOf,
  insertEventsByThemselves,
  insertEventsOfAgents,
  insertEventOfSession,
  moveAside,
  readOldestEvents,
  replaceCount,
  type EventReference,
  type WaitingEvents,
} from "./store.ts";
import { DAY_MS, MINUTE_MS } from "../time/lengths.ts";

/**
 * The statement that inserts an event into the outbox if its change happened. It belongs into the D1 batch of the change, after the
 * statement that writes the change's id. So a crash leaves both or neither, and a change that does not happen has no event.
 */
export const insertEvent = (db: D1Database, event: Event, change: ChangedRow): D1PreparedStatement =>
  insertEventOf(db, event, change);

/**
 * The same for the change of a session whose agent is not known before the batch has run: the agent's id, in the event and in its
 * `data`, is that of the session.
 */
export const insertSessionEvent = (
  db: D1Database,
  event: Event,
  change: Omit<ChangedRow, "table">,
): D1PreparedStatement => insertEventOfSession(db, event, change);

/** The same for the events of many agents that one change has changed: each is inserted if its agent has the change's id. */
export const insertEvents = (db: D1Database, events: readonly Event[], changeId: string): D1PreparedStatement =>
  insertEventsOfAgents(db, events, changeId);

/**
 * The statement that inserts events of which the audit log has a record. One that waits already stays as it is, and one that has been
 * delivered is not delivered again, but counts again.
 */
export const insertRecordedEvents = (db: D1Database, events: readonly Event[]): D1PreparedStatement =>
  insertEventsByThemselves(db, events);

/** Up to `limit` events that wait in the outbox after the one with this id, the oldest first. */
export const oldestEvents = (db: D1Database, after: string, limit: number): Promise<WaitingEvents> =>
  readOldestEvents(db, after, limit);

/** Whether any event waits in the outbox. */
export const hasWaitingEvents = (db: D1Database): Promise<boolean> => hasEvents(db);

/**
 * Moves an event out of the outbox into `events_set_aside`, and logs it, so that the others do not wait for it.
 *
 * @param now milliseconds.
 */
export async function setEventAside(
  db: D1Database,
  { id, agentId, name }: EventReference,
  reason: string,
  now: number,
): Promise<void> {
  await db.batch(moveAside(db, id, reason, now));
  logFailure("event_set_aside", reason, { event_id: id, agent_id: agentId, name });
}

/** How often an event alone may fail before it is set aside. A database that is overloaded for a moment fails as well. */
const MAX_EVENT_FAILURES = 10;

/**
 * Counts that an event alone could not be handled, and sets it aside if that has happened too often. The event stays in the outbox
 * until then, and is tried again.
 *
 * @param now milliseconds.
 * @throws {Error} if the database does not answer: then it was not the event that failed.
 */
export async function countEventFailure(
  db: D1Database,
  event: EventReference,
  cause: unknown,
  now: number,
): Promise<void> {
  if ((await countFailure(db, event.id)) >= MAX_EVENT_FAILURES) await setEventAside(db, event, String(cause), now);
}

/** Deletes up to `limit` events that were set aside longer ago than the retention. Returns how many. @param now milliseconds. */
export const sweepSetAside = (db: D1Database, retentionDays: number, now: number, limit: number): Promise<number> =>
  deleteSetAside(db, now - retentionDays * DAY_MS, limit);

/** The statement that deletes an event from the outbox. */
export const takeEvent = (db: D1Database, { id }: Event): D1PreparedStatement => deleteEvent(db, id);

/** Minutes since the epoch. @param ms milliseconds. */
export const minuteOf = (ms: number): number => Math.floor(ms / MINUTE_MS);

/**
 * The statement that counts an event towards `MAX_EVENTS_PER_MINUTE`. It comes before the statement that deletes the event, so that an
 * event that another run has handled is not counted again.
 *
 * @param now milliseconds: the event counts in this minute.
 */
export const countEvent = (db: D1Database, { id }: Event, now: number): D1PreparedStatement =>
  countWaitingEvent(db, id, minuteOf(now));

/** How many counts one batch handles. Each needs two statements. */
const MAX_COUNTS_PER_BATCH = 50;
const MAX_BATCHES = 30;

/**
 * Puts one event into the outbox for each agent and event that was above its limit in a minute that is over: the newest that was
 * not sent, with `count`, how many were not, and `since`, when the first of them happened.
 *
 * @param now milliseconds.
 */
export async function insertCountEvents(db: D1Database, now: number): Promise<void> {
  for (let batch = 0; batch < MAX_BATCHES; batch++) {
    const counts = await findExceededCounts(db, minuteOf(now), MAX_COUNTS_PER_BATCH);
    const statements = counts.flatMap((count) => replaceCount(db, count, newCountEvent(count)));
    if (statements.length > 0) await db.batch(statements);
    if (counts.length < MAX_COUNTS_PER_BATCH) return;
  }
}

/** Deletes the counts of minutes in which every event was sent. Returns how many. */
export const sweepEventCounts = (db: D1Database, now: number, limit: number): Promise<number> =>
  deleteCounts(db, minuteOf(now), limit);
