import { readArchive } from "./archive/read.ts";
import type { Archive } from "./archive/write.ts";
import { RECORD_ID_LENGTH, type AuditRecord } from "./audit-record.ts";
import { matchesFilter, rangeOf, type RecordFilter } from "./filter.ts";
import { rowToRecord, type RecordRow } from "./store/records.ts";
import { findEnded, findHot, searchHot } from "./store/search.ts";

/** Where records are: the log's database, and the archive. */
export type Log = Pick<Archive, "db" | "bucket" | "dataKeys">;

export interface RecordPage {
  /** The newest first. */
  readonly records: AuditRecord[];
  /** The cursor of the next page; null on the last one. */
  readonly next: string | null;
}

/**
 * Searches the audit log, the newest first. A page may be shorter than `limit`, even empty, and have a next one: it reads no more than a
 * bounded number of records.
 *
 * @param position.cursor the `next` of the page before.
 * @throws {ArchiveError} if the archive is needed and cannot be read.
 */
export async function searchRecords(
  log: Log,
  filter: RecordFilter,
  { limit, cursor }: { readonly limit: number; readonly cursor?: string | undefined },
): Promise<RecordPage> {
  const range = rangeOf(filter, cursor);
  if (range.fromId >= range.beforeId || filter.agentIds?.length === 0) return { records: [], next: null };
  const hot = await searchHot(log.db, filter, range, limit);
  const { sweptBefore } = hot;
  const isWhole = (hot.nextId ?? range.fromId) >= sweptBefore || hot.rows.filter(isAbove(sweptBefore)).length === limit;
  if (isWhole) {
    const hasMore = range.fromId < sweptBefore;
    return toPage(hot.rows, hasMore ? maxId(hot.nextId, sweptBefore) : hot.nextId);
  }

  // Below that, the database has only what is not archived yet. What has left it since it was read was archived before.
  const above = hot.rows.filter(isAbove(sweptBefore));
  const beforeId = sweptBefore < range.beforeId ? sweptBefore : range.beforeId;
  const archived = await readArchive(log, {
    agentIds: filter.agentIds,
    fromId: range.fromId,
    beforeId,
    matches: (row) => matchesFilter(filter, row as RecordRow),
    limit: limit - above.length,
  });
  // Where one of the two has not been read, the other is of no use.
  const read = maxId(hot.nextId, archived.nextId) ?? range.fromId;
  const known = await withoutEnded(log.db, archived.rows as RecordRow[]);
  const below = [...hot.rows, ...known].filter(({ id }) => id >= read && id < beforeId);
  const rows = [...above, ...lastParts(below)];
  const page = rows.slice(0, limit);
  return toPage(page, rows.length > limit ? page.at(-1)!.id : maxId(hot.nextId, archived.nextId));
}

/**
 * Archived rows without the intents of writes whose ends the database has: an end can come after its intent has left. Whether the filter wants
 * the end, the database has said.
 */
async function withoutEnded(db: D1Database, rows: readonly RecordRow[]): Promise<readonly RecordRow[]> {
  const intents = rows.filter(({ part }) => part === 0);
  if (intents.length === 0) return rows;
  const ended = await findEnded(db, intents);
  return rows.filter(({ id, part }) => part > 0 || !ended.has(id));
}

/** @param next the beginning of an id: the least id that begins like this is the cursor. */
const toPage = (rows: readonly RecordRow[], next: string | null): RecordPage => ({
  records: rows.map(rowToRecord),
  next: next?.padEnd(RECORD_ID_LENGTH, "0") ?? null,
});

const isAbove =
  (id: string) =>
  (row: RecordRow): boolean =>
    row.id >= id;

/** The greater of two ids, of which null is less than any. */
const maxId = (a: string | null, b: string | null): string | null => (a === null || (b !== null && b > a) ? b : a);

/** Each record by its last part, the newest first. */
function lastParts(rows: readonly RecordRow[]): RecordRow[] {
  const sorted = rows.toSorted((a, b) => (a.id === b.id ? b.part - a.part : a.id < b.id ? 1 : -1));
  return sorted.filter(({ id }, index) => id !== sorted[index - 1]?.id);
}

/**
 * Returns the record with an id, or undefined if there is none.
 *
 * @param agentIds of whom the record has to be; undefined: of anybody.
 * @throws {ArchiveError} if the archive is needed and cannot be read.
 */
export async function findRecord(
  log: Log,
  id: string,
  agentIds: readonly string[] | undefined,
): Promise<AuditRecord | undefined> {
  if (agentIds?.length === 0) return undefined;
  const hot = await findHot(log.db, id, agentIds);
  if (hot) return rowToRecord(hot);
  const query = { agentIds, fromId: id, beforeId: `${id}~`, matches: () => true, limit: 1 };
  let page = await readArchive(log, query);
  while (page.rows.length === 0 && page.nextId !== null) {
    page = await readArchive(log, { ...query, beforeId: page.nextId });
  }
  const [row] = page.rows;
  return row && rowToRecord(row as RecordRow);
}
