import { migrationHelp } from "./migrations.ts";
import { findMissing } from "./store.ts";

/** The database answers, but its schema is not complete. The message says which migration to apply, and how. */
class SchemaError extends Error {
  override readonly name = "SchemaError";
}

/**
 * Checks that the database answers and has every table and column that this version needs. One D1 round trip.
 *
 * @throws {SchemaError} if something is missing; any other error of the database if it does not answer.
 */
export async function checkDatabase(db: D1Database): Promise<void> {
  const missing = await findMissing(db);
  if (missing !== undefined) throw new SchemaError(migrationHelp(missing));
}
