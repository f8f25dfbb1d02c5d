import type { Keeper } from "./session.ts";

/**
 * A `fetch` that calls one service through the gateway, for any SDK that takes one.
 *
 * A URL is read for its path and query alone: `https://api.github.com/user`, `/user` and `user` are the same. The answer is
 * the gateway's, as it is: the service's own, or a refusal as JSON (`error`, `code`, `required`, `granted`).
 */
export function proxyFetch(
  service: string,
  { baseUrl, fetch: send, keeper }: { baseUrl: string; fetch: typeof fetch; keeper: Keeper },
): typeof fetch {
  const root = `${baseUrl}/proxy/${encodeURIComponent(service)}`;

  return async (input, init) => {
    const request = input instanceof Request ? input : undefined;
    const url = targetOf(request ? request.url : String(input), root);
    const signal = init?.signal ?? request?.signal;
    const attempt = (token: string | undefined, from: Request | undefined): Promise<Response> => {
      const headers = new Headers(init?.headers ?? from?.headers);
      // What the SDK has for a credential means nothing here, and is nobody's to see.
      headers.delete("authorization");
      // Fetch counts for itself, and some refuse to be told.
      headers.delete("content-length");
      if (token !== undefined) headers.set("authorization", `Bearer ${token}`);
      return send(from ? new Request(url, from) : url, { ...init, headers });
    };
    const token = await keeper.token(signal ?? undefined);
    const spare = request?.body && !init?.body ? request.clone() : request;
    const response = await attempt(token, request);
    if (!isRefusal(response) || !canRepeat(init?.body)) return response;
    const fresh = await keeper.after(token, signal ?? undefined);
    if (fresh === undefined) return response;
    await response.body?.cancel();
    return attempt(fresh, spare);
  };
}

/** A 401 of the gateway itself. One of the service behind it is the agent's answer, and no token of ours mends it. */
const isRefusal = ({ status, headers }: Response): boolean => status === 401 && !headers.has("x-agentauth-upstream");

/** A stream has been read by now. */
const canRepeat = (body: unknown): boolean => !(body instanceof ReadableStream);

/** @throws {TypeError} for a path that would lead out of the service. */
function targetOf(text: string, root: string): string {
  const rest = text.startsWith(root) ? text.slice(root.length) : text.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i, "");
  const target = root + (/^[/?#]|^$/.test(rest) ? rest : `/${rest}`);
  const { href } = new URL(target);
  if (!/^[/?#]|^$/.test(href.slice(root.length)) || !href.startsWith(root)) {
    throw new TypeError(`${text} leads out of the service. Use its path as the service knows it.`);
  }
  return target;
}
