import { addressGroups, formatAddress } from "../validation/ip-address.ts";

/** Characters of a text that is not an address; enough to distinguish senders. */
const MAX_UNKNOWN_LENGTH = 64;

/**
 * Returns the key of a limit by address: an IPv4 address, or the /64 of an IPv6 address, which is what one subscriber gets
 * (RFC 6177). Every spelling of an address gives the same key. An IPv4-mapped IPv6 address gives the IPv4 address, and a zone id
 * is left out.
 *
 * @param address as `CF-Connecting-IP` names it; empty if unknown.
 * @returns `203.0.113.7`, `2001:db8:0:1::/64`, or `unknown:` and the first 64 characters of what is not an address.
 */
export function clientNetwork(address: string): string {
  const [text = ""] = address.trim().split("%", 1);
  const groups = addressGroups(text);
  if (!groups) return `unknown:${address.slice(0, MAX_UNKNOWN_LENGTH)}`;
  if (groups.length === 2) return formatAddress(groups);
  return `${groups
    .slice(0, 4)
    .map((group) => group.toString(16))
    .join(":")}::/64`;
}
