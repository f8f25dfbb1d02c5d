import type { Job } from "../../jobs/job.ts";
import type { EventData } from "../../outbox/event-data.ts";
import { MAX_EVENTS_PER_MINUTE, newEvent, type EventName } from "../../outbox/event.ts";
import { findEventCounts, deleteEventCounts, countEventStatements } from "../limits/store.ts";
import { enqueueDeliveries } from "./enqueue.ts";
import { fanOut, oldestEvents, claimOverdue } from "./store.ts";

/** Events of one batch: each needs three statements at the most. */
const EVENTS_AT_ONCE = 33;
const MAX_ROUNDS = 30;
/** Counts of one batch: each needs two statements. */
const COUNTS_AT_ONCE = 50;

/** A message is given this long to arrive before another is sent for the same delivery. */
const OVERDUE_MS = 60_000;
const MESSAGE_LIFE_MS = 120_000;

/** Empties the outbox into deliveries and asks the queue for them. Returns how many events there were. */
export async function emptyOutbox(env: Pick<Env, "DB" | "DELIVERIES">, now: number): Promise<number> {
  let total = 0;
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const events = await oldestEvents(env.DB, EVENTS_AT_ONCE);
    if (events.length === 0) break;
    total += events.length;
    await enqueueDeliveries(env.DELIVERIES, await fanOut(env.DB, events, now), now, now);
  }
  return total;
}

/** For events whose change went through while nothing behind it did, and for those that are told as a count. */
export const drainOutbox: Job = async (env, _config, now) => {
  for (let round = 0; round < MAX_ROUNDS; round++) {
    if ((await insertCountEvents(env.DB, now)) < COUNTS_AT_ONCE) break;
  }
  return emptyOutbox(env, now);
};

/**
 * Puts one event into the outbox for each agent and event that was above its limit in a minute that is over: the newest that was
 * not told, with `count`, how many were not, and `since`, when the first of them happened. Returns how many.
 */
async function insertCountEvents(db: D1Database, now: number): Promise<number> {
  const counts = await findEventCounts(db, now, COUNTS_AT_ONCE);
  const statements = counts.flatMap((one) => {
    const since = new Date(one.since).toISOString();
    // The data of an event as it was written, which the types cannot know.
    const data = { ...one.data, count: one.total - MAX_EVENTS_PER_MINUTE, since } as unknown as EventData[EventName];
    return countEventStatements(db, one, newEvent(one.name, one.agentId, one.at, data));
  });
  if (statements.length > 0) await db.batch(statements);
  return counts.length;
}

/** Forgets the counts of minutes in which every event was told. */
export const sweepEventCounts: Job = (env, _config, now, most) => deleteEventCounts(env.DB, now, most);

/** For deliveries whose message was lost: a Worker that was killed, a queue that did not take it. */
export const resendOverdue: Job = async (env, _config, now, most) => {
  const ids = await claimOverdue(env.DB, {
    dueBefore: now - OVERDUE_MS,
    enqueuedBefore: now - MESSAGE_LIFE_MS,
    now,
    most,
  });
  await enqueueDeliveries(env.DELIVERIES, ids, now, now);
  return ids.length;
};
