import type { Authority } from "../authority/authority.ts";
import { batchAsCaller } from "../authority/batch.ts";
import { join, prepare, Sql, sql } from "../database/sql.ts";
import type { EventName } from "../outbox/event.ts";
import type { AuditEntry } from "../outbox/record.ts";
import { deleteFormerSecrets, keepPreviousSecret } from "./secrets/store.ts";
import { domainOf } from "./target.ts";
import { insertWebhookRecord, toWebhook, WEBHOOK_COLUMNS, type WebhookRow } from "./webhook-row.ts";
import type { Owner, Webhook, WebhookPosition } from "./webhook.ts";

/**
 * Inserts a webhook unless its agent is gone or has `maxWebhooks` already. The count and the insert are one statement, so that two
 * callers at once cannot exceed the limit. Returns whether it was inserted.
 */
export async function insertWebhook(
  db: D1Database,
  { id, agentId, url, events, description, allAgents, createdAt }: Webhook,
  {
    sealedSecret,
    maxWebhooks,
    by,
    record,
  }: { sealedSecret: string; maxWebhooks: number; by: Authority; record: AuditEntry },
): Promise<boolean> {
  const [inserted] = await batchAsCaller(db, by, [
    prepare(
      db,
      sql`INSERT INTO webhooks (id, agent_id, url, events, description, all_agents, secret, created_at, updated_at, host)
        SELECT ${id}, id, ${url}, ${JSON.stringify(events)}, ${description}, ${Number(allAgents)}, ${sealedSecret},
          ${createdAt}, ${createdAt}, ${domainOf(url)}
        FROM agents
        WHERE id = ${agentId} AND (SELECT count(*) FROM webhooks WHERE agent_id = ${agentId}) < ${maxWebhooks}`,
    ),
    insertWebhookRecord(db, record, sql`FROM webhooks w WHERE w.id = ${id}`, { after: true }),
  ]);
  return inserted!.meta.changes > 0;
}

/** SQL that is true for this webhook if the owner has it. Nobody has a webhook whose agent was deleted: it only waits for its last delivery. */
const isOwned = (id: string, owner: Owner): Sql =>
  owner === "anybody"
    ? sql`id = ${id} AND orphaned_at IS NULL`
    : sql`id = ${id} AND agent_id = ${owner} AND orphaned_at IS NULL`;

/**
 * The same for what decides where deliveries go, and how they are signed. A webhook for all agents is an administrator's: a token of its
 * own agent that gives less leads nobody else's events elsewhere.
 */
const isChangeable = (id: string, owner: Owner): Sql =>
  owner === "anybody" ? isOwned(id, owner) : sql`${isOwned(id, owner)} AND all_agents = 0`;

/** Up to `limit` of the owner's webhooks after a position, the oldest first. */
export async function readWebhooks(
  db: D1Database,
  owner: Owner,
  { after, limit }: { after: WebhookPosition | undefined; limit: number },
): Promise<Webhook[]> {
  const ofOwner = owner === "anybody" ? sql`1` : sql`agent_id = ${owner}`;
  const { results } = await prepare(
    db,
    sql`SELECT ${WEBHOOK_COLUMNS} FROM webhooks
      WHERE ${ofOwner} AND (created_at, id) > (${after?.createdAt ?? -1}, ${after?.id ?? ""}) AND orphaned_at IS NULL
      ORDER BY created_at, id LIMIT ${limit}`,
  ).all<WebhookRow>();
  return results.map(toWebhook);
}

export async function readWebhook(db: D1Database, id: string, owner: Owner): Promise<Webhook | undefined> {
  const row = await prepare(
    db,
    sql`SELECT ${WEBHOOK_COLUMNS} FROM webhooks WHERE ${isOwned(id, owner)}`,
  ).first<WebhookRow>();
  return row ? toWebhook(row) : undefined;
}

export interface WebhookChange {
  readonly url?: string | undefined;
  readonly events?: readonly EventName[] | undefined;
  readonly description?: string | null | undefined;
  readonly isActive?: boolean | undefined;
}

/** Updates the given properties. Activating a webhook resets its failures and the reason why it was disabled. */
export async function updateWebhook(
  db: D1Database,
  id: string,
  owner: Owner,
  { url, events, description, isActive }: WebhookChange,
  { now, by, record }: { now: number; by: Authority; record: AuditEntry },
): Promise<Webhook | undefined> {
  const after = [
    url !== undefined && sql`'host', ${domainOf(url)}`,
    events && sql`'events', json(${JSON.stringify(events)})`,
    description !== undefined && sql`'description', ${description}`,
    isActive !== undefined && sql`'is_active', json(${String(isActive)})`,
  ].filter((one) => one instanceof Sql);
  const set = [
    url !== undefined && sql`, url = ${url}, host = ${domainOf(url)}`,
    events && sql`, events = ${JSON.stringify(events)}`,
    description !== undefined && sql`, description = ${description}`,
    isActive !== undefined && sql`, is_active = ${Number(isActive)}`,
    isActive && sql`, failures_in_row = 0, disabled_at = NULL, disabled_reason = NULL`,
  ];
  const changes = set.reduce<Sql>((all, one) => (one ? sql`${all}${one}` : all), sql`updated_at = ${now}`);
  return writeWebhook(
    db,
    by,
    sql`UPDATE webhooks SET ${changes} WHERE ${isChangeable(id, owner)} RETURNING ${WEBHOOK_COLUMNS}`,
    [
      insertWebhookRecord(db, record, sql`FROM webhooks w WHERE ${isChangeable(id, owner)}`, {
        before: true,
        after: sql`json_object(${after.length === 0 ? sql`` : join(after, sql`, `)})`,
      }),
    ],
  );
}

/** Deletes a webhook. Returns whether there was one. */
export async function deleteWebhook(
  db: D1Database,
  id: string,
  owner: Owner,
  { by, record }: { by: Authority; record: AuditEntry },
): Promise<boolean> {
  const [, deleted] = await batchAsCaller(db, by, [
    insertWebhookRecord(db, record, sql`FROM webhooks w WHERE ${isOwned(id, owner)}`, { before: true }),
    prepare(db, sql`DELETE FROM webhooks WHERE ${isOwned(id, owner)} RETURNING id`),
  ]);
  return deleted!.results.length > 0;
}

/** @param before statements that run before it in the same transaction. */
async function writeWebhook(
  db: D1Database,
  by: Authority,
  statement: Sql,
  before: readonly D1PreparedStatement[] = [],
): Promise<Webhook | undefined> {
  const results = await batchAsCaller<WebhookRow>(db, by, [...before, prepare(db, statement)]);
  const row = results.at(-1)!.results[0];
  return row && toWebhook(row);
}

export interface NewSecret {
  readonly sealedSecret: string;
  /** Until when the former secret signs too, in milliseconds. If this is not after `now`, every former secret is deleted. */
  readonly previousExpiresAt: number;
  readonly now: number;
  readonly by: Authority;
  readonly record: AuditEntry;
}

/**
 * Replaces the secret. If two callers do so at once, the secret of the first is the former secret of the second. Former secrets
 * whose overlap has not ended are kept, up to `MAX_SECRETS_PER_WEBHOOK` with the new one.
 */
export function replaceSecret(
  db: D1Database,
  id: string,
  owner: Owner,
  { sealedSecret, previousExpiresAt, now, by, record }: NewSecret,
): Promise<Webhook | undefined> {
  const isWebhook = isChangeable(id, owner);
  const overlaps = previousExpiresAt > now;
  const previous = overlaps
    ? sql`previous_secret = secret, previous_secret_expires_at = ${previousExpiresAt}`
    : sql`previous_secret = NULL, previous_secret_expires_at = NULL`;
  return writeWebhook(
    db,
    by,
    sql`UPDATE webhooks SET ${previous}, secret = ${sealedSecret}, unreadable_at = NULL, updated_at = ${now}
      WHERE ${isWebhook} RETURNING ${WEBHOOK_COLUMNS}`,
    [
      ...(overlaps ? keepPreviousSecret(db, id, isWebhook, now) : [deleteFormerSecrets(db, isWebhook)]),
      insertWebhookRecord(db, record, sql`FROM webhooks w WHERE ${isWebhook}`, {
        after: sql`json_object('id', w.id, 'overlap_seconds', ${Math.max(0, previousExpiresAt - now) / 1000})`,
      }),
    ],
  );
}
