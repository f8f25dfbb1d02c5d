import { insertCountEvents, oldestEvents } from "../../outbox/outbox.ts";
import { enqueueDeliveries } from "./enqueue.ts";
import { claimOverdue } from "./store/attempts.ts";
import { insertDeliveries } from "./store/fan-out.ts";

/** Events of one batch. Each needs at most three statements. */
const MAX_EVENTS_PER_BATCH = 33;
const MAX_BATCHES = 30;

/** How long a delivery is due before another message is sent for it, in milliseconds. */
const OVERDUE_MS = 60_000;
/** How long a message may take to arrive, in milliseconds. */
const MESSAGE_LIFE_MS = 120_000;

type OutboxEnv = Pick<Env, "DB" | "DELIVERIES">;

/** Turns the events of the outbox into deliveries and enqueues them. Returns how many events there were. @param now milliseconds. */
export async function emptyOutbox(env: OutboxEnv, now: number): Promise<number> {
  let total = 0;
  for (let batch = 0; batch < MAX_BATCHES; batch++) {
    const events = await oldestEvents(env.DB, MAX_EVENTS_PER_BATCH);
    if (events.length === 0) break;
    total += events.length;
    await enqueueDeliveries(env.DELIVERIES, await insertDeliveries(env.DB, events, now), now, now);
  }
  return total;
}

/** Drains the outbox of events that no activity message followed, and of those that are sent as a count. @param now milliseconds. */
export async function drainOutbox(env: OutboxEnv, now: number): Promise<number> {
  await insertCountEvents(env.DB, now);
  return emptyOutbox(env, now);
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
