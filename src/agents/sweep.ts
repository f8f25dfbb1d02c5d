import { deleteExpiredKeys } from "./store/keys.ts";

/** Deletes up to `limit` API keys whose overlap with their successor is over at `now`, in milliseconds. Returns how many. */
export const sweepKeys = (db: D1Database, now: number, limit: number): Promise<number> =>
  deleteExpiredKeys(db, now, limit);
