import { prepare, sql } from "../../../database/sql.ts";
import type { ArchivedRow } from "../archived-row.ts";
import type { ArchiveObject } from "../object.ts";

/** Records that were inserted at once, and that are to be archived. */
export interface Batch {
  readonly id: string;
  readonly firstId: string;
}

/** The oldest batches that are not archived, and their records. Two round trips. */
export async function readUnarchived(
  db: D1Database,
  limits: { batches: number; records: number },
): Promise<{ batches: Batch[]; rows: ArchivedRow[] }> {
  const { results } = await prepare(
    db,
    sql`SELECT id, first_id AS firstId, json_array_length(keys) AS records FROM batches
      WHERE archived_at IS NULL ORDER BY first_id LIMIT ${limits.batches}`,
  ).all<Batch & { records: number }>();
  let sum = 0;
  // One batch is always taken, however many records it has.
  const batches = results.filter(({ records }, index) => (sum += records) <= limits.records || index === 0);
  return { batches, rows: await readRows(db, batches) };
}

/** The records of these batches that stand in the database. */
export async function readRows(db: D1Database, batches: readonly Pick<Batch, "id">[]): Promise<ArchivedRow[]> {
  if (batches.length === 0) return [];
  const ids = JSON.stringify(batches.map(({ id }) => id));
  const { results } = await prepare(
    db,
    sql`SELECT r.* FROM json_each(${ids}) one
      CROSS JOIN batches b ON b.id = one.value
      CROSS JOIN json_each(b.keys) k
      CROSS JOIN records r ON r.agent_id = k.value ->> 0 AND r.id = k.value ->> 1 AND r.part = k.value ->> 2`,
  ).all<ArchivedRow>();
  return results;
}

/** The statement that says of batches that they are archived. */
export const markArchived = (db: D1Database, batches: readonly Batch[], now: number): D1PreparedStatement =>
  prepare(
    db,
    sql`UPDATE batches SET archived_at = ${now}
      WHERE archived_at IS NULL AND id IN (SELECT value FROM json_each(${JSON.stringify(batches.map(({ id }) => id))}))`,
  );

/**
 * Says of batches whose records are all older than an id that they are archived: retention deletes these records, which are not to be
 * archived any more. Returns how many.
 */
export async function markExpired(db: D1Database, beforeId: string, now: number, limit: number): Promise<number> {
  const { results } = await prepare(
    db,
    sql`UPDATE batches SET archived_at = ${now} WHERE id IN (
        SELECT id FROM batches WHERE archived_at IS NULL AND first_id < ${beforeId} AND last_id < ${beforeId} LIMIT ${limit})
      RETURNING 1`,
  ).all();
  return results.length;
}

type State = "loose" | "joined";

/** The statement that lists an object of the archive. */
export const insertObject = (
  db: D1Database,
  { name, hour, firstId, lastId, records, content }: ArchiveObject,
  state: State,
  now: number,
): D1PreparedStatement =>
  prepare(
    db,
    sql`INSERT OR IGNORE INTO archive_objects (name, hour, first_id, last_id, records, bytes, state, changed_at)
      VALUES (${name}, ${hour}, ${firstId}, ${lastId}, ${records}, ${content.length}, ${state}, ${now})`,
  );

/** An object as it is listed. */
export interface ListedObject {
  readonly name: string;
  readonly hour: number;
  readonly firstId: string;
  readonly lastId: string;
  readonly records: number;
  readonly bytes: number;
  readonly state: State;
}

const LISTED = sql`name, hour, first_id AS firstId, last_id AS lastId, records, bytes, state`;

/** The objects of some hours that may hold records with ids before one. */
export interface ObjectRange {
  /** In hours since the epoch. */
  readonly fromHour: number;
  readonly toHour: number;
  readonly beforeId: string;
  /** The last object of the list before. */
  readonly after?: Pick<ListedObject, "hour" | "lastId" | "name"> | undefined;
  readonly limit: number;
}

/** Lists objects, those with the greatest last ids first. */
export async function listObjects(
  db: D1Database,
  { fromHour, toHour, beforeId, after, limit }: ObjectRange,
): Promise<ListedObject[]> {
  const next = after ? sql` AND (hour, last_id, name) < (${after.hour}, ${after.lastId}, ${after.name})` : sql``;
  const { results } = await prepare(
    db,
    sql`SELECT ${LISTED} FROM archive_objects INDEXED BY archive_objects_by_hour
      WHERE hour BETWEEN ${fromHour} AND ${toHour} AND first_id < ${beforeId} AND state != 'replaced'${next}
      ORDER BY hour DESC, last_id DESC, name DESC LIMIT ${limit}`,
  ).all<ListedObject>();
  return results;
}

/** The loose objects of the oldest hour before one that has any. */
export async function findToJoin(db: D1Database, beforeHour: number, limit: number): Promise<ListedObject[]> {
  const { results } = await prepare(
    db,
    sql`SELECT ${LISTED} FROM archive_objects
      WHERE state = 'loose' AND hour = (SELECT min(hour) FROM archive_objects WHERE state = 'loose' AND hour < ${beforeHour})
      ORDER BY first_id LIMIT ${limit}`,
  ).all<ListedObject>();
  return results;
}

/** The statement that says of loose objects that a joined one has replaced them. */
export const markReplaced = (db: D1Database, names: readonly string[], now: number): D1PreparedStatement =>
  prepare(
    db,
    sql`UPDATE archive_objects SET state = 'replaced', changed_at = ${now}
      WHERE state = 'loose' AND name IN (SELECT value FROM json_each(${JSON.stringify(names)}))`,
  );

/** The names of objects that were replaced before a time, in milliseconds. */
export async function findReplaced(db: D1Database, before: number, limit: number): Promise<string[]> {
  const { results } = await prepare(
    db,
    sql`SELECT name FROM archive_objects WHERE state = 'replaced' AND changed_at < ${before}
      ORDER BY changed_at LIMIT ${limit}`,
  ).all<{ name: string }>();
  return results.map(({ name }) => name);
}

/** Deletes objects from the list. */
export async function forgetObjects(db: D1Database, names: readonly string[]): Promise<void> {
  await prepare(
    db,
    sql`DELETE FROM archive_objects WHERE name IN (SELECT value FROM json_each(${JSON.stringify(names)}))`,
  ).run();
}

/** Deletes batches that are archived and, if there is an `OTLP_ENDPOINT`, sent. Returns how many. */
export async function deleteDoneBatches(db: D1Database, isSending: boolean, limit: number): Promise<number> {
  const { results } = await prepare(
    db,
    sql`DELETE FROM batches WHERE id IN (
        SELECT id FROM batches WHERE archived_at IS NOT NULL${isSending ? sql` AND sent_at IS NOT NULL` : sql``} LIMIT ${limit})
      RETURNING 1`,
  ).all();
  return results.length;
}
