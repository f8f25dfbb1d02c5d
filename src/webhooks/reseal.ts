import type { EncryptionKey } from "../crypto/encryption.ts";
import { logFailure } from "../log/failure-log.ts";
import { openSecret, sealSecret } from "./secret.ts";
import {
  deleteExpiredSecrets,
  findFormerSecretsUnderKeys,
  findSecretsUnderKeys,
  setSecretAside,
  updateFormerSecret,
  updateSealedSecrets,
  type FormerSecret,
  type SealedSecrets,
} from "./secrets/store.ts";

/** Each secret costs an encryption, so a step handles fewer of them than other jobs handle rows. */
const MAX_RESEALED_PER_STEP = 200;
/** After how long a secret that could not be decrypted is tried again, in milliseconds: the operator may have restored its key. */
const RETRY_UNREADABLE_MS = 3_600_000;

/**
 * Encrypts secrets under the newest key if they are under an older one, so that the older key can be retired. A webhook whose secret
 * cannot be decrypted is logged and set aside for an hour, so that the others do not wait for it.
 *
 * @param keys newest first.
 * @param now milliseconds.
 * @returns `limit` if there may be more of them, else how many it handled.
 */
export async function resealSecrets(
  db: D1Database,
  keys: readonly EncryptionKey[],
  now: number,
  limit: number,
): Promise<number> {
  const older = keys.slice(1).map(({ kid }) => kid);
  const most = Math.min(limit, MAX_RESEALED_PER_STEP);
  const webhooks = await findSecretsUnderKeys(db, older, { retryBefore: now - RETRY_UNREADABLE_MS, limit: most });
  const former = await findFormerSecretsUnderKeys(db, older, most);
  const statements = await Promise.all([
    ...webhooks.map((webhook) => resealWebhook(db, webhook, keys, now)),
    ...former.map((secret) => resealFormer(db, secret, keys)),
  ]);
  if (statements.length > 0) await db.batch(statements);
  return webhooks.length === most || former.length === most ? limit : statements.length;
}

async function resealWebhook(
  db: D1Database,
  webhook: SealedSecrets,
  keys: readonly EncryptionKey[],
  now: number,
): Promise<D1PreparedStatement> {
  const { id, previousSecret, previousSecretExpiresAt } = webhook;
  const secret = await reseal(webhook.secret, id, keys);
  if (secret === null) return setSecretAside(db, webhook, now);
  // A former secret is deleted if its overlap is over, or if it cannot be decrypted: the delivery is signed without it.
  const isWanted = previousSecret !== null && previousSecretExpiresAt! > now;
  return updateSealedSecrets(db, webhook, {
    secret,
    previousSecret: isWanted ? await reseal(previousSecret, id, keys) : null,
  });
}

const resealFormer = async (db: D1Database, former: FormerSecret, keys: readonly EncryptionKey[]) =>
  updateFormerSecret(db, former, await reseal(former.secret, former.webhookId, keys));

/** The secret under the newest key, or null if it cannot be decrypted, which is logged. */
async function reseal(sealed: string, webhookId: string, keys: readonly EncryptionKey[]): Promise<string | null> {
  try {
    return await sealSecret(await openSecret(sealed, webhookId, keys), webhookId, keys);
  } catch (cause) {
    logFailure("webhook_secret_unreadable", cause, { webhook_id: webhookId });
    return null;
  }
}

/** Deletes up to `limit` former secrets whose overlap is over. Returns how many. @param now milliseconds. */
export const sweepFormerSecrets = (db: D1Database, now: number, limit: number): Promise<number> =>
  deleteExpiredSecrets(db, now, limit);
