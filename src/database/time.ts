/**
 * SQL for the database's own time, in milliseconds. What one Worker writes and another compares has one clock, and a statement
 * that waited for others has the time of its turn.
 *
 * It differs between the statements of a batch: where two must agree, the first writes it and the others read that row.
 */
export const DATABASE_NOW = "CAST(round(unixepoch('subsec') * 1000) AS INTEGER)";

/** SQL for the second from which tokens are valid again after everything issued until now has been ended. */
export const NEXT_SECOND = "(CAST(unixepoch('subsec') AS INTEGER) + 1)";

/** A time that lies this far in the future, in milliseconds, still counts as now: the database may have moved to another machine. */
export const MAX_CLOCK_STEP_MS = 2000;
