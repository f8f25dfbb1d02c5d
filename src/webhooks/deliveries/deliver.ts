import { recordActivity } from "../../audit/record.ts";
import type { Config } from "../../config/config.ts";
import { logFailure } from "../../log/failure-log.ts";
import { attemptDelivery } from "../attempt.ts";
import { attemptsFor, newEvent } from "../../outbox/event.ts";
import { nextStep, type AttemptResult } from "../schedule.ts";
import { openSecret } from "../secret.ts";
import { targetPolicy } from "../target-policy.ts";
import { enqueueDeliveries, type DeliveryMessage } from "./enqueue.ts";
import { claim, recordDead, recordFailure, recordRetry, recordSuccess, recordUnsent, type Claim } from "./store.ts";

/** Deliveries in a row that did not arrive, after all their attempts, before their webhook is switched off. */
const MAX_FAILURES_IN_ROW = 5;
/** How long a batch waits for slow receivers. They go on behind it, and the next batch comes. */
const PATIENCE_MS = 100;

type DeliveryEnv = Pick<Env, "ACTIVITY" | "DB" | "DELIVERIES">;

/** Makes the attempt that a message asks for, and decides what follows. @throws {Error} if the database does not answer. */
export async function deliver(env: DeliveryEnv, config: Config, deliveryId: string, now = Date.now()): Promise<void> {
  const claimed = await claim(env.DB, deliveryId, now);
  if (!claimed) return;
  // It waits longer than a message can, or its host has had its share of this minute.
  if (!("delivery" in claimed)) return enqueueDeliveries(env.DELIVERIES, [deliveryId], claimed.dueAt, now);
  const { delivery, withheld } = claimed;
  if (withheld) return recordUnsent(env.DB, delivery, `not sent: ${withheld}`, now);

  const result = await send(claimed, config, now);
  const after = Math.max(now, Date.now());
  const next = nextStep(delivery.attempts, result, after, Math.random(), attemptsFor(delivery.event));
  switch (next.step) {
    case "succeeded":
      return recordSuccess(env.DB, delivery, result, after);
    case "retry":
      await recordRetry(env.DB, delivery, result, { at: next.at, now: after });
      return enqueueDeliveries(env.DELIVERIES, [deliveryId], next.at, after);
    case "failed": {
      const reason = next.gone ? "the receiver answered 410 Gone" : `${MAX_FAILURES_IN_ROW} deliveries in a row failed`;
      const { ownerId } = claimed;
      const disabled = newEvent("webhook.disabled", ownerId, after, {
        agent_id: ownerId,
        webhook_id: delivery.webhook_id,
        disabled_at: new Date(after).toISOString(),
        reason,
      });
      const most = next.gone ? 1 : MAX_FAILURES_IN_ROW;
      if (await recordFailure(env.DB, delivery, result, { reason, most, disabled, now: after })) {
        const message = `webhook ${delivery.webhook_id} switched off: ${reason}`;
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
  const kept = [claimed.secret];
  if (previousSecret !== null && (previousSecretExpiresAt ?? 0) > now) kept.push(previousSecret);
  const secrets: string[] = [];
  for (const one of kept) {
    try {
      secrets.push(await openSecret(one, delivery.webhook_id, config.webhookKeys));
    } catch (cause) {
      logFailure("webhook_secret_unreadable", cause, { webhook_id: delivery.webhook_id });
      // The operator may put the key back. Without the former secret alone, the delivery is good.
      if (one === claimed.secret) return { error: "not sent: the secret could not be decrypted" };
    }
  }
  const message = { id: delivery.id, event: delivery.event, timestamp: Math.floor(now / 1000), body };
  return attemptDelivery(url, message, secrets, delivery.attempts, targetPolicy(config), now);
}

/**
 * The queue's consumer. Every message is dealt with beside the others; a batch does not wait for receivers that are slow:
 * what is known of their deliveries stands in D1, and their claim ends if they are lost.
 */
export async function consumeDeliveries(
  messages: readonly Message<DeliveryMessage>[],
  env: DeliveryEnv,
  config: Config,
  waitUntil: (work: Promise<unknown>) => void,
): Promise<void> {
  let answered = false;
  const all = Promise.all(
    messages.map(async (message) => {
      try {
        await deliver(env, config, message.body.deliveryId);
      } catch (cause) {
        logFailure("delivery_not_attempted", cause);
        // Once the batch has been answered for, the minute's sweep finds what is left.
        if (!answered) message.retry();
      }
    }),
  );
  waitUntil(all);
  await Promise.race([all, scheduler.wait(PATIENCE_MS)]);
  answered = true;
}

/** What the queue gave up after all its retries: visible as failed, and redeliverable. */
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
