import { bodyTimer, type BodyLimits, type StartTimer } from "../../http/body-timer.ts";
import { ApiError } from "../../http/errors.ts";
import type { CallerWatch } from "../caller-watch.ts";

/** A body of which nothing arrives for this long, in milliseconds, is aborted with 408. */
export const IDLE_BODY_MS = 60_000;

/** How many bytes are read at once. Two such buffers are in use: the chunk that is kept back, and the one that is being read. */
const CHUNK_BYTES = 64 * 1024;

/** A body on its way to the upstream. */
export interface Upload {
  readonly body: ReadableStream<Uint8Array>;
  /** For the `fetch` that sends the body: without it the runtime would end an aborted chunked body as if it were complete. */
  readonly signal: AbortSignal;
  /** Resolves when all of the body has been sent, or when no more of it will be. */
  readonly sent: Promise<void>;
  /** Rejects if the body does not arrive: with 408 for a slow sender, 400 for one that breaks off, or the caller's refusal. Never resolves. */
  readonly refused: Promise<never>;
}

/**
 * Forwards a long body while it arrives, one chunk behind: the last chunk is sent only after the whole body has arrived and its caller has
 * been checked again. Otherwise the upstream gets an incomplete body, which no server accepts as a request.
 *
 * @param length the declared Content-Length in bytes, undefined if there is none.
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
  // Once the response has begun, nothing waits for this promise.
  refused.promise.catch(() => undefined);

  const sending = new AbortController();
  let refusal: unknown;
  let upstreamClosed = false;
  const breakOff = async (cause: unknown): Promise<void> => {
    // An upstream that stops reading has responded already, and its response is passed on.
    if (!upstreamClosed) sending.abort(cause);
    await Promise.allSettled([writer.abort(cause), reader.cancel(cause)]);
  };
  const stopWatching = caller.start((cause) => {
    refusal = cause;
    refused.reject(cause);
    void breakOff(cause);
  });

  const write = async (chunk: Uint8Array): Promise<void> => {
    try {
      await writer.write(chunk);
    } catch (cause) {
      upstreamClosed = refusal === undefined;
      throw cause;
    }
  };
  const read = async (into: Uint8Array) => {
    try {
      return await timer.read(reader.read(into));
    } catch (cause) {
      // The sender closed its connection, which is no fault of the upstream.
      throw cause instanceof ApiError ? cause : new ApiError("bad_body", "The request body broke off.", { cause });
    }
  };
  const copy = async (): Promise<void> => {
    let last: Uint8Array | undefined;
    let spare = new ArrayBuffer(CHUNK_BYTES);
    for (;;) {
      const { value, done } = await read(new Uint8Array(spare));
      // An aborted body seems to end here.
      if (refusal) throw refusal;
      if (done) break;
      if (last) await write(last);
      spare = (last?.buffer as ArrayBuffer | undefined) ?? new ArrayBuffer(CHUNK_BYTES);
      last = value;
    }
    await caller.confirm();
    if (last) await write(last);
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
 * Starts the time limit within which an upstream has to begin its response. The limit begins when the whole request has been sent, because
 * the sender decides how long an upload takes. A late response is ignored and not aborted, because a signal costs every request more than
 * the timer.
 *
 * @param timeoutMs the limit in milliseconds.
 * @param sent resolves when the request has been sent; undefined if its body is not streamed.
 * @param maxUploadMs the limit in milliseconds for an upstream that does not read what it is sent.
 * @returns `late` resolves when the limit has passed; `stop` ends the timer.
 */
export function deadline(
  timeoutMs: number,
  sent: Promise<void> | undefined,
  maxUploadMs: number,
): { late: Promise<undefined>; stop: () => void } {
  // `scheduler.wait` without a signal costs half as much as a timer that can be cleared.
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
