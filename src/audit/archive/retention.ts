import { firstKeptDay } from "./kept-days.ts";
import { dayPrefix } from "./object.ts";
import { deletePrefix } from "./store/bucket.ts";
import { deleteDayKeys, findDeletedDay, forgetDay } from "./store/day-keys.ts";
import type { Archive } from "./write.ts";

/**
 * Deletes the archive of days that are older than the retention. First their keys, which makes every copy of their objects unreadable;
 * then the objects, those that the archive does not list included; then what is known of them. Each step may be cut short: the next one
 * finds the days whose key is gone.
 *
 * @param now milliseconds.
 * @returns `limit` if there may be more, else 0.
 */
export async function sweepArchive(
  { db, bucket, retentionDays }: Archive,
  now: number,
  limit: number,
): Promise<number> {
  const firstDay = retentionDays === null ? 0 : firstKeptDay(retentionDays, now);
  await deleteDayKeys(db, firstDay);
  const day = await findDeletedDay(db, firstDay);
  if (day === undefined) return 0;
  if (!(await deletePrefix(bucket, dayPrefix(day)))) await forgetDay(db, day);
  return limit;
}
