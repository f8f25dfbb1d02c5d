import { privateCacheControl } from "./cache-control.ts";
import type { ServiceDefinition } from "../../policy/service-definition.ts";
import { containsSecret, inLowerCase, type SecretEncodings } from "./secret-leak.ts";
import { connectionNamed } from "../../policy/request-headers.ts";
import { rewriteLinkHeader } from "./link-header.ts";

/** Fields of HTTP and of standards over it that speak to the client of an API, by family. */
const STANDARD = new Set(
  [
    // The representation (RFC 9110 §8, RFC 9530, RFC 6266) and its ranges
    "content-type content-length content-encoding content-language content-range content-location content-disposition",
    "accept-ranges content-md5 digest content-digest repr-digest",
    // Validators, dates, and how it may be kept
    "etag last-modified date age cache-control vary",
    // What to do next
    "location link retry-after allow accept-patch accept-post deprecation sunset preference-applied",
    "idempotency-key idempotent-replayed",
    // Tracing, and protocols over HTTP
    "traceparent tracestate traceresponse mcp-session-id mcp-protocol-version odata-version odata-entityid odata-error",
    // No field of HTTP: `:authority` is a request's pseudo-header
    "authority",
  ].flatMap((names) => names.split(" ")),
);

/**
 * Names that applications give their own fields. Whatever begins with `X-` is one: since RFC 6648 no standard takes such a name, so
 * the few that browsers and proxies act on are known, all of them old, and stand in `RESERVED`. So is what ends in the name of an
 * identifier or a number. Any other unknown name does not pass, because browsers go on giving meanings to new ones (`Set-Login`,
 * `Activate-Storage-Access`); an upstream that has one names it in `response_headers`.
 */
const CUSTOM = /^x-.|.-(?:id|ids|count|total|cursor|version)$/;

/** Fields that a standard or a product gives to the client's credential, to browsers, to caches or to the hop before: never an agent's. */
const RESERVED = new RegExp(
  `^(?:${[
    // One hop (RFC 9110 §7.6.1), and the choice of another
    "connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|http2-settings|alt-svc|alt-used",
    // Cookies, sessions and credentials, and what tells of them
    "set-.*|cookie.*|.*session.*|.*-cookie.*|www-auth.*|auth.*-info|authorization|authentication-.*",
    "x-(?:.*-)?oauth-.*|x-(?:auth|subject|access|refresh|csrf|xsrf|security|api|amz-security)-(?:token|key)",
    // Browsers: policies, isolation, storage, reports, hints
    "access-control-.*|cross-origin-.*|(?:x-)?content-security-.*|x-webkit-csp.*|(?:x-)?content-type-options",
    "(?:permissions|feature|(?:require-)?document|referrer|integrity)-.*policy.*|integrity-.*",
    "clear-site-data|strict-transport-.*|public-key-.*|expect-.*|report-(?:to|uri)|reporting-.*|nel|origin-.*|p3p|tk",
    "service-worker.*|(?:x-)?sourcemap|refresh|speculation-.*|supports-loading-mode|(?:use-as|available)-dictionary",
    "dictionary-id|accept-ch.*|critical-ch|activate-storage-.*|no-vary-search|timing-allow-.*|sec-.*|attribution-.*",
    "observe-.*|ad-auction-.*|x-frame-.*|x-xss-.*|x-dns-.*|x-permitted-.*|x-ua-compatible|x-robots-tag|x-download-.*",
    // Caches and proxies
    "cdn-.*|surrogate-.*|.*-cache-control|expires|pragma|warning|cache-status|via|forwarded|cf-.*|x-accel-.*",
    "x-sendfile.*|x-lighttpd-.*|x-litespeed-.*|x-lscache.*|x-reproxy-.*|x-forwarded.*|x-original-.*|x-rewrite-.*",
    "x-http-method.*|x-method-override|x-middleware-.*|x-cache-tags?|x-cdn-.*|x-pad",
    // The gateway's own
    "x-agentauth-.*|x-upstream-.*|x-request-id|ratelimit.*",
  ].join("|")})$`,
);

/** The gateway has fields of these names itself: the upstream's are told apart by a prefix. */
const RENAMED = /^(?:ratelimit(?:-.*)?|x-request-id)$/;

/** Whether a name, or the beginning of a pattern such as `Set-*`, is one that no upstream may add to what passes. */
export const isReservedResponseHeader = (pattern: string): boolean => RESERVED.test(pattern.replace(/\*$/, ""));

/** The name under which the agent gets a header, or undefined if it does not. */
function nameFor(name: string, { responseHeaders = [], hiddenResponseHeaders = [] }: ServiceDefinition) {
  if (STANDARD.has(name)) return name;
  if (RENAMED.test(name)) return `x-upstream-${name.replace(/^x-/, "")}`;
  const isOwn = CUSTOM.test(name) || responseHeaders.some((pattern) => matches(name, pattern));
  return isOwn && !RESERVED.test(name) && !hiddenResponseHeaders.includes(name) ? name : undefined;
}

const matches = (name: string, pattern: string): boolean =>
  pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern;

/**
 * Makes an upstream's headers those that the agent gets: the ones of the allow-list, none that holds the credential, and links
 * only as `resolve` returns them. Then it sets the gateway's own.
 *
 * @param headers the runtime's own copy of `received`, which costs half of one made here. It is changed.
 * @param resolve the link that the agent gets in place of one, or undefined if it gets none.
 */
export function setResponseHeaders(
  headers: Headers,
  received: Headers,
  definition: ServiceDefinition,
  secretEncodings: SecretEncodings,
  resolve: (url: string) => string | undefined,
): void {
  const named = connectionNamed(received);
  let names = "";
  let values = "";
  received.forEach((value, name) => {
    const kept = named.includes(name) ? undefined : nameFor(name, definition);
    if (kept !== name) headers.delete(name);
    if (kept === undefined) return;
    // An empty line is nothing that stands in the midst of a secret.
    names += `${name}\n\n`;
    values += `${value}\n\n`;
    const passed = rewritten(name, value, resolve);
    if (passed === undefined) headers.delete(name);
    else if (kept !== name || passed !== value) headers.set(kept, passed);
  });
  const inNames = inLowerCase(secretEncodings);
  if (containsSecret(values, secretEncodings) || containsSecret(names, inNames)) {
    for (const [name, value] of received) {
      if (containsSecret(value, secretEncodings) || containsSecret(name, inNames)) {
        headers.delete(nameFor(name, definition) ?? name);
      }
    }
  }
  // An answer to one agent is never another's: not in a shared cache, whatever the upstream said.
  headers.set("cache-control", privateCacheControl(headers.get("cache-control")));
  headers.append("vary", "Authorization");
  // What an upstream answers must not run on the gateway's origin, where other agents' answers and the console are.
  headers.set("content-security-policy", "default-src 'none'; sandbox");
  headers.set("x-content-type-options", "nosniff");
  // Tells a refusal of the upstream's from one of the gateway's: only the latter is about the agent's token.
  headers.set("x-agentauth-upstream", definition.name);
}

function rewritten(name: string, value: string, resolve: (url: string) => string | undefined): string | undefined {
  if (name === "link") return rewriteLinkHeader(value, resolve);
  return name === "location" || name === "content-location" ? resolve(value) : value;
}
