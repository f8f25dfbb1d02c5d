import { randomBase62 } from "../../../crypto/random.ts";
import { prepare, sql, type Sql } from "../../../database/sql.ts";
import { newChangeId } from "../../../outbox/change.ts";
import type { Event } from "../../../outbox/event.ts";
import { insertEvent } from "../../../outbox/outbox.ts";
import type { AuditEntry } from "../../../outbox/record.ts";
import { insertRecord } from "../../../outbox/records.ts";
import { DELIVERY_COLUMNS, toDelivery, type DeliveryRow, type LoggedAttempt } from "../../delivery-row.ts";
import { claimHostSlot } from "../../limits/store.ts";
import type { AttemptResult } from "../../schedule.ts";
import { selectSecrets } from "../../secrets/store.ts";
import { IS_FOR_ALL } from "../../webhook-row.ts";
import type { Delivery, DeliveryStatus } from "../../webhook.ts";

/** An attempt of a delivery. */
export interface Attempt {
  /** Made for this attempt, so that its result is not taken for that of another attempt with the same number. */
  readonly attemptId: string;
  /** When it was claimed, in milliseconds. */
  readonly at: number;
  readonly delivery: Delivery;
}

/** A delivery whose attempt this consumer makes, and where it goes. */
export interface Claim extends Attempt {
  readonly body: string;
  readonly url: string;
  readonly ownerId: string;
  /** Why it must not be sent, or null. */
  readonly withheld: string | null;
  /** Encrypted: the secret of the webhook, and then the former ones whose overlap has not ended, the newest first. */
  readonly secrets: readonly string[];
}

/** How long a claim lasts, in milliseconds. An attempt takes at most 15 seconds, so a consumer that has a claim for longer was killed. */
export const CLAIM_MS = 60_000;

type ClaimedRow = DeliveryRow & { body: string };
type TargetRow = Pick<Claim, "url" | "ownerId" | "withheld"> & { dueAt: number };

/**
 * Claims a delivery that is due. If several messages for it arrive at once, one of them gets the claim. A claim expires, so that the
 * delivery of a consumer that was killed is due again. If the host has reached its attempts of the minute, the delivery is postponed
 * to a random moment in one of the next minutes, according to its place in the queue of the host.
 *
 * @param now milliseconds.
 * @returns the claim; `dueAt`, in milliseconds, for a delivery that waits; undefined if there is nothing to do.
 */
export async function claim(db: D1Database, id: string, now: number): Promise<Claim | { dueAt: number } | undefined> {
  const attemptId = `att_${randomBase62(16)}`;
  const [, postponed, claimed, target, secrets] = await db.batch<never>([
    ...claimHostSlot(db, id, now),
    prepare(
      db,
      sql`UPDATE deliveries SET attempts = attempts + 1, attempt_id = ${attemptId}, next_attempt_at = ${now + CLAIM_MS},
          updated_at = ${now}
        WHERE id = ${id} AND status = 'pending' AND next_attempt_at <= ${now} RETURNING ${DELIVERY_COLUMNS}, body`,
    ),
    prepare(
      db,
      sql`SELECT w.agent_id AS ownerId, url, next_attempt_at AS dueAt,
          CASE WHEN is_active = 0 THEN 'the webhook is switched off'
            WHEN w.agent_id <> d.agent_id AND NOT (${IS_FOR_ALL}) THEN 'its owner is no active administrator' END AS withheld
        FROM deliveries d JOIN webhooks w ON w.id = d.webhook_id WHERE d.id = ${id} AND status = 'pending'`,
    ),
    prepare(db, selectSecrets(sql`(SELECT webhook_id FROM deliveries WHERE id = ${id})`, now)),
  ]);
  const waiting = postponed!.results[0] as { dueAt: number } | undefined;
  if (waiting) return waiting;
  const row = claimed!.results[0] as ClaimedRow | undefined;
  const rest = target!.results[0] as TargetRow | undefined;
  if (row && rest) {
    const sealed = (secrets!.results as { secret: string }[]).map(({ secret }) => secret);
    return { ...rest, attemptId, at: now, delivery: toDelivery(row), body: row.body, secrets: sealed };
  }
  // A delivery that is due within the time of a claim has an attempt under way, or a message that will arrive.
  return rest && rest.dueAt > now + CLAIM_MS ? rest : undefined;
}

interface AttemptOutcome {
  readonly status: DeliveryStatus;
  /** Null if there is no further attempt. */
  readonly nextAttemptAt: number | null;
  readonly now: number;
}

/** How many attempts of a delivery are kept: those of the whole schedule. */
const MAX_LOGGED = 10;
/** How much of each response is kept with them, in characters. Of the last response, `response_body` has more. */
const MAX_LOGGED_BODY = 256;

/** Returns SQL for `attempt_log` with one more attempt, without the oldest one if there were {@link MAX_LOGGED}. */
function withAttempt(
  { at, delivery: { attempts: number } }: Attempt,
  { durationMs = 0, status, error, body }: AttemptResult,
): Sql {
  const logged: LoggedAttempt = {
    number,
    at,
    duration_ms: durationMs,
    status: status ?? null,
    error: error ?? null,
    // Not half of a surrogate pair.
    body: body?.slice(0, MAX_LOGGED_BODY).replace(/[\ud800-\udbff]$/, "") ?? null,
  };
  const former = sql`CASE WHEN json_array_length(attempt_log) >= ${MAX_LOGGED} THEN json_remove(attempt_log, '$[0]')
    ELSE coalesce(attempt_log, '[]') END`;
  return sql`json_insert(${former}, '$[#]', json(${JSON.stringify(logged)}))`;
}

/**
 * The statement that stores an attempt's result. It writes nothing if the delivery was reset, or claimed again, meanwhile: that wins,
 * because the id of the attempt differs then. A former version of the Worker claims without an id, so the number is compared as well.
 */
function updateDelivery(
  db: D1Database,
  attempt: Attempt,
  result: AttemptResult,
  { status, nextAttemptAt, now }: AttemptOutcome,
): D1PreparedStatement {
  const { id, attempts } = attempt.delivery;
  const { status: responseStatus, body, error } = result;
  return prepare(
    db,
    sql`UPDATE deliveries SET status = ${status}, next_attempt_at = ${nextAttemptAt}, enqueued_at = ${now},
        response_status = ${responseStatus ?? null}, response_body = ${body ?? null}, error = ${error ?? null},
        attempt_log = ${withAttempt(attempt, result)}, updated_at = ${now}
      WHERE id = ${id} AND status = 'pending' AND attempt_id = ${attempt.attemptId} AND attempts = ${attempts}`,
  );
}

export async function recordSuccess(
  db: D1Database,
  attempt: Attempt,
  result: AttemptResult,
  now: number,
): Promise<void> {
  await db.batch([
    updateDelivery(db, attempt, result, { status: "success", nextAttemptAt: null, now }),
    prepare(
      db,
      sql`UPDATE webhooks SET failures_in_row = 0 WHERE id = ${attempt.delivery.webhookId} AND failures_in_row > 0`,
    ),
  ]);
}

export async function recordRetry(
  db: D1Database,
  attempt: Attempt,
  result: AttemptResult,
  { at, now }: { at: number; now: number },
): Promise<void> {
  await updateDelivery(db, attempt, result, { status: "pending", nextAttemptAt: at, now }).run();
}

export interface FailureLimit {
  /** Failed deliveries in a row after which the webhook is disabled. */
  readonly maxFailures: number;
  /** Why it is disabled, for its owner to read. */
  readonly reason: string;
  readonly event: Event;
  readonly record: AuditEntry;
}

/**
 * Stores that a delivery has failed, and disables its webhook, with an event, if that reaches the limit. If two deliveries
 * reach it at once, the first disables the webhook, and the second finds it disabled. A result that is not stored, because the
 * delivery was reset meanwhile, does not count.
 *
 * @param now milliseconds.
 */
export async function recordFailure(
  db: D1Database,
  attempt: Attempt,
  result: AttemptResult,
  { maxFailures, reason, event, record }: FailureLimit,
  now: number,
): Promise<void> {
  const { webhookId: id, id: deliveryId } = attempt.delivery;
  const changeId = newChangeId();
  const isStored = sql`EXISTS (SELECT 1 FROM deliveries
    WHERE id = ${deliveryId} AND status = 'failed' AND attempt_id = ${attempt.attemptId})`;
  await db.batch([
    updateDelivery(db, attempt, result, { status: "failed", nextAttemptAt: null, now }),
    prepare(db, sql`UPDATE webhooks SET failures_in_row = failures_in_row + 1 WHERE id = ${id} AND ${isStored}`),
    prepare(
      db,
      sql`UPDATE webhooks SET is_active = 0, disabled_at = ${now}, disabled_reason = ${reason}, change_id = ${changeId}
        WHERE id = ${id} AND is_active = 1 AND failures_in_row >= ${maxFailures}`,
    ),
    insertEvent(db, event, { table: "webhooks", id, changeId }),
    insertRecord(db, record, { table: "webhooks", id, changeId }),
  ]);
}

/** Stores that a delivery failed without an attempt, because it must not be sent. */
export async function recordWithheld(db: D1Database, attempt: Attempt, error: string, now: number): Promise<void> {
  await updateDelivery(db, attempt, { error }, { status: "failed", nextAttemptAt: null, now }).run();
}

/** A delivery that the queue has given up. */
export type DeadDelivery = Pick<Delivery, "id" | "webhookId" | "agentId" | "event">;

/**
 * Fails deliveries whose messages the queue gave up, unless another message's attempt is under way or due later. Returns those that
 * it failed.
 */
export async function recordDead(db: D1Database, ids: readonly string[], now: number): Promise<DeadDelivery[]> {
  const { results } = await prepare(
    db,
    sql`UPDATE deliveries SET status = 'failed', attempt_id = NULL, next_attempt_at = NULL, error = 'given up by the queue',
        updated_at = ${now}
      WHERE id IN (SELECT value FROM json_each(${JSON.stringify(ids)})) AND status = 'pending' AND next_attempt_at <= ${now}
      RETURNING id, webhook_id AS webhookId, agent_id AS agentId, event`,
  ).all<DeadDelivery>();
  return results;
}

/** Claims up to `limit` deliveries that have been due for a while and have no recent message. Returns their ids. */
export async function claimOverdue(
  db: D1Database,
  { dueBefore, enqueuedBefore, now, limit }: Record<"dueBefore" | "enqueuedBefore" | "now" | "limit", number>,
): Promise<string[]> {
  const { results } = await prepare(
    db,
    sql`UPDATE deliveries SET enqueued_at = ${now} WHERE id IN (
      SELECT id FROM deliveries WHERE status = 'pending' AND next_attempt_at <= ${dueBefore}
        AND (enqueued_at IS NULL OR enqueued_at <= ${enqueuedBefore}) LIMIT ${limit}) RETURNING id`,
  ).all<{ id: string }>();
  return results.map(({ id }) => id);
}
