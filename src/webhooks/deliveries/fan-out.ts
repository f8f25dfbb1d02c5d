import { logFailure } from "../../log/failure-log.ts";
import type { Event } from "../../outbox/event.ts";
import {
  countEventFailure,
  hasWaitingEvents,
  insertCountEvents,
  oldestEvents,
  setEventAside,
} from "../../outbox/outbox.ts";
import { enqueueDeliveries, enqueueOutbox } from "./enqueue.ts";
import { claimOverdue } from "./store/attempts.ts";
import { insertDeliveries } from "./store/fan-out.ts";

/** Events of one batch. Each needs at most three statements. */
const MAX_EVENTS_PER_BATCH = 33;
/** Batches of one run: then a new message, or the next step of the job, goes on, so that others get their turn. */
const MAX_BATCHES = 30;

/** How long a delivery is due before another message is sent for it, in milliseconds. */
const OVERDUE_MS = 60_000;
/** How long a message may take to arrive, in milliseconds. */
const MESSAGE_LIFE_MS = 120_000;

type OutboxEnv = Pick<Env, "DB" | "DELIVERIES">;

/**
 * Turns the events of the outbox into deliveries and enqueues them, the oldest first. An event that cannot be handled stays behind, or
 * is set aside, and the others go on.
 *
 * @param now milliseconds.
 * @returns how many events it read, and whether there may be more.
 * @throws {Error} if the database does not answer.
 */
export async function emptyOutbox(env: OutboxEnv, now: number): Promise<{ events: number; more: boolean }> {
  let after = "";
  let read = 0;
  for (let batch = 0; batch < MAX_BATCHES; batch++) {
    const { events, unreadable, last } = await oldestEvents(env.DB, after, MAX_EVENTS_PER_BATCH);
    if (last === undefined) return { events: read, more: false };
    after = last;
    read += events.length + unreadable.length;
    for (const event of unreadable) await setEventAside(env.DB, event, "its data is not a JSON object", now);
    await enqueueDeliveries(env.DELIVERIES, await insertApartIfNeeded(env.DB, events, now), now, now);
  }
  return { events: read, more: true };
}

/** Inserts the deliveries of events in one batch or, if that fails, of each event by itself. Returns the deliveries' ids. */
async function insertApartIfNeeded(db: D1Database, events: readonly Event[], now: number): Promise<string[]> {
  if (events.length === 0) return [];
  try {
    return await insertDeliveries(db, events, now);
  } catch (cause) {
    logFailure("events_not_fanned_out", cause, { events: events.length });
  }
  const ids: string[] = [];
  for (const event of events) {
    try {
      ids.push(...(await insertDeliveries(db, [event], now)));
    } catch (cause) {
      await countEventFailure(db, event, cause, now);
    }
  }
  return ids;
}

/**
 * Enqueues a message that has the outbox emptied, if anything waits in it. Never rejects: a job empties it every minute.
 *
 * The queue repeats that message if the database does not answer, which the work that filled the outbox does not have to wait for.
 */
export async function requestOutboxDrain(env: OutboxEnv): Promise<void> {
  try {
    if (!(await hasWaitingEvents(env.DB))) return;
  } catch (cause) {
    logFailure("outbox_not_read", cause);
  }
  await enqueueOutbox(env.DELIVERIES);
}

/**
 * Drains the outbox of events whose message was lost, and of those that are sent as a count.
 *
 * @param now milliseconds.
 * @returns `limit` if there may be more, else 0.
 */
export async function drainOutbox(env: OutboxEnv, now: number, limit: number): Promise<number> {
  await insertCountEvents(env.DB, now);
  return (await emptyOutbox(env, now)).more ? limit : 0;
}

/**
 * Enqueues up to `limit` deliveries whose message was lost, because a Worker was killed or the queue refused it. Returns how
 * many. @param now milliseconds.
 */
export async function resendOverdue(env: OutboxEnv, now: number, limit: number): Promise<number> {
  const ids = await claimOverdue(env.DB, {
    dueBefore: now - OVERDUE_MS,
    enqueuedBefore: now - MESSAGE_LIFE_MS,
    now,
    limit,
  });
  await enqueueDeliveries(env.DELIVERIES, ids, now, now);
  return ids.length;
}
