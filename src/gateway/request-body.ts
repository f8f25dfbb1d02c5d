import { bodyTimer, type BodyLimits, type StartTimer } from "../http/body-timer.ts";
import { ApiError } from "../http/errors.ts";
import { bodyTreatment, checkBody, MAX_CHECKED_BODY, type BodyFault, type BodyToSend } from "../policy/body.ts";
import { bodyRules, type BodyDemands } from "../policy/body-rules.ts";
import type { ResolvedRequest } from "../policy/resolve.ts";
import { contentLength } from "../policy/request-headers.ts";
import { formatMediaType } from "../policy/media-type.ts";
import { isRead } from "../policy/rule.ts";
import { concatenate } from "../memory/concatenate.ts";

/** A body that was read whole, or the fault because of which it was not. */
export type ReceivedBody = { readonly bytes: ArrayBuffer } | { readonly fault: BodyFault | ApiError };

/** A body whose declared length is at most this, in bytes, is read whole before its sender is authenticated. */
const MAX_SHORT_BODY = 64 * 1024;

const NO_DEMANDS: BodyDemands = { wider: [], isLimited: false };

/**
 * Returns whether a body is read completely before its sender is fully authenticated: a body with a short declared length, and one that has to
 * be checked for every sender. All others are streamed, or read later.
 */
export function isReadFirst(request: Request, resolved: ResolvedRequest): boolean {
  const length = contentLength(request.headers);
  return (length !== undefined && length <= MAX_SHORT_BODY) || mustBeRead(request, resolved, NO_DEMANDS);
}

/**
 * Returns whether a body has to be read whole: because it is searched for names, because limits apply to it, or because its type is
 * refused unless it is empty.
 */
export function mustBeRead({ headers }: Request, resolved: ResolvedRequest, demands: BodyDemands): boolean {
  const treatment = bodyTreatment(headers, bodyRules(resolved, demands));
  return "code" in treatment || treatment.kind !== "stream";
}

/**
 * Reads a body whole, up to the longest that can be checked. Never rejects: a fault is reported after its sender is authenticated.
 *
 * @param length the declared Content-Length in bytes, undefined if there is none.
 */
export async function receiveBody(
  body: ReadableStream<Uint8Array>,
  limits: BodyLimits,
  length?: number,
): Promise<ReceivedBody> {
  try {
    const bytes = await readWholeBody(body, MAX_CHECKED_BODY, limits, undefined, length);
    return bytes ? { bytes } : { fault: { code: "body_too_large" } };
  } catch (cause) {
    return { fault: cause instanceof ApiError ? cause : { code: "bad_body", reason: "it broke off" } };
  }
}

/**
 * Returns the body to forward: a stream if it was not read, and its parsed form if it was. A GET or HEAD has none.
 *
 * @param received the body if it was read whole.
 * @returns a fault if the body is refused, or an error with status 408 if it took too long to arrive.
 */
export function bodyToSend(
  { method, headers, body }: Request,
  received: ReceivedBody | undefined,
  resolved: ResolvedRequest,
  demands: BodyDemands,
): BodyToSend | BodyFault | ApiError {
  if (isRead(method) || !body) return { body: null, content: { kind: "none" } };
  const rules = bodyRules(resolved, demands);
  const treatment = bodyTreatment(headers, rules);
  if (received) return "fault" in received ? received.fault : checkBody(received.bytes, treatment, rules);
  return "code" in treatment
    ? treatment
    : { body, contentType: formatMediaType(treatment.type), content: { kind: "unreadable" } };
}

/**
 * Reads a whole body.
 *
 * @param maxLength in bytes.
 * @param declaredLength in bytes. The runtime ends a body there, so that nothing more is waited for.
 * @returns undefined if the body is longer than `maxLength`.
 * @throws {ApiError} 408 `body_timeout` if it takes too long; the stream's own error if it breaks off.
 */
export async function readWholeBody(
  body: ReadableStream<Uint8Array>,
  maxLength: number,
  limits: BodyLimits,
  start?: StartTimer,
  declaredLength?: number,
): Promise<ArrayBuffer | undefined> {
  const timer = bodyTimer(limits, start);
  const reader = body.getReader();
  const chunks: Uint8Array[] = [];
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
      chunks.push(value);
      if (length === declaredLength) break;
    }
  } catch (cause) {
    void reader.cancel(cause).catch(() => undefined);
    throw cause;
  } finally {
    timer.stop();
  }
  const { buffer, byteOffset, byteLength } = concatenate(chunks);
  return (byteLength === buffer.byteLength ? buffer : buffer.slice(byteOffset, byteOffset + byteLength)) as ArrayBuffer;
}
