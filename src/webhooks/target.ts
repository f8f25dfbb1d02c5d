export interface TargetPolicy {
  /** Allows `http://127.0.0.1` and `http://localhost` on any port, for local development. */
  readonly allowLoopback: boolean;
  /** The ports that are allowed beside 443. */
  readonly ports: readonly number[];
  /** The gateway's own port in local development. */
  readonly ownPort: string | null;
  /** The gateway's own host, which must not call itself. */
  readonly ownHost: string | null;
}

const MAX_URL_LENGTH = 2048;
const OWN = "must not lead back to this service";

/** Names of private networks, or reserved ones (RFC 6761, RFC 6762, RFC 8375, RFC 9476). */
const INWARD =
  /(?:^|\.)(?:localhost|local|localdomain|internal|intranet|private|corp|home|lan|home\.arpa|in-addr\.arpa|ip6\.arpa|test|example|invalid|onion|alt|svc|cluster)$/;
/** Well-known DNS services that resolve a name to the address in it: `169.254.169.254.nip.io`. */
const ADDRESS_IN_NAME = /(?:^|\.)(?:(?:nip|sslip|xip)\.io|(?:localtest|lvh|vcap)\.me|lacolhost\.com)$/;

/**
 * Returns the domain of a valid target URL by which attempts are counted: the last two labels of its host, or a whole address.
 *
 * A wildcard DNS record answers for any number of names below a domain, so they count as one. Where two labels are a public suffix
 * (`co.uk`), an owner's webhooks to different companies share a count: their deliveries wait longer, and none is lost.
 */
export function domainOf(url: string): string {
  const host = hostnameOf(new URL(url));
  return /^[\d.]+$|^\[/.test(host) ? host : host.split(".").slice(-2).join(".");
}

const hostnameOf = ({ hostname }: URL): string => hostname.replace(/\.$/, "");

/**
 * Returns why a webhook must not be sent to a URL, or undefined if it may be sent there.
 *
 * A Worker cannot resolve a name before it connects, so this checks the text of the URL. A private address behind a public name
 * is refused by Cloudflare's network, through which Workers reach the internet, and by `global_fetch_strictly_public`.
 */
export function validateTarget(text: string, policy: TargetPolicy): string | undefined {
  if (text.length > MAX_URL_LENGTH) return `must not be longer than ${MAX_URL_LENGTH} characters`;
  // The URL parser drops these characters, so the text and the parsed URL would differ.
  if (/[\u0000-\u0020\u007f\\]/.test(text)) return "must not hold spaces, control characters or back-slashes";
  if (!URL.canParse(text)) return "must be an absolute URL, for example https://hooks.example.com/agentauth";
  const url = new URL(text);
  if (url.username || url.password || /^[a-z]+:\/\/[^/?#]*@/i.test(text)) return "must not hold credentials";
  if (url.hash) return "must not have a fragment";
  // The parser has turned decimal, octal, hexadecimal and short spellings of an address into dotted quads.
  const host = hostnameOf(url);
  if (policy.allowLoopback && url.protocol === "http:" && (host === "127.0.0.1" || host === "localhost")) {
    return url.port === policy.ownPort ? OWN : undefined;
  }
  if (url.protocol !== "https:") return "must begin with https://";
  if (url.port !== "" && !policy.ports.includes(Number(url.port))) return `must not have the port ${url.port}`;
  if (host.startsWith("[") || /^[\d.]+$/.test(host)) return "must name a host, not an IP address";
  if (!host.includes(".")) return "must name a host with its domain";
  if (!/^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.(?:[a-z]{2,}|xn--[a-z0-9-]+)$/.test(host)) return "must name a public host";
  if (INWARD.test(host) || ADDRESS_IN_NAME.test(host)) return "must name a public host";
  if (/(?:^|\.)metadata\./.test(host)) return "must not name a metadata service";
  if (host === policy.ownHost) return OWN;
  return undefined;
}
