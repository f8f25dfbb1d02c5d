import type { ServiceDefinition } from "./definition.ts";
import { containsSecret, inLowerCase, type SecretEncodings } from "./secret-leak.ts";

/**
 * Request headers that every upstream may see. Whatever is not named is dropped. A coding without its name, or a write or a range
 * without its condition, would mean something else: these are named too.
 */
const FORWARDED = new Set([
  "accept",
  "content-encoding",
  "content-type",
  "idempotency-key",
  "if-match",
  "if-modified-since",
  "if-none-match",
  "if-range",
  "if-unmodified-since",
  "range",
]);

/**
 * Response headers that no agent sees: hop-by-hop (RFC 9110 §7.6.1), cookies, what tells of the credential, and what would
 * set rules in a browser for the gateway's whole origin.
 */
const HIDDEN =
  /^(?:keep-alive|connection|proxy-.*|te|trailer|transfer-encoding|upgrade|set-cookie2?|x-(?:accepted-)?oauth-.*|clear-site-data|alt-svc|strict-transport-security|public-key-pins|report.*|nel|service-worker-.*|content-security-policy-.*|origin-agent-cluster|(?:accept|critical)-ch|refresh|(?:x-)?sourcemap|speculation-rules|use-as-dictionary|(?:www-)?auth.*|access-control-.*)$/;

const USER_AGENT = "AgentAuth-Gateway/1";

/**
 * The headers to forward, lower case, without the credential.
 *
 * `Content-Length` is not among them: the runtime sets it for a body whose length it knows.
 */
export function requestHeaders(sent: Headers, definition: ServiceDefinition): Record<string, string> {
  const headers: Record<string, string> = { ...definition.defaultHeaders, "user-agent": USER_AGENT };
  const named = connectionNamed(sent);
  for (const [name, value] of sent) if (isForwarded(name, value, named, definition)) headers[name] = value;
  return headers;
}

/** The names of the headers that are not forwarded. */
export function droppedHeaders(sent: Headers, definition: ServiceDefinition): string[] {
  const named = connectionNamed(sent);
  return [...sent]
    .filter(([name, value]) => name !== "content-length" && !isForwarded(name, value, named, definition))
    .map(([name]) => name);
}

function isForwarded(
  name: string,
  value: string,
  named: readonly string[],
  { requestHeaders: own }: ServiceDefinition,
): boolean {
  if (named.includes(name) || (name === "range" && isSeveralRanges(value))) return false;
  return FORWARDED.has(name) || own?.get(name)?.test(value) === true;
}

/**
 * Whether a `Range` asks for several parts in one answer, in which the credential could stand in pieces. An upstream may answer with the
 * whole as if nothing had been asked (RFC 9110 §14.2), and so it does where the header is not forwarded.
 */
const isSeveralRanges = (value: string): boolean => value.includes(",");

/** How long a message says that its body is, in bytes; undefined where it says nothing that can be read. */
export function contentLength(headers: Headers): number | undefined {
  const length = headers.get("content-length");
  return length !== null && /^\d{1,15}$/.test(length) ? Number(length) : undefined;
}

/** What `Connection` names is for the next hop only, whatever else it is called (RFC 9110 §7.6.1). */
function connectionNamed(headers: Headers): readonly string[] {
  const named = headers.get("connection");
  return named ? named.split(",").map((name) => name.trim().toLowerCase()) : [];
}

/**
 * Makes the upstream's headers those that the agent may see: none that tell of the credential, none that hold it, pagination
 * and redirect links rewritten to lead through the gateway.
 *
 * @param headers the runtime's own copy of `received`, which costs half of one made here.
 */
export function cleanResponseHeaders(
  headers: Headers,
  received: Headers,
  { name: service, hiddenResponseHeaders: hidden }: ServiceDefinition,
  secretEncodings: SecretEncodings,
  rewriteLink: (url: string) => string,
): void {
  const named = connectionNamed(received);
  let names = "";
  let values = "";
  received.forEach((value, name) => {
    if (HIDDEN.test(name) || hidden?.includes(name) || named.includes(name)) {
      headers.delete(name);
      return;
    }
    // An empty line is nothing that stands in the midst of a secret.
    names += `${name}\n\n`;
    values += `${value}\n\n`;
    if (LINKS.has(name)) headers.set(name, rewriteHeader(name, value, rewriteLink));
  });
  if (containsSecret(values, secretEncodings) || containsSecret(names, inLowerCase(secretEncodings))) {
    for (const [name, value] of received) {
      if (containsSecret(value, secretEncodings) || containsSecret(name, inLowerCase(secretEncodings))) {
        headers.delete(name);
      }
    }
  }
  // An answer to one agent is never another's: not in a shared cache, whatever the upstream said.
  headers.set("cache-control", privateCache(headers.get("cache-control")));
  headers.append("vary", "Authorization");
  // What an upstream answers must not run on the gateway's origin, where other agents' answers and the console are.
  headers.set("content-security-policy", "default-src 'none'; sandbox");
  headers.set("x-content-type-options", "nosniff");
  // Tells a refusal of the upstream's from one of the gateway's: only the latter is about the agent's token.
  headers.set("x-agentauth-upstream", service);
}

const LINKS = new Set(["link", "location", "content-location"]);

function rewriteHeader(name: string, value: string, rewriteLink: (url: string) => string): string {
  return name === "link"
    ? value.replace(/<([^<>]*)>/g, (_, url: string) => `<${rewriteLink(url)}>`)
    : rewriteLink(value);
}

function privateCache(value: string | null): string {
  if (!value) return "private, no-cache";
  const kept = value
    .split(",")
    .map((part) => part.trim())
    .filter((part) => !/^(public|private|s-maxage=.*|no-cache="?.*)$/i.test(part) || /^no-cache$/i.test(part));
  return ["private", ...kept].join(", ");
}
