import type { Chore } from "../../housekeeping/chore.ts";
import { enqueue } from "./enqueue.ts";
import { deleteFinished, fanOut, oldestEvents, takeForgotten } from "./store.ts";

/** Events of one batch: each needs two statements. */
const EVENTS_AT_ONCE = 50;
const MOST_ROUNDS = 20;

const DAY_MS = 86_400_000;
/** A message is given this long to arrive before another is sent for the same delivery. */
const OVERDUE_MS = 60_000;
const MESSAGE_LIFE_MS = 120_000;

/** Empties the outbox into deliveries and asks the queue for them. Returns how many events there were. */
export async function emptyOutbox(env: Pick<Env, "DB" | "DELIVERIES">, now: number): Promise<number> {
  let total = 0;
  for (let round = 0; round < MOST_ROUNDS; round++) {
    const events = await oldestEvents(env.DB, EVENTS_AT_ONCE);
    if (events.length === 0) break;
    total += events.length;
    await enqueue(env.DELIVERIES, await fanOut(env.DB, events, now), now, now);
  }
  return total;
}

/** For events whose change went through while nothing behind it did. */
export const drainOutbox: Chore = (env, _config, now) => emptyOutbox(env, now);

/** For deliveries whose message was lost: a Worker that was killed, a queue that did not take it. */
export const resendForgotten: Chore = async (env, _config, now, most) => {
  const ids = await takeForgotten(env.DB, {
    dueBefore: now - OVERDUE_MS,
    enqueuedBefore: now - MESSAGE_LIFE_MS,
    now,
    most,
  });
  await enqueue(env.DELIVERIES, ids, now, now);
  return ids.length;
};

/** Deliveries are kept for as long as activity is. */
export const sweepDeliveries: Chore = (env, config, now, most) =>
  deleteFinished(env.DB, now - config.activityRetentionDays * DAY_MS, most);
