import { canonicalPath } from "../../policy/path.ts";
import type { Service } from "../../policy/services.ts";

/** What a link in an upstream's answer is resolved and checked against. */
export interface LinkScope {
  readonly service: Pick<Service, "name" | "basePath">;
  /** The URL that was fetched, which relative links are relative to. */
  readonly fetched: URL;
  /** The origin that the agent called: rewritten links lead there. */
  readonly gatewayOrigin: string;
  /** The configured public origin (`ISSUER`), which may differ from the one that was called; null if there is none. */
  readonly issuer: string | null;
}

const CONTROL = /[\u0000-\u001f\u007f]/;

/**
 * Returns the link that the agent gets in place of one that the upstream wrote, or undefined if it gets none.
 *
 * The link is parsed first (WHATWG URL, against the URL that was fetched), and only the parsed URL is checked and passed on:
 * - Below the service's own base URL, it becomes a link through the gateway, with the canonical path that a request gets.
 *   If the gateway would refuse that path in a request, there is no link.
 * - Elsewhere it becomes the absolute URL, to which the gateway sends no credential.
 * - There is no link if it is not http(s), contains a user name, a control character or a back-slash, or names the gateway's own
 *   origin: an upstream does not know the gateway, so such a link only makes an agent call something that was not checked.
 */
export function resolveLink(text: string, { service, fetched, gatewayOrigin, issuer }: LinkScope): string | undefined {
  // Parsers disagree on these: WHATWG strips tabs and line breaks, and reads a backslash as a slash.
  if (CONTROL.test(text) || text.split(/[?#]/, 1)[0]!.includes("\\")) return undefined;
  const url = URL.parse(text, fetched);
  if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password) return undefined;
  if (url.origin !== fetched.origin) {
    const own = issuer === null ? [gatewayOrigin] : [gatewayOrigin, issuer];
    return own.some((origin) => isSameHost(url, origin)) ? undefined : url.href;
  }
  const { basePath, name } = service;
  const isInside = url.pathname === basePath || url.pathname.startsWith(`${basePath}/`);
  // Absolute also if it was relative: joined to the gateway's origin it would name one of the gateway's own paths.
  if (!isInside) return url.href;
  const rest = url.pathname.slice(basePath.length);
  const path = canonicalPath(rest);
  if (typeof path === "string") return undefined;
  // Clients that join such a link to their base URL expect it to stay relative to the root.
  const origin = /^\/(?!\/)/.test(text) ? "" : gatewayOrigin;
  return `${origin}/proxy/${name}${rest && path.encoded}${url.search}${url.hash}`;
}

/**
 * Whether a URL names the host and port of an origin in any spelling. The default ports of http and https count as one, as do the
 * names of the loopback interface, because clients that follow from one to the other may keep their token.
 */
function isSameHost(url: URL, origin: string): boolean {
  const own = URL.parse(origin);
  // A request with a malformed Host has no origin to compare with.
  return own === null || authorityOf(url) === authorityOf(own);
}

const LOOPBACK =
  /^(?:(?:.+\.)?localhost|127(?:\.\d+){3}|0\.0\.0\.0|\[::1?\]|\[::ffff:(?:7f[\da-f]{2}:[\da-f]+|0:0)\])$/;

function authorityOf({ hostname, port }: URL): string {
  const host = hostname.replace(/\.+$/, "");
  return `${LOOPBACK.test(host) ? "localhost" : host}:${/^(?:80|443)?$/.test(port) ? "" : port}`;
}
