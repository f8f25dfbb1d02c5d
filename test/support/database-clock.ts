import { vi } from "vitest";

/**
 * A real database whose own clock follows the test's: while `Date` is fake, the text by which statements ask for the time is
 * replaced by that time.
 */
export function withTestClock(db: D1Database): D1Database {
  return {
    prepare(sql: string) {
      return db.prepare(
        vi.getMockedSystemTime() ? sql.replaceAll("unixepoch('subsec')", `(${Date.now()} / 1000.0)`) : sql,
      );
    },
    batch: (statements: D1PreparedStatement[]) => db.batch(statements),
  } as D1Database;
}
