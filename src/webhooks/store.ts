import { batchAsCaller, type Authority } from "../authority/authority.ts";
import { ADMIN } from "../permissions/grammar.ts";
import type { Event, EventName } from "../outbox/event.ts";
import { hostOf } from "./target.ts";
import type { Webhook } from "./webhook.ts";

/** That a webhook `w` is for all agents, and its owner an administrator still. */
export const FOR_ALL = `w.all_agents = 1 AND EXISTS (SELECT 1 FROM agents a
    WHERE a.id = w.agent_id AND a.status = 'active' AND instr(a.permissions, '"${ADMIN}"'))`;

/**
 * The active webhooks that an event (?3) of an agent (?2) goes to, as `w`: its own, and those for all agents. Found through
 * the indexes: an `OR` of the two would read every webhook that there is.
 */
export const LISTENERS = `(
    SELECT * FROM webhooks WHERE agent_id = ?2
    UNION ALL SELECT * FROM webhooks w WHERE ${FOR_ALL} AND agent_id <> ?2
  ) w WHERE w.is_active = 1 AND EXISTS (SELECT 1 FROM json_each(w.events) e WHERE e.value = ?3)`;

/**
 * The statement that puts an event into the outbox, for the batch of the change that it tells of.
 *
 * Nothing is written where nobody listens. `only` is a condition on the change itself, for changes that may turn out not
 * to happen.
 */
export function insertEventStatement(
  db: D1Database,
  event: Event,
  only = "1",
  bindings: readonly unknown[] = [],
): D1PreparedStatement {
  return db
    .prepare(
      `INSERT OR IGNORE INTO events (id, agent_id, event, at, data)
       SELECT ?1, ?2, ?3, ?4, ?5
       WHERE (${only}) AND EXISTS (SELECT 1 FROM ${LISTENERS})`,
    )
    .bind(event.id, event.agentId, event.name, event.at, JSON.stringify(event.data), ...bindings);
}

type WebhookRow = Omit<Webhook, "events" | "isActive" | "allAgents"> & {
  readonly events: string;
  readonly isActive: number;
  readonly allAgents: number;
};

/** A webhook's columns under the names that it has here. */
const COLUMNS = `id, agent_id AS agentId, url, events, description, is_active AS isActive, all_agents AS allAgents,
  disabled_at AS disabledAt, disabled_reason AS disabledReason, previous_secret_expires_at AS previousSecretExpiresAt,
  created_at AS createdAt, updated_at AS updatedAt`;

const fromRow = (row: WebhookRow): Webhook => ({
  ...row,
  events: JSON.parse(row.events) as EventName[],
  isActive: row.isActive === 1,
  allAgents: row.allAgents === 1,
});

/** Adds a webhook unless its agent is gone or has as many as it may. Returns whether it came in. */
export async function insertWebhook(
  db: D1Database,
  { id, agentId, url, events, description, allAgents, createdAt }: Webhook,
  sealed: string,
  most: number,
  by: Authority,
): Promise<boolean> {
  const insertion = db
    .prepare(
      `INSERT INTO webhooks (id, agent_id, url, events, description, all_agents, secret, created_at, updated_at, host)
       SELECT ?1, id, ?3, ?4, ?5, ?6, ?7, ?8, ?8, ?10 FROM agents
       WHERE id = ?2 AND (SELECT count(*) FROM webhooks WHERE agent_id = ?2) < ?9`,
    )
    .bind(
      id,
      agentId,
      url,
      JSON.stringify(events),
      description,
      allAgents ? 1 : 0,
      sealed,
      createdAt,
      most,
      hostOf(url),
    );
  const [inserted] = await batchAsCaller(db, by, [insertion]);
  return inserted!.meta.changes > 0;
}

/** Whose webhooks one may see: an agent's own, or everybody's. */
export type Owner = string | "anybody";

const OWNED = "id = ?1 AND (?2 = 'anybody' OR agent_id = ?2) AND orphaned_at IS NULL";

export async function listWebhooks(db: D1Database, agentId: string): Promise<Webhook[]> {
  const { results } = await db
    .prepare(`SELECT ${COLUMNS} FROM webhooks WHERE agent_id = ?1 ORDER BY created_at, id`)
    .bind(agentId)
    .all<WebhookRow>();
  return results.map(fromRow);
}

export async function findWebhook(db: D1Database, id: string, owner: Owner): Promise<Webhook | undefined> {
  const row = await db.prepare(`SELECT ${COLUMNS} FROM webhooks WHERE ${OWNED}`).bind(id, owner).first<WebhookRow>();
  return row ? fromRow(row) : undefined;
}

export interface WebhookChange {
  readonly url?: string | undefined;
  readonly events?: readonly EventName[] | undefined;
  readonly description?: string | null | undefined;
  readonly isActive?: boolean | undefined;
}

/** Switched on again, a webhook begins with a clean record. */
export async function updateWebhook(
  db: D1Database,
  id: string,
  owner: Owner,
  { url, events, description, isActive }: WebhookChange,
  { now, by }: { now: number; by: Authority },
): Promise<Webhook | undefined> {
  const update = db
    .prepare(
      `UPDATE webhooks SET url = coalesce(?3, url), host = coalesce(?9, host), events = coalesce(?4, events),
         description = iif(?5, ?6, description), is_active = coalesce(?7, is_active),
         failures_in_row = iif(?7 = 1, 0, failures_in_row), disabled_at = iif(?7 = 1, NULL, disabled_at),
         disabled_reason = iif(?7 = 1, NULL, disabled_reason), updated_at = ?8
       WHERE ${OWNED} RETURNING ${COLUMNS}`,
    )
    .bind(
      id,
      owner,
      url ?? null,
      events ? JSON.stringify(events) : null,
      description === undefined ? 0 : 1,
      description ?? null,
      isActive === undefined ? null : Number(isActive),
      now,
      url === undefined ? null : hostOf(url),
    );
  return writtenRow(db, by, update);
}

/** Returns whose it was, where there was one. */
export async function deleteWebhook(
  db: D1Database,
  id: string,
  owner: Owner,
  by: Authority,
): Promise<string | undefined> {
  const deletion = db.prepare(`DELETE FROM webhooks WHERE ${OWNED} RETURNING agent_id`).bind(id, owner);
  const [deleted] = await batchAsCaller<{ agent_id: string }>(db, by, [deletion]);
  return deleted!.results[0]?.agent_id;
}

async function writtenRow(db: D1Database, by: Authority, statement: D1PreparedStatement): Promise<Webhook | undefined> {
  const [written] = await batchAsCaller<WebhookRow>(db, by, [statement]);
  const row = written!.results[0];
  return row && fromRow(row);
}

/** Puts a new secret in; the one in use signs beside it until the overlap ends. */
export async function replaceSecret(
  db: D1Database,
  id: string,
  owner: Owner,
  sealed: string,
  { previousExpiresAt, now, by }: { previousExpiresAt: number; now: number; by: Authority },
): Promise<Webhook | undefined> {
  const update = db
    .prepare(
      `UPDATE webhooks SET previous_secret = iif(?4 > ?5, secret, NULL),
         previous_secret_expires_at = iif(?4 > ?5, ?4, NULL), secret = ?3, updated_at = ?5
       WHERE ${OWNED} RETURNING ${COLUMNS}`,
    )
    .bind(id, owner, sealed, previousExpiresAt, now);
  return writtenRow(db, by, update);
}

export interface KeptSecrets {
  readonly id: string;
  readonly secret: string;
  readonly previousSecret: string | null;
  readonly previousSecretExpiresAt: number | null;
}

/** Secrets as they are kept, of webhooks that have one under one of these keys. */
export async function findSecretsUnderKeys(
  db: D1Database,
  kids: readonly string[],
  most: number,
): Promise<KeptSecrets[]> {
  const under = (column: string) =>
    `SELECT id FROM webhooks WHERE ${column} IS NOT NULL AND ${column} ->> '$.kid' IN (SELECT value FROM json_each(?1))`;
  const { results } = await db
    .prepare(
      `SELECT id, secret, previous_secret AS previousSecret, previous_secret_expires_at AS previousSecretExpiresAt
       FROM webhooks WHERE id IN (${under("secret")} UNION ALL ${under("previous_secret")}) LIMIT ?2`,
    )
    .bind(JSON.stringify(kids), most)
    .all<KeptSecrets>();
  return results;
}

/** Replaces a kept secret by the same one under another key, unless it was regenerated meanwhile. */
export async function updateSealedSecrets(
  db: D1Database,
  id: string,
  before: string,
  { secret, previousSecret }: { secret: string; previousSecret: string | null },
): Promise<void> {
  await db
    .prepare(
      `UPDATE webhooks SET secret = ?3, previous_secret = ?4,
         previous_secret_expires_at = iif(?4 IS NULL, NULL, previous_secret_expires_at)
       WHERE id = ?1 AND secret = ?2`,
    )
    .bind(id, before, secret, previousSecret)
    .run();
}
