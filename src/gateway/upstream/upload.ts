import { bodyTimer, type BodyLimits, type StartTimer } from "../../http/body-timer.ts";
import { ApiError } from "../../http/errors.ts";
import type { CallerWatch } from "../caller-watch.ts";

/** A sender that sends nothing for this long, in milliseconds, is given up. */
export const IDLE_BODY_MS = 60_000;

/** How many bytes are read at once. Two such buffers are in use: the piece that is held back, and the one that is being read. */
const PIECE = 64 * 1024;

/** A body on its way to the upstream. */
export interface Upload {
  readonly body: ReadableStream<Uint8Array>;
  /** For the request that sends the body: without it the runtime would end a chunked body that is broken off as if it were whole. */
  readonly signal: AbortSignal;
  /** Resolves when all of it was sent, or no more of it will be. */
  readonly sent: Promise<void>;
  /** Rejects if the gateway breaks the body off: with 408 for a slow sender, or with the caller's refusal. Never resolves. */
  readonly refused: Promise<never>;
}

/**
 * Passes a long body on while it arrives, one piece behind: the last piece goes to the upstream only once the whole body has
 * arrived and its caller may still send it. Otherwise the upstream sees a body that breaks off, which no server takes for a request.
 *
 * @param length in bytes, undefined if it is not told.
 */
export function startUpload(
  body: ReadableStream<Uint8Array>,
  length: number | undefined,
  caller: CallerWatch,
  limits: BodyLimits,
  start?: StartTimer,
): Upload {
  const { readable, writable } = transformStreamOf(length);
  const reader = body.getReader({ mode: "byob" });
  const writer = writable.getWriter();
  const timer = bodyTimer(limits, start);
  const refused = Promise.withResolvers<never>();
  // Whoever has its answer already does not wait for this any more.
  refused.promise.catch(() => undefined);

  const sending = new AbortController();
  let refusal: unknown;
  let upstreamClosed = false;
  const breakOff = async (cause: unknown): Promise<void> => {
    // An upstream that reads no more has answered already, and its answer is passed on.
    if (!upstreamClosed) sending.abort(cause);
    await Promise.allSettled([writer.abort(cause), reader.cancel(cause)]);
  };
  const stopWatching = caller.start((cause) => {
    refusal = cause;
    refused.reject(cause);
    void breakOff(cause);
  });

  const write = async (piece: Uint8Array): Promise<void> => {
    try {
      await writer.write(piece);
    } catch (cause) {
      upstreamClosed = refusal === undefined;
      throw cause;
    }
  };
  const copy = async (): Promise<void> => {
    let held: Uint8Array | undefined;
    let spare = new ArrayBuffer(PIECE);
    for (;;) {
      const { value, done } = await timer.read(reader.read(new Uint8Array(spare)));
      // A body that is broken off here seems to end.
      if (refusal) throw refusal;
      if (done) break;
      if (held) await write(held);
      spare = (held?.buffer as ArrayBuffer | undefined) ?? new ArrayBuffer(PIECE);
      held = value;
    }
    await caller.confirm();
    if (held) await write(held);
    await writer.close();
  };
  const sent = copy()
    .catch((cause: unknown) => {
      if (cause instanceof ApiError) refused.reject(cause);
      return breakOff(cause);
    })
    .finally(() => {
      timer.stop();
      stopWatching();
    });
  return { body: readable, signal: sending.signal, sent, refused: refused.promise };
}

export const transformStreamOf = (length: number | undefined) =>
  length === undefined ? new IdentityTransformStream() : new FixedLengthStream(length);

/**
 * The end of an upstream's time to begin its answer, which begins when it has been sent the whole request: an upload takes as
 * long as its sender does. What comes after all is given up with the request: a signal to abort it would cost every request more
 * than its timer.
 *
 * @param maxUploadMs an upstream that does not read what it is sent is given up after this long.
 */
export function deadline(
  timeoutMs: number,
  sent: Promise<void> | undefined,
  maxUploadMs: number,
): { late: Promise<undefined>; stop: () => void } {
  // The runtime's own, which needs no taking back, costs half of a timer that can be.
  if (!sent) return { late: scheduler.wait(timeoutMs).then(() => undefined), stop: () => undefined };
  let timer: number | null = null;
  let stopped = false;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, maxUploadMs);
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
