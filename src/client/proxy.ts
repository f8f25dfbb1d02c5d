import type { Keeper } from "./session.ts";
import { bearer, type Transport } from "./transport.ts";

/**
 * A `fetch` that calls one service through the gateway, for any SDK that takes one.
 *
 * A URL is read for its path and query alone: `https://api.github.com/user`, `/user` and `user` are the same. The answer is
 * the gateway's, as it is: the service's own, or a refusal as JSON (`error`, `code`, `required`, `granted`).
 */
export function proxyFetch(service: string, transport: Transport, keeper: Keeper): typeof fetch {
  const { baseUrl, fetch: send, closed } = transport;
  const root = `${baseUrl}/proxy/${encodeURIComponent(service)}`;

  return async (input, init) => {
    closed.throwIfAborted();
    const request = typeof input === "string" || input instanceof URL ? undefined : input;
    const url = targetOf(request ? request.url : String(input), root);
    const signal = init?.signal ?? request?.signal ?? closed;
    // Read whole: not every browser sends the stream of another request, and none sends it twice.
    const buffer = request && !init?.body ? await request.arrayBuffer() : undefined;
    const body = buffer?.byteLength ? buffer : init?.body;
    const attempt = (token: string | undefined): Promise<Response> => {
      const headers = new Headers(init?.headers ?? request?.headers);
      // What the SDK has for a credential and a host means nothing here. Fetch counts for itself.
      for (const name of ["authorization", "host", "content-length"]) headers.delete(name);
      if (token) headers.set("authorization", bearer(token));
      const asked = request && { method: request.method, redirect: request.redirect };
      return send(url, { ...asked, ...init, headers, signal, ...(body && { body }) });
    };
    const token = await keeper.token(signal);
    const response = await attempt(token);
    if (!isRefusal(response)) return response;
    const fresh = await keeper.after(token, signal);
    if (!fresh || !canRepeat(body)) return response;
    await response.body?.cancel();
    return attempt(fresh);
  };
}

/** A 401 of the gateway itself. One of the service behind it is the agent's answer, and no token of ours mends it. */
const isRefusal = ({ status, headers }: Response): boolean => status === 401 && !headers.has("x-agentauth-upstream");

/** A stream has been read by now, as has Node's. */
function canRepeat(body: unknown): boolean {
  const stream = body as Partial<ReadableStream> | undefined;
  return !(stream?.getReader || stream?.[Symbol.asyncIterator]);
}

const isPath = (text: string): boolean => /^($|[/?#])/.test(text);

/** @throws {TypeError} for a path that would lead out of the service. */
function targetOf(text: string, root: string): string {
  const rest = text.startsWith(root) ? text.slice(root.length) : text.replace(/^\w+:\/\/[^/?#]*/, "");
  const { href } = new URL(root + (isPath(rest) ? rest : `/${rest}`));
  if (!href.startsWith(root) || !isPath(href.slice(root.length))) {
    throw new TypeError(`${text.split("?")[0]} leads out of the service. Use the service's own path.`);
  }
  return href;
}
