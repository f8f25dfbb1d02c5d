import { bodyTimer, type BodyLimits, type StartTimer } from "../body-timer.ts";
import { ApiError } from "../http/errors.ts";
import { checkedBody, LONGEST_CHECKED_BODY, type BodyFault } from "./body.ts";
import type { Meaning } from "./decide.ts";
import { contentLength } from "./headers.ts";
import { isRead } from "./rule.ts";
import type { Service } from "./services.ts";
import { IDLE_BODY_MS } from "./upload.ts";

/** A body that was read whole, or why it could not be. */
export type ReceivedBody = { readonly bytes: ArrayBuffer } | { readonly fault: BodyFault | ApiError };

/** A body that is told to be at most this long, in bytes, is read whole before its request is judged. */
const MAX_SHORT_BODY = 64 * 1024;

/** Whether a body is read whole before anyone asks who may send it: one that is told to be short, and one that is judged anyway. */
export function isReadFirst({ headers }: Request, { definition }: Service): boolean {
  const length = contentLength(headers);
  return (length !== undefined && length <= MAX_SHORT_BODY) || definition.refusedBodyParameters !== undefined;
}

/** Reads a body whole. Never rejects: what is wrong with it is said once its sender is known to be in good standing. */
export async function receiveBody(body: ReadableStream<Uint8Array>, bodyTimeoutMs: number): Promise<ReceivedBody> {
  try {
    const limits = { idleMs: IDLE_BODY_MS, totalMs: bodyTimeoutMs };
    const bytes = await readWholeBody(body, LONGEST_CHECKED_BODY, limits);
    return bytes ? { bytes } : { fault: { code: "body_too_large" } };
  } catch (cause) {
    return { fault: cause instanceof ApiError ? cause : { code: "bad_body" } };
  }
}

/**
 * The body as it is sent: streamed if it was not read, and as its check leaves it if it was. A read has none.
 *
 * @param keys that are looked for; without any, the body is sent as it came.
 * @returns 408 as an error for a body that took too long.
 */
export async function bodyOf(
  { url, method, headers, body }: Request,
  received: ReceivedBody | undefined,
  { rule }: Meaning,
  keys: readonly string[],
): Promise<{ body: BodyInit | null } | BodyFault | ApiError> {
  if (!received) return { body: isRead(method) ? null : body };
  if ("fault" in received) return received.fault;
  const { bytes } = received;
  if (keys.length === 0) return { body: bytes.byteLength > 0 ? bytes : null };
  return checkedBody(new Request(url, { method, headers, body: bytes }), keys, rule !== null);
}

/**
 * Reads a whole body.
 *
 * @returns undefined if it is longer than `maxLength` bytes.
 * @throws {ApiError} 408 `body_timeout`, or whatever the stream fails with if it breaks off.
 */
export async function readWholeBody(
  body: ReadableStream<Uint8Array>,
  maxLength: number,
  limits: BodyLimits,
  start?: StartTimer,
): Promise<ArrayBuffer | undefined> {
  const timer = bodyTimer(limits, start);
  const reader = body.getReader();
  const pieces: Uint8Array[] = [];
  let length = 0;
  try {
    for (;;) {
      const { value, done } = await timer.read(reader.read());
      if (done) break;
      length += value.byteLength;
      if (length > maxLength) {
        void reader.cancel().catch(() => undefined);
        return undefined;
      }
      pieces.push(value);
    }
  } catch (cause) {
    void reader.cancel(cause).catch(() => undefined);
    throw cause;
  } finally {
    timer.stop();
  }
  return new Blob(pieces).arrayBuffer();
}
