import { bodyTimer, type BodyLimits, type StartTimer } from "../http/body-timer.ts";
import { ApiError } from "../http/errors.ts";
import {
  bodyTreatment,
  judgeBody,
  MAX_CHECKED_BODY,
  type BodyFault,
  type BodyRules,
  type BodyToSend,
} from "../policy/body.ts";
import type { ResolvedRequest } from "../policy/resolve.ts";
import { contentLength } from "../policy/request-headers.ts";
import { formatMediaType } from "../policy/media-type.ts";
import { isRead } from "../policy/rule.ts";
import { IDLE_BODY_MS } from "./upstream/upload.ts";

/** A body that was read whole, or why it could not be. */
export type ReceivedBody = { readonly bytes: ArrayBuffer } | { readonly fault: BodyFault | ApiError };

/** A body that is told to be at most this long, in bytes, is read whole before its request is judged. */
const MAX_SHORT_BODY = 64 * 1024;

/** Whether a body is read whole before anyone asks who may send it: one that is told to be short, and one that is judged anyway. */
export function isReadFirst(request: Request, meaning: ResolvedRequest): boolean {
  const length = contentLength(request.headers);
  return (length !== undefined && length <= MAX_SHORT_BODY) || mustBeRead(request, meaning, []);
}

/** Whether a body has to be read whole: because names in it are looked for, or because its type is refused unless it is empty. */
export function mustBeRead({ headers }: Request, meaning: ResolvedRequest, wider: readonly string[]): boolean {
  const treatment = bodyTreatment(headers, rulesFor(meaning, wider));
  return "code" in treatment || treatment.kind !== "stream";
}

const rulesFor = ({ rule, service }: ResolvedRequest, wider: readonly string[]): BodyRules => ({
  forms: service.table().formNames,
  keys: [...(service.definition.refusedBodyParameters ?? []), ...wider],
  isCovered: rule !== null,
});

/** Reads a body whole. Never rejects: what is wrong with it is said once its sender is known to be in good standing. */
export async function receiveBody(body: ReadableStream<Uint8Array>, bodyTimeoutMs: number): Promise<ReceivedBody> {
  try {
    const limits = { idleMs: IDLE_BODY_MS, totalMs: bodyTimeoutMs };
    const bytes = await readWholeBody(body, MAX_CHECKED_BODY, limits);
    return bytes ? { bytes } : { fault: { code: "body_too_large" } };
  } catch (cause) {
    return { fault: cause instanceof ApiError ? cause : { code: "bad_body", reason: "it broke off" } };
  }
}

/**
 * Returns the body as it is sent: streamed if it was not read, and as it was parsed if it was. A read has none.
 *
 * @param wider the keys that reach beyond what the caller holds.
 * @returns 408 as an error for a body that took too long.
 */
export function bodyOf(
  { method, headers, body }: Request,
  received: ReceivedBody | undefined,
  meaning: ResolvedRequest,
  wider: readonly string[],
): BodyToSend | BodyFault | ApiError {
  if (isRead(method) || !body) return { body: null };
  const rules = rulesFor(meaning, wider);
  const treatment = bodyTreatment(headers, rules);
  if (received) return "fault" in received ? received.fault : judgeBody(received.bytes, treatment, rules);
  return "code" in treatment ? treatment : { body, contentType: formatMediaType(treatment.type) };
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
