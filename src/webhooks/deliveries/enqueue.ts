import { logFailure } from "../../log/failure-log.ts";
import { hopSeconds } from "../schedule.ts";

/** A queue message for a delivery that is due. Everything else about the delivery is in D1. */
export interface DeliveryMessage {
  readonly deliveryId: string;
}

/** A queue message that has the outbox emptied. */
export interface OutboxMessage {
  readonly outbox: true;
}

/** What the queue of deliveries carries. */
export type WebhookMessage = DeliveryMessage | OutboxMessage;

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
  queue: Queue<WebhookMessage>,
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

/** Enqueues a message that has the outbox emptied. Never rejects: a job empties the outbox every minute. */
export async function enqueueOutbox(queue: Queue<WebhookMessage>): Promise<void> {
  try {
    await queue.send({ outbox: true });
  } catch (cause) {
    logFailure("outbox_not_enqueued", cause);
  }
}
