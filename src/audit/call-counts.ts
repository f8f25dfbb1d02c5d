import type { Outcome } from "../outbox/record.ts";
import { HOUR_MS } from "../time/lengths.ts";
import { KEPT_HOURS, readCallHours } from "./store/call-hours.ts";

/** The calls through the gateway in one hour. */
export interface HourOfCalls {
  /** When it began, in milliseconds. */
  readonly at: number;
  readonly calls: Readonly<Record<Outcome, number>>;
}

export const MAX_HOURS = KEPT_HOURS;

/**
 * How many calls there were in each of the last hours, the present one last: one entry for each of them, also where there was none.
 * Counted as records reach the log, so that no record is read.
 *
 * @param hours at most {@link MAX_HOURS}.
 * @param now milliseconds.
 */
export async function countCalls(db: D1Database, hours: number, now: number): Promise<HourOfCalls[]> {
  const last = Math.floor(now / HOUR_MS);
  const first = last - hours + 1;
  const counted = new Map<number, Record<Outcome, number>>();
  for (let hour = first; hour <= last; hour++) counted.set(hour, { success: 0, denied: 0, failed: 0, unknown: 0 });
  for (const { hour, outcome, total } of await readCallHours(db, first)) {
    const calls = counted.get(hour);
    if (calls) calls[outcome] = total;
  }
  return [...counted].map(([hour, calls]) => ({ at: hour * HOUR_MS, calls }));
}
