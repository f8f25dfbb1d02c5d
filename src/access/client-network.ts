const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/;
const IPV6_CHARACTERS = /^[0-9a-f:.]+$/i;

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
  if (IPV4.test(text)) return text;
  const groups = ipv6Groups(text);
  if (!groups) return `unknown:${address.slice(0, MAX_UNKNOWN_LENGTH)}`;
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
  // The parser writes each group in full, except that `::` stands for the longest run of zeros.
  const [head = "", tail] = host.slice(1, -1).split("::");
  const read = (part: string) => (part === "" ? [] : part.split(":").map((group) => parseInt(group, 16)));
  const [before, after] = [read(head), read(tail ?? "")];
  return [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
}
