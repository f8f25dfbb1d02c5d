import { logFailure } from "../../log/failure-log.ts";
import { hopSeconds } from "../schedule.ts";

/** What travels through the queue: everything else stands in D1. */
export interface DeliveryMessage {
  readonly deliveryId: string;
}

/** What one call of the queue takes. */
const MAX_MESSAGES_PER_BATCH = 100;

/**
 * Asks for deliveries that are due at a time, one message each. Never rejects: what is not asked for here is found by
 * the minute's sweep.
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
