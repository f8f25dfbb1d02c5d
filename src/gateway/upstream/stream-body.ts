import { bodyTimer } from "../../http/body-timer.ts";
import { contentLength } from "../../policy/request-headers.ts";
import { concatenate } from "../../memory/concatenate.ts";
import type { LinkRewriter } from "./links.ts";
import type { Meter } from "./meter.ts";
import { containsSecret, secretScanner, type SecretEncodings } from "./secret-leak.ts";

/** How a body ended: undefined if it is complete, or what broke it off. */
export type BodyEnd =
  | "credential_echo"
  | "too_large"
  | "caller_ended"
  /** The upstream. */
  | "broken_off"
  /** The upstream, which sends nothing more. */
  | "stalled"
  /** The agent. */
  | "agent_closed"
  /** One of the two. */
  | "interrupted"
  | undefined;

/** How many bytes are read at once. If the length is unknown, few at first, and more as long as reads fill the buffer. */
const INITIAL_CHUNK_BYTES = 4 * 1024;
const MAX_CHUNK_BYTES = 128 * 1024;

/** Space for the bytes that are kept before a chunk. There are usually few. */
const KEPT_BYTES = 1024;

/** What happens to a body while it is passed on. */
export interface BodyTransforms {
  readonly secretEncodings: SecretEncodings;
  readonly links: LinkRewriter | undefined;
  /** How many bytes at the beginning are searched. After them, the search continues as long as the body is text. By default all. */
  readonly searched?: number;
  /** Starts to check whether the agent may still get the rest; calls `abort` if it may not. Returns a function that stops. */
  readonly watch?: (abort: (refusal: unknown) => void) => () => void;
  /** How many decoded bytes may be read. By default there is no limit. */
  readonly maxLength?: number;
  /** How long nothing may arrive, in milliseconds. By default there is no limit. */
  readonly idleMs?: number;
  /** Counts the bytes that are passed on. */
  readonly meter?: Pick<Meter, "bytesOut">;
}

/** A body with a Content-Encoding may be this long when it is decoded, in bytes, however short its encoded form is. */
const MAX_DECODED_LENGTH = 64 * 1024 * 1024;

/** A longer body may be this many times as long as its encoded form. Text compresses to a tenth, repetitive text to a thirtieth; gzip can reach 1,032. */
const MAX_EXPANSION = 30;

/**
 * Returns the maximum length of a body after the runtime has decoded it, in bytes. Each decoded byte costs CPU, and a megabyte of gzip can
 * contain a gigabyte. Without a content coding there is no maximum, because the upstream has to send every byte.
 */
export function maxDecodedLength(headers: Headers): number {
  const coding = headers.get("content-encoding");
  if (coding === null || coding === "" || coding === "identity") return Infinity;
  return Math.max(MAX_DECODED_LENGTH, MAX_EXPANSION * (contentLength(headers) ?? 0));
}

/** How many bytes of a chunk are examined to distinguish text from other content. */
const SNIFFED = 1024;

/**
 * Returns whether bytes are not text: they have a control character that no text has (the "binary data bytes" of
 * https://mimesniff.spec.whatwg.org/#binary-data-byte), but for the zeros of UTF-16.
 */
const isBinary = (bytes: Uint8Array): boolean =>
  bytes.subarray(0, SNIFFED).some((byte) => byte < 0x20 && ((1 << byte) & BINARY_DATA_BYTES) !== 0);

const BINARY_DATA_BYTES = [0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x0b, 0x0e, 0x0f]
  .concat([0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1c, 0x1d, 0x1e, 0x1f])
  .reduce((set, byte) => set | (1 << byte), 0);

/**
 * Reads a short body completely. If it breaks off, stalls or contains the credential, it fails before the response begins.
 *
 * @param late resolves when the body should have arrived.
 */
export async function bufferBody(
  answer: Response,
  { secretEncodings, links }: BodyTransforms,
  late: Promise<undefined>,
): Promise<{ body: Uint8Array } | { failure: "credential_echo" | "broken_off" | "stalled"; cause?: unknown }> {
  let bytes: ArrayBuffer | undefined;
  try {
    bytes = await Promise.race([answer.arrayBuffer(), late]);
  } catch (cause) {
    return { failure: "broken_off", cause };
  }
  if (!bytes) return { failure: "stalled" };
  const received = new Uint8Array(bytes);
  // The search sees what the agent gets.
  const body = links ? links.whole(received) : received;
  return containsSecret(body, secretEncodings) ? { failure: "credential_echo" } : { body };
}

/**
 * Copies the body within the runtime, without JavaScript. The runtime neither says which of the two connections failed nor whether bytes
 * arrive, so the idle limit does not hold here.
 */
async function piped(
  body: ReadableStream<Uint8Array>,
  writable: WritableStream<Uint8Array>,
  signal: AbortSignal,
  { meter, length }: { meter: Pick<Meter, "bytesOut"> | undefined; length: number },
): Promise<BodyEnd> {
  // How many bytes of a body have passed is known only if all of it has, and its length was declared.
  if (meter) meter.bytesOut = null;
  try {
    await body.pipeTo(writable, { signal });
  } catch {
    return "interrupted";
  }
  if (meter && length > 0) meter.bytesOut = length;
  return undefined;
}

/**
 * Passes an upstream's body on to the agent. Never rejects. If the body breaks off, the agent's response breaks off too.
 *
 * If there is nothing to search for or to rewrite, the runtime copies it. Otherwise each chunk is read into one buffer that is reused, so
 * that memory stays flat however long the body is.
 *
 * @param length in bytes, or 0 if it is unknown. A long body is read in the largest chunks from its start.
 */
export async function streamBody(
  body: ReadableStream<Uint8Array>,
  writable: WritableStream<Uint8Array>,
  transforms: BodyTransforms,
  length = 0,
): Promise<BodyEnd> {
  const cut = new AbortController();
  const stopWatching = transforms.watch?.((refusal) => cut.abort(refusal));
  const end = await copyBody(body, writable, transforms, length, cut.signal);
  stopWatching?.();
  return cut.signal.aborted ? "caller_ended" : end;
}

async function copyBody(
  body: ReadableStream<Uint8Array>,
  writable: WritableStream<Uint8Array>,
  { secretEncodings, links, searched = Infinity, maxLength = Infinity, idleMs = Infinity, meter }: BodyTransforms,
  length: number,
  signal: AbortSignal,
): Promise<BodyEnd> {
  if (secretEncodings.length === 0 && !links) return piped(body, writable, signal, { meter, length });
  const reader = body.getReader({ mode: "byob" });
  const writer = writable.getWriter();
  const cut = (): void => {
    void Promise.allSettled([writer.abort(signal.reason), reader.cancel(signal.reason)]);
  };
  signal.addEventListener("abort", cut);
  let scan = secretEncodings.length > 0 ? secretScanner(secretEncodings) : undefined;
  let fault: NonNullable<BodyEnd> = "broken_off";
  const write = async (part: Uint8Array): Promise<void> => {
    if (part.length === 0) return;
    try {
      await writer.write(part);
    } catch (cause) {
      fault = "agent_closed";
      throw cause;
    }
    if (meter) meter.bytesOut = (meter.bytesOut ?? 0) + part.length;
  };
  /** Returns the part at the beginning in which no secret begins. The search sees what the agent gets: links are rewritten before it. */
  const searchedPart = (bytes: Uint8Array): Uint8Array => {
    const result = scan?.(bytes) ?? { clear: bytes.length };
    if (result !== "secret") return bytes.subarray(0, result.clear);
    fault = "credential_echo";
    throw new Error("The answer contains the credential.");
  };
  let received = 0;
  let passedLength = 0;
  const timer =
    idleMs === Infinity
      ? undefined
      : bodyTimer({ idleMs, totalMs: Infinity }, undefined, (message) => {
          fault = "stalled";
          return new Error(message);
        });
  try {
    let chunkLength = Math.min(Math.max(INITIAL_CHUNK_BYTES, length), MAX_CHUNK_BYTES);
    let buffer = new ArrayBuffer(chunkLength + KEPT_BYTES);
    let kept = new Uint8Array();
    for (;;) {
      if (buffer.byteLength < kept.length + chunkLength) {
        buffer = new ArrayBuffer(chunkLength + kept.length + KEPT_BYTES);
      }
      new Uint8Array(buffer).set(kept);
      const reading = reader.read(new Uint8Array(buffer, kept.length, chunkLength));
      const { value, done } = await (timer?.read(reading) ?? reading);
      if (done) break;
      buffer = value.buffer as ArrayBuffer;
      received += value.byteLength;
      if (received > maxLength) {
        fault = "too_large";
        throw new Error(`the answer is longer than ${maxLength} bytes when it is decoded`);
      }
      const read = links
        ? concatenate([kept, links.push(value)])
        : new Uint8Array(buffer, 0, kept.length + value.byteLength);
      const clear = searchedPart(read);
      await write(clear);
      kept = read.slice(clear.length);
      passedLength += clear.length;
      if (scan && passedLength > searched && !links && isBinary(clear)) {
        await write(kept);
        kept = new Uint8Array();
        scan = undefined;
      }
      // The runtime does not count the bytes that it decodes, so a body with a limit is copied here to its end.
      if (!scan && !links && maxLength === Infinity) {
        reader.releaseLock();
        writer.releaseLock();
        signal.removeEventListener("abort", cut);
        timer?.stop();
        return await piped(body, writable, signal, { meter, length });
      }
      if (value.byteLength === chunkLength && chunkLength < MAX_CHUNK_BYTES) chunkLength *= 2;
    }
    const rest = links ? concatenate([kept, links.rest()]) : kept;
    searchedPart(rest);
    await write(rest);
    await writer.close();
    return undefined;
  } catch (cause) {
    await Promise.allSettled([reader.cancel(cause), writer.abort(cause)]);
    return fault;
  } finally {
    timer?.stop();
  }
}
