import { recordActivity } from "../../audit/record.ts";
import type { Config } from "../../config/config.ts";
import { logFailure } from "../../log/failure-log.ts";
import { attemptDelivery } from "../attempt.ts";
import { newEvent } from "../../outbox/event.ts";
import { maxAttemptsFor, nextStep, type AttemptResult } from "../schedule.ts";
import { openSecret } from "../secret.ts";
import { targetPolicy } from "../target-policy.ts";
import { enqueueDeliveries, type DeliveryMessage } from "./enqueue.ts";
import {
  claim,
  recordDead,
  recordFailure,
  recordRetry,
  recordSuccess,
  recordWithheld,
  type Claim,
} from "./store/attempts.ts";

/** The number of deliveries in a row that fail, each after all its attempts, before their webhook is disabled. */
const MAX_FAILURES_IN_ROW = 5;
/** How long a batch waits for slow receivers, in milliseconds. Their attempts continue while the next batch is handled. */
const BATCH_WAIT_MS = 100;

type DeliveryEnv = Pick<Env, "ACTIVITY" | "DB" | "DELIVERIES">;

/**
 * Makes the attempt that a message asks for, and stores its result and the next step.
 *
 * @param now milliseconds.
 * @throws {Error} if the database does not answer.
 */
export async function deliver(env: DeliveryEnv, config: Config, deliveryId: string, now = Date.now()): Promise<void> {
  const claimed = await claim(env.DB, deliveryId, now);
  if (!claimed) return;
  // The delivery waits longer than one message can be delayed, or its host has reached the attempts of this minute.
  if (!("delivery" in claimed)) return enqueueDeliveries(env.DELIVERIES, [deliveryId], claimed.dueAt, now);
  const { delivery, withheld } = claimed;
  if (withheld) return recordWithheld(env.DB, delivery, `not sent: ${withheld}`, now);

  const result = await send(claimed, config, now);
  const after = Math.max(now, Date.now());
  const next = nextStep(delivery.attempts, result, after, Math.random(), maxAttemptsFor(delivery.event));
  switch (next.step) {
    case "succeeded":
      return recordSuccess(env.DB, delivery, result, after);
    case "retry":
      await recordRetry(env.DB, delivery, result, { at: next.at, now: after });
      return enqueueDeliveries(env.DELIVERIES, [deliveryId], next.at, after);
    case "failed": {
      const reason = next.gone ? "the receiver answered 410 Gone" : `${MAX_FAILURES_IN_ROW} deliveries in a row failed`;
      const { ownerId } = claimed;
      const event = newEvent("webhook.disabled", ownerId, after, {
        agent_id: ownerId,
        webhook_id: delivery.webhookId,
        disabled_at: new Date(after).toISOString(),
        reason,
      });
      const maxFailures = next.gone ? 1 : MAX_FAILURES_IN_ROW;
      if (await recordFailure(env.DB, delivery, result, { maxFailures, reason, event }, after)) {
        const message = `webhook ${delivery.webhookId} switched off: ${reason}`;
        const activity = {
          agentId: ownerId,
          at: after,
          ipAddress: "",
          status: "failure",
          message,
          known: true,
        } as const;
        await recordActivity(env.ACTIVITY, activity);
      }
    }
  }
}

async function send(claimed: Claim, config: Config, now: number): Promise<AttemptResult> {
  const { delivery, body, url, previousSecret, previousSecretExpiresAt } = claimed;
  const sealed = [claimed.secret];
  if (previousSecret !== null && (previousSecretExpiresAt ?? 0) > now) sealed.push(previousSecret);
  const secrets: string[] = [];
  for (const one of sealed) {
    try {
      secrets.push(await openSecret(one, delivery.webhookId, config.webhookKeys));
    } catch (cause) {
      logFailure("webhook_secret_unreadable", cause, { webhook_id: delivery.webhookId });
      // The operator may restore the key, so this is retried. Without the former secret, the delivery is still signed.
      if (one === claimed.secret) return { error: "not sent: the secret could not be decrypted" };
    }
  }
  const message = { id: delivery.id, event: delivery.event, timestamp: Math.floor(now / 1000), body };
  return attemptDelivery(url, message, secrets, delivery.attempts, targetPolicy(config), now);
}

/**
 * The queue's consumer. It handles the messages of a batch in parallel and does not wait for slow receivers: their deliveries are
 * stored in D1, and a claim that is lost expires.
 */
export async function consumeDeliveries(
  messages: readonly Message<DeliveryMessage>[],
  env: DeliveryEnv,
  config: Config,
  waitUntil: (work: Promise<unknown>) => void,
): Promise<void> {
  let acknowledged = false;
  const all = Promise.all(
    messages.map(async (message) => {
      try {
        await deliver(env, config, message.body.deliveryId);
      } catch (cause) {
        logFailure("delivery_not_attempted", cause);
        // The batch may be acknowledged already. Then the job that runs every minute finds what is overdue.
        if (!acknowledged) message.retry();
      }
    }),
  );
  waitUntil(all);
  await Promise.race([all, scheduler.wait(BATCH_WAIT_MS)]);
  acknowledged = true;
}

/** The dead-letter queue's consumer: a delivery that the queue gave up after all its retries is marked as failed and can be redelivered. */
export async function consumeDeadDeliveries(
  db: D1Database,
  messages: readonly Message<DeliveryMessage>[],
  now: number,
): Promise<void> {
  await recordDead(
    db,
    messages.map(({ body }) => body?.deliveryId),
    now,
  );
}
