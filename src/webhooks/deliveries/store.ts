import type { Event, EventName } from "../event.ts";
import { announce } from "../outbox.ts";
import { LISTENERS } from "../store.ts";
import type { AttemptResult } from "../schedule.ts";
import type { Delivery, DeliveryStatus } from "../webhook.ts";

/** A delivery's columns under the names that it has here. */
const COLUMNS = `id, webhook_id AS webhookId, event_id AS eventId, event, agent_id AS agentId, status, attempts,
  next_attempt_at AS nextAttemptAt, response_status AS responseStatus, response_body AS responseBody, error,
  created_at AS createdAt, updated_at AS updatedAt`;

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

/** An id that sorts by its time, made where only the database knows how many are needed. */
const NEW_ID = (now: string) => `'msg_' || printf('%012x', ${now}) || lower(hex(randomblob(10)))`;

/**
 * Turns events into deliveries, one for each webhook that listens, and takes them out of the outbox. One batch; an event that
 * another run has taken already gives nothing. Returns the deliveries' ids.
 */
export async function fanOut(
  db: D1Database,
  events: readonly { readonly event: Event; readonly body: string }[],
  now: number,
): Promise<string[]> {
  const results = await db.batch<{ id: string }>(
    events.flatMap(({ event, body }) => [
      db
        .prepare(
          `INSERT OR IGNORE INTO deliveries (id, webhook_id, event_id, event, agent_id, body, status, next_attempt_at,
             enqueued_at, created_at, updated_at)
           SELECT ${NEW_ID("?5")}, w.id, ?1, ?3, ?2, ?4, 'pending', ?5, ?5, ?5, ?5
           FROM ${LISTENERS} AND EXISTS (SELECT 1 FROM events WHERE id = ?1)
           RETURNING id`,
        )
        .bind(event.id, event.agentId, event.name, body, now),
      db.prepare("DELETE FROM events WHERE id = ?1").bind(event.id),
    ]),
  );
  return results.flatMap((result) => result.results ?? []).map(({ id }) => id);
}

/** Adds one delivery of an owner's own making. */
export async function insertDelivery(
  db: D1Database,
  {
    webhookId,
    event,
    body,
    now,
  }: { webhookId: string; event: Omit<Event, "name"> & { name: string }; body: string; now: number },
): Promise<Delivery | undefined> {
  const row = await db
    .prepare(
      `INSERT INTO deliveries (id, webhook_id, event_id, event, agent_id, body, status, next_attempt_at, enqueued_at,
         created_at, updated_at)
       SELECT ${NEW_ID("?6")}, w.id, ?2, ?3, ?4, ?5, 'pending', ?6, ?6, ?6, ?6 FROM webhooks w WHERE w.id = ?1
       RETURNING ${COLUMNS}`,
    )
    .bind(webhookId, event.id, event.name, event.agentId, body, now)
    .first<Delivery>();
  return row ?? undefined;
}

/** A delivery whose attempt is this consumer's to make, and where it goes. */
export interface Claim {
  readonly delivery: Delivery;
  readonly body: string;
  readonly url: string;
  readonly ownerId: string;
  readonly webhookActive: boolean;
  readonly secret: string;
  readonly previousSecret: string | null;
  readonly previousSecretExpiresAt: number | null;
}

/**
 * Takes a delivery that is due: of all messages that ask for it at once, one gets it. The claim ends by itself, so that a
 * consumer that dies leaves it due again.
 *
 * @returns the claim; or when the delivery is due, for one that waits; or nothing where nothing is to be done.
 */
export async function claim(
  db: D1Database,
  id: string,
  now: number,
  claimMs: number,
): Promise<Claim | { dueAt: number } | undefined> {
  const [claimed, target, left] = await db.batch<never>([
    db
      .prepare(
        `UPDATE deliveries SET attempts = attempts + 1, next_attempt_at = ?2 + ?3, updated_at = ?2
         WHERE id = ?1 AND status = 'pending' AND next_attempt_at <= ?2 RETURNING ${COLUMNS}, body`,
      )
      .bind(id, now, claimMs),
    db
      .prepare(
        `SELECT agent_id, url, is_active, secret, previous_secret, previous_secret_expires_at FROM webhooks
         WHERE id = (SELECT webhook_id FROM deliveries WHERE id = ?1)`,
      )
      .bind(id),
    db.prepare("SELECT next_attempt_at AS dueAt FROM deliveries WHERE id = ?1 AND status = 'pending'").bind(id),
  ]);
  const row = claimed!.results[0] as (Delivery & { body: string }) | undefined;
  const webhook = target!.results[0] as
    | {
        agent_id: string;
        url: string;
        is_active: number;
        secret: string;
        previous_secret: string | null;
        previous_secret_expires_at: number | null;
      }
    | undefined;
  if (!row || !webhook) return left!.results[0] as { dueAt: number } | undefined;
  return {
    delivery: row,
    body: row.body,
    url: webhook.url,
    ownerId: webhook.agent_id,
    webhookActive: webhook.is_active === 1,
    secret: webhook.secret,
    previousSecret: webhook.previous_secret,
    previousSecretExpiresAt: webhook.previous_secret_expires_at,
  };
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
      .bind(delivery.webhookId),
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

/** The end of a delivery that did not arrive, and of its webhook if that is the last straw: then `disabled` is announced. */
export async function recordFailure(
  db: D1Database,
  delivery: Delivery,
  result: AttemptResult,
  { reason, most, disabled, now }: { reason: string; most: number; disabled: Event; now: number },
): Promise<void> {
  const lastStraw = "is_active = 1 AND failures_in_row + 1 >= ";
  await db.batch([
    afterAttempt(db, delivery, result, { status: "failed", nextAttemptAt: null, now }),
    announce(db, disabled, {
      sql: `EXISTS (SELECT 1 FROM webhooks WHERE id = ?6 AND ${lastStraw}?7)`,
      bindings: [delivery.webhookId, most],
    }),
    db
      .prepare(
        `UPDATE webhooks SET failures_in_row = failures_in_row + 1, is_active = iif(${lastStraw}?2, 0, is_active),
           disabled_at = iif(${lastStraw}?2, ?3, disabled_at), disabled_reason = iif(${lastStraw}?2, ?4, disabled_reason)
         WHERE id = ?1`,
      )
      .bind(delivery.webhookId, most, now, reason),
  ]);
}

/** The end of a delivery that was not attempted: its webhook was switched off meanwhile. */
export async function recordUnsent(db: D1Database, delivery: Delivery, error: string, now: number): Promise<void> {
  await afterAttempt(db, delivery, { error }, { status: "failed", nextAttemptAt: null, now }).run();
}

/** Marks deliveries whose messages the queue gave up. */
export async function recordDead(db: D1Database, ids: readonly string[], now: number): Promise<void> {
  await db
    .prepare(
      `UPDATE deliveries SET status = 'failed', next_attempt_at = NULL, error = 'given up by the queue', updated_at = ?2
       WHERE id IN (SELECT value FROM json_each(?1)) AND status = 'pending'`,
    )
    .bind(JSON.stringify(ids), now)
    .run();
}

/** Takes pending deliveries that have been due for a while without a message that asks for them. Returns their ids. */
export async function takeForgotten(
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

/** Begins a delivery anew, under its own id. Nothing where there is none; `undefined` outcome where it is still under way. */
export async function beginAnew(
  db: D1Database,
  id: string,
  webhookId: string,
  now: number,
): Promise<{ delivery: Delivery; begun: boolean } | undefined> {
  const [begun, found] = await db.batch<Delivery>([
    db
      .prepare(
        `UPDATE deliveries SET status = 'pending', attempts = 0, next_attempt_at = ?3, enqueued_at = ?3, error = NULL,
           updated_at = ?3
         WHERE id = ?1 AND webhook_id = ?2 AND status <> 'pending'`,
      )
      .bind(id, webhookId, now),
    db.prepare(`SELECT ${COLUMNS} FROM deliveries WHERE id = ?1 AND webhook_id = ?2`).bind(id, webhookId),
  ]);
  const row = found!.results[0];
  return row && { delivery: row, begun: begun!.meta.changes > 0 };
}

/** A total is counted up to here. */
const MOST_COUNTED = 10_000;

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
      .prepare(`SELECT count(*) AS total FROM (SELECT 1 FROM deliveries WHERE ${where} LIMIT ${MOST_COUNTED})`)
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
