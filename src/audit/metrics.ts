import { logFailure } from "../log/failure-log.ts";
import type { AuditEntry } from "../outbox/record.ts";
import { addToCounters, readCounters } from "./store/counters.ts";

/** The upper bounds of the histogram of calls, in milliseconds. */
export const DURATION_BUCKETS_MS = [25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000] as const;

/** What is counted. `records` is by action, service and outcome; the others are of calls through the gateway. */
type Counter = "records" | "duration_bucket" | "duration_sum" | "duration_count";

/** One number that only grows. */
export interface Count {
  readonly counter: Counter;
  /** `records`: action, service and outcome. `duration_bucket`: the upper bound in milliseconds, or `+Inf`. */
  readonly labels: readonly string[];
  readonly value: number;
}

/** Services have names of their own, and records of other actions have none. */
const SEPARATOR = "|";
const PREFIX = "counter";

/**
 * Counts records that have been written into the log. Never rejects: they are there, and a number that is missing is worth no repetition
 * of them.
 */
export async function countEntries(db: D1Database, entries: readonly AuditEntry[]): Promise<void> {
  const counts = new Map<string, number>();
  const add = (counter: Counter, labels: readonly string[], number: number): void => {
    const name = [PREFIX, counter, ...labels].join(SEPARATOR);
    counts.set(name, (counts.get(name) ?? 0) + number);
  };
  const ended = new Set(entries.filter(({ part }) => part !== "intent").map(({ id }) => id));
  for (const { id, part, action, service, outcome, count, durationMs } of entries) {
    // An intent is counted only if nothing was heard of its end.
    if (part === "intent" && ended.has(id)) continue;
    add("records", [action, service ?? "", outcome], count ?? 1);
    if (action !== "gateway.call" || durationMs === null) continue;
    const bound = DURATION_BUCKETS_MS.find((most) => durationMs <= most);
    add("duration_bucket", [bound === undefined ? "+Inf" : String(bound)], 1);
    add("duration_sum", [], durationMs);
    add("duration_count", [], 1);
  }
  if (counts.size === 0) return;
  try {
    await addToCounters(db, [...counts]);
  } catch (cause) {
    logFailure("metrics_not_counted", cause, { counters: counts.size });
  }
}

/** Returns everything that was counted. Each bucket has only what is in no smaller one. */
export async function readCounts(db: D1Database): Promise<Count[]> {
  const rows = await readCounters(db, PREFIX + SEPARATOR);
  return rows.map(({ name, value }) => {
    const [, counter, ...labels] = name.split(SEPARATOR);
    return { counter: counter as Counter, labels, value };
  });
}
