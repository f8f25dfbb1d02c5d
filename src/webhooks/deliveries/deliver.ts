import type { Config } from "../../config.ts";
import { attempt } from "../attempt.ts";
import { newEvent } from "../event.ts";
import { nextStep, type AttemptResult } from "../schedule.ts";
import { openSecret } from "../secret.ts";
import { targetPolicy } from "../target-policy.ts";
import { enqueue, type DeliveryMessage } from "./enqueue.ts";
import { claim, recordDead, recordFailure, recordRetry, recordSuccess, recordUnsent, type Claim } from "./store.ts";

/** An attempt takes 15 seconds at the most; whoever holds a claim for longer is dead. */
const CLAIM_MS = 60_000;
/** Deliveries in a row that did not arrive, after all their attempts, before their webhook is switched off. */
const MOST_FAILURES = 5;
/** How long a batch waits for slow receivers. They go on behind it, and the next batch comes. */
const PATIENCE_MS = 100;
/** When the database does not answer. */
const RETRY_SECONDS = 30;

/** Makes the attempt that a message asks for, and decides what follows. @throws {Error} if the database does not answer. */
export async function deliver(
  env: Pick<Env, "DB" | "DELIVERIES">,
  config: Config,
  deliveryId: string,
  now = Date.now(),
): Promise<void> {
  const claimed = await claim(env.DB, deliveryId, now, CLAIM_MS);
  if (!claimed) return;
  if (!("delivery" in claimed)) {
    // It waits longer than a message can, or another message's attempt is under way.
    if (claimed.dueAt > now + CLAIM_MS) await enqueue(env.DELIVERIES, [deliveryId], claimed.dueAt, now);
    return;
  }
  const { delivery } = claimed;
  if (!claimed.webhookActive) return recordUnsent(env.DB, delivery, "not sent: the webhook is switched off", now);

  const result = await send(claimed, config, now);
  const after = Math.max(now, Date.now());
  const next = nextStep(delivery.attempts, result, after, Math.random());
  switch (next.step) {
    case "succeeded":
      return recordSuccess(env.DB, delivery, result, after);
    case "retry":
      await recordRetry(env.DB, delivery, result, { at: next.at, now: after });
      return enqueue(env.DELIVERIES, [deliveryId], next.at, after);
    case "failed": {
      const reason = next.gone ? "the receiver answered 410 Gone" : `${MOST_FAILURES} deliveries in a row failed`;
      const { ownerId } = claimed;
      const disabled = newEvent("webhook.disabled", ownerId, after, {
        agent_id: ownerId,
        webhook_id: delivery.webhookId,
        disabled_at: new Date(after).toISOString(),
        reason,
      });
      const most = next.gone ? 1 : MOST_FAILURES;
      return recordFailure(env.DB, delivery, result, { reason, most, disabled, now: after });
    }
  }
}

async function send(claimed: Claim, config: Config, now: number): Promise<AttemptResult> {
  const { delivery, body, url, previousSecret, previousSecretExpiresAt } = claimed;
  const kept = [claimed.secret];
  if (previousSecret !== null && (previousSecretExpiresAt ?? 0) > now) kept.push(previousSecret);
  let secrets: string[];
  try {
    secrets = await Promise.all(kept.map((one) => openSecret(one, delivery.webhookId, config.webhookKeys)));
  } catch (cause) {
    console.error(
      JSON.stringify({ event: "webhook_secret_unreadable", webhook_id: delivery.webhookId, cause: String(cause) }),
    );
    return { error: "not sent: the secret could not be decrypted", final: true };
  }
  const message = { id: delivery.id, event: delivery.event, timestamp: Math.floor(now / 1000), body };
  return attempt(url, message, secrets, targetPolicy(config), now);
}

/**
 * The queue's consumer. Every message is dealt with beside the others; a batch does not wait for receivers that are slow:
 * what is known of their deliveries stands in D1, and their claim ends if they are lost.
 */
export async function consumeDeliveries(
  messages: readonly Message<DeliveryMessage>[],
  env: Pick<Env, "DB" | "DELIVERIES">,
  config: Config,
  waitUntil: (work: Promise<unknown>) => void,
): Promise<void> {
  let answered = false;
  const all = Promise.all(
    messages.map(async (message) => {
      try {
        await deliver(env, config, message.body.deliveryId);
      } catch (cause) {
        console.error(JSON.stringify({ event: "delivery_not_attempted", cause: String(cause) }));
        // Once the batch has been answered for, the minute's sweep finds what is left.
        if (!answered) message.retry({ delaySeconds: RETRY_SECONDS });
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
  messages: readonly DeliveryMessage[],
  now: number,
): Promise<void> {
  await recordDead(
    db,
    messages.map(({ deliveryId }) => deliveryId),
    now,
  );
}
