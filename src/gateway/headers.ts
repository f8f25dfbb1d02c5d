import type { ServiceDefinition } from "./definition.ts";
import { holdsNeedle } from "./echo.ts";

/** Request headers that every upstream may see. Whatever is not named is dropped. */
const FORWARDED = new Set([
  "accept",
  "accept-language",
  "content-encoding",
  "content-language",
  "content-type",
  "idempotency-key",
  "if-match",
  "if-modified-since",
  "if-none-match",
  "if-range",
  "if-unmodified-since",
  "range",
]);

/** Response headers that no agent sees: hop-by-hop (RFC 9110 §7.6.1), cookies, and what tells of the credential or its browser rules. */
const HIDDEN = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authentication-info",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "set-cookie",
  "set-cookie2",
  "clear-site-data",
  "alt-svc",
  "strict-transport-security",
  "public-key-pins",
  "report-to",
  "nel",
  "authorization",
  "www-authenticate",
]);

const USER_AGENT = "AgentAuth-Gateway/1";

/**
 * The headers to forward, without the credential.
 *
 * `Content-Length` is not among them: the runtime sets it for a body whose length it knows.
 */
export function requestHeaders(sent: Headers, definition: ServiceDefinition): { headers: Headers; dropped: string[] } {
  const headers = new Headers(definition.defaultHeaders);
  headers.set("user-agent", USER_AGENT);
  const named = connectionNamed(sent);
  const dropped: string[] = [];
  for (const [name, value] of sent) {
    const allowed = FORWARDED.has(name) || definition.requestHeaders?.includes(name);
    if (allowed && !named.has(name)) headers.set(name, value);
    else if (name !== "content-length") dropped.push(name);
  }
  return { headers, dropped };
}

/** What `Connection` names is for the next hop only, whatever else it is called (RFC 9110 §7.6.1). */
function connectionNamed(headers: Headers): Set<string> {
  const named = headers.get("connection");
  return new Set(
    named
      ? named
          .toLowerCase()
          .split(",")
          .map((name) => name.trim())
      : [],
  );
}

/**
 * The upstream's headers as the agent may see them: none that tell of the credential, none that hold it, pagination and
 * redirect links rewritten to lead through the gateway.
 */
export function responseHeaders(
  received: Headers,
  definition: ServiceDefinition,
  needles: readonly string[],
  rewriteLink: (url: string) => string,
): Headers {
  const headers = new Headers();
  const named = connectionNamed(received);
  for (const [name, value] of received) {
    if (HIDDEN.has(name) || name.startsWith("access-control-") || definition.hiddenResponseHeaders?.includes(name))
      continue;
    if (named.has(name) || holdsNeedle(value, needles)) continue;
    headers.append(name, rewriteHeader(name, value, rewriteLink));
  }
  // An answer to one agent is never another's: not in a shared cache, whatever the upstream said.
  headers.set("cache-control", privateCache(received.get("cache-control")));
  headers.append("vary", "Authorization");
  // Tells a refusal of the upstream's from one of the gateway's: only the latter is about the agent's token.
  headers.set("x-agentauth-upstream", definition.name);
  return headers;
}

function rewriteHeader(name: string, value: string, rewriteLink: (url: string) => string): string {
  if (name === "link") return value.replace(/<([^<>]*)>/g, (_, url: string) => `<${rewriteLink(url)}>`);
  if (name === "location" || name === "content-location") return rewriteLink(value);
  return value;
}

function privateCache(value: string | null): string {
  if (!value) return "private, no-cache";
  const kept = value
    .split(",")
    .map((part) => part.trim())
    .filter((part) => !/^(public|private|s-maxage=.*|no-cache="?.*)$/i.test(part) || /^no-cache$/i.test(part));
  return ["private", ...kept].join(", ");
}
