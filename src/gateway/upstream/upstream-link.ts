import { decodeName } from "../../policy/parameter-name.ts";
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
  /** The name of the query parameter that carries the credential. Links below the base URL do not keep it: the gateway adds it again. */
  readonly credentialParameter?: string | undefined;
}

const CONTROL = /[\u0000-\u001f\u007f]/;

/** Where a link leads: below the service's base URL (and what the agent gets instead), or to another place. */
type LinkTarget = { readonly place: "service" | "elsewhere"; readonly link: string; readonly host: string };

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
export const resolveLink = (text: string, scope: LinkScope): string | undefined => locateLink(text, scope)?.link;

function locateLink(text: string, scope: LinkScope): LinkTarget | undefined {
  const { service, fetched, gatewayOrigin, credentialParameter } = scope;
  if (isAmbiguous(text)) return undefined;
  const url = URL.parse(text, fetched);
  if (!url || !isHttp(url) || url.username || url.password) return undefined;
  const elsewhere = { place: "elsewhere", link: url.href, host: url.host } as const;
  if (url.origin !== fetched.origin) return isGateway(url, scope) ? undefined : elsewhere;
  const { basePath, name } = service;
  const isInside = url.pathname === basePath || url.pathname.startsWith(`${basePath}/`);
  // Absolute also if it was relative: joined to the gateway's origin it would name one of the gateway's own paths.
  if (!isInside) return elsewhere;
  const rest = url.pathname.slice(basePath.length);
  const path = canonicalPath(rest);
  if (typeof path === "string") return undefined;
  // Clients that join such a link to their base URL expect it to stay relative to the root.
  const origin = /^\/(?!\/)/.test(text) ? "" : gatewayOrigin;
  const search = credentialParameter === undefined ? url.search : withoutParameter(url.search, credentialParameter);
  const link = `${origin}/proxy/${name}${rest && path.encoded}${search}${url.hash}`;
  return { place: "service", link, host: url.host };
}

/** The base URL of a service, as it was fetched and at the gateway. */
export const serviceUrls = ({ service, fetched, gatewayOrigin }: LinkScope): { base: string; proxied: string } => ({
  base: fetched.origin + service.basePath,
  proxied: `${gatewayOrigin}/proxy/${service.name}`,
});

/**
 * What may be a link, once the characters are gone that URL parsers strip: what begins like one, absolute or from the root, and a relative
 * one that could lead out of the service, by dot segments or by what a client fills into a URI template.
 */
const LIKE_LINK = /^(?:https?:|[/\\])|(?:^|[/\\])(?:\.|%2e){2}(?:[/\\?#]|$)|\{[+/?&.;#]?[\w,.*%:]+\}/i;
const STRIPPED = /[\u0000-\u0020]+/g;

/**
 * Returns where a text leads that may be a link, by the name of its member: `other` if it is none. Undefined if it must not be passed
 * on, for the reasons of {@link resolveLink}; of links to another host only those that parsers read differently are.
 */
export function locateMember(text: string, scope: LinkScope): LinkTarget | { readonly place: "other" } | undefined {
  if (!LIKE_LINK.test(text.replace(STRIPPED, ""))) return OTHER;
  if (isAmbiguous(text) || (text.includes("{") && !NAMES_HOST.test(text))) return undefined;
  const url = URL.parse(text.replace(TEMPLATE, ""), scope.fetched);
  if (!url || !isHttp(url)) return SCHEME_ONLY.test(text) ? undefined : OTHER;
  // A relative link does not stay relative: joined to the gateway's origin it would name one of the gateway's own paths.
  const link = ABSOLUTE.test(text) ? text : url.href;
  if (url.origin !== scope.fetched.origin) {
    return isGateway(url, scope) ? undefined : { place: "elsewhere", link, host: url.host };
  }
  const target = text.includes("{") ? locateTemplate(text, scope) : locateLink(text, scope);
  return target?.place === "elsewhere" ? { ...target, link } : target;
}

const OTHER = { place: "other" } as const;
const ABSOLUTE = /^ *https?:\/\//i;
/** Relative where the base URL has the same scheme, and otherwise not. */
const SCHEME_ONLY = /^ *https?:(?!\/\/)/i;

/** An absolute URL, or a URI template, whose host no expression changes. */
const NAMES_HOST = /^ *https?:\/\/[^/?#\\{]+(?:[/?#]|\{[/?#]|$)/i;
/** Everything from the first expression of a URI template on. */
const TEMPLATE = /\{.*$/s;
const EXPRESSIONS = /\{([+/?&.;#]?)[\w,.*%:]+\}/g;

/**
 * Returns where a URI template (RFC 6570) at the API's origin leads. If that is below the base URL, it is the same text behind the
 * gateway's: it has to lead there whether its expressions are empty or not.
 */
function locateTemplate(text: string, scope: LinkScope): LinkTarget | undefined {
  const { base, proxied } = serviceUrls(scope);
  const filled = text.replace(EXPRESSIONS, (_, operator: string) => `${operator === "+" ? "" : operator}x`);
  const target = locateLink(filled, scope);
  if (target?.place !== "service") return target;
  const emptied = text.replace(EXPRESSIONS, "");
  // Emptied, `{/x}agents` behind the base URL would continue the service's name.
  const isPlain =
    /^(?:[/?#]|$)/.test(emptied.slice(base.length)) &&
    target.link === proxied + filled.slice(base.length) &&
    [emptied, `${emptied}/`].includes(URL.parse(emptied)?.href ?? "");
  return text.startsWith(base) && isPlain ? { ...target, link: proxied + text.slice(base.length) } : undefined;
}

/** Returns whether an origin, in plain spelling, is neither the API's nor the gateway's. */
export function isElsewhere(origin: string, scope: LinkScope): boolean {
  const url = URL.parse(origin);
  return url !== null && url.origin !== scope.fetched.origin && !isGateway(url, scope);
}

/** Parsers disagree on these: WHATWG strips tabs and line breaks, and reads a backslash as a slash. */
const isAmbiguous = (text: string): boolean => CONTROL.test(text) || text.split(/[?#]/, 1)[0]!.includes("\\");

const isHttp = ({ protocol }: URL): boolean => protocol === "https:" || protocol === "http:";

function isGateway(url: URL, { gatewayOrigin, issuer }: LinkScope): boolean {
  return isSameHost(url, gatewayOrigin) || (issuer !== null && isSameHost(url, issuer));
}

/** Returns a query without every occurrence of a parameter. Empty if nothing is left. */
function withoutParameter(search: string, name: string): string {
  const pairs = search.slice(1).split("&");
  const kept = pairs.filter((pair) => decodeName(pair.split("=", 1)[0]!)?.toLowerCase() !== name.toLowerCase());
  return kept.join("&") && `?${kept.join("&")}`;
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
