import { logFailure } from "../../log/failure-log.ts";
import { hopSeconds } from "../schedule.ts";

/** A queue message. Everything else about the delivery is in D1. */
export interface DeliveryMessage {
  readonly deliveryId: string;
}

/** The most messages that one call of the queue accepts. */
const MAX_MESSAGES_PER_BATCH = 100;

/**
 * Enqueues one message for each of the deliveries, to arrive when they are due. Never rejects: a job finds deliveries without a
 * message every minute.
 *
 * @param dueAt milliseconds.
 * @param now milliseconds.
 */
export async function enqueueDeliveries(
  queue: Queue<DeliveryMessage>,
  ids: readonly string[],
  dueAt: number,
  now: number,
): Promise<void> {
  const delaySeconds = hopSeconds(dueAt, now);
  try {
    for (let from = 0; from < ids.length; from += MAX_MESSAGES_PER_BATCH) {
      const part = ids.slice(from, from + MAX_MESSAGES_PER_BATCH);
      await queue.sendBatch(part.map((deliveryId) => ({ body: { deliveryId }, delaySeconds })));
    }
  } catch (cause) {
    logFailure("delivery_not_enqueued", cause, { deliveries: ids.length });
  }
}
