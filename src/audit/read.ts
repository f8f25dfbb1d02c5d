import { toActivity, toRecordId, type ActivityPage, type ActivityQuery } from "./activity.ts";
import { AFTER_EVERY_ID, toRecord, type AuditRecord } from "./audit-record.ts";
import { readActivity, type StoredActivity } from "./store/activity.ts";
import { readWaiting } from "./store/outbox.ts";
import { rowToRecord } from "./store/records.ts";

type Databases = Pick<Env, "DB" | "AUDIT_DB">;

/**
 * One page of activity, the newest first, and how much there is in all. One agent's includes what waits in the outbox, so that a
 * change of its identity is in it at once. One round trip to each database, and a second one to the log's if anything waits.
 */
export async function listActivity({ DB, AUDIT_DB }: Databases, query: ActivityQuery): Promise<ActivityPage> {
  const { limit, offset, agentId, status } = query;
  const filter = { agentId, status, before: query.before === undefined ? AFTER_EVERY_ID : toRecordId(query.before) };
  const page = { limit: limit + 1, offset };
  if (agentId === undefined) {
    return { ...toPage(await readActivity(AUDIT_DB, filter, page)), agentExists: true };
  }
  const [stored, waiting] = await Promise.all([
    readActivity(AUDIT_DB, filter, page),
    readWaiting(DB, { ...filter, agentId }, offset + limit + 1),
  ]);
  const { agentExists, entries } = waiting;
  if (waiting.total === 0) return { ...toPage(stored), agentExists };

  // Now that it is known what waits, the page's place in the log is known. An entry that has been moved meanwhile is in the log as well.
  const skipped = Math.max(0, offset - entries.length);
  const place = { limit: offset - skipped + limit + 1, offset: skipped };
  const again = await readActivity(AUDIT_DB, filter, place, waiting.ids);
  const left = entries.filter(({ id }) => !again.existing.get(id)).map(toRecord);
  const ends = new Set(left.map(({ id }) => id));
  const rows = again.rows.filter(({ id }) => !ends.has(id));
  const records = [...left, ...rows.map(rowToRecord)].toSorted(byNewest);
  const first = offset - skipped;
  return {
    activities: records.slice(first, first + limit + 1).map(toActivity),
    total: again.total + waiting.total - again.existing.size,
    agentExists,
  };
}

const byNewest = (a: AuditRecord, b: AuditRecord): number => (a.id < b.id ? 1 : -1);

const toPage = ({ rows, total }: StoredActivity) => ({
  activities: rows.map((row) => toActivity(rowToRecord(row))),
  total,
});
