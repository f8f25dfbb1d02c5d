import type { ChangedRow } from "./change.ts";
import { newRandom, newRecordId, type AuditEntry } from "./record.ts";
import { insertEntriesOf, insertEntry, insertEntryOf, type RecordedAgents, type RecordedRow } from "./records/store.ts";

/**
 * The statement that puts an entry into the outbox of the audit log if its change happened. It belongs into the D1 batch of the change,
 * after the statement that writes the change's id.
 */
export const insertRecord = (db: D1Database, entry: AuditEntry, change: ChangedRow): D1PreparedStatement =>
  insertEntry(db, entry, change);

/**
 * The statement that puts an entry into the outbox if there is the row that it tells of. What a row was before a change is known only before
 * it: then this statement stands before that of the change, with the same conditions. The statements of a batch are one transaction, in
 * which nothing else happens between the two.
 */
export const insertRecordOf = (db: D1Database, entry: AuditEntry, row: RecordedRow): D1PreparedStatement =>
  insertEntryOf(db, entry, row);

/**
 * The same for a change of many agents: one entry for each.
 *
 * @param entry what all of them say.
 */
export function insertRecordsOf(
  db: D1Database,
  agentIds: readonly string[],
  entry: AuditEntry,
  rows: RecordedAgents,
): D1PreparedStatement {
  const keys = agentIds.map((agentId) => ({ id: newRecordId(entry.at), agentId, random: newRandom() }));
  return insertEntriesOf(db, keys, entry, rows);
}
