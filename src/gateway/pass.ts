import { echoSearch } from "./echo.ts";
import type { LinkRewriter } from "./links.ts";

/** How a body ended: well, or with what broke it off. */
export type BodyEnd = "credential_echo" | "broken_off" | undefined;

/** Bytes that are read at once, at most. */
const PIECE = 32 * 1024;

/**
 * Passes an upstream's body on to the agent. Never rejects; a body that breaks off breaks off on the other side too.
 *
 * Without anything to look for or to change, the runtime does it alone. Otherwise each piece is read into one buffer that
 * is used again, so that memory stays flat however long the body is.
 */
export async function pass(
  body: ReadableStream<Uint8Array>,
  writable: WritableStream<Uint8Array>,
  { needles, links }: { needles: readonly string[]; links: LinkRewriter | undefined },
): Promise<BodyEnd> {
  if (needles.length === 0 && !links) {
    return body.pipeTo(writable).then(
      () => undefined,
      () => "broken_off",
    );
  }
  const reader = body.getReader({ mode: "byob" });
  const writer = writable.getWriter();
  const search = needles.length > 0 ? echoSearch(needles) : undefined;
  let echoed = false;
  try {
    let buffer = new ArrayBuffer(PIECE + Math.max(0, ...needles.map((needle) => needle.length)));
    let held = new Uint8Array();
    for (;;) {
      new Uint8Array(buffer).set(held);
      const { value, done } = await reader.read(new Uint8Array(buffer, held.length, PIECE));
      if (done) break;
      buffer = value.buffer as ArrayBuffer;
      const read = new Uint8Array(buffer, 0, held.length + value.byteLength);
      const verdict = search?.(read) ?? { clear: read.length };
      if (verdict === "echo") {
        echoed = true;
        throw new Error("the answer held the credential");
      }
      const clear = read.subarray(0, verdict.clear);
      for (const piece of links ? links.push(clear) : [clear]) if (piece.length > 0) await writer.write(piece);
      held = read.slice(clear.length);
    }
    for (const piece of links ? [...links.push(held), links.rest()] : [held]) {
      if (piece.length > 0) await writer.write(piece);
    }
    await writer.close();
    return undefined;
  } catch (cause) {
    await Promise.allSettled([reader.cancel(cause), writer.abort(cause)]);
    return echoed ? "credential_echo" : "broken_off";
  }
}
