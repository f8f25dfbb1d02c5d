import { bodyHoldsNeedle, echoSearch } from "./echo.ts";
import { contentLength } from "./headers.ts";
import type { LinkRewriter } from "./links.ts";

/** How a body ended: well, or with what broke it off. */
export type BodyEnd = "credential_echo" | "broken_off" | "too_large" | "caller_ended" | undefined;

/** Bytes that are read at once: few at first where the length is not known, and more while they fill the buffer. */
const FIRST_PIECE = 4 * 1024;
const LARGEST_PIECE = 128 * 1024;

/** What is done to a body on its way. */
export interface Passage {
  readonly needles: readonly string[];
  readonly links: LinkRewriter | undefined;
  /** How many bytes of the beginning are searched, at least; all where it is left out. */
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

/** Reads a short body at once: one that breaks off or holds the credential is no answer at all. */
export async function readWhole(
  answer: Response,
  { needles, links }: Passage,
): Promise<{ body: BodyInit } | { failure: "credential_echo" | "broken_off"; cause?: unknown }> {
  let bytes: ArrayBuffer;
  try {
    bytes = await answer.arrayBuffer();
  } catch (cause) {
    return { failure: "broken_off", cause };
  }
  const body = new Uint8Array(bytes);
  if (bodyHoldsNeedle(body, needles)) return { failure: "credential_echo" };
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
export async function pass(
  body: ReadableStream<Uint8Array>,
  writable: WritableStream<Uint8Array>,
  passage: Passage,
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
  { needles, links, searched = Infinity, maxLength = Infinity }: Passage,
  length: number,
  signal: AbortSignal,
): Promise<BodyEnd> {
  if (needles.length === 0 && !links) return piped(body, writable, signal);
  const reader = body.getReader({ mode: "byob" });
  const writer = writable.getWriter();
  const cut = (): void => {
    void Promise.allSettled([writer.abort(signal.reason), reader.cancel(signal.reason)]);
  };
  signal.addEventListener("abort", cut);
  let search = needles.length > 0 ? echoSearch(needles) : undefined;
  let fault: NonNullable<BodyEnd> = "broken_off";
  let received = 0;
  let passed = 0;
  try {
    const longest = Math.max(0, ...needles.map((needle) => needle.length));
    let piece = Math.min(Math.max(FIRST_PIECE, length), LARGEST_PIECE);
    let buffer = new ArrayBuffer(piece + longest);
    let held = new Uint8Array();
    for (;;) {
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
      const verdict = search?.(read) ?? { clear: read.length };
      if (verdict === "echo") {
        fault = "credential_echo";
        throw new Error("the answer held the credential");
      }
      const clear = read.subarray(0, verdict.clear);
      for (const part of links ? links.push(clear) : [clear]) if (part.length > 0) await writer.write(part);
      held = read.slice(clear.length);
      passed += clear.length;
      if (passed > searched && !links) {
        if (held.length > 0) await writer.write(held);
        held = new Uint8Array();
        search = undefined;
      }
      // The runtime alone does not count what it decodes.
      if (!search && !links && maxLength === Infinity) {
        reader.releaseLock();
        writer.releaseLock();
        signal.removeEventListener("abort", cut);
        return await piped(body, writable, signal);
      }
      if (value.byteLength === piece && piece < LARGEST_PIECE) buffer = new ArrayBuffer((piece *= 2) + longest);
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
