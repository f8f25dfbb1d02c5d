import type { Job } from "../jobs/job.ts";
import { openSecret, sealSecret } from "./secret.ts";
import { updateSealedSecrets, findSecretsUnderKeys } from "./store.ts";

/** Each costs an encryption: fewer than the rows that other chores take. */
const MAX_RESEALED_PER_RUN = 50;

/** Encrypts secrets anew that are under an older key than the newest, so that it can be retired. */
export const resealSecrets: Job = async (env, { webhookKeys }, now, most) => {
  const older = webhookKeys.slice(1).map(({ kid }) => kid);
  const kept = await findSecretsUnderKeys(env.DB, older, Math.min(most, MAX_RESEALED_PER_RUN));
  const again = (id: string, sealed: string) =>
    openSecret(sealed, id, webhookKeys).then((secret) => sealSecret(secret, id, webhookKeys));
  for (const { id, secret, previousSecret, previousSecretExpiresAt } of kept) {
    // A former secret goes where its overlap is over, or where its key is gone and nothing can be signed with it.
    const wanted = previousSecret !== null && previousSecretExpiresAt! > now;
    await updateSealedSecrets(env.DB, id, secret, {
      secret: await again(id, secret),
      previousSecret: wanted ? await again(id, previousSecret).catch(() => null) : null,
    });
  }
  return kept.length;
};
