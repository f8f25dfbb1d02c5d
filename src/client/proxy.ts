import { normaliseBaseUrl } from "./options.ts";
import { canRepeat, followRedirect, type ProxiedRequest } from "./redirect.ts";
import type { TokenManager } from "./session.ts";
import { bearer, connectionFailed, type Transport } from "./transport.ts";

export interface ProxyOptions {
  /**
   * The base URL that the SDK which gets this `fetch` is configured with, if that has a path which the upstream's `base_url`
   * at the gateway has too. For example GitHub Enterprise's `https://github.example.com/api/v3`: its path is then removed from
   * every URL, and the gateway adds it again.
   */
  readonly baseUrl?: string | undefined;
}

/**
 * A `fetch` that calls one service through the gateway, for any SDK that accepts one.
 *
 * Only the path and the query of a URL count: `https://api.github.com/user`, `/user` and `user` are the same. The response is
 * the gateway's: what the service answered, or a refusal as JSON (`error`, `code`, `required`, `granted`).
 *
 * Redirects are followed as the Fetch standard says, but only within the service: one that leads anywhere else is an
 * `AgentAuthError` with the code `redirect_refused`. With `redirect: "manual"` the redirect itself is the answer.
 *
 * The function throws `TypeError` for a URL that leads out of the service, and `ConnectionError` if AgentAuth does not respond.
 */
export function createProxyFetch(
  service: string,
  { baseUrl }: ProxyOptions,
  transport: Transport,
  tokens: TokenManager,
): typeof fetch {
  const { closed } = transport;
  const root = `${transport.baseUrl}/proxy/${encodeURIComponent(service)}`;
  const base = baseUrl === undefined ? undefined : normaliseBaseUrl(baseUrl);

  return async (input, init) => {
    closed.throwIfAborted();
    const original = typeof input === "string" || input instanceof URL ? undefined : input;
    const signal = init?.signal ?? original?.signal ?? closed;
    const mode = init?.redirect ?? original?.redirect;
    const headers = new Headers(init?.headers ?? original?.headers);
    // The SDK's own credential and host mean nothing to the gateway. Fetch computes the length itself.
    for (const name of ["authorization", "host", "content-length"]) headers.delete(name);
    // A Request's body is read whole: not every browser sends the stream of another request, and none sends it twice.
    const buffer = original && !init?.body ? await original.arrayBuffer() : undefined;
    let request: ProxiedRequest = {
      url: targetOf(original ? original.url : String(input), root, base),
      method: init?.method ?? original?.method ?? "GET",
      headers,
      body: buffer?.byteLength ? buffer : init?.body,
    };

    const attempt = async (token: string | undefined): Promise<Response> => {
      const { url, method, body } = request;
      if (token) request.headers.set("authorization", bearer(token));
      const sent = {
        ...init,
        method,
        headers: request.headers,
        signal,
        redirect: "manual",
        body: body ?? null,
      } as const;
      try {
        return await transport.fetch(url, sent);
      } catch (error) {
        signal.throwIfAborted();
        closed.throwIfAborted();
        // A request that cannot be made at all is the caller's mistake, and fetch says so as it always does.
        void new Request(url, { ...sent, signal: null, body: canRepeat(body) ? sent.body : null });
        throw connectionFailed(transport.baseUrl, error);
      }
    };
    /** Sends the request, and sends it once more with a new token if that is what it was refused for. */
    const send = async (): Promise<Response> => {
      const token = await tokens.get(signal);
      const response = await attempt(token);
      const renewed = await renewFor(response, token, tokens, signal);
      if (!renewed || !canRepeat(request.body)) return response;
      await response.body?.cancel();
      return attempt(renewed);
    };

    for (let followed = 0; ; followed++) {
      const response = await send();
      if (mode === "manual") return response;
      let next: ProxiedRequest | undefined;
      try {
        next = followRedirect(response, request, { root, service, mode, followed });
      } catch (error) {
        await response.body?.cancel();
        throw error;
      }
      if (!next) return response;
      await response.body?.cancel();
      request = next;
    }
  };
}

/**
 * A new access token, if the gateway refused the request for its token, or denied a permission that the agent holds by now. A
 * 401 or 403 of the service behind the gateway is the agent's answer, and no token of AgentAuth's changes it.
 */
async function renewFor(
  response: Response,
  token: string | undefined,
  tokens: TokenManager,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { status, headers } = response;
  if (headers.has("x-agentauth-upstream")) return undefined;
  if (status === 401) return tokens.replace(token, signal);
  if (status !== 403) return undefined;
  const refusal = (await response
    .clone()
    .json()
    .catch(() => undefined)) as { code?: unknown; required?: string } | undefined;
  if (refusal?.code === "constraint_violated") return tokens.replaceLimited(token, signal);
  if (refusal?.code !== "insufficient_permissions" && refusal?.code !== "grant_expired") return undefined;
  return tokens.replaceIfGranted(token, refusal.required, signal);
}

const isPath = (text: string): boolean => /^($|[/?#])/.test(text);

/** The end of what stands in an answer for a link that the gateway has removed. SDKs put their base URL in front of it, or fill it in like a path. */
const REMOVED_LINK = /(?:#agentauth-removed=(.*)|about:invalid)$/;

/**
 * The URL at the gateway for a URL, path or bare path of the service.
 *
 * @throws {TypeError} It leads out of the service, does not lie below the base URL, or is a link that the gateway has removed.
 */
function targetOf(text: string, root: string, base: string | undefined): string {
  const removed = REMOVED_LINK.exec(text);
  if (removed) {
    const [, host = "another place"] = removed;
    throw new TypeError(`The gateway has removed this link from an answer, because it leads to ${host}.`);
  }
  const isOurs = text.startsWith(root) && isPath(text.slice(root.length));
  const rest = isOurs ? text.slice(root.length) : pathOf(text, base);
  const { href } = new URL(root + (isPath(rest) ? rest : `/${rest}`));
  if (!href.startsWith(root) || !isPath(href.slice(root.length))) {
    throw new TypeError(`${text.split("?")[0]} leads out of the service. Use the service's own path.`);
  }
  return href;
}

function pathOf(text: string, base: string | undefined): string {
  if (base === undefined || !URL.canParse(text)) return text.replace(/^\w+:\/\/[^/?#]*/, "");
  const { href } = new URL(text);
  const rest = href.slice(base.length);
  if (href.startsWith(base) && isPath(rest)) return rest;
  throw new TypeError(`${text.split("?")[0]} does not lie below ${base}, the baseUrl of this proxy.`);
}
