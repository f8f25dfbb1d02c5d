import { contentLength } from "./headers.ts";

/** Up to this length, in bytes, a body counts as sent with its request. */
const SHORT = 64 * 1024;

/** A streamed body that tells when all of it has been sent. A short one is sent at once, and needs no telling. */
export function uploadOf(body: BodyInit | null, headers: Headers): { body: BodyInit; sent: Promise<void> } | undefined {
  if (!(body instanceof ReadableStream)) return undefined;
  const length = contentLength(headers);
  if (length !== undefined && length <= SHORT) return undefined;
  const { readable, writable } = pipeOf(length);
  return { body: readable, sent: body.pipeTo(writable).catch(() => undefined) };
}

export const pipeOf = (length: number | undefined) =>
  length === undefined ? new IdentityTransformStream() : new FixedLengthStream(length);

/** An upstream that does not read what it is sent is given up after this long, in milliseconds. */
const LONGEST_UPLOAD_MS = 15 * 60_000;

/**
 * The end of an upstream's time to begin its answer, which begins when it has been sent the whole request: an upload takes as
 * long as its sender does. What comes after all is given up with the request: a signal to abort it would cost every request more
 * than its timer.
 */
export function deadline(
  timeoutMs: number,
  sent: Promise<void> | undefined,
): { late: Promise<undefined>; stop: () => void } {
  // The runtime's own, which needs no taking back, costs half of a timer that can be.
  if (!sent) return { late: scheduler.wait(timeoutMs).then(() => undefined), stop: () => undefined };
  let timer: number | null = null;
  let stopped = false;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, LONGEST_UPLOAD_MS);
    void sent.then(() => {
      clearTimeout(timer);
      if (!stopped) timer = setTimeout(resolve, timeoutMs);
    });
  });
  return {
    late,
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}
