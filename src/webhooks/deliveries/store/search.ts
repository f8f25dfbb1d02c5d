import type { Authority } from "../../../authority/authority.ts";
import { batchAsCaller } from "../../../authority/batch.ts";
import { and, integer, prepare, sql, type Sql } from "../../../database/sql.ts";
import type { AuditEntry } from "../../../outbox/record.ts";
import { insertRecordOf } from "../../../outbox/records.ts";
import { DELIVERY_COLUMNS, toDelivery, type DeliveryRow } from "../../delivery-row.ts";
import { MAX_PENDING } from "../../limits/store.ts";
import type { Delivery, DeliveryFilter, DeliveryStatus } from "../../webhook.ts";
import { CLAIM_MS } from "./attempts.ts";
import { resetAt } from "./deliveries.ts";

/**
 * How many deliveries one search reads from an index. What no index covers is compared with these, so a page may have fewer rows than
 * its limit, or none, and still have a next page.
 */
export const MAX_SEARCHED = 5000;

/** Less than every id of this millisecond or later: an id begins with its time, in milliseconds and twelve hexadecimal digits. */
const firstIdAt = (ms: number): string => `msg_${Math.max(0, ms).toString(16).padStart(12, "0")}`;
/** Greater than every id. */
const AFTER_ALL_IDS = "msg~";

interface Search {
  /** The table with a condition by which an index finds deliveries, in the order of their ids. */
  readonly indexed: Sql;
  /** The condition on each of them, as `d`. */
  readonly rest: Sql | undefined;
}

/**
 * Divides a filter into what one index finds and what is compared with each row. The index is named, because the planner would take
 * `deliveries_by_webhook` for a webhook's deliveries of one status.
 *
 * @param after only ids greater than this one.
 * @param before only ids less than this one.
 */
function toSearch(
  { agentId, webhookId, status, event, from, to }: DeliveryFilter,
  { after = "", before = AFTER_ALL_IDS }: { after?: string | undefined; before?: string | undefined },
): Search {
  const start = firstIdAt(from ?? 0);
  const end = to === undefined ? AFTER_ALL_IDS : firstIdAt(to);
  const inRange = sql`id > ${after > start ? after : start} AND id < ${before < end ? before : end}`;
  const ofAgent = agentId !== undefined && sql`d.agent_id = ${agentId}`;
  const ofStatus = status !== undefined && sql`d.status = ${status}`;
  const ofEvent = event !== undefined && sql`d.event = ${event}`;
  if (webhookId !== undefined) {
    const ofWebhook = sql`webhook_id = ${webhookId} AND ${inRange}`;
    const indexed =
      status === undefined
        ? sql`deliveries INDEXED BY deliveries_by_webhook WHERE ${ofWebhook}`
        : sql`deliveries INDEXED BY deliveries_by_status WHERE status = ${status} AND ${ofWebhook}`;
    return { indexed, rest: and(ofAgent, ofEvent) };
  }
  if (agentId !== undefined) {
    const indexed = sql`deliveries INDEXED BY deliveries_by_agent WHERE agent_id = ${agentId} AND ${inRange}`;
    return { indexed, rest: and(ofStatus, ofEvent) };
  }
  return { indexed: sql`${withStatus(status)} ${inRange}`, rest: and(ofEvent) };
}

/** The deliveries of one status, or all of them. The text has to show the conditions of the two partial indexes. */
function withStatus(status: DeliveryStatus | undefined): Sql {
  if (status === undefined) return sql`deliveries WHERE`;
  return status === "pending"
    ? sql`deliveries INDEXED BY deliveries_pending WHERE status = 'pending' AND`
    : sql`deliveries INDEXED BY deliveries_ended WHERE status <> 'pending' AND status = ${status} AND`;
}

/** A page of deliveries. */
export interface DeliveryPage {
  /** The newest first. */
  readonly deliveries: Delivery[];
  /** The id after which the next page begins; null if there is none. */
  readonly next: string | null;
}

/** The deliveries that a filter matches, the newest first. @param before only deliveries that are older than the one with this id. */
export async function searchDeliveries(
  db: D1Database,
  filter: DeliveryFilter,
  { before, limit }: { before?: string | undefined; limit: number },
): Promise<DeliveryPage> {
  const { indexed, rest } = toSearch(filter, { before });
  const mostRead = rest ? MAX_SEARCHED : limit + 1;
  const read = (columns: Sql) => sql`SELECT ${columns} FROM ${indexed} ORDER BY id DESC LIMIT ${mostRead}`;
  const [page, end] = await db.batch<DeliveryRow & { last: string | null; total: number }>([
    prepare(
      db,
      sql`SELECT ${DELIVERY_COLUMNS} FROM (${read(DELIVERY_COLUMNS)}) d WHERE ${rest ?? sql`1`}
        ORDER BY id DESC LIMIT ${limit + 1}`,
    ),
    ...(rest ? [prepare(db, sql`SELECT count(*) AS total, min(id) AS last FROM (${read(sql`id`)})`)] : []),
  ]);
  const rows = page!.results;
  const deliveries = rows.slice(0, limit).map(toDelivery);
  if (rows.length > limit) return { deliveries, next: deliveries.at(-1)!.id };
  const searched = end?.results[0];
  return { deliveries, next: searched?.total === MAX_SEARCHED ? searched.last : null };
}

/** How many deliveries one call starts again. */
export const MAX_REDELIVERED = 500;
/** For how long a delivery that arrived, and was started again, is not started again with others, in milliseconds. */
const REPEAT_MS = 3_600_000;

/** What a call that starts many deliveries again has done. */
export interface Redelivery {
  /** The deliveries that were started again. */
  readonly ids: readonly string[];
  /** How many could be started again when it began. */
  readonly matched: number;
  /** The id up to which deliveries were searched; null if that was all of them. */
  readonly searchedTo: string | null;
}

/**
 * Starts the deliveries again that a filter matches, the oldest first, up to {@link MAX_REDELIVERED} of the next
 * {@link MAX_SEARCHED}. Left out are those whose attempt is under way or due within a minute, and those of webhooks that are switched
 * off. A webhook gets no more pending deliveries than `MAX_PENDING`, because the oldest above that would fail.
 *
 * If two callers do so at once, the first starts a delivery again, and the second finds it due.
 *
 * @param after only deliveries that are newer than the one with this id.
 * @param dryRun only counts them.
 */
export async function resetDeliveries(
  db: D1Database,
  filter: DeliveryFilter,
  {
    after,
    dryRun,
    now,
    by,
    record,
  }: { after?: string | undefined; dryRun: boolean; now: number; by: Authority; record: AuditEntry },
): Promise<Redelivery> {
  const { indexed, rest } = toSearch(filter, { after });
  const searched = sql`SELECT id, webhook_id, agent_id, event, status, next_attempt_at, reset_at
    FROM ${indexed} ORDER BY id LIMIT ${MAX_SEARCHED}`;
  const startable = sql`FROM (${searched}) d CROSS JOIN webhooks w ON w.id = d.webhook_id
    WHERE w.is_active = 1 AND w.orphaned_at IS NULL AND ${rest ?? sql`1`} AND CASE d.status
      WHEN 'pending' THEN d.next_attempt_at > ${now + CLAIM_MS}
      WHEN 'success' THEN d.reset_at IS NULL OR d.reset_at <= ${now - REPEAT_MS}
      ELSE 1 END`;
  // The pending deliveries that the webhook would have. One that is pending already is counted already.
  const pending = sql`coalesce((SELECT t.pending FROM delivery_totals t WHERE t.webhook_id = d.webhook_id), 0)
    + sum(d.status <> 'pending') OVER (PARTITION BY d.webhook_id ORDER BY d.id)`;
  const fitting = sql`SELECT id FROM (
      SELECT d.id, w.all_agents OR d.status = 'pending' OR ${pending} <= ${integer(MAX_PENDING)} AS fits ${startable})
    WHERE fits ORDER BY id LIMIT ${MAX_REDELIVERED}`;
  const [counts, reset] = await batchAsCaller<{ id: string; matched: number; searched: number; last: string | null }>(
    db,
    by,
    [
      prepare(
        db,
        sql`SELECT (SELECT count(*) ${startable}) AS matched, count(*) AS searched, max(id) AS last FROM (${searched})`,
      ),
      ...(dryRun
        ? []
        : [
            prepare(db, sql`UPDATE deliveries SET ${resetAt(now)} WHERE id IN (${fitting}) RETURNING id`),
            insertRecordOf(db, record, {
              from: sql`WHERE changes() > 0`,
              fields: { message: sql`changes() || ' ' || ${record.message}` },
            }),
          ]),
    ],
  );
  const { matched, searched: total, last } = counts!.results[0]!;
  return { ids: (reset?.results ?? []).map(({ id }) => id), matched, searchedTo: total < MAX_SEARCHED ? null : last };
}
