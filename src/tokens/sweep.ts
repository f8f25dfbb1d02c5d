import { deleteExpiredRefreshTokens, deleteExpiredSessions } from "./store/sessions.ts";

/**
 * Deletes refresh tokens and sessions that have expired, up to `limit` of each. A session is kept until its last access token has
 * expired: a token whose session is gone counts as revoked.
 *
 * @param now milliseconds.
 * @param accessTokenTtl seconds.
 * @returns the larger of the two numbers of deleted rows.
 */
export async function sweepSessions(
  db: D1Database,
  accessTokenTtl: number,
  now: number,
  limit: number,
): Promise<number> {
  const [tokens, sessions] = await Promise.all([
    deleteExpiredRefreshTokens(db, now, limit),
    deleteExpiredSessions(db, now - accessTokenTtl * 1000, limit),
  ]);
  return Math.max(tokens, sessions);
}
