import type { ApiError } from "../http/errors.ts";
import { startTimer, type StartTimer } from "../http/body-timer.ts";

/** While a body flows its caller is asked about this often, in milliseconds: what has begun ends this long after a revocation. */
const WATCH_INTERVAL_MS = 60_000;

/** Whether the caller of a request whose body still flows may go on. */
export interface CallerWatch {
  /**
   * Asks once a minute until it is stopped, and calls `abort` with the first refusal. Also an answer that cannot be had is one.
   *
   * @returns stops asking.
   */
  start(abort: (refusal: unknown) => void): () => void;
  /**
   * Asks at once, unless that has been done within the bound for reads (`STANDING_TTL_SECONDS`).
   *
   * @throws {ApiError} the refusal.
   */
  confirm(): Promise<void>;
}

export interface Watched {
  /**
   * Rejects with the refusal of a caller that may no longer do this. Always asks the database.
   *
   * @param isWritten whether the end of a request's body depends on it, and not only the rest of an answer.
   */
  readonly check: (isWritten: boolean) => Promise<void>;
  /** When it was last asked, and for how long that counts. Milliseconds. */
  readonly askedAt: number;
  readonly maxAge: number;
}

export function watchCaller({ check, askedAt, maxAge }: Watched, start: StartTimer = startTimer): CallerWatch {
  let lastAsked = askedAt;
  const ask = async (isWritten: boolean): Promise<void> => {
    // The time before the question: the answer is at least as new.
    const now = Date.now();
    await check(isWritten);
    lastAsked = now;
  };
  return {
    start(abort) {
      let stopped = false;
      let stop: () => void;
      const again = (): void => {
        stop = start(WATCH_INTERVAL_MS, () => {
          ask(false).then(
            () => stopped || again(),
            (refusal: ApiError) => stopped || abort(refusal),
          );
        });
      };
      again();
      return () => {
        stopped = true;
        stop();
      };
    },
    async confirm() {
      const age = Date.now() - lastAsked;
      // A clock that was set back makes nothing recent.
      if (age < 0 || age >= maxAge) await ask(true);
    },
  };
}
