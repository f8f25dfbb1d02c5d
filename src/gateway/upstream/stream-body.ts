import { contentLength } from "../../policy/request-headers.ts";
import type { LinkRewriter } from "./links.ts";
import { containsSecret, secretScanner, type SecretEncodings } from "./secret-leak.ts";

/** How a body ended: well, or with what broke it off. */
export type BodyEnd = "credential_echo" | "broken_off" | "too_large" | "caller_ended" | undefined;

/** Bytes that are read at once: few at first where the length is not known, and more while they fill the buffer. */
const INITIAL_CHUNK_BYTES = 4 * 1024;
const MAX_CHUNK_BYTES = 128 * 1024;

/** Room for the bytes that are held back in front of a piece, which are few as a rule. */
const HELD_BACK_BYTES = 1024;

/** What is done to a body on its way. */
export interface BodyTransforms {
  readonly secretEncodings: SecretEncodings;
  readonly links: LinkRewriter | undefined;
  /** How many bytes of the beginning are searched, and then as long as there is text; all where it is left out. */
  readonly searched?: number;
  /** Watches whether the agent may still have the rest, until what it returns is called; calls `abort` when it may not. */
  readonly watch?: (abort: (refusal: unknown) => void) => () => void;
  /** How many bytes may be read, decoded; any number where it is left out. */
  readonly maxLength?: number;
}

/** A body under a Content-Encoding may be this long when it is decoded, in bytes, however short it was on the way. */
const MAX_DECODED_LENGTH = 64 * 1024 * 1024;

/** A longer one may be this many times as long as on the way. Text compresses to a tenth, repetitive text to a thirtieth; gzip can reach 1,032. */
const MAX_EXPANSION = 30;

/**
 * Returns how long a body may be once the runtime has decoded it, in bytes: reading one costs CPU for each byte that comes out, and
 * a megabyte of gzip holds a gigabyte. Any length if there is no coding: then the upstream has to send every byte itself.
 */
export function maxDecodedLength(headers: Headers): number {
  const coding = headers.get("content-encoding");
  if (coding === null || coding === "" || coding === "identity") return Infinity;
  return Math.max(MAX_DECODED_LENGTH, MAX_EXPANSION * (contentLength(headers) ?? 0));
}

/** How many bytes of a piece are looked at to tell text from other kinds of content. */
const SNIFFED = 1024;

/**
 * Whether bytes are no text: they have a control character that no text has (the "binary data bytes" of
 * https://mimesniff.spec.whatwg.org/#binary-data-byte), but for the zeros of UTF-16.
 */
const isBinary = (bytes: Uint8Array): boolean =>
  bytes.subarray(0, SNIFFED).some((byte) => byte < 0x20 && ((1 << byte) & BINARY_DATA_BYTES) !== 0);

const BINARY_DATA_BYTES = [0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x0b, 0x0e, 0x0f]
  .concat([0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1c, 0x1d, 0x1e, 0x1f])
  .reduce((set, byte) => set | (1 << byte), 0);

/** Reads a short body at once: one that breaks off or contains the credential is no answer at all. */
export async function bufferBody(
  answer: Response,
  { secretEncodings, links }: BodyTransforms,
): Promise<{ body: BodyInit } | { failure: "credential_echo" | "broken_off"; cause?: unknown }> {
  let bytes: ArrayBuffer;
  try {
    bytes = await answer.arrayBuffer();
  } catch (cause) {
    return { failure: "broken_off", cause };
  }
  const body = new Uint8Array(bytes);
  if (containsSecret(body, secretEncodings)) return { failure: "credential_echo" };
  return { body: links ? new Blob([...links.push(body), links.rest()]) : bytes };
}

/** The runtime does it alone. */
const piped = (
  body: ReadableStream<Uint8Array>,
  writable: WritableStream<Uint8Array>,
  signal: AbortSignal,
): Promise<BodyEnd> =>
  body.pipeTo(writable, { signal }).then(
    () => undefined,
    () => "broken_off",
  );

/**
 * Passes an upstream's body on to the agent. Never rejects; a body that breaks off breaks off on the other side too.
 *
 * Without anything to look for or to change, the runtime does it alone. Otherwise each piece is read into one buffer that
 * is used again, so that memory stays flat however long the body is.
 *
 * @param length in bytes, 0 where it is not known: pieces as large as they may be are read from the start of a long one.
 */
export async function streamBody(
  body: ReadableStream<Uint8Array>,
  writable: WritableStream<Uint8Array>,
  passage: BodyTransforms,
  length = 0,
): Promise<BodyEnd> {
  const cut = new AbortController();
  const stopWatching = passage.watch?.((refusal) => cut.abort(refusal));
  const end = await passed(body, writable, passage, length, cut.signal);
  stopWatching?.();
  return cut.signal.aborted ? "caller_ended" : end;
}

async function passed(
  body: ReadableStream<Uint8Array>,
  writable: WritableStream<Uint8Array>,
  { secretEncodings, links, searched = Infinity, maxLength = Infinity }: BodyTransforms,
  length: number,
  signal: AbortSignal,
): Promise<BodyEnd> {
  if (secretEncodings.length === 0 && !links) return piped(body, writable, signal);
  const reader = body.getReader({ mode: "byob" });
  const writer = writable.getWriter();
  const cut = (): void => {
    void Promise.allSettled([writer.abort(signal.reason), reader.cancel(signal.reason)]);
  };
  signal.addEventListener("abort", cut);
  let scan = secretEncodings.length > 0 ? secretScanner(secretEncodings) : undefined;
  let fault: NonNullable<BodyEnd> = "broken_off";
  let received = 0;
  let passed = 0;
  try {
    let piece = Math.min(Math.max(INITIAL_CHUNK_BYTES, length), MAX_CHUNK_BYTES);
    let buffer = new ArrayBuffer(piece + HELD_BACK_BYTES);
    let held = new Uint8Array();
    for (;;) {
      if (buffer.byteLength < held.length + piece) buffer = new ArrayBuffer(piece + held.length + HELD_BACK_BYTES);
      new Uint8Array(buffer).set(held);
      const { value, done } = await reader.read(new Uint8Array(buffer, held.length, piece));
      if (done) break;
      buffer = value.buffer as ArrayBuffer;
      received += value.byteLength;
      if (received > maxLength) {
        fault = "too_large";
        throw new Error(`the answer is longer than ${maxLength} bytes when it is decoded`);
      }
      const read = new Uint8Array(buffer, 0, held.length + value.byteLength);
      const result = scan?.(read) ?? { clear: read.length };
      if (result === "secret") {
        fault = "credential_echo";
        throw new Error("The answer contains the credential.");
      }
      const clear = read.subarray(0, result.clear);
      for (const part of links ? links.push(clear) : [clear]) if (part.length > 0) await writer.write(part);
      held = read.slice(clear.length);
      passed += clear.length;
      if (scan && passed > searched && !links && isBinary(clear)) {
        if (held.length > 0) await writer.write(held);
        held = new Uint8Array();
        scan = undefined;
      }
      // The runtime alone does not count what it decodes.
      if (!scan && !links && maxLength === Infinity) {
        reader.releaseLock();
        writer.releaseLock();
        signal.removeEventListener("abort", cut);
        return await piped(body, writable, signal);
      }
      if (value.byteLength === piece && piece < MAX_CHUNK_BYTES) piece *= 2;
    }
    for (const part of links ? [...links.push(held), links.rest()] : [held]) {
      if (part.length > 0) await writer.write(part);
    }
    await writer.close();
    return undefined;
  } catch (cause) {
    await Promise.allSettled([reader.cancel(cause), writer.abort(cause)]);
    return fault;
  }
}
