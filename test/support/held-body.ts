import type { World } from "./world.ts";

export interface Held {
  /** Lets the rest of the body arrive, and waits for the answer. */
  release(): Promise<{ status: number; code: string | undefined }>;
}

/**
 * Sends a request of whose body everything but the last byte has been read.
 *
 * @param length whether its length is declared.
 */
export async function holdBody(
  where: World,
  path: string,
  { body, length, headers, ...init }: RequestInit & { token?: string; body: string; length: boolean },
): Promise<Held> {
  const { readable, writable } = new IdentityTransformStream();
  const writer = writable.getWriter();
  const bytes = new TextEncoder().encode(body);
  const all = new Headers(headers);
  if (!all.has("content-type")) all.set("content-type", "application/json");
  if (length) all.set("content-length", String(bytes.length));
  const answer = where.fetch(path, { ...init, headers: all, body: readable });
  // Resolves once it was read.
  await writer.write(bytes.subarray(0, -1));
  return {
    async release() {
      // A request that was refused meanwhile reads no more.
      void writer
        .write(bytes.subarray(-1))
        .then(() => writer.close())
        .catch(() => undefined);
      const response = await answer;
      const text = await response.text();
      let code: string | undefined;
      try {
        code = (JSON.parse(text) as { code?: string }).code;
      } catch {
        // A proxied answer.
      }
      return { status: response.status, code };
    },
  };
}
