import type { Job } from "../../jobs/job.ts";
import { deleteHostAttempts, trim, webhooksWithSurplus } from "../limits/store.ts";
import { CLAIM_MS, deleteFinished } from "./store.ts";

const DAY_MS = 86_400_000;
/** Webhooks that one step trims. */
const MAX_WEBHOOKS = 20;

/** Deletes deliveries that ended longer ago than activity is kept. */
export const sweepDeliveries: Job = (env, config, now, most) =>
  deleteFinished(env.DB, now - config.activityRetentionDays * DAY_MS, most);

/** Keeps what waits for one webhook, and what is kept of its deliveries, within their limits: the oldest go first. */
export const trimDeliveries: Job = async (env, _config, now, most) => {
  const surplus = await webhooksWithSurplus(env.DB, MAX_WEBHOOKS);
  let total = 0;
  for (const one of surplus) {
    const limit = Math.ceil(most / MAX_WEBHOOKS);
    total += await trim(env.DB, one, { now, claimedBefore: now - CLAIM_MS, limit });
  }
  // Each gets its part of a step: whether that was enough shows the next one.
  return total > 0 ? most : 0;
};

/** Forgets the counts of attempts of minutes that are over. */
export const sweepHostAttempts: Job = (env, _config, now, most) => deleteHostAttempts(env.DB, now, most);
