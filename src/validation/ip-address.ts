const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/;
const IPV6_CHARACTERS = /^[0-9a-f:.]+$/i;
const PREFIX_LENGTH = /^(?:0|[1-9]\d{0,2})$/;

/** The groups of an address: two of 16 bits for IPv4, eight for IPv6. */
type Groups = readonly number[];

/**
 * Returns the groups of an address in any spelling of RFC 4291 §2.2, or of an IPv4 address in four decimal numbers without leading
 * zeros. An IPv4-mapped IPv6 address (`::ffff:203.0.113.7`) is the IPv4 address. Undefined for anything else.
 */
export function addressGroups(text: string): Groups | undefined {
  if (IPV4.test(text)) {
    const [a = 0, b = 0, c = 0, d = 0] = text.split(".").map(Number);
    return [(a << 8) | b, (c << 8) | d];
  }
  const groups = ipv6Groups(text);
  return groups && isMapped(groups) ? groups.slice(6) : groups;
}

const isMapped = (groups: Groups): boolean => groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;

/** The eight groups of an IPv6 address, which the URL parser reads. */
function ipv6Groups(text: string): Groups | undefined {
  if (!IPV6_CHARACTERS.test(text)) return undefined;
  const host = URL.parse(`http://[${text}]`)?.hostname;
  if (!host) return undefined;
  // The parser writes each group in full, except that `::` stands for the longest run of zeros.
  const [head = "", tail] = host.slice(1, -1).split("::");
  const read = (part: string) => (part === "" ? [] : part.split(":").map((group) => parseInt(group, 16)));
  const [before, after] = [read(head), read(tail ?? "")];
  return [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
}

/** The one spelling of an address: that of RFC 5952 for IPv6. */
export function formatAddress(groups: Groups): string {
  if (groups.length === 2) return groups.flatMap((group) => [group >> 8, group & 0xff]).join(".");
  const { start, length } = longestZeros(groups);
  const join = (part: Groups) => part.map((group) => group.toString(16)).join(":");
  return length < 2 ? join(groups) : `${join(groups.slice(0, start))}::${join(groups.slice(start + length))}`;
}

function longestZeros(groups: Groups): { start: number; length: number } {
  let longest = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start++) {
    let length = 0;
    while (groups[start + length] === 0) length++;
    if (length > longest.length) longest = { start, length };
  }
  return longest;
}

/** The groups with every bit after the first `bits` cleared. */
const mask = (groups: Groups, bits: number): Groups =>
  groups.map((group, index) => {
    const kept = Math.min(16, Math.max(0, bits - index * 16));
    return group & (0xffff << (16 - kept)) & 0xffff;
  });

/**
 * Parses a network in CIDR notation (RFC 4632 §3.1, RFC 4291 §2.3), or an address, which is a network of one.
 *
 * `::/0` is every IPv6 address and no IPv4 address. A network of IPv4-mapped addresses is the IPv4 network.
 *
 * @returns its only spelling, such as `203.0.113.0/24`, in which {@link networksOf} names it; or what is wrong with the text, as the
 * rest of a sentence that begins with the field's name.
 */
export function parseNetwork(text: string): { readonly network: string } | { readonly fault: string } {
  const [address = "", length, ...rest] = text.split("/");
  const groups = addressGroups(address);
  if (!groups || rest.length > 0 || (length !== undefined && !PREFIX_LENGTH.test(length))) {
    return { fault: "must be a network such as 203.0.113.0/24 or 2001:db8::/32, or an address" };
  }
  const size = groups.length * 16;
  // The length of a mapped network counts the 96 bits before the IPv4 address.
  const offset = groups.length === 2 && address.includes(":") ? 96 : 0;
  const bits = length === undefined ? size : Number(length) - offset;
  if (bits < 0 || bits > size) return { fault: `must have a prefix length of ${offset} to ${offset + size}` };
  const network = `${formatAddress(mask(groups, bits))}/${bits}`;
  if (mask(groups, bits).some((group, index) => group !== groups[index])) {
    return {
      fault: `names an address within a network: write ${network} for the network, or the address without /${length}`,
    };
  }
  return { network };
}

/**
 * Every network that an address is in, each in the spelling of {@link parseNetwork}: 33 for IPv4, 129 for IPv6, none for a text that
 * is not an address. Whether an address is in one of a list of networks is then a comparison of texts, which SQL can make too.
 *
 * @param address as `CF-Connecting-IP` names it, with or without a zone id; empty if unknown.
 */
export function networksOf(address: string): string[] {
  const groups = addressGroups(address.trim().split("%", 1)[0]!);
  if (!groups) return [];
  return Array.from({ length: groups.length * 16 + 1 }, (_, bits) => `${formatAddress(mask(groups, bits))}/${bits}`);
}

/** Whether an address is in one of these networks. Without a list (null) every address is; in an empty list none is. */
export function isInNetworks(address: string, networks: readonly string[] | null): boolean {
  if (!networks) return true;
  const containing = new Set(networksOf(address));
  return networks.some((network) => containing.has(network));
}
