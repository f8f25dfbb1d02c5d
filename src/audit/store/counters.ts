import { prepare, sql } from "../../database/sql.ts";

/** Adds to the numbers of the log's state with these names. */
export async function addToCounters(
  db: D1Database,
  counts: readonly (readonly [name: string, number: number])[],
): Promise<void> {
  await prepare(
    db,
    sql`INSERT INTO log_state (name, value)
      SELECT value ->> 0, value ->> 1 FROM json_each(${JSON.stringify(counts)}) WHERE true
      ON CONFLICT (name) DO UPDATE SET value = value + excluded.value`,
  ).run();
}

/** Returns the numbers whose names begin with a prefix, which ends in an ASCII character, in the order of the names. */
export async function readCounters(db: D1Database, prefix: string): Promise<{ name: string; value: number }[]> {
  const after = prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
  const { results } = await prepare(
    db,
    sql`SELECT name, value FROM log_state WHERE name >= ${prefix} AND name < ${after} ORDER BY name`,
  ).all<{ name: string; value: number }>();
  return results;
}
