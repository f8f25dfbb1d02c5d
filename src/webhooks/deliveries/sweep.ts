import { deleteHostAttempts, findSurpluses, trim } from "../limits/store.ts";
import { CLAIM_MS } from "./store/attempts.ts";
import { deleteFinished } from "./store/deliveries.ts";
import { DAY_MS } from "../../time/lengths.ts";

/** How many webhooks one step trims. */
const MAX_WEBHOOKS_PER_STEP = 20;

/** Deletes up to `limit` deliveries that finished longer ago than the retention. Returns how many. @param now milliseconds. */
export const sweepDeliveries = (db: D1Database, retentionDays: number, now: number, limit: number): Promise<number> =>
  deleteFinished(db, now - retentionDays * DAY_MS, limit);

/**
 * Trims the pending and the stored deliveries of webhooks to their limits, the oldest first.
 *
 * @param now milliseconds.
 * @returns `limit` if it trimmed anything, else 0. Each webhook gets a share of the step, and only the next step shows whether that
 *   was enough.
 */
export async function trimDeliveries(db: D1Database, now: number, limit: number): Promise<number> {
  let total = 0;
  const surpluses = await findSurpluses(db, MAX_WEBHOOKS_PER_STEP);
  const part = Math.ceil(limit / surpluses.length);
  for (const surplus of surpluses) {
    total += await trim(db, surplus, { now, claimedBefore: now - CLAIM_MS, limit: part });
  }
  return total > 0 ? limit : 0;
}

/** Deletes up to `limit` counts of attempts of minutes that are over. Returns how many. @param now milliseconds. */
export const sweepHostAttempts = (db: D1Database, now: number, limit: number): Promise<number> =>
  deleteHostAttempts(db, now, limit);
