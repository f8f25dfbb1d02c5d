import { logFailure } from "../failure-log.ts";
import type { Chore } from "../housekeeping.ts";
import { openSecret, sealSecret } from "./secret.ts";
import { reseal, secretsUnderOtherKeys } from "./store.ts";

/** Each costs an encryption: fewer than the rows that other chores take. */
const MOST_AT_ONCE = 50;

/** Encrypts secrets anew that are under an older key than the newest, so that a key can be retired. */
export const resealSecrets: Chore = async (env, { webhookKeys }, now, most) => {
  const kept = await secretsUnderOtherKeys(env.DB, webhookKeys[0]!.kid, Math.min(most, MOST_AT_ONCE));
  const again = (id: string, sealed: string) =>
    openSecret(sealed, id, webhookKeys).then((secret) => sealSecret(secret, id, webhookKeys));
  for (const { id, secret, previousSecret, previousSecretExpiresAt } of kept) {
    try {
      // A former secret goes where its overlap is over, or where its key is gone and nothing can be signed with it.
      const wanted = previousSecret !== null && previousSecretExpiresAt! > now;
      await reseal(env.DB, id, secret, {
        secret: await again(id, secret),
        previousSecret: wanted ? await again(id, previousSecret).catch(() => null) : null,
      });
    } catch (cause) {
      // Its key is gone: one webhook keeps none of the others.
      logFailure("webhook_secret_unreadable", cause, { webhook_id: id });
    }
  }
  return kept.length;
};
