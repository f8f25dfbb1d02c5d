/** Why the database did not do what it was asked. */
export type DatabaseFailure =
  /** It does not answer now: overloaded, restarted, cut off. The same statement may succeed later. */
  | { readonly kind: "unavailable" }
  /** It has no room. Nothing can be written until its operator makes some. */
  | { readonly kind: "full" }
  /** It has not this table or column: migrations are missing. */
  | { readonly kind: "not_migrated"; readonly missing: string };

/** The results of SQLite that say nothing about the statement (https://sqlite.org/rescode.html). All others are a bug of ours. */
const PASSING = /SQLITE_(BUSY|LOCKED|IOERR|NOMEM|CANTOPEN|PROTOCOL|INTERRUPT|READONLY|CORRUPT|NOTADB|SCHEMA|ABORT)\b/;
const FULL = /SQLITE_FULL|disk is full|maximum (?:DB|database|account storage)|storage limit/i;
const MISSING = /no such (?:table|column|index): ([\w.]+)|table (\w+) has no column named (\w+)/;

/** What D1 says of statements that it does not run at all. */
const NOT_RUN = /^D1_(?:TYPE|COLUMN_NOTFOUND|EXEC)_|Wrong number of parameter|No SQL statements|only one statement/;

/** What the runtime says of a call that did not reach the database, or was cut off: such an error does not always bear D1's name. */
const CUT_OFF =
  /Network connection lost|overloaded|internal error; reference|reset because|caused object to be reset|timed out/i;

/**
 * Returns why a call of the database failed, or undefined for an error that is not of the database, or that its statement causes
 * (a bug of ours). D1 tells them apart by the text of its errors only, and in production sometimes by the properties `retryable` and
 * `overloaded` (https://developers.cloudflare.com/d1/observability/debug-d1/).
 */
export function databaseFailure(error: unknown): DatabaseFailure | undefined {
  if (!(error instanceof Error)) return undefined;
  const { message, retryable, overloaded } = error as Error & { retryable?: unknown; overloaded?: unknown };
  const isOfDatabase = message.startsWith("D1_");
  if (isOfDatabase) {
    if (FULL.test(message)) return { kind: "full" };
    const [, name, table, column] = MISSING.exec(message) ?? [];
    const missing = name ?? (table && `${table}.${column}`);
    if (missing) return { kind: "not_migrated", missing };
    const isOurs = NOT_RUN.test(message) || (message.includes("SQLITE_") && !PASSING.test(message));
    return isOurs ? undefined : { kind: "unavailable" };
  }
  return retryable === true || overloaded === true || CUT_OFF.test(message) ? { kind: "unavailable" } : undefined;
}
