import { WATCH_INTERVAL_MS } from "../access/authenticate.ts";
import { startTimer, type StartTimer } from "../http/body-timer.ts";

/** Checks whether the caller of a request whose body is being streamed may go on. */
export interface CallerWatch {
  /**
   * Checks once a minute until it is stopped, and calls `abort` with the first refusal. A check that fails, for example because the
   * database does not answer, counts as a refusal.
   *
   * @returns a function that stops the checks.
   */
  start(abort: (refusal: unknown) => void): () => void;
  /**
   * Checks now, unless the last check is more recent than the bound for reads (`STANDING_TTL_SECONDS`).
   *
   * @throws {ApiError} the refusal.
   */
  confirm(): Promise<void>;
}

export interface WatchOptions {
  /**
   * Rejects with the refusal of a caller that may no longer do this. Always asks the database.
   *
   * @param isUpload true if the end of the request's body depends on it; false if only the rest of an answer does.
   */
  readonly check: (isUpload: boolean) => Promise<void>;
  /** When the caller was last checked, in milliseconds since the epoch. */
  readonly checkedAt: number;
  /** How long a check counts, in milliseconds. */
  readonly maxAge: number;
}

/** Returns a watch over the caller of one request. Nothing runs until it is started. */
export function watchCaller({ check, checkedAt, maxAge }: WatchOptions, start: StartTimer = startTimer): CallerWatch {
  let lastChecked = checkedAt;
  const checkNow = async (isUpload: boolean): Promise<void> => {
    // The time is read before the check, so the result is at least that recent.
    const now = Date.now();
    await check(isUpload);
    lastChecked = now;
  };
  return {
    start(abort) {
      let stopped = false;
      let stopTimer: () => void;
      const schedule = (): void => {
        stopTimer = start(WATCH_INTERVAL_MS, () => {
          checkNow(false).then(
            () => stopped || schedule(),
            (refusal: unknown) => stopped || abort(refusal),
          );
        });
      };
      schedule();
      return () => {
        stopped = true;
        stopTimer();
      };
    },
    async confirm() {
      const age = Date.now() - lastChecked;
      // A negative age means that the clock was set back: then no check is recent.
      if (age < 0 || age >= maxAge) await checkNow(true);
    },
  };
}
