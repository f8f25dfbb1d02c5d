import { newChangeId } from "../outbox/change.ts";
import type { AuditEntry } from "../outbox/record.ts";
import { countEntries } from "./metrics.ts";
import { insertRecords, type RecordKey } from "./store/records.ts";

/** How many characters of entries, and how many entries, one statement takes. D1 takes values of up to 2 MB. */
const MAX_TEXT_LENGTH = 400_000;
const MAX_ENTRIES = 200;

/** Divides entries into parts that one statement takes. An entry that is too large by itself is a part of its own. */
function inParts(entries: readonly AuditEntry[]): AuditEntry[][] {
  const parts: AuditEntry[][] = [];
  let length = Infinity;
  for (const entry of entries) {
    const own = JSON.stringify(entry).length;
    if (length + own > MAX_TEXT_LENGTH || parts.at(-1)!.length === MAX_ENTRIES) {
      parts.push([]);
      length = 0;
    }
    parts.at(-1)!.push(entry);
    length += own;
  }
  return parts;
}

/**
 * Inserts entries into the audit log, and counts them. The same entries may be inserted again.
 *
 * @param now milliseconds.
 * @returns the ids of the records that were not there before.
 * @throws {Error} if the log's database does not take them. Some of them may have been inserted.
 */
export async function insertEntriesIntoLog(
  db: D1Database,
  entries: readonly AuditEntry[],
  now: number,
): Promise<ReadonlySet<string>> {
  const inserted: RecordKey[] = [];
  for (const part of inParts(entries)) inserted.push(...(await insertRecords(db, part, newChangeId(), now)));
  const ids = new Set(inserted.map(([, id]) => id));
  await countEntries(
    db,
    entries.filter(({ id }) => ids.has(id)),
  );
  return ids;
}
