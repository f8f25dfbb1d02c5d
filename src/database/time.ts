import { integer, sql, type Sql } from "./sql.ts";

/**
 * SQL for the database's own time, in milliseconds. Times that are written by one Worker and compared by another come from this
 * one clock, and a statement that waited for others uses the time at which it runs.
 *
 * It differs between the statements of a batch: where two must agree, the first writes it and the others read that row.
 */
export const DATABASE_NOW = sql`CAST(round(unixepoch('subsec') * 1000) AS INTEGER)`;

/** SQL for the next second, from which tokens are valid again after every token issued until now has been revoked. */
export const NEXT_SECOND = sql`(CAST(unixepoch('subsec') AS INTEGER) + 1)`;

/**
 * A time that lies at most this many milliseconds in the future still counts as now: the database may have moved to a machine
 * whose clock is a little behind.
 */
export const MAX_CLOCK_STEP = integer(2000);

/** SQL for a time as RFC 3339 has it, as every answer shows times. Null stays null. @param ms SQL for milliseconds. */
export const toTimestamp = (ms: Sql): Sql => sql`strftime('%Y-%m-%dT%H:%M:%fZ', ${ms} / 1000.0, 'unixepoch')`;
