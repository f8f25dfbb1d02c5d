import { integer, prepare, sql } from "../../database/sql.ts";
import { minuteOf } from "../../outbox/outbox.ts";

/**
 * Attempts a minute to one host, for all webhooks of an owner together: the host may belong to somebody who did not ask for them.
 * An administrator's webhooks for all agents have a limit of their own, because they carry the events of every agent.
 */
export const MAX_ATTEMPTS_PER_HOST = 60;
export const MAX_ATTEMPTS_PER_HOST_FOR_ALL = 1200;

const HOST_LIMIT = sql`iif(w.all_agents, ${integer(MAX_ATTEMPTS_PER_HOST_FOR_ALL)}, ${integer(MAX_ATTEMPTS_PER_HOST)})`;

const MINUTE_MS = integer(60_000);

/**
 * The two statements that count a due delivery among its host's attempts of the minute, and postpone it if the limit is exceeded.
 * The second returns `dueAt`, in milliseconds, if it did. The count is incremented before it is read, so that each of many
 * concurrent attempts has its own place.
 */
export function claimHostSlot(db: D1Database, id: string, now: number): D1PreparedStatement[] {
  return [
    prepare(
      db,
      sql`INSERT INTO host_attempts (owner_id, host, all_agents, minute, total)
        SELECT w.agent_id, coalesce(w.host, w.url), w.all_agents, ${minuteOf(now)}, 1
        FROM deliveries d JOIN webhooks w ON w.id = d.webhook_id
        WHERE d.id = ${id} AND d.status = 'pending' AND d.next_attempt_at <= ${now}
        ON CONFLICT (owner_id, host, all_agents) DO UPDATE SET
          total = iif(minute >= excluded.minute, total + 1, 1), minute = max(minute, excluded.minute)`,
    ),
    prepare(
      db,
      sql`UPDATE deliveries SET enqueued_at = ${now}, updated_at = ${now}, next_attempt_at =
          (h.minute + (h.total - 1) / ${HOST_LIMIT}) * ${MINUTE_MS} + abs(random() % ${MINUTE_MS})
        FROM webhooks w JOIN host_attempts h
          ON h.owner_id = w.agent_id AND h.host = coalesce(w.host, w.url) AND h.all_agents = w.all_agents
        WHERE deliveries.id = ${id} AND status = 'pending' AND next_attempt_at <= ${now}
          AND w.id = deliveries.webhook_id AND h.total > ${HOST_LIMIT}
        RETURNING next_attempt_at AS dueAt`,
    ),
  ];
}

/** Deletes up to `limit` counts of minutes before the last one. Returns how many. */
export async function deleteHostAttempts(db: D1Database, now: number, limit: number): Promise<number> {
  const { meta } = await prepare(
    db,
    sql`DELETE FROM host_attempts WHERE (owner_id, host, all_agents) IN (
      SELECT owner_id, host, all_agents FROM host_attempts WHERE minute < ${minuteOf(now) - 1} LIMIT ${limit})`,
  ).run();
  return meta.changes;
}

/** Pending deliveries of a webhook, and bytes of its stored deliveries. The indexes of `delivery_totals` contain both numbers. */
export const MAX_PENDING = 500;
export const MAX_KEPT_BYTES = 1_000_000;
/** Stored bytes of an administrator's webhook for all agents. Its pending deliveries are not limited: nobody else can register one. */
const MAX_KEPT_BYTES_FOR_ALL = 64_000_000;

/** A webhook with more deliveries than it may have. */
export interface Surplus {
  readonly webhookId: string;
  /** How many pending deliveries are too many. */
  readonly pending: number;
  /** How many bytes are too many. */
  readonly bytes: number;
}

/** Up to `limit` webhooks with too many deliveries, in random order, so that one that cannot be trimmed yet does not block the others. */
export async function findSurpluses(db: D1Database, limit: number): Promise<Surplus[]> {
  const [maxPending, maxBytes, maxBytesForAll] = [MAX_PENDING, MAX_KEPT_BYTES, MAX_KEPT_BYTES_FOR_ALL].map(integer);
  const { results } = await prepare(
    db,
    sql`SELECT webhook_id AS webhookId, sum(pending) AS pending, sum(bytes) AS bytes FROM (
        SELECT t.webhook_id, t.pending - ${maxPending!} AS pending, 0 AS bytes
          FROM delivery_totals t JOIN webhooks w ON w.id = t.webhook_id
          WHERE t.pending > ${maxPending!} AND w.all_agents = 0
        UNION ALL SELECT t.webhook_id, 0, t.bytes - iif(w.all_agents, ${maxBytesForAll!}, ${maxBytes!})
          FROM delivery_totals t JOIN webhooks w ON w.id = t.webhook_id
          WHERE t.bytes > ${maxBytes!} AND (w.all_agents = 0 OR t.bytes > ${maxBytesForAll!}))
      GROUP BY webhook_id ORDER BY random() LIMIT ${limit}`,
  ).all<Surplus>();
  return results;
}

/**
 * Fails the oldest pending deliveries above the limit, and deletes the oldest finished ones until the stored bytes fit. A delivery
 * whose attempt is under way is left alone. Returns how many deliveries it failed and deleted.
 *
 * @param claimedBefore milliseconds: an attempt that began later may be under way.
 */
export async function trim(
  db: D1Database,
  { webhookId, pending, bytes }: Surplus,
  { now, claimedBefore, limit }: { now: number; claimedBefore: number; limit: number },
): Promise<number> {
  const error = `given up: more than ${MAX_PENDING} deliveries wait for this webhook`;
  const [failed, deleted] = await db.batch([
    prepare(
      db,
      sql`UPDATE deliveries SET status = 'failed', next_attempt_at = NULL, error = ${error}, updated_at = ${now} WHERE id IN (
        SELECT id FROM deliveries
        WHERE webhook_id = ${webhookId} AND status = 'pending' AND (attempts = 0 OR updated_at <= ${claimedBefore})
        ORDER BY id LIMIT ${Math.min(pending, limit)})`,
    ),
    prepare(
      db,
      sql`DELETE FROM deliveries WHERE id IN (SELECT id FROM (
          SELECT id, sum(size) OVER (ORDER BY id) - size AS before FROM (
            SELECT id, length(CAST(body AS BLOB)) + 1024 + coalesce(length(CAST(attempt_log AS BLOB)), 0) AS size FROM deliveries
            WHERE webhook_id = ${webhookId} AND status <> 'pending' ORDER BY id LIMIT ${limit}))
        WHERE before < ${bytes})`,
    ),
  ]);
  return failed!.meta.changes + deleted!.meta.changes;
}
