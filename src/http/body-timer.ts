import { ApiError } from "./errors.ts";

/** Calls `expire` once after `ms` milliseconds, unless the function that it returns is called first. Tests pass their own. */
export interface StartTimer {
  (ms: number, expire: () => void): () => void;
  /** The time in milliseconds, as this timer measures it. `Date.now` by default. */
  readonly now?: () => number;
}

/** `scheduler.wait` without a signal costs a fraction of a timer that can be cleared. It ends with its request. */
export const startTimer: StartTimer = (ms, expire) => {
  let stopped = false;
  void scheduler.wait(ms).then(() => stopped || expire());
  return () => {
    stopped = true;
  };
};

/** How long a body may take, in milliseconds. */
export interface BodyLimits {
  /** While no byte arrives. */
  readonly idleMs: number;
  /** From the first read to the end. */
  readonly totalMs: number;
}

export interface BodyTimer {
  /** Waits for a read. @throws {Error} as soon as a limit is reached; by default 408 `body_timeout`. */
  read<T>(reading: Promise<T>): Promise<T>;
  /** Must be called when the body has ended, in whichever way. */
  stop(): void;
}

/**
 * Limits how long a body takes to arrive. While no read is pending, only the total limit counts.
 *
 * One timer serves both limits: when it expires it looks which of them is reached, and else waits for the rest. Most bodies arrive before
 * it expires at all.
 */
export function bodyTimer(
  { idleMs, totalMs }: BodyLimits,
  start: StartTimer = startTimer,
  errorOf: (message: string) => Error = bodyTimeout,
): BodyTimer {
  const clock = start.now ?? Date.now;
  const began = clock();
  let timeout: Error | undefined;
  let fail: ((timeout: Error) => void) | undefined;
  let readingSince: number | undefined;
  let stop = start(Math.min(idleMs, totalMs), check);
  function check(): void {
    const now = clock();
    const totalLeft = began + totalMs - now;
    const idleLeft = (readingSince ?? now) + idleMs - now;
    if (totalLeft <= 0) timeout = errorOf(`The body took longer than ${totalMs / 1000} seconds.`);
    else if (idleLeft <= 0) timeout = errorOf(`No byte of the body arrived for ${idleMs / 1000} seconds.`);
    if (timeout) fail?.(timeout);
    else stop = start(Math.min(totalLeft, idleLeft), check);
  }
  return {
    async read(reading) {
      if (timeout) throw timeout;
      const late = Promise.withResolvers<never>();
      fail = late.reject;
      readingSince = clock();
      try {
        return await Promise.race([reading, late.promise]);
      } finally {
        fail = undefined;
        readingSince = undefined;
      }
    },
    stop: () => stop(),
  };
}

/** RFC 9110 §15.5.9. */
function bodyTimeout(message: string): ApiError {
  return new ApiError("body_timeout", `${message} Send the request again.`);
}
