import { prepare, sql, type Sql } from "../../database/sql.ts";

/** How many secrets of a webhook may sign at the same time: the newest and the former ones whose overlap has not ended. */
const MAX_SECRETS_PER_WEBHOOK = 5;

/** Former secrets beside `webhooks.previous_secret`, which is the newest of them. */
const MAX_OLDER_SECRETS = MAX_SECRETS_PER_WEBHOOK - 2;

/**
 * SQL for the secrets that sign a webhook's deliveries now, encrypted, the newest first.
 *
 * @param webhookId a value or SQL of one.
 * @param now milliseconds.
 */
export const selectSecrets = (webhookId: string | Sql, now: number): Sql =>
  sql`SELECT secret FROM (
      SELECT secret, 0 AS age, 0 AS replaced_at FROM webhooks WHERE id = ${webhookId}
      UNION ALL SELECT previous_secret, 1, 0 FROM webhooks
        WHERE id = ${webhookId} AND previous_secret IS NOT NULL AND previous_secret_expires_at > ${now}
      UNION ALL SELECT secret, 2, replaced_at FROM former_webhook_secrets WHERE webhook_id = ${webhookId} AND expires_at > ${now})
    ORDER BY age, replaced_at DESC LIMIT ${MAX_SECRETS_PER_WEBHOOK}`;

/**
 * The statements that keep a webhook's newest former secret before another one takes its place, unless its overlap has ended. Of
 * secrets that are replaced in the same millisecond, the later one has the greater `replaced_at`.
 *
 * @param isWebhook SQL that is true for the row of `webhooks` if the caller may change it.
 * @param now milliseconds.
 */
export const keepPreviousSecret = (db: D1Database, id: string, isWebhook: Sql, now: number): D1PreparedStatement[] => [
  prepare(
    db,
    sql`INSERT OR IGNORE INTO former_webhook_secrets (webhook_id, secret, expires_at, replaced_at)
      SELECT id, previous_secret, previous_secret_expires_at,
        max(${now}, coalesce((SELECT max(replaced_at) + 1 FROM former_webhook_secrets WHERE webhook_id = ${id}), 0))
      FROM webhooks WHERE ${isWebhook} AND previous_secret IS NOT NULL AND previous_secret_expires_at > ${now}`,
  ),
  prepare(
    db,
    sql`DELETE FROM former_webhook_secrets
      WHERE webhook_id = (SELECT id FROM webhooks WHERE ${isWebhook}) AND secret NOT IN (
        SELECT secret FROM former_webhook_secrets WHERE webhook_id = ${id} AND expires_at > ${now}
        ORDER BY replaced_at DESC LIMIT ${MAX_OLDER_SECRETS})`,
  ),
];

/** The statement that ends all former secrets but `webhooks.previous_secret`. @param isWebhook as above. */
export const deleteFormerSecrets = (db: D1Database, isWebhook: Sql): D1PreparedStatement =>
  prepare(db, sql`DELETE FROM former_webhook_secrets WHERE webhook_id = (SELECT id FROM webhooks WHERE ${isWebhook})`);

/** Deletes up to `limit` former secrets whose overlap is over at `now`. Returns how many. */
export async function deleteExpiredSecrets(db: D1Database, now: number, limit: number): Promise<number> {
  const { meta } = await prepare(
    db,
    sql`DELETE FROM former_webhook_secrets WHERE (webhook_id, secret) IN (
      SELECT webhook_id, secret FROM former_webhook_secrets WHERE expires_at <= ${now} LIMIT ${limit})`,
  ).run();
  return meta.changes;
}

/** The secrets that a webhook's row has, encrypted. */
export interface SealedSecrets {
  readonly id: string;
  readonly secret: string;
  readonly previousSecret: string | null;
  /** Milliseconds. */
  readonly previousSecretExpiresAt: number | null;
}

/**
 * The secrets of up to `limit` webhooks that have one under one of these keys, without those that are set aside because they could
 * not be decrypted since `retryBefore`.
 *
 * @param retryBefore milliseconds.
 */
export async function findSecretsUnderKeys(
  db: D1Database,
  kids: readonly string[],
  { retryBefore, limit }: { retryBefore: number; limit: number },
): Promise<SealedSecrets[]> {
  const under = JSON.stringify(kids);
  const { results } = await prepare(
    db,
    sql`SELECT id, secret, previous_secret AS previousSecret, previous_secret_expires_at AS previousSecretExpiresAt
      FROM webhooks WHERE id IN (
        SELECT id FROM webhooks WHERE secret ->> '$.kid' IN (SELECT value FROM json_each(${under}))
        UNION ALL SELECT id FROM webhooks
          WHERE previous_secret IS NOT NULL AND previous_secret ->> '$.kid' IN (SELECT value FROM json_each(${under})))
        AND (unreadable_at IS NULL OR unreadable_at <= ${retryBefore})
      LIMIT ${limit}`,
  ).all<SealedSecrets>();
  return results;
}

/** The statement that stores the same secrets, encrypted under another key, unless the secret was regenerated since it was read. */
export function updateSealedSecrets(
  db: D1Database,
  { id, secret: before }: Pick<SealedSecrets, "id" | "secret">,
  { secret, previousSecret }: { secret: string; previousSecret: string | null },
): D1PreparedStatement {
  const noPrevious = previousSecret === null ? sql`, previous_secret_expires_at = NULL` : sql``;
  return prepare(
    db,
    sql`UPDATE webhooks SET secret = ${secret}, previous_secret = ${previousSecret}${noPrevious}, unreadable_at = NULL
      WHERE id = ${id} AND secret = ${before}`,
  );
}

/** The statement that sets a webhook aside whose secret cannot be decrypted, unless it was regenerated since it was read. */
export const setSecretAside = (
  db: D1Database,
  { id, secret }: Pick<SealedSecrets, "id" | "secret">,
  now: number,
): D1PreparedStatement =>
  prepare(db, sql`UPDATE webhooks SET unreadable_at = ${now} WHERE id = ${id} AND secret = ${secret}`);

/** A former secret, encrypted. */
export interface FormerSecret {
  readonly webhookId: string;
  readonly secret: string;
}

/** Up to `limit` former secrets under one of these keys. */
export async function findFormerSecretsUnderKeys(
  db: D1Database,
  kids: readonly string[],
  limit: number,
): Promise<FormerSecret[]> {
  const { results } = await prepare(
    db,
    sql`SELECT webhook_id AS webhookId, secret FROM former_webhook_secrets
      WHERE secret ->> '$.kid' IN (SELECT value FROM json_each(${JSON.stringify(kids)})) LIMIT ${limit}`,
  ).all<FormerSecret>();
  return results;
}

/** The statement that stores a former secret encrypted under another key, or deletes it if `sealed` is null. */
export function updateFormerSecret(
  db: D1Database,
  { webhookId, secret }: FormerSecret,
  sealed: string | null,
): D1PreparedStatement {
  const former = sql`webhook_id = ${webhookId} AND secret = ${secret}`;
  return prepare(
    db,
    sealed === null
      ? sql`DELETE FROM former_webhook_secrets WHERE ${former}`
      : sql`UPDATE former_webhook_secrets SET secret = ${sealed} WHERE ${former}`,
  );
}
