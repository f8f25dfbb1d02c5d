import { migrationHelp, WANTED_MIGRATIONS } from "./migrations.ts";
import { ok, type Finding } from "./part-health.ts";
import { findLastMigration, findMissing } from "./store.ts";

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

/** Compares the migrations that are applied with those that this version needs. One round trip to each database. */
export async function checkMigrations({ DB, AUDIT_DB }: Pick<Env, "DB" | "AUDIT_DB">): Promise<Finding> {
  const [applied, auditApplied] = await Promise.all([DB, AUDIT_DB].map(findLastMigration));
  const { DB: wanted, AUDIT_DB: auditWanted } = WANTED_MIGRATIONS;
  const numbers = {
    ...(applied != null && { applied }),
    wanted,
    ...(auditApplied != null && { audit_applied: auditApplied }),
    audit_wanted: auditWanted,
  };
  const isBehind = (applied ?? wanted) < wanted || (auditApplied ?? auditWanted) < auditWanted;
  if (!isBehind) return ok(numbers);
  return { status: "failing", since: null, message: "Apply the migrations of both databases.", numbers };
}
