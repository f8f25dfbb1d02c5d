import type { Authority } from "../../../authority/authority.ts";
import { batchAsCaller } from "../../../authority/batch.ts";
import { integer, prepare, sql, type Sql } from "../../../database/sql.ts";
import { isLimited, MAX_EVENTS_PER_MINUTE, type Event } from "../../../outbox/event.ts";
import type { AuditEntry } from "../../../outbox/record.ts";
import { countEvent, minuteOf, takeEvent } from "../../../outbox/outbox.ts";
import { DELIVERY_COLUMNS, toDelivery, type DeliveryRow } from "../../delivery-row.ts";
import { toPayloadBody, type WebhookPayload } from "../../payload.ts";
import { insertWebhookRecord, listenersOf } from "../../webhook-row.ts";
import type { Delivery } from "../../webhook.ts";

/**
 * Inserts one delivery of an event for each webhook `w`, unless the webhook has a delivery of this event already. The database makes
 * the ids, which sort by time, because only it knows how many are needed.
 */
const deliveriesTo = (webhooks: Sql, event: WebhookPayload, now: number) =>
  sql`INSERT OR IGNORE INTO deliveries (id, webhook_id, event_id, event, agent_id, body, status, next_attempt_at, enqueued_at,
      created_at, updated_at)
    SELECT 'msg_' || printf('%012x', ${now}) || lower(hex(randomblob(10))), w.id, ${event.id}, ${event.name}, ${event.agentId},
      ${toPayloadBody(event)}, 'pending', ${now}, ${now}, ${now}, ${now}
    FROM ${webhooks}`;

/** The statement that deletes those of the events that no webhook subscribes to. */
function dropUnheard(db: D1Database, events: readonly Event[]): D1PreparedStatement {
  const ids = JSON.stringify(events.map(({ id }) => id));
  const waiting = { agentId: sql`events.agent_id`, name: sql`events.event`, at: sql`events.at` };
  return prepare(
    db,
    sql`DELETE FROM events WHERE id IN (SELECT value FROM json_each(${ids}))
      AND NOT EXISTS (SELECT 1 FROM ${listenersOf(waiting)})`,
  );
}

/**
 * Turns events into deliveries, one for each webhook that is subscribed now, and deletes them from the outbox. Limited events above
 * the limit of the minute are counted and make no delivery.
 *
 * This is one batch. If two runs have the same events, the first handles them; the second finds them deleted, and neither counts nor
 * inserts anything.
 *
 * @param now milliseconds.
 * @returns the deliveries' ids.
 */
export async function insertDeliveries(db: D1Database, events: readonly Event[], now: number): Promise<string[]> {
  const statements = events.flatMap((event) => {
    const listeners = sql`${listenersOf(event)}
      AND EXISTS (SELECT 1 FROM events WHERE id = ${event.id})`;
    if (!isLimited(event)) {
      return [prepare(db, sql`${deliveriesTo(listeners, event, now)} RETURNING id`), takeEvent(db, event)];
    }
    const withinLimit = sql`NOT EXISTS (SELECT 1 FROM event_counts WHERE agent_id = ${event.agentId} AND event = ${event.name}
      AND minute = ${minuteOf(now)} AND total > ${integer(MAX_EVENTS_PER_MINUTE)})`;
    return [
      countEvent(db, event, now),
      prepare(db, sql`${deliveriesTo(sql`${listeners} AND ${withinLimit}`, event, now)} RETURNING id`),
      takeEvent(db, event),
    ];
  });
  const results = await db.batch<{ id: string }>([dropUnheard(db, events), ...statements]);
  return results.flatMap((result) => result.results ?? []).map(({ id }) => id);
}

/** Inserts one delivery for one webhook, whatever it subscribes to. Returns undefined if the webhook is deleted. */
export async function insertDelivery(
  db: D1Database,
  webhookId: string,
  event: WebhookPayload,
  { now, by, record }: { now: number; by: Authority; record: AuditEntry },
): Promise<Delivery | undefined> {
  const webhook = sql`webhooks w WHERE w.id = ${webhookId}`;
  const [inserted] = await batchAsCaller<DeliveryRow>(db, by, [
    prepare(db, sql`${deliveriesTo(webhook, event, now)} RETURNING ${DELIVERY_COLUMNS}`),
    insertWebhookRecord(db, record, sql`FROM webhooks w WHERE w.id = ${webhookId}`),
  ]);
  const row = inserted!.results[0];
  return row && toDelivery(row);
}
