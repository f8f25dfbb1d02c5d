import { countPepperUses, type PepperUse } from "./store/peppers.ts";

/**
 * Counts the API keys and the sessions that each key of SECRET_PEPPER verifies: one that is not the first can go when it has none. One
 * D1 round trip.
 *
 * @param now milliseconds.
 * @returns `isWhole`: whether every key and session was counted, and not the first 50,000 of either alone.
 */
export const countPepperUse = (
  db: D1Database,
  now: number,
): Promise<{ uses: readonly PepperUse[]; isWhole: boolean }> => countPepperUses(db, now);
