import type { Chore } from "../housekeeping.ts";
import { openSecret, sealSecret } from "./secret.ts";
import { reseal, secretsUnderOtherKeys } from "./store.ts";

/** Each costs an encryption: fewer than the rows that other chores take. */
const MOST_AT_ONCE = 50;

/** Encrypts secrets anew that are under an older key than the newest, so that a key can be retired. */
export const resealSecrets: Chore = async (env, { webhookKeys }, _now, most) => {
  const kept = await secretsUnderOtherKeys(env.DB, webhookKeys[0]!.kid, Math.min(most, MOST_AT_ONCE));
  const again = (id: string, sealed: string) =>
    openSecret(sealed, id, webhookKeys).then((secret) => sealSecret(secret, id, webhookKeys));
  for (const { id, secret, previousSecret } of kept) {
    await reseal(env.DB, id, secret, {
      secret: await again(id, secret),
      previousSecret: previousSecret === null ? null : await again(id, previousSecret),
    });
  }
  return kept.length;
};
