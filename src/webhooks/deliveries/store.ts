import { bodyOf, isLimited, MAX_EVENTS_PER_MINUTE, type Event, type EventName, type Told } from "../event.ts";
import { announce } from "../outbox.ts";
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

const toldAt = (event: Told, now: number) => [event.id, event.agentId, event.name, bodyOf(event), now];

const MINUTE_MS = 60_000;
const minuteOf = (ms: number): number => Math.floor(ms / MINUTE_MS);

/**
 * Turns events into deliveries, one for each webhook that listens, and takes them out of the outbox. One batch; an event that
 * another run has taken already gives nothing. Of events that are limited, those above the limit of the minute are counted and
 * become no delivery. Returns the deliveries' ids.
 */
export async function fanOut(db: D1Database, events: readonly Event[], now: number): Promise<string[]> {
  const waits = "EXISTS (SELECT 1 FROM events WHERE id = ?1)";
  const isAbove = `EXISTS (SELECT 1 FROM event_counts
    WHERE agent_id = ?2 AND event = ?3 AND minute = ?6 AND total > ${MAX_EVENTS_PER_MINUTE})`;
  const toListeners = deliveryTo(`${LISTENERS} AND ${waits}`, "id");
  const toListenersWithin = deliveryTo(`${LISTENERS} AND ${waits} AND NOT ${isAbove}`, "id");
  const minute = minuteOf(now);
  const results = await db.batch<{ id: string }>(
    events.flatMap((event) => [
      ...(isLimited(event)
        ? [countEvent(db, event.id, minute), db.prepare(toListenersWithin).bind(...toldAt(event, now), minute)]
        : [db.prepare(toListeners).bind(...toldAt(event, now))]),
      db.prepare("DELETE FROM events WHERE id = ?1").bind(event.id),
    ]),
  );
  return results.flatMap((result) => result.results ?? []).map(({ id }) => id);
}

/** Counts an event of the outbox, unless another run has taken it. `since` follows until the limit is passed. */
function countEvent(db: D1Database, id: string, minute: number): D1PreparedStatement {
  return db
    .prepare(
      `INSERT INTO event_counts (agent_id, event, minute, total, since, at, data)
       SELECT agent_id, event, ?2, 1, at, at, data FROM events WHERE id = ?1
       ON CONFLICT (agent_id, event, minute) DO UPDATE SET total = total + 1, at = excluded.at, data = excluded.data,
         since = iif(total <= ${MAX_EVENTS_PER_MINUTE}, excluded.since, since)`,
    )
    .bind(id, minute);
}

/** How many events of one name an agent has caused in a minute. Times are milliseconds. */
export interface EventCount {
  readonly agentId: string;
  readonly name: EventName;
  readonly minute: number;
  readonly total: number;
  /** When the first that was not told happened. */
  readonly since: number;
  /** When the newest happened, and its data. */
  readonly at: number;
  readonly data: Event["data"];
}

/** The counts above the limit of minutes that are over at `now`. At most `limit` counts. */
export async function countsToTell(db: D1Database, now: number, limit: number): Promise<EventCount[]> {
  const { results } = await db
    .prepare(
      `SELECT agent_id AS agentId, event AS name, minute, total, since, at, data FROM event_counts
       WHERE minute < ?1 AND total > ${MAX_EVENTS_PER_MINUTE} LIMIT ?2`,
    )
    .bind(minuteOf(now), limit)
    .all<Omit<EventCount, "data"> & { data: string }>();
  return results.map(({ agentId, name, minute, total, since, at, data }) => ({
    agentId,
    name,
    minute,
    total,
    since,
    at,
    data: JSON.parse(data) as Event["data"],
  }));
}

/** Forgets the counts within the limit of minutes that are over at `now`: every event was told. Returns how many. */
export async function deleteEventCounts(db: D1Database, now: number, limit: number): Promise<number> {
  const { meta } = await db
    .prepare(
      `DELETE FROM event_counts WHERE (agent_id, event, minute) IN (
         SELECT agent_id, event, minute FROM event_counts WHERE minute < ?1 AND total <= ${MAX_EVENTS_PER_MINUTE} LIMIT ?2)`,
    )
    .bind(minuteOf(now), limit)
    .run();
  return meta.changes;
}

/** The statements that end a count, and put the event that tells of it into the outbox, unless another run has. */
export function tellCount(
  db: D1Database,
  { agentId, name, minute, total }: EventCount,
  event: Event,
): D1PreparedStatement[] {
  return [
    announce(db, event, {
      sql: "EXISTS (SELECT 1 FROM event_counts WHERE agent_id = ?2 AND event = ?3 AND minute = ?6 AND total = ?7)",
      bindings: [minute, total],
    }),
    db
      .prepare("DELETE FROM event_counts WHERE agent_id = ?1 AND event = ?2 AND minute = ?3 AND total = ?4")
      .bind(agentId, name, minute, total),
  ];
}

/** Adds one delivery of an owner's own making. */
export function insertDelivery(db: D1Database, webhookId: string, event: Told, now: number): Promise<Delivery | null> {
  return db
    .prepare(deliveryTo("webhooks w WHERE w.id = ?6", COLUMNS))
    .bind(...toldAt(event, now), webhookId)
    .first<Delivery>();
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
const CLAIM_MS = 60_000;

/**
 * Attempts a minute to one host, for all webhooks of an owner together: whoever's host it is, it did not ask for them. Those of
 * an administrator's webhooks for all agents have a limit of their own, because they carry what happens to everybody's.
 */
export const MAX_ATTEMPTS_PER_HOST = 60;
export const MAX_ATTEMPTS_PER_HOST_FOR_ALL = 1200;

/**
 * Takes a delivery that is due: of all messages that ask for it at once, one gets it. The claim ends by itself, so that a
 * consumer that dies leaves it due again. A delivery whose host has had its attempts of the minute waits: for a place in the
 * next minutes, by its turn, at a random moment of the minute.
 *
 * @returns the claim; or when the delivery is due, for one that waits; or nothing where nothing is to be done.
 */
export async function claim(db: D1Database, id: string, now: number): Promise<Claim | { dueAt: number } | undefined> {
  const limit = `iif(w.all_agents, ${MAX_ATTEMPTS_PER_HOST_FOR_ALL}, ${MAX_ATTEMPTS_PER_HOST})`;
  const [, postponed, claimed, target] = await db.batch<never>([
    db
      .prepare(
        `INSERT INTO host_attempts (owner_id, host, all_agents, minute, total)
         SELECT w.agent_id, coalesce(w.host, w.url), w.all_agents, ?3, 1 FROM deliveries d JOIN webhooks w ON w.id = d.webhook_id
         WHERE d.id = ?1 AND d.status = 'pending' AND d.next_attempt_at <= ?2
         ON CONFLICT (owner_id, host, all_agents) DO UPDATE SET
           total = iif(minute >= excluded.minute, total + 1, 1), minute = max(minute, excluded.minute)`,
      )
      .bind(id, now, minuteOf(now)),
    db
      .prepare(
        `UPDATE deliveries SET enqueued_at = ?2, updated_at = ?2, next_attempt_at =
           (h.minute + (h.total - 1) / ${limit}) * ${MINUTE_MS} + abs(random() % ${MINUTE_MS})
         FROM webhooks w JOIN host_attempts h
           ON h.owner_id = w.agent_id AND h.host = coalesce(w.host, w.url) AND h.all_agents = w.all_agents
         WHERE deliveries.id = ?1 AND status = 'pending' AND next_attempt_at <= ?2
           AND w.id = deliveries.webhook_id AND h.total > ${limit}
         RETURNING next_attempt_at AS dueAt`,
      )
      .bind(id, now),
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
  const lastStraw = "is_active = 1 AND failures_in_row >=";
  const { webhook_id: id } = delivery;
  const results = await db.batch([
    afterAttempt(db, delivery, result, { status: "failed", nextAttemptAt: null, now }),
    db.prepare("UPDATE webhooks SET failures_in_row = failures_in_row + 1 WHERE id = ?1").bind(id),
    announce(db, disabled, {
      sql: `EXISTS (SELECT 1 FROM webhooks WHERE id = ?6 AND ${lastStraw} ?7)`,
      bindings: [id, most],
    }),
    db
      .prepare(
        `UPDATE webhooks SET is_active = 0, disabled_at = ?3, disabled_reason = ?4 WHERE id = ?1 AND ${lastStraw} ?2`,
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

/** Begins a delivery anew, under its own id, unless an attempt is under way or near. */
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
         WHERE id = ?1 AND webhook_id = ?2 AND (status <> 'pending' OR next_attempt_at > ?3 + ?4)`,
      )
      .bind(id, webhookId, now, CLAIM_MS),
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

/** Forgets what was counted of minutes before the last. Returns how many hosts. */
export async function deleteHostAttempts(db: D1Database, now: number, limit: number): Promise<number> {
  const { meta } = await db
    .prepare(
      `DELETE FROM host_attempts WHERE (owner_id, host, all_agents) IN (
         SELECT owner_id, host, all_agents FROM host_attempts WHERE minute < ?1 LIMIT ?2)`,
    )
    .bind(minuteOf(now) - 1, limit)
    .run();
  return meta.changes;
}

/** Deliveries of a webhook that may wait, and bytes of its deliveries that are kept. The indexes of `delivery_totals` name both. */
export const MAX_PENDING = 500;
export const MAX_KEPT_BYTES = 1_000_000;
/** The same of an administrator's webhook for all agents. What waits there is not bounded: nobody else can register one. */
export const MAX_KEPT_BYTES_FOR_ALL = 64_000_000;

/** A webhook with more deliveries than it may have. */
export interface Surplus {
  readonly webhookId: string;
  /** How many that wait are too many. */
  readonly pending: number;
  /** How many bytes are too many. */
  readonly bytes: number;
}

/** Webhooks with too many deliveries, at most so many. */
export async function webhooksWithSurplus(db: D1Database, limit: number): Promise<Surplus[]> {
  const large = `SELECT t.webhook_id, t.pending - ${MAX_PENDING} AS pending, 0 AS bytes
      FROM delivery_totals t JOIN webhooks w ON w.id = t.webhook_id
      WHERE t.pending > ${MAX_PENDING} AND w.all_agents = 0
    UNION ALL SELECT t.webhook_id, 0, t.bytes - iif(w.all_agents, ${MAX_KEPT_BYTES_FOR_ALL}, ${MAX_KEPT_BYTES})
      FROM delivery_totals t JOIN webhooks w ON w.id = t.webhook_id
      WHERE t.bytes > ${MAX_KEPT_BYTES} AND (w.all_agents = 0 OR t.bytes > ${MAX_KEPT_BYTES_FOR_ALL})`;
  // By chance: one whose surplus cannot go yet keeps no other from its turn.
  const { results } = await db
    .prepare(
      `SELECT webhook_id AS webhookId, sum(pending) AS pending, sum(bytes) AS bytes FROM (${large})
       GROUP BY webhook_id ORDER BY random() LIMIT ?1`,
    )
    .bind(limit)
    .all<Surplus>();
  return results;
}

/**
 * Ends the oldest deliveries that wait and are too many, and deletes the oldest that have ended until what is kept fits. An attempt
 * that is under way is left alone. Returns how many deliveries it dealt with.
 */
export async function trim(db: D1Database, { webhookId, pending, bytes }: Surplus, now: number, limit: number) {
  const [ended, deleted] = await db.batch([
    db
      .prepare(
        `UPDATE deliveries SET status = 'failed', next_attempt_at = NULL, error = ?3, updated_at = ?4 WHERE id IN (
           SELECT id FROM deliveries WHERE webhook_id = ?1 AND status = 'pending' AND (attempts = 0 OR updated_at <= ?4 - ${CLAIM_MS})
           ORDER BY id LIMIT ?2)`,
      )
      .bind(
        webhookId,
        Math.min(pending, limit),
        `given up: more than ${MAX_PENDING} deliveries wait for this webhook`,
        now,
      ),
    db
      .prepare(
        `DELETE FROM deliveries WHERE id IN (SELECT id FROM (
           SELECT id, sum(size) OVER (ORDER BY id) - size AS before FROM (
             SELECT id, length(CAST(body AS BLOB)) + 1024 AS size FROM deliveries
             WHERE webhook_id = ?1 AND status <> 'pending' ORDER BY id LIMIT ?3))
         WHERE before < ?2)`,
      )
      .bind(webhookId, bytes, limit),
  ]);
  return ended!.meta.changes + deleted!.meta.changes;
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
