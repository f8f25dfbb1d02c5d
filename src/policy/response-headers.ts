import type { ServiceDefinition } from "./service-definition.ts";

/** Header fields of HTTP and of standards based on it that are meant for the client of an API, grouped by purpose. */
const STANDARD = new Set(
  [
    // The representation (RFC 9110 §8, RFC 9530, RFC 6266) and its ranges
    "content-type content-length content-encoding content-language content-range content-location content-disposition",
    "accept-ranges content-md5 digest content-digest repr-digest",
    // Validators, dates, and rules for storing it
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
 * Names that applications give their own fields. Every name that begins with `X-` is one: since RFC 6648 no standard defines such a name,
 * so the few that browsers and proxies act on are old and known, and listed in `RESERVED`. So is every name that ends in the name of an
 * identifier or a number. Any other unknown name does not pass, because browsers go on giving meanings to new ones (`Set-Login`,
 * `Activate-Storage-Access`); an upstream that has one names it in `response_headers`.
 */
const CUSTOM = /^x-.|.-(?:id|ids|count|total|cursor|version)$/;

/** Fields that a standard or a product gives to the client's credential, to browsers, to caches or to the hop before: never an agent's. */
const RESERVED = new RegExp(
  `^(?:${[
    // One hop (RFC 9110 §7.6.1), and the choice of another
    "connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|http2-settings|alt-svc|alt-used",
    // Cookies, sessions and credentials, and headers about them
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

/** The gateway sets fields of these names itself, so the upstream's get a prefix. */
const RENAMED = /^(?:ratelimit(?:-.*)?|x-request-id)$/;

/** Returns whether a name, or a pattern such as `set-*`, is one that no upstream may add to the headers that agents get (lower case). */
export const isReservedResponseHeader = (pattern: string): boolean => RESERVED.test(pattern.replace(/\*$/, ""));

/**
 * Returns the name under which the agent gets a response header of an upstream, or undefined if it does not get it.
 *
 * @param name in lower case.
 */
export function responseHeaderName(name: string, definition: ServiceDefinition): string | undefined {
  let names = passed.get(definition);
  if (!names) passed.set(definition, (names = new Map()));
  let passedName = names.get(name);
  if (passedName === undefined) {
    passedName = nameOf(name, definition) ?? null;
    if (names.size < MAX_REMEMBERED) names.set(name, passedName);
  }
  return passedName ?? undefined;
}

/** What is known of the names that a service's answers have had. Services use few names, over and over. */
const passed = new WeakMap<ServiceDefinition, Map<string, string | null>>();
const MAX_REMEMBERED = 500;

function nameOf(
  name: string,
  { responseHeaders = [], hiddenResponseHeaders = [] }: ServiceDefinition,
): string | undefined {
  if (STANDARD.has(name)) return name;
  if (RENAMED.test(name)) return `x-upstream-${name.replace(/^x-/, "")}`;
  const isOwn = CUSTOM.test(name) || responseHeaders.some((pattern) => matches(name, pattern));
  return isOwn && !RESERVED.test(name) && !hiddenResponseHeaders.includes(name) ? name : undefined;
}

const matches = (name: string, pattern: string): boolean =>
  pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
