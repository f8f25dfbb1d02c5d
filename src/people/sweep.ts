import { LINK_LIFE_MS } from "./links.ts";
import { deleteExpiredDeviceCodes } from "./store/device-codes.ts";
import { deleteExpiredLinks } from "./store/links.ts";
import { deleteNotices } from "./store/notices.ts";
import { deleteExpiredChallenges } from "./store/passkeys.ts";
import { deleteExpiredSessions } from "./store/sessions.ts";
import { DAY_MS } from "../time/lengths.ts";

/**
 * Deletes, up to `limit` of each, sessions, links, challenges and device codes of people that have expired, and notices that are older than the
 * retention.
 *
 * @param now milliseconds.
 * @returns the largest of the numbers of deleted rows.
 */
export async function sweepPeople(db: D1Database, retentionDays: number, now: number, limit: number): Promise<number> {
  const deleted = await Promise.all([
    deleteExpiredSessions(db, now, limit),
    // A session that a link has opened stands with it, and lives as long as the link from its use on.
    deleteExpiredLinks(db, now - LINK_LIFE_MS, limit),
    deleteExpiredChallenges(db, now, limit),
    deleteExpiredDeviceCodes(db, now, limit),
    deleteNotices(db, now - retentionDays * DAY_MS, limit),
  ]);
  return Math.max(...deleted);
}
