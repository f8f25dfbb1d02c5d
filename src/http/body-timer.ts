import { ApiError } from "./errors.ts";

/** Calls `expire` once after so many milliseconds, unless what it returns is called before. Tests pass one that they drive. */
export type StartTimer = (ms: number, expire: () => void) => () => void;

export const startTimer: StartTimer = (ms, expire) => {
  const timer = setTimeout(expire, ms);
  return () => clearTimeout(timer);
};

/** How long a request body may take, in milliseconds. */
export interface BodyLimits {
  /** Without a byte of it arriving. */
  readonly idleMs: number;
  /** From the first read to the end. */
  readonly totalMs: number;
}

export interface BodyTimer {
  /** Waits for a read. @throws {ApiError} 408 `body_timeout` as soon as a limit is reached. */
  read<T>(reading: Promise<T>): Promise<T>;
  /** Must be called when the body has ended, however it did. */
  stop(): void;
}

/** Measures a request body as it arrives. Time in which nobody reads is not the sender's, and counts for the total only. */
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
        late.reject(bodyTimeout(`Nothing of the request body arrived for ${idleMs / 1000} seconds.`)),
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
