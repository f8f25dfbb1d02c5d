import { ApiError } from "./errors.ts";

/** Calls `expire` once after `ms` milliseconds, unless the function that it returns is called first. Tests pass their own. */
export type StartTimer = (ms: number, expire: () => void) => () => void;

export const startTimer: StartTimer = (ms, expire) => {
  const timer = setTimeout(expire, ms);
  return () => clearTimeout(timer);
};

/** How long a request body may take, in milliseconds. */
export interface BodyLimits {
  /** While no byte arrives. */
  readonly idleMs: number;
  /** From the first read to the end. */
  readonly totalMs: number;
}

export interface BodyTimer {
  /** Waits for a read. @throws {ApiError} 408 `body_timeout` as soon as a limit is reached. */
  read<T>(reading: Promise<T>): Promise<T>;
  /** Must be called when the body has ended, in whichever way. */
  stop(): void;
}

/** Limits how long a request body takes to arrive. While no read is pending, only the total limit counts. */
export function bodyTimer({ idleMs, totalMs }: BodyLimits, start: StartTimer = startTimer): BodyTimer {
  let timeout: ApiError | undefined;
  let fail: ((timeout: ApiError) => void) | undefined;
  const stop = start(totalMs, () => {
    timeout = bodyTimeout(`The request body took longer than ${totalMs / 1000} seconds.`);
    fail?.(timeout);
  });
  return {
    async read(reading) {
      if (timeout) throw timeout;
      const late = Promise.withResolvers<never>();
      fail = late.reject;
      const stopIdle = start(idleMs, () =>
        late.reject(bodyTimeout(`No byte of the request body arrived for ${idleMs / 1000} seconds.`)),
      );
      try {
        return await Promise.race([reading, late.promise]);
      } finally {
        stopIdle();
        fail = undefined;
      }
    },
    stop,
  };
}

/** RFC 9110 §15.5.9. */
function bodyTimeout(message: string): ApiError {
  return new ApiError("body_timeout", `${message} Send the request again.`);
}
