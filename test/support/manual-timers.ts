import type { StartTimer } from "../../src/http/body-timer.ts";

/** Timers that run only when the test says so. */
export function manualTimers() {
  let now = 0;
  const waiting = new Set<{ at: number; expire: () => void }>();
  const start: StartTimer = Object.assign(
    (ms: number, expire: () => void) => {
      const timer = { at: now + ms, expire };
      waiting.add(timer);
      return () => void waiting.delete(timer);
    },
    { now: () => now },
  );
  return {
    start,
    pending: () => waiting.size,
    /** Lets so many milliseconds pass, and what is due by then expire. */
    advance(ms: number): void {
      now += ms;
      for (const timer of Array.from(waiting)) {
        if (timer.at > now || !waiting.delete(timer)) continue;
        timer.expire();
      }
    },
  };
}
