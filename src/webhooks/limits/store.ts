import { MAX_EVENTS_PER_MINUTE, type Event, type EventName } from "../../outbox/event.ts";
import { insertEvent } from "../outbox.ts";

const MINUTE_MS = 60_000;
/** Minutes since the epoch. */
export const minuteOf = (ms: number): number => Math.floor(ms / MINUTE_MS);

/** SQL that is true where an event (named ?3, of agent ?2) is above the limit of a minute (?6), once it is counted. */
export const IS_ABOVE_LIMIT = `EXISTS (SELECT 1 FROM event_counts
    WHERE agent_id = ?2 AND event = ?3 AND minute = ?6 AND total > ${MAX_EVENTS_PER_MINUTE})`;

/** Counts an event of the outbox, unless another run has taken it. `since` follows until the limit is passed. */
export function countEvent(db: D1Database, id: string, minute: number): D1PreparedStatement {
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
export async function findEventCounts(db: D1Database, now: number, limit: number): Promise<EventCount[]> {
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
export function countEventStatements(
  db: D1Database,
  { agentId, name, minute, total }: EventCount,
  event: Event,
): D1PreparedStatement[] {
  return [
    insertEvent(db, event, {
      sql: "EXISTS (SELECT 1 FROM event_counts WHERE agent_id = ?2 AND event = ?3 AND minute = ?6 AND total = ?7)",
      bindings: [minute, total],
    }),
    db
      .prepare("DELETE FROM event_counts WHERE agent_id = ?1 AND event = ?2 AND minute = ?3 AND total = ?4")
      .bind(agentId, name, minute, total),
  ];
}

/**
 * Attempts a minute to one host, for all webhooks of an owner together: whoever's host it is, it did not ask for them. Those of
 * an administrator's webhooks for all agents have a limit of their own, because they carry what happens to everybody's.
 */
export const MAX_ATTEMPTS_PER_HOST = 60;
export const MAX_ATTEMPTS_PER_HOST_FOR_ALL = 1200;

const SHARE = `iif(w.all_agents, ${MAX_ATTEMPTS_PER_HOST_FOR_ALL}, ${MAX_ATTEMPTS_PER_HOST})`;

/**
 * The two statements that count a delivery that is due among its host's attempts of the minute, and put it off if there were
 * enough. The second returns `dueAt` where it did.
 */
export function claimHostSlot(db: D1Database, id: string, now: number): D1PreparedStatement[] {
  return [
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
           (h.minute + (h.total - 1) / ${SHARE}) * ${MINUTE_MS} + abs(random() % ${MINUTE_MS})
         FROM webhooks w JOIN host_attempts h
           ON h.owner_id = w.agent_id AND h.host = coalesce(w.host, w.url) AND h.all_agents = w.all_agents
         WHERE deliveries.id = ?1 AND status = 'pending' AND next_attempt_at <= ?2
           AND w.id = deliveries.webhook_id AND h.total > ${SHARE}
         RETURNING next_attempt_at AS dueAt`,
      )
      .bind(id, now),
  ];
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
const MAX_KEPT_BYTES_FOR_ALL = 64_000_000;

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
 *
 * @param claimedBefore attempts that began later may be under way.
 */
export async function trim(
  db: D1Database,
  { webhookId, pending, bytes }: Surplus,
  { now, claimedBefore, limit }: { now: number; claimedBefore: number; limit: number },
): Promise<number> {
  const [ended, deleted] = await db.batch([
    db
      .prepare(
        `UPDATE deliveries SET status = 'failed', next_attempt_at = NULL, error = ?3, updated_at = ?4 WHERE id IN (
           SELECT id FROM deliveries WHERE webhook_id = ?1 AND status = 'pending' AND (attempts = 0 OR updated_at <= ?5)
           ORDER BY id LIMIT ?2)`,
      )
      .bind(
        webhookId,
        Math.min(pending, limit),
        `given up: more than ${MAX_PENDING} deliveries wait for this webhook`,
        now,
        claimedBefore,
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
