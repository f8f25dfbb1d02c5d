import { batchAsCaller, type Authority } from "../../authority/authority.ts";
import { toPayloadBody, isLimited, type Event, type EventName, type WebhookPayload } from "../../outbox/event.ts";
import { countEvent, IS_ABOVE_LIMIT, minuteOf, claimHostSlot } from "../limits/store.ts";
import { insertEvent } from "../outbox.ts";
import { FOR_ALL, LISTENERS } from "../store.ts";
import type { AttemptResult } from "../schedule.ts";
import type { Delivery, DeliveryStatus } from "../webhook.ts";

/** What a delivery is, but for its body. */
const COLUMNS = `id, webhook_id, event_id, event, agent_id, status, attempts, next_attempt_at, response_status, response_body,
  error, created_at, updated_at`;

/** The oldest events that wait in the outbox. */
export async function oldestEvents(db: D1Database, most: number): Promise<Event[]> {
  const { results } = await db
    .prepare("SELECT id, agent_id, event, at, data FROM events ORDER BY id LIMIT ?1")
    .bind(most)
    .all<{ id: string; agent_id: string; event: EventName; at: number; data: string }>();
  return results.map(({ id, agent_id: agentId, event: name, at, data }) => ({
    id,
    agentId,
    name,
    at,
    data: JSON.parse(data) as Event["data"],
  }));
}

/**
 * An event (?1, named ?3, of agent ?2) with its body (?4) becomes a delivery (at ?5) to each webhook `w`. The id sorts by its
 * time, and is made where only the database knows how many are needed.
 */
const deliveryTo = (webhooks: string, returned: string) =>
  `INSERT OR IGNORE INTO deliveries (id, webhook_id, event_id, event, agent_id, body, status, next_attempt_at, enqueued_at,
     created_at, updated_at)
   SELECT 'msg_' || printf('%012x', ?5) || lower(hex(randomblob(10))), w.id, ?1, ?3, ?2, ?4, 'pending', ?5, ?5, ?5, ?5
   FROM ${webhooks} RETURNING ${returned}`;

const eventBindings = (event: WebhookPayload, now: number) => [
  event.id,
  event.agentId,
  event.name,
  toPayloadBody(event),
  now,
];

/**
 * Turns events into deliveries, one for each webhook that listens, and takes them out of the outbox. One batch; an event that
 * another run has taken already gives nothing. Of events that are limited, those above the limit of the minute are counted and
 * become no delivery. Returns the deliveries' ids.
 */
export async function fanOut(db: D1Database, events: readonly Event[], now: number): Promise<string[]> {
  const waits = "EXISTS (SELECT 1 FROM events WHERE id = ?1)";
  const toListeners = deliveryTo(`${LISTENERS} AND ${waits}`, "id");
  const toListenersWithin = deliveryTo(`${LISTENERS} AND ${waits} AND NOT ${IS_ABOVE_LIMIT}`, "id");
  const minute = minuteOf(now);
  const results = await db.batch<{ id: string }>(
    events.flatMap((event) => [
      ...(isLimited(event)
        ? [countEvent(db, event.id, minute), db.prepare(toListenersWithin).bind(...eventBindings(event, now), minute)]
        : [db.prepare(toListeners).bind(...eventBindings(event, now))]),
      db.prepare("DELETE FROM events WHERE id = ?1").bind(event.id),
    ]),
  );
  return results.flatMap((result) => result.results ?? []).map(({ id }) => id);
}

/** Adds one delivery of an owner's own making. */
export async function insertDelivery(
  db: D1Database,
  webhookId: string,
  event: WebhookPayload,
  { now, by }: { now: number; by: Authority },
): Promise<Delivery | undefined> {
  const insertion = db
    .prepare(deliveryTo("webhooks w WHERE w.id = ?6", COLUMNS))
    .bind(...eventBindings(event, now), webhookId);
  const [inserted] = await batchAsCaller<Delivery>(db, by, [insertion]);
  return inserted!.results[0];
}

/** A delivery whose attempt is this consumer's to make, and where it goes. */
export interface Claim {
  readonly delivery: Delivery;
  readonly body: string;
  readonly url: string;
  readonly ownerId: string;
  /** Why it must not be sent. */
  readonly withheld: string | null;
  readonly secret: string;
  readonly previousSecret: string | null;
  readonly previousSecretExpiresAt: number | null;
}

/** An attempt takes 15 seconds at the most; whoever holds a claim for longer is dead. */
export const CLAIM_MS = 60_000;

/**
 * Takes a delivery that is due: of all messages that ask for it at once, one gets it. The claim ends by itself, so that a
 * consumer that dies leaves it due again. A delivery whose host has had its attempts of the minute waits: for a place in the
 * next minutes, by its turn, at a random moment of the minute.
 *
 * @returns the claim; or when the delivery is due, for one that waits; or nothing where nothing is to be done.
 */
export async function claim(db: D1Database, id: string, now: number): Promise<Claim | { dueAt: number } | undefined> {
  const [, postponed, claimed, target] = await db.batch<never>([
    ...claimHostSlot(db, id, now),
    db
      .prepare(
        `UPDATE deliveries SET attempts = attempts + 1, next_attempt_at = ?2 + ?3, updated_at = ?2
         WHERE id = ?1 AND status = 'pending' AND next_attempt_at <= ?2 RETURNING ${COLUMNS}, body`,
      )
      .bind(id, now, CLAIM_MS),
    db
      .prepare(
        `SELECT w.agent_id AS ownerId, url, secret, previous_secret AS previousSecret,
           previous_secret_expires_at AS previousSecretExpiresAt, next_attempt_at AS dueAt,
           CASE WHEN is_active = 0 THEN 'the webhook is switched off'
             WHEN w.agent_id <> d.agent_id AND NOT (${FOR_ALL}) THEN 'its owner is no active administrator' END AS withheld
         FROM deliveries d JOIN webhooks w ON w.id = d.webhook_id WHERE d.id = ?1 AND status = 'pending'`,
      )
      .bind(id),
  ]);
  const waiting = postponed!.results[0] as { dueAt: number } | undefined;
  if (waiting) return waiting;
  const delivery = claimed!.results[0] as (Delivery & { body: string }) | undefined;
  const rest = target!.results[0] as (Omit<Claim, "delivery" | "body"> & { dueAt: number }) | undefined;
  if (delivery && rest) return { ...rest, delivery, body: delivery.body };
  // One that is due within the time of a claim has an attempt under way, or a message of its own that is about to come.
  return rest && rest.dueAt > now + CLAIM_MS ? rest : undefined;
}

/** What an attempt leaves behind, unless the delivery was begun anew meanwhile. `nextAttemptAt` null: no more. */
function afterAttempt(
  db: D1Database,
  { id, attempts }: Delivery,
  result: AttemptResult,
  { status, nextAttemptAt, now }: { status: DeliveryStatus; nextAttemptAt: number | null; now: number },
): D1PreparedStatement {
  const { status: responseStatus = null, body = null, error = null } = result;
  return db
    .prepare(
      `UPDATE deliveries SET status = ?3, next_attempt_at = ?4, enqueued_at = ?5, response_status = ?6, response_body = ?7,
         error = ?8, updated_at = ?5
       WHERE id = ?1 AND status = 'pending' AND attempts = ?2`,
    )
    .bind(id, attempts, status, nextAttemptAt, now, responseStatus, body, error);
}

export async function recordSuccess(
  db: D1Database,
  delivery: Delivery,
  result: AttemptResult,
  now: number,
): Promise<void> {
  await db.batch([
    afterAttempt(db, delivery, result, { status: "success", nextAttemptAt: null, now }),
    db
      .prepare("UPDATE webhooks SET failures_in_row = 0 WHERE id = ?1 AND failures_in_row > 0")
      .bind(delivery.webhook_id),
  ]);
}

export async function recordRetry(
  db: D1Database,
  delivery: Delivery,
  result: AttemptResult,
  { at, now }: { at: number; now: number },
): Promise<void> {
  await afterAttempt(db, delivery, result, { status: "pending", nextAttemptAt: at, now }).run();
}

/**
 * The end of a delivery that did not arrive, and of its webhook if that is the last straw: then `disabled` is announced.
 * Returns whether it was.
 */
export async function recordFailure(
  db: D1Database,
  delivery: Delivery,
  result: AttemptResult,
  { reason, most, disabled, now }: { reason: string; most: number; disabled: Event; now: number },
): Promise<boolean> {
  const reachedFailureLimit = "is_active = 1 AND failures_in_row >=";
  const { webhook_id: id } = delivery;
  const results = await db.batch([
    afterAttempt(db, delivery, result, { status: "failed", nextAttemptAt: null, now }),
    db.prepare("UPDATE webhooks SET failures_in_row = failures_in_row + 1 WHERE id = ?1").bind(id),
    insertEvent(db, disabled, {
      sql: `EXISTS (SELECT 1 FROM webhooks WHERE id = ?6 AND ${reachedFailureLimit} ?7)`,
      bindings: [id, most],
    }),
    db
      .prepare(
        `UPDATE webhooks SET is_active = 0, disabled_at = ?3, disabled_reason = ?4 WHERE id = ?1 AND ${reachedFailureLimit} ?2`,
      )
      .bind(id, most, now, reason),
  ]);
  return results[3]!.meta.changes > 0;
}

/** The end of a delivery that was not attempted: it is withheld. */
export async function recordUnsent(db: D1Database, delivery: Delivery, error: string, now: number): Promise<void> {
  await afterAttempt(db, delivery, { error }, { status: "failed", nextAttemptAt: null, now }).run();
}

/** Marks deliveries whose messages the queue gave up, unless another message's attempt is under way or to come. */
export async function recordDead(db: D1Database, ids: readonly string[], now: number): Promise<void> {
  await db
    .prepare(
      `UPDATE deliveries SET status = 'failed', next_attempt_at = NULL, error = 'given up by the queue', updated_at = ?2
       WHERE id IN (SELECT value FROM json_each(?1)) AND status = 'pending' AND next_attempt_at <= ?2`,
    )
    .bind(JSON.stringify(ids), now)
    .run();
}

/** Takes pending deliveries that have been due for a while without a message that asks for them. Returns their ids. */
export async function claimOverdue(
  db: D1Database,
  { dueBefore, enqueuedBefore, now, most }: { dueBefore: number; enqueuedBefore: number; now: number; most: number },
): Promise<string[]> {
  const { results } = await db
    .prepare(
      `UPDATE deliveries SET enqueued_at = ?3 WHERE id IN (
         SELECT id FROM deliveries WHERE status = 'pending' AND next_attempt_at <= ?1
           AND (enqueued_at IS NULL OR enqueued_at <= ?2) LIMIT ?4) RETURNING id`,
    )
    .bind(dueBefore, enqueuedBefore, now, most)
    .all<{ id: string }>();
  return results.map(({ id }) => id);
}

/** Begins a delivery anew, under its own id, unless an attempt is under way or near. */
export async function resetDelivery(
  db: D1Database,
  id: string,
  webhookId: string,
  { now, by }: { now: number; by: Authority },
): Promise<{ delivery: Delivery; begun: boolean } | undefined> {
  const [begun, found] = await batchAsCaller<Delivery>(db, by, [
    db
      .prepare(
        `UPDATE deliveries SET status = 'pending', attempts = 0, next_attempt_at = ?3, enqueued_at = ?3, error = NULL,
           updated_at = ?3
         WHERE id = ?1 AND webhook_id = ?2 AND (status <> 'pending' OR next_attempt_at > ?3 + ?4)`,
      )
      .bind(id, webhookId, now, CLAIM_MS),
    db.prepare(`SELECT ${COLUMNS} FROM deliveries WHERE id = ?1 AND webhook_id = ?2`).bind(id, webhookId),
  ]);
  const row = found!.results[0];
  return row && { delivery: row, begun: begun!.meta.changes > 0 };
}

/** A total is counted up to here. */
const MAX_COUNTED = 10_000;

/** A webhook's deliveries, newest first, and how many there are. */
export async function readDeliveries(
  db: D1Database,
  webhookId: string,
  { status, limit, offset }: { status?: DeliveryStatus | undefined; limit: number; offset: number },
): Promise<{ deliveries: Delivery[]; total: number }> {
  const where = `webhook_id = ?1${status ? " AND status = ?2" : ""}`;
  const [page, count] = await db.batch<Delivery & { total: number }>([
    db
      .prepare(`SELECT ${COLUMNS} FROM deliveries WHERE ${where} ORDER BY id DESC LIMIT ?3 OFFSET ?4`)
      .bind(webhookId, status ?? null, limit, offset),
    db
      .prepare(`SELECT count(*) AS total FROM (SELECT 1 FROM deliveries WHERE ${where} LIMIT ${MAX_COUNTED})`)
      .bind(...(status ? [webhookId, status] : [webhookId])),
  ]);
  return { deliveries: page!.results, total: count!.results[0]?.total ?? 0 };
}

/** Deletes at most so many finished deliveries from before a time. Returns how many. */
export async function deleteFinished(db: D1Database, before: number, most: number): Promise<number> {
  const { meta } = await db
    .prepare(
      `DELETE FROM deliveries WHERE id IN (
         SELECT id FROM deliveries WHERE status <> 'pending' AND updated_at < ?1 LIMIT ?2)`,
    )
    .bind(before, most)
    .run();
  return meta.changes;
}
