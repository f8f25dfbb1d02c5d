import { concatenate } from "./concatenate.ts";

/** Reads a body whole. Returns undefined, and lets go of the rest, if it has more than `limit` bytes. */
export async function readWithin(
  body: ReadableStream<Uint8Array<ArrayBuffer>> | null,
  limit: number,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let length = 0;
  for await (const chunk of body ?? []) {
    length += chunk.byteLength;
    // Leaving the loop cancels the body.
    if (length > limit) return undefined;
    chunks.push(chunk);
  }
  return concatenate(chunks);
}
