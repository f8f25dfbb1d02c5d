import { prepare, sql } from "../../../database/sql.ts";

/** The encrypted key of a day; null if retention has deleted it, undefined if the day has none yet. */
export async function readDayKey(db: D1Database, day: number): Promise<string | null | undefined> {
  return (await prepare(db, sql`SELECT key FROM day_keys WHERE day = ${day}`).first<{ key: string | null }>())?.key;
}

/** Stores the key of a day unless it has one, and returns the one that it has. */
export async function insertDayKey(db: D1Database, day: number, key: string): Promise<string | null> {
  const [, read] = await db.batch<{ key: string | null }>([
    prepare(db, sql`INSERT OR IGNORE INTO day_keys (day, key) VALUES (${day}, ${key})`),
    prepare(db, sql`SELECT key FROM day_keys WHERE day = ${day}`),
  ]);
  return read!.results[0]!.key;
}

/** A day and its encrypted key. */
export interface StoredDayKey {
  readonly day: number;
  readonly key: string;
}

/** Keys that are encrypted under one of these keys of DATA_KEYS. */
export async function findDayKeysUnder(
  db: D1Database,
  kids: readonly string[],
  limit: number,
): Promise<StoredDayKey[]> {
  const { results } = await prepare(
    db,
    sql`SELECT day, key FROM day_keys
      WHERE key ->> '$.kid' IN (SELECT value FROM json_each(${JSON.stringify(kids)})) LIMIT ${limit}`,
  ).all<StoredDayKey>();
  return results;
}

/** The statement that stores the same key, encrypted again, unless it has changed or was deleted. */
export const updateDayKey = (db: D1Database, { day, key }: StoredDayKey, again: string): D1PreparedStatement =>
  prepare(db, sql`UPDATE day_keys SET key = ${again} WHERE day = ${day} AND key = ${key}`);

/** Deletes the keys of the days before one. What they encrypted is unreadable from then on. */
export async function deleteDayKeys(db: D1Database, before: number): Promise<void> {
  await prepare(db, sql`UPDATE day_keys SET key = NULL WHERE day < ${before} AND key IS NOT NULL`).run();
}

/** The oldest day whose key was deleted, or that is before one and has objects all the same: they came too late. */
export async function findDeletedDay(db: D1Database, before: number): Promise<number | undefined> {
  const found = await prepare(
    db,
    sql`SELECT coalesce(
        (SELECT min(day) FROM day_keys WHERE key IS NULL),
        (SELECT min(hour) / 24 FROM archive_objects WHERE hour < ${before * 24})) AS day`,
  ).first<{ day: number | null }>();
  return found?.day ?? undefined;
}

/** Deletes what the database knows of a day's archive. */
export async function forgetDay(db: D1Database, day: number): Promise<void> {
  await db.batch([
    prepare(db, sql`DELETE FROM archive_objects WHERE hour BETWEEN ${day * 24} AND ${day * 24 + 23}`),
    prepare(db, sql`DELETE FROM day_keys WHERE day = ${day} AND key IS NULL`),
  ]);
}
