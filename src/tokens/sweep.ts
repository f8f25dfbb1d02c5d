import type { Job } from "../jobs/job.ts";
import { deleteExpiredFamilies, deleteExpiredRefreshTokens } from "./store.ts";

/**
 * Deletes refresh tokens and families that have expired. A family stays until the last access token of it has: one whose
 * family is gone counts as ended.
 */
export const sweepSessions: Job = async (env, config, now, most) => {
  const [tokens, families] = await Promise.all([
    deleteExpiredRefreshTokens(env.DB, now, most),
    deleteExpiredFamilies(env.DB, now - config.accessTokenTtl * 1000, most),
  ]);
  return Math.max(tokens, families);
};
