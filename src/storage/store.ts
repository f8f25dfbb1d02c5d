import { prepare, sql } from "../database/sql.ts";
import { NEEDED } from "./migrations.ts";

/** Returns the number of the last migration that wrangler has applied; null if another program made the schema. */
export async function findLastMigration(db: D1Database): Promise<number | null> {
  try {
    return await prepare(db, sql`SELECT CAST(max(name) AS INTEGER) AS last FROM d1_migrations`).first<number>("last");
  } catch (error) {
    if (String(error).includes("no such table")) return null;
    throw error;
  }
}

/**
 * Returns the first table or column that the schema lacks, or undefined if the schema is complete. One D1 round trip, which reads the
 * list of tables only.
 *
 * @throws {Error} if the database does not answer.
 */
export async function findMissing(db: D1Database): Promise<string | undefined> {
  const { results } = await prepare(db, sql`SELECT name, sql FROM sqlite_schema WHERE type = 'table'`).all<{
    name: string;
    sql: string;
  }>();
  const tables = new Map(results.map((row) => [row.name, row.sql]));
  return NEEDED.find((one) => {
    const [table = "", column] = one.split(".");
    const text = tables.get(table);
    return text === undefined || (column !== undefined && !new RegExp(`\\b${column}\\b`).test(text));
  });
}
