import { deleteExpiredFamilies, deleteExpiredRefreshTokens } from "./store/former-sessions.ts";
import { deleteExpiredSessions } from "./store/sessions.ts";

/**
 * Deletes sessions that have expired, up to `limit`, and of the former format up to `limit` refresh tokens and sessions. A session is
 * kept until its last access token has expired: a token whose session is gone counts as revoked.
 *
 * @param now milliseconds.
 * @param accessTokenTtl seconds.
 * @returns the largest of the three numbers of deleted rows.
 */
export async function sweepSessions(
  db: D1Database,
  accessTokenTtl: number,
  now: number,
  limit: number,
): Promise<number> {
  const until = now - accessTokenTtl * 1000;
  const deleted = await Promise.all([
    deleteExpiredSessions(db, until, limit),
    deleteExpiredRefreshTokens(db, now, limit),
    deleteExpiredFamilies(db, until, limit),
  ]);
  return Math.max(...deleted);
}
