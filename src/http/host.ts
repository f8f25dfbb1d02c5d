import type { Config } from "../config/config.ts";
import { isLoopbackHost, isLoopbackUrl } from "../validation/loopback.ts";
import { ApiError } from "./errors.ts";

/** `uri-host [":" port]` (RFC 9110 §7.2) in ASCII: a name or an IPv4 address, or an IPv6 address in brackets. */
const HOST = /^(?:[a-z0-9._-]{1,255}|\[[0-9a-f:.]{2,45}\])(?::[0-9]{0,5})?$/i;

/** The beginning of the last URL that was accepted, up to the slash behind its host, and its `Host` header. */
let accepted: { readonly origin: string; readonly header: string | null } | undefined;

/**
 * Refuses a request whose `Host` is not a host. The runtime joins the `Host` header and the request target into `request.url`
 * without checking them, so a `Host` with a slash, a question mark or an `@` would change where the path and the query begin.
 *
 * @throws {ApiError} 400 `malformed_host` (RFC 9112 §3.2).
 */
export function checkHost({ url, headers }: Request): void {
  const header = headers.get("host");
  // A deployment has one host, or a few, and what stands behind the slash after it changes nothing about it.
  const origin = url.slice(0, url.indexOf("/", url.indexOf("://") + 3) + 1);
  if (accepted?.origin === origin && accepted.header === header) return;
  const parsed = URL.parse(url);
  if (parsed && HOST.test(parsed.host) && parsed.username === "" && (header === null || HOST.test(header))) {
    if (origin !== "") accepted = { origin, header };
    return;
  }
  throw new ApiError(
    "malformed_host",
    "The Host header is not a host name or an IP address with an optional port. Send exactly one, as RFC 9110 says.",
  );
}

/**
 * Refuses requests of other websites in local development, where anyone may register and the gateway has the developer's real
 * credentials. The host is checked because a page can reach 127.0.0.1 under its own name by DNS rebinding. The origin is checked
 * as well because `wrangler dev` lets the header `MF-Original-URL` replace the URL. `CORS_ORIGINS = "*"` allows no origin here.
 *
 * @throws {ApiError} 421 `misdirected_request` (RFC 9110 §15.5.20).
 */
export function checkLocalRequest({ url, headers }: Request, { corsOrigins }: Pick<Config, "corsOrigins">): void {
  const hosts = [url, ...(headers.has("host") ? [`http://${headers.get("host")}`] : [])];
  if (!hosts.every((one) => isLoopbackHost(URL.parse(one)?.hostname ?? ""))) {
    throw misdirected("It answers requests for localhost, 127.0.0.1 and [::1] only; this one names another host.");
  }
  const origin = headers.get("origin");
  if (origin !== null && !isLoopbackUrl(origin) && !corsOrigins.includes(origin)) {
    throw misdirected("It answers pages on localhost, 127.0.0.1 and [::1], and those whose origin CORS_ORIGINS names.");
  }
}

function misdirected(message: string): ApiError {
  return new ApiError(
    "misdirected_request",
    `This gateway runs in local development (ENVIRONMENT is development). ${message}`,
  );
}
