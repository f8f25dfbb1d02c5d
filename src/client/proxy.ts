import { AgentAuthError } from "./errors.ts";
import type { Keeper } from "./session.ts";
import { bearer, type Transport } from "./transport.ts";

const MAX_REDIRECTS = 20;

/**
 * A `fetch` that calls one service through the gateway, for any SDK that takes one.
 *
 * A URL is read for its path and query alone: `https://api.github.com/user`, `/user` and `user` are the same. The answer is
 * the gateway's, as it is: the service's own, or a refusal as JSON (`error`, `code`, `required`, `granted`).
 *
 * Redirects are followed as the Fetch standard says, but only within the service: one that leads anywhere else is an
 * `AgentAuthError` with the code `redirect_refused`. With `redirect: "manual"` the redirect itself is the answer.
 */
export function proxyFetch(service: string, transport: Transport, keeper: Keeper): typeof fetch {
  const { baseUrl, fetch: send, closed } = transport;
  const root = `${baseUrl}/proxy/${encodeURIComponent(service)}`;

  return async (input, init) => {
    closed.throwIfAborted();
    const request = typeof input === "string" || input instanceof URL ? undefined : input;
    let url = targetOf(request ? request.url : String(input), root);
    const signal = init?.signal ?? request?.signal ?? closed;
    const redirect = init?.redirect ?? request?.redirect;
    const headers = new Headers(init?.headers ?? request?.headers);
    // What the SDK has for a credential and a host means nothing here. Fetch counts for itself.
    for (const name of ["authorization", "host", "content-length"]) headers.delete(name);
    let method = init?.method ?? request?.method ?? "GET";
    // Read whole: not every browser sends the stream of another request, and none sends it twice.
    const buffer = request && !init?.body ? await request.arrayBuffer() : undefined;
    let body = buffer?.byteLength ? buffer : init?.body;

    const attempt = (token: string | undefined): Promise<Response> => {
      if (token) headers.set("authorization", bearer(token));
      return send(url, { ...init, method, headers, signal, redirect: "manual", body: body ?? null });
    };
    const answer = async (): Promise<Response> => {
      const token = await keeper.token(signal);
      const response = await attempt(token);
      if (!isRefusal(response)) return response;
      const fresh = await keeper.after(token, signal);
      if (!fresh || !canRepeat(body)) return response;
      await response.body?.cancel();
      return attempt(fresh);
    };

    for (let followed = 0; ; followed++) {
      const response = await answer();
      const { status } = response;
      const location = response.headers.get("location");
      // Browsers hide a redirect that they do not follow. Not every platform's types know it.
      const isHidden = (response.type as string) === "opaqueredirect";
      if (redirect === "manual" || !(isHidden || (isRedirect(status) && location !== null))) return response;
      await response.body?.cancel();
      const refuse = (why: string): never => {
        throw new AgentAuthError({ status, code: "redirect_refused", message: `${service} redirects ${why}` });
      };
      if (isHidden) refuse("where this platform does not show. Call it from a server, which can see where that is.");
      if (redirect === "error") refuse('and redirect is "error".');
      if (followed === MAX_REDIRECTS) refuse(`more than ${MAX_REDIRECTS} times.`);
      if (!URL.canParse(location!, url)) refuse("to what is no URL.");
      const to = new URL(location!, url);
      // Without its query, which may hold a signature.
      if (!isInside(to, root)) refuse(`out of the service, to ${to.origin}${to.pathname}. ${LEAVING}`);
      if (status !== 303 && !canRepeat(body)) refuse("a stream, which cannot be sent again. Send a body that can.");
      url = to.href;
      // Fetch standard, HTTP-redirect fetch: what was sent before is not sent again, but its answer is asked for.
      const isPost = (status === 301 || status === 302) && method.toUpperCase() === "POST";
      if (isPost || (status === 303 && !/^(?:GET|HEAD)$/i.test(method))) {
        method = "GET";
        body = undefined;
        for (const name of ["encoding", "language", "location", "type"]) headers.delete(`content-${name}`);
      }
    }
  };
}

const LEAVING =
  'Ask with redirect: "manual" to get the answer with its Location, and call that without the token if you trust it.';

const isRedirect = (status: number): boolean => [301, 302, 303, 307, 308].includes(status);

/** Whether a parsed URL is one of the service's, so that the token may go there. */
function isInside({ origin, pathname, username, password }: URL, root: string): boolean {
  const base = new URL(root);
  return origin === base.origin && `${pathname}/`.startsWith(`${base.pathname}/`) && username === "" && password === "";
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
