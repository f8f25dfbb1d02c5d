import { bodyTimer, type BodyLimits, type StartTimer } from "../../http/body-timer.ts";
import { ApiError } from "../../http/errors.ts";
import type { CallerWatch } from "../caller-watch.ts";
import type { Meter } from "./meter.ts";

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
 * @param meter counts the bytes that arrive.
 */
export function startUpload(
  body: ReadableStream<Uint8Array>,
  length: number | undefined,
  caller: CallerWatch,
  limits: BodyLimits,
  start?: StartTimer,
  meter: Pick<Meter, "bytesIn"> = { bytesIn: 0 },
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
      meter.bytesIn = (meter.bytesIn ?? 0) + value.byteLength;
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

/** The time limits of an answer until its first byte goes to the agent. */
export interface AnswerClock {
  /** Resolves when the upstream is late: with the head of its answer, or with the whole of a body that is read before it is passed on. */
  readonly late: Promise<undefined>;
  /** Ends the limit for the head and begins the one for the body. */
  headArrived(): void;
  stop(): void;
}

/**
 * Starts the clock of an answer. The limit for its head begins when the whole request has been sent, because the sender decides how long
 * an upload takes. A late response is ignored and not aborted, because a signal costs every request more than the timer.
 *
 * @param timeoutMs how long the head may take, in milliseconds.
 * @param idleMs how long the body may take that is read whole, in milliseconds.
 * @param sent resolves when the request has been sent; undefined if its body is not streamed.
 * @param maxUploadMs the limit in milliseconds for an upstream that does not read what it is sent.
 */
export function answerClock(
  { timeoutMs, idleMs }: { timeoutMs: number; idleMs: number },
  sent: Promise<void> | undefined,
  maxUploadMs: number,
): AnswerClock {
  const { promise: late, resolve } = Promise.withResolvers<undefined>();
  let due = 0;
  let wakesAt = Infinity;
  let stopped = false;
  let hasHead = false;
  // `scheduler.wait` without a signal costs half as much as a timer that can be cleared. So one that is running serves a later limit too.
  const wakeAt = async (time: number): Promise<void> => {
    wakesAt = time;
    await scheduler.wait(time - Date.now());
    if (stopped) return;
    if (due <= Date.now()) resolve(undefined);
    else await wakeAt(due);
  };
  const limit = (ms: number): void => {
    due = Date.now() + ms;
    if (due < wakesAt) void wakeAt(due);
  };
  limit(sent ? maxUploadMs : timeoutMs);
  void sent?.then(() => {
    if (!hasHead) limit(timeoutMs);
  });
  return {
    late,
    headArrived() {
      hasHead = true;
      limit(idleMs);
    },
    stop() {
      stopped = true;
    },
  };
}
