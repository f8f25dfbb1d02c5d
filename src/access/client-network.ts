const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/;
const IPV6_CHARACTERS = /^[0-9a-f:.]+$/i;

/** Of an address that is none, enough to tell senders apart. */
const MAX_UNKNOWN = 64;

/**
 * What a limit by address counts on: an IPv4 address, or the /64 of an IPv6 address, which is what one subscriber gets and
 * may number as it likes (RFC 6177). Every spelling of an address comes to the same text. An IPv4 address that is mapped into
 * IPv6 is the IPv4 address; a zone id is left out.
 *
 * @param address as `CF-Connecting-IP` names it; empty if unknown.
 * @returns `203.0.113.7`, `2001:db8:0:1::/64`, or of what is no address its first 64 characters behind `unknown:`.
 */
export function clientNetwork(address: string): string {
  const [text = ""] = address.trim().split("%", 1);
  if (IPV4.test(text)) return text;
  const groups = ipv6Groups(text);
  if (!groups) return `unknown:${address.slice(0, MAX_UNKNOWN)}`;
  const isMapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
  if (isMapped)
    return groups
      .slice(6)
      .flatMap((group) => [group >> 8, group & 0xff])
      .join(".");
  return `${groups
    .slice(0, 4)
    .map((group) => group.toString(16))
    .join(":")}::/64`;
}

/** The eight groups of an IPv6 address in any spelling of RFC 4291 §2.2, which the URL parser reads. */
function ipv6Groups(text: string): number[] | undefined {
  if (!IPV6_CHARACTERS.test(text)) return undefined;
  const host = URL.parse(`http://[${text}]`)?.hostname;
  if (!host) return undefined;
  // Of what the parser writes, only the longest run of zeros is still short.
  const [head = "", tail] = host.slice(1, -1).split("::");
  const read = (part: string) => (part === "" ? [] : part.split(":").map((group) => parseInt(group, 16)));
  const [before, after] = [read(head), read(tail ?? "")];
  return [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
}
