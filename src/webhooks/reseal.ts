import type { EncryptionKey } from "../config/config.ts";
import { openSecret, sealSecret } from "./secret.ts";
import { findSecretsUnderKeys, updateSealedSecrets } from "./store.ts";

/** Each webhook costs an encryption, so a step handles fewer webhooks than other jobs handle rows. */
const MAX_RESEALED_PER_STEP = 50;

/**
 * Encrypts secrets under the newest key if they are under an older one, so that the older key can be retired.
 *
 * @param keys newest first.
 * @param now milliseconds.
 * @returns how many webhooks it handled.
 */
export async function resealSecrets(
  db: D1Database,
  keys: readonly EncryptionKey[],
  now: number,
  limit: number,
): Promise<number> {
  const older = keys.slice(1).map(({ kid }) => kid);
  const webhooks = await findSecretsUnderKeys(db, older, Math.min(limit, MAX_RESEALED_PER_STEP));
  const reseal = async (id: string, sealed: string) => sealSecret(await openSecret(sealed, id, keys), id, keys);
  for (const webhook of webhooks) {
    const { id, secret, previousSecret, previousSecretExpiresAt } = webhook;
    // A former secret is deleted if its overlap is over, or if it cannot be decrypted because its key is no longer configured.
    const isWanted = previousSecret !== null && previousSecretExpiresAt! > now;
    await updateSealedSecrets(db, webhook, {
      secret: await reseal(id, secret),
      previousSecret: isWanted ? await reseal(id, previousSecret).catch(() => null) : null,
    });
  }
  return webhooks.length;
}
