import { prepare, sql } from "../../database/sql.ts";
import type { AuditEntry } from "../../outbox/record.ts";

/** SQL that is true while the outbox of the audit log takes no more: its size is above the bound. */
const isFull = sql`EXISTS (SELECT 1 FROM audit_state WHERE name = 'outbox_full' AND value = 1)`;

/**
 * The statement that puts entries into the outbox of the audit log, unless it is full; then their number is added to what is not
 * recorded. An entry that stands there already stays as it is.
 */
export const insertOrCount = (db: D1Database, entries: readonly AuditEntry[]): D1PreparedStatement[] => [
  prepare(
    db,
    sql`INSERT INTO audit_outbox (agent_id, id, part, at, ready_at, entry)
      SELECT coalesce(value ->> 'agentId', ''), value ->> 'id', value ->> 'part', value ->> 'at', value ->> 'at', value
      FROM json_each(${JSON.stringify(entries)}) WHERE NOT ${isFull}
      ON CONFLICT DO NOTHING`,
  ),
  prepare(
    db,
    sql`INSERT INTO audit_state (name, value) SELECT 'not_recorded', ${entries.length} WHERE ${isFull}
      ON CONFLICT (name) DO UPDATE SET value = value + excluded.value`,
  ),
];

/**
 * The statement that puts the intent of a write into the outbox, unless it is full. It returns one row if it did.
 *
 * @param readyAt milliseconds: when it is moved with an unknown outcome if its end has not come.
 */
export const insertIntentUnlessFull = (db: D1Database, entry: AuditEntry, readyAt: number): D1PreparedStatement =>
  prepare(
    db,
    sql`INSERT INTO audit_outbox (agent_id, id, part, at, ready_at, entry)
      SELECT ${entry.agentId ?? ""}, ${entry.id}, ${entry.part}, ${entry.at}, ${readyAt}, ${JSON.stringify(entry)}
      WHERE NOT ${isFull} RETURNING 1 AS inserted`,
  );

/** What is known of the outbox's size. */
export interface OutboxSize {
  /** Entries that wait, up to the limit of the count. */
  readonly counted: number;
  /** Of the whole database, in bytes. */
  readonly databaseBytes: number;
  /** The same when the outbox was last small; null if that was never measured. */
  readonly baseBytes: number | null;
  readonly isFull: boolean;
  /** How many requests were not recorded, because it was full. */
  readonly notRecorded: number;
}

/** Reads what is known of the outbox's size. @param most how many entries are counted at the most. */
export async function readOutboxSize(db: D1Database, most: number): Promise<OutboxSize> {
  const { results, meta } = await prepare(
    db,
    sql`SELECT (SELECT count(*) FROM (SELECT 1 FROM audit_outbox LIMIT ${most})) AS counted,
      (SELECT value FROM audit_state WHERE name = 'outbox_base') AS base,
      ${isFull} AS is_full,
      (SELECT value FROM audit_state WHERE name = 'not_recorded') AS not_recorded`,
  ).all<{ counted: number; base: number | null; is_full: number; not_recorded: number | null }>();
  const row = results[0]!;
  return {
    counted: row.counted,
    databaseBytes: meta.size_after,
    baseBytes: row.base,
    isFull: row.is_full === 1,
    notRecorded: row.not_recorded ?? 0,
  };
}

/** Stores what the outbox's size is measured from, and whether it is full. */
export async function writeOutboxSize(
  db: D1Database,
  { baseBytes, isFull: full }: { baseBytes: number; isFull: boolean },
): Promise<void> {
  await prepare(
    db,
    sql`INSERT INTO audit_state (name, value) VALUES ('outbox_base', ${baseBytes}), ('outbox_full', ${full ? 1 : 0})
      ON CONFLICT (name) DO UPDATE SET value = excluded.value`,
  ).run();
}

/** The statements that record what was not recorded, and count it no more. Of two runs at once, the second writes nothing. */
export async function recordUnrecorded(db: D1Database, entry: AuditEntry): Promise<void> {
  const counted = sql`EXISTS (SELECT 1 FROM audit_state WHERE name = 'not_recorded' AND value = ${entry.count})`;
  await db.batch([
    prepare(
      db,
      sql`INSERT INTO audit_outbox (agent_id, id, part, at, ready_at, entry)
        SELECT '', ${entry.id}, ${entry.part}, ${entry.at}, ${entry.at}, ${JSON.stringify(entry)} WHERE ${counted}`,
    ),
    prepare(db, sql`DELETE FROM audit_state WHERE name = 'not_recorded' AND value = ${entry.count}`),
  ]);
}
