import type { Authority } from "../authority/authority.ts";
import { batchAsCaller } from "../authority/batch.ts";
import { prepare, sql, type Sql } from "../database/sql.ts";
import type { EventName } from "../outbox/event.ts";
import { domainOf } from "./target.ts";
import { toWebhook, WEBHOOK_COLUMNS, type WebhookRow } from "./webhook-row.ts";
import type { Owner, Webhook } from "./webhook.ts";

/**
 * Inserts a webhook unless its agent is gone or has `maxWebhooks` already. The count and the insert are one statement, so that two
 * callers at once cannot exceed the limit. Returns whether it was inserted.
 */
export async function insertWebhook(
  db: D1Database,
  { id, agentId, url, events, description, allAgents, createdAt }: Webhook,
  { sealedSecret, maxWebhooks, by }: { sealedSecret: string; maxWebhooks: number; by: Authority },
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
  ]);
  return inserted!.meta.changes > 0;
}

/** SQL that is true for this webhook if the owner has it. Nobody has a webhook whose agent was deleted: it only waits for its last delivery. */
const isOwned = (id: string, owner: Owner): Sql =>
  owner === "anybody"
    ? sql`id = ${id} AND orphaned_at IS NULL`
    : sql`id = ${id} AND agent_id = ${owner} AND orphaned_at IS NULL`;

export async function readWebhooks(db: D1Database, agentId: string): Promise<Webhook[]> {
  const { results } = await prepare(
    db,
    sql`SELECT ${WEBHOOK_COLUMNS} FROM webhooks WHERE agent_id = ${agentId} ORDER BY created_at, id`,
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
  { now, by }: { now: number; by: Authority },
): Promise<Webhook | undefined> {
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
    sql`UPDATE webhooks SET ${changes} WHERE ${isOwned(id, owner)} RETURNING ${WEBHOOK_COLUMNS}`,
  );
}

/** Deletes a webhook. Returns the id of the agent that owned it, or undefined if there was none. */
export async function deleteWebhook(
  db: D1Database,
  id: string,
  owner: Owner,
  by: Authority,
): Promise<string | undefined> {
  const [deleted] = await batchAsCaller<{ agent_id: string }>(db, by, [
    prepare(db, sql`DELETE FROM webhooks WHERE ${isOwned(id, owner)} RETURNING agent_id`),
  ]);
  return deleted!.results[0]?.agent_id;
}

async function writeWebhook(db: D1Database, by: Authority, statement: Sql): Promise<Webhook | undefined> {
  const [written] = await batchAsCaller<WebhookRow>(db, by, [prepare(db, statement)]);
  const row = written!.results[0];
  return row && toWebhook(row);
}

export interface NewSecret {
  readonly sealedSecret: string;
  /** Until when the former secret signs too, in milliseconds. If this is not after `now`, the former secret is deleted. */
  readonly previousExpiresAt: number;
  readonly now: number;
  readonly by: Authority;
}

/** Replaces the secret. If two callers do so at once, the secret of the first is the former secret of the second. */
export function replaceSecret(
  db: D1Database,
  id: string,
  owner: Owner,
  { sealedSecret, previousExpiresAt, now, by }: NewSecret,
): Promise<Webhook | undefined> {
  const previous =
    previousExpiresAt > now
      ? sql`previous_secret = secret, previous_secret_expires_at = ${previousExpiresAt}`
      : sql`previous_secret = NULL, previous_secret_expires_at = NULL`;
  return writeWebhook(
    db,
    by,
    sql`UPDATE webhooks SET ${previous}, secret = ${sealedSecret}, updated_at = ${now}
      WHERE ${isOwned(id, owner)} RETURNING ${WEBHOOK_COLUMNS}`,
  );
}

/** A webhook's secrets as they are stored: encrypted. */
export interface SealedSecrets {
  readonly id: string;
  readonly secret: string;
  readonly previousSecret: string | null;
  readonly previousSecretExpiresAt: number | null;
}

/** The secrets of up to `limit` webhooks that have one under one of these keys. */
export async function findSecretsUnderKeys(
  db: D1Database,
  kids: readonly string[],
  limit: number,
): Promise<SealedSecrets[]> {
  const under = JSON.stringify(kids);
  const { results } = await prepare(
    db,
    sql`SELECT id, secret, previous_secret AS previousSecret, previous_secret_expires_at AS previousSecretExpiresAt
      FROM webhooks WHERE id IN (
        SELECT id FROM webhooks WHERE secret ->> '$.kid' IN (SELECT value FROM json_each(${under}))
        UNION ALL SELECT id FROM webhooks
          WHERE previous_secret IS NOT NULL AND previous_secret ->> '$.kid' IN (SELECT value FROM json_each(${under})))
      LIMIT ${limit}`,
  ).all<SealedSecrets>();
  return results;
}

/** Stores the same secrets, encrypted under another key, unless the secret was regenerated since it was read. */
export async function updateSealedSecrets(
  db: D1Database,
  { id, secret: before }: Pick<SealedSecrets, "id" | "secret">,
  { secret, previousSecret }: { secret: string; previousSecret: string | null },
): Promise<void> {
  const noPrevious = previousSecret === null ? sql`, previous_secret_expires_at = NULL` : sql``;
  await prepare(
    db,
    sql`UPDATE webhooks SET secret = ${secret}, previous_secret = ${previousSecret}${noPrevious}
      WHERE id = ${id} AND secret = ${before}`,
  ).run();
}
