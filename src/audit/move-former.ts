import { timeOrderedId } from "../crypto/random.ts";
import { ACTIVITY_ID_PREFIX } from "./activity.ts";
import { toEntry } from "./former.ts";
import { insertEntriesIntoLog } from "./insert.ts";
import { deleteFormer, deleteFormerBefore, readFormer } from "./store/former.ts";
import { DAY_MS } from "../time/lengths.ts";

/**
 * Moves up to `limit` rows of the former activity log into the audit log, the newest first, and deletes those that are older than the
 * retention. Returns how many it handled.
 *
 * @param now milliseconds.
 */
export async function moveFormerActivity(
  { DB, AUDIT_DB }: Pick<Env, "DB" | "AUDIT_DB">,
  retentionDays: number,
  now: number,
  limit: number,
): Promise<number> {
  const expired = await deleteFormerBefore(DB, firstActivityIdAt(now - retentionDays * DAY_MS), limit);
  if (expired === limit) return limit;
  const rows = await readFormer(DB, limit);
  if (rows.length === 0) return expired;
  await insertEntriesIntoLog(
    AUDIT_DB,
    rows.map((row) => toEntry(row)),
    now,
  );
  await deleteFormer(
    DB,
    rows.map(({ id }) => id),
  );
  return rows.length;
}

/** A text that sorts before every id of this millisecond and after all earlier ones. */
const firstActivityIdAt = (ms: number): string =>
  timeOrderedId(ACTIVITY_ID_PREFIX, ms).slice(0, ACTIVITY_ID_PREFIX.length + 12);
