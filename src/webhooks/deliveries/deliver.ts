import type { Config } from "../../config/config.ts";
import { logFailure } from "../../log/failure-log.ts";
import { attemptDelivery } from "../attempt.ts";
import { newEvent } from "../../outbox/event.ts";
import { newEntry, SYSTEM_ORIGIN } from "../../outbox/record.ts";
import { maxAttemptsFor, nextStep, type AttemptResult } from "../schedule.ts";
import { openSecret } from "../secret.ts";
import { targetPolicy } from "../target-policy.ts";
import {
  enqueueDeliveries,
  enqueueOutbox,
  type DeliveryMessage,
  type OutboxMessage,
  type WebhookMessage,
} from "./enqueue.ts";
import { emptyOutbox } from "./fan-out.ts";
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
type DeliveryEnv = Pick<Env, "ACTIVITY" | "DB" | "DELIVERIES">;

/**
 * Makes the attempt that a message asks for, and stores its result and the next step.
 *
 * @param now milliseconds.
 * @throws {Error} if the database does not answer.
 */
export async function deliver(env: DeliveryEnv, config: Config, deliveryId: string, now = Date.now()): Promise<void> {
  await carryOut(env, config, deliveryId, await claim(env.DB, deliveryId, now), now);
}

/** Does what follows a claim, whose result is `claimed`. */
async function carryOut(
  env: DeliveryEnv,
  config: Config,
  deliveryId: string,
  claimed: Awaited<ReturnType<typeof claim>>,
  now: number,
): Promise<void> {
  if (!claimed) return;
  // The delivery waits longer than one message can be delayed, or its host has reached the attempts of this minute.
  if (!("delivery" in claimed)) return enqueueDeliveries(env.DELIVERIES, [deliveryId], claimed.dueAt, now);
  const { delivery, withheld } = claimed;
  if (withheld) return recordWithheld(env.DB, claimed, `not sent: ${withheld}`, now);

  const result = await send(claimed, config, now);
  const after = Math.max(now, Date.now());
  const next = nextStep(delivery.attempts, result, after, Math.random(), maxAttemptsFor(delivery.event));
  switch (next.step) {
    case "succeeded":
      return recordSuccess(env.DB, claimed, result, after);
    case "retry":
      await recordRetry(env.DB, claimed, result, { at: next.at, now: after });
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
      const record = newEntry("webhook.disabled", after, SYSTEM_ORIGIN, {
        agentId: ownerId,
        outcome: "failed",
        after: { id: delivery.webhookId, is_active: false, disabled_reason: reason },
        message: `webhook ${delivery.webhookId} switched off: ${reason}`,
      });
      await recordFailure(env.DB, claimed, result, { maxFailures, reason, event, record }, after);
    }
  }
}

async function send(claimed: Claim, config: Config, now: number): Promise<AttemptResult> {
  const { delivery, body, url } = claimed;
  const secrets: string[] = [];
  for (const one of claimed.secrets) {
    try {
      secrets.push(await openSecret(one, delivery.webhookId, config.webhookKeys));
    } catch (cause) {
      logFailure("webhook_secret_unreadable", cause, { webhook_id: delivery.webhookId });
      // The operator may restore the key, so this is retried. Without a former secret, the delivery is still signed.
      if (one === claimed.secrets[0]) return { error: "not sent: the secret could not be decrypted" };
    }
  }
  const message = { id: delivery.id, event: delivery.event, timestamp: Math.floor(now / 1000), body };
  return attemptDelivery(url, message, secrets, delivery.attempts, targetPolicy(config), now);
}

/**
 * The queue's consumer. It handles the messages of a batch in parallel. A message is acknowledged when the claim of its delivery
 * stands in D1, however long D1 takes for it, and is tried again if the claim fails: so a database that does not answer leads to the
 * retries of the queue, and then to its dead letters. The batch does not wait for receivers: a claim whose attempt is lost expires.
 */
export async function consumeDeliveries(
  messages: readonly Message<WebhookMessage>[],
  env: DeliveryEnv,
  config: Config,
  waitUntil: (work: Promise<unknown>) => void,
): Promise<void> {
  await Promise.all(
    messages.map(async (message) => {
      try {
        if (isOutboxMessage(message.body)) {
          if ((await emptyOutbox(env, Date.now())).more) await enqueueOutbox(env.DELIVERIES);
          return;
        }
        const id = readDeliveryId(message.body);
        const claimed = await claim(env.DB, id, Date.now());
        // The time is that after the claim: the receiver compares the signed timestamp with its clock.
        const now = Date.now();
        // The message is acknowledged by now: if the result cannot be stored, the claim expires, and a job enqueues the delivery.
        waitUntil(
          carryOut(env, config, id, claimed, now).catch((cause: unknown) =>
            logFailure("delivery_not_recorded", cause, { delivery_id: id }),
          ),
        );
      } catch (cause) {
        const { id, body, attempts } = message;
        const about = isOutboxMessage(body) ? { outbox: true } : { delivery_id: body?.deliveryId };
        logFailure("delivery_not_attempted", cause, { message_id: id, ...about, tries: attempts });
        message.retry();
      }
    }),
  );
}

const isOutboxMessage = (body: WebhookMessage | null): body is OutboxMessage =>
  typeof body === "object" && body !== null && "outbox" in body;

/** @throws {TypeError} if the message has none. */
function readDeliveryId(body: Partial<DeliveryMessage> | null): string {
  const id = body?.deliveryId;
  if (typeof id !== "string") throw new TypeError("the message has no deliveryId");
  return id;
}

/**
 * The dead-letter queue's consumer. A delivery that the queue gave up after all its retries is logged and marked as failed, and can be
 * redelivered. The outbox needs no message: a job empties it every minute.
 *
 * @param now milliseconds.
 */
export async function consumeDeadDeliveries(
  db: D1Database,
  messages: readonly Message<WebhookMessage>[],
  now: number,
): Promise<void> {
  const ids: string[] = [];
  for (const { id, body } of messages) {
    try {
      ids.push(readDeliveryId(body as DeliveryMessage | null));
    } catch {
      logFailure("message_dead", "the queue gave it up, and it is for no delivery", { message_id: id });
    }
  }
  for (const { id, webhookId, agentId, event } of await recordDead(db, ids, now)) {
    const about = { delivery_id: id, webhook_id: webhookId, agent_id: agentId, name: event };
    logFailure("delivery_dead", "the queue gave it up; it is failed and can be redelivered", about);
  }
}
