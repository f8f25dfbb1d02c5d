import { join, prepare, sql, type Sql } from "../../database/sql.ts";
import type { ChangedRow } from "../change.ts";
import type { AuditEntry } from "../record.ts";
import { findChanged } from "../store.ts";

/** The statement that inserts an entry if a row has the change's id. */
export const insertEntry = (db: D1Database, entry: AuditEntry, change: ChangedRow): D1PreparedStatement =>
  insertEntryOf(db, entry, { from: sql`WHERE EXISTS (${findChanged(change)})` });

/** SQL for fields of an entry. An object is made by `json_object(…)` or `json(…)` itself, and not within another function, which would make it a text. */
type EntryFields = { readonly [Name in keyof AuditEntry]?: Sql };

/** The rows that a change is about to change, or has just changed, and what its record says of them. */
export interface RecordedRow {
  /** `FROM … WHERE …`, with the conditions of the change. Without a row there is no record. */
  readonly from: Sql;
  /** What is read from the row. */
  readonly fields?: EntryFields;
  /** Until when the entry stays in the outbox, in milliseconds. By default it may leave at once. */
  readonly readyAt?: number;
}

/** The statement that inserts an entry if there is a row. */
export function insertEntryOf(
  db: D1Database,
  entry: AuditEntry,
  { from, fields = {}, readyAt = entry.at }: RecordedRow,
): D1PreparedStatement {
  const { id, agentId, part, at } = entry;
  return prepare(
    db,
    sql`INSERT OR IGNORE INTO audit_outbox (agent_id, id, part, at, ready_at, entry)
      SELECT ${fields.agentId ?? agentId ?? ""}, ${id}, ${part}, ${at}, ${readyAt}, ${withFields(entry, fields)} ${from}`,
  );
}

/** SQL for the JSON of an entry with some of its fields read from a row. */
function withFields(entry: AuditEntry, fields: EntryFields): Sql {
  const json = sql`${JSON.stringify(entry)}`;
  const pairs = Object.entries(fields).map(([name, value]) => sql`${`$.${name}`}, ${value}`);
  return pairs.length === 0 ? json : sql`json_set(${json}, ${join(pairs, sql`, `)})`;
}

/** The agents, as `a`, that a change is about to change, or has just changed. */
export interface RecordedAgents {
  /** The condition of the change. */
  readonly where: Sql;
  readonly fields: EntryFields;
}

/** What differs between the entries of one change. */
interface EntryKey {
  readonly id: string;
  readonly agentId: string;
  readonly random: string;
}

/** The statement that inserts an entry for each of these agents that meets the condition. */
export function insertEntriesOf(
  db: D1Database,
  keys: readonly EntryKey[],
  entry: AuditEntry,
  { where, fields }: RecordedAgents,
): D1PreparedStatement {
  const each = { ...fields, id: sql`k.value ->> 'id'`, agentId: sql`a.id`, random: sql`k.value ->> 'random'` };
  return prepare(
    db,
    sql`INSERT OR IGNORE INTO audit_outbox (agent_id, id, part, at, ready_at, entry)
      SELECT a.id, k.value ->> 'id', ${entry.part}, ${entry.at}, ${entry.at}, ${withFields(entry, each)}
      FROM json_each(${JSON.stringify(keys)}) k CROSS JOIN agents a ON a.id = k.value ->> 'agentId' WHERE ${where}`,
  );
}
