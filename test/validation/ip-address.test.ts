import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isInNetworks, networksOf, parseNetwork } from "../../src/validation/ip-address.ts";

describe("a network", () => {
  it.each([
    ["203.0.113.0/24", "203.0.113.0/24"],
    ["203.0.113.7", "203.0.113.7/32"],
    ["203.0.113.7/32", "203.0.113.7/32"],
    ["0.0.0.0/0", "0.0.0.0/0"],
    ["128.0.0.0/1", "128.0.0.0/1"],
    ["2001:0DB8::/32", "2001:db8::/32"],
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1/128"],
    ["::/0", "::/0"],
    ["::1", "::1/128"],
    ["8000::/1", "8000::/1"],
    ["1:2:3:4:5:6:7:0/112", "1:2:3:4:5:6:7:0/112"],
    ["::ffff:203.0.113.0/120", "203.0.113.0/24"],
    ["::ffff:203.0.113.7", "203.0.113.7/32"],
    ["::FFFF:cb00:7107/128", "203.0.113.7/32"],
    ["::ffff:0:0/96", "0.0.0.0/0"],
  ])("%s has one spelling: %s", (text, network) => {
    expect(parseNetwork(text)).toEqual({ network });
    expect(parseNetwork(network)).toEqual({ network });
  });

  it.each([
    ["", /such as/],
    ["203.0.113.7/24", /write 203\.0\.113\.0\/24 for the network, or the address without \/24/],
    ["2001:db8::1/32", /write 2001:db8::\/32/],
    ["203.0.113.0/33", /prefix length of 0 to 32/],
    ["2001:db8::/129", /prefix length of 0 to 128/],
    ["::ffff:0:0/95", /prefix length of 96 to 128/],
    ["203.0.113.0/024", /such as/],
    ["203.0.113.0/+24", /such as/],
    ["203.0.113.0/24 ", /such as/],
    ["203.0.113.0/", /such as/],
    ["203.0.113.0/24/24", /such as/],
    ["203.0.113/24", /such as/],
    ["0203.0.113.0/24", /such as/],
    ["0xcb.0.113.0/24", /such as/],
    ["[2001:db8::]/32", /such as/],
    ["fe80::1%eth0", /such as/],
    ["example.com", /such as/],
    ["*", /such as/],
    ["٢٠٣.0.113.0/24", /such as/],
  ])("%j is refused with what to do", (text, fault) => {
    const parsed = parseNetwork(text);
    expect("fault" in parsed && parsed.fault).toMatch(fault);
  });
});

describe("whether an address is in a network", () => {
  it.each<[string, string[] | null, boolean]>([
    ["203.0.113.7", null, true],
    ["", null, true],
    ["203.0.113.7", [], false],
    ["203.0.113.7", ["203.0.113.0/24"], true],
    ["::ffff:203.0.113.7", ["203.0.113.0/24"], true],
    ["203.0.114.7", ["203.0.113.0/24"], false],
    ["203.0.114.7", ["203.0.113.0/24", "203.0.114.0/24"], true],
    ["2001:DB8:0:0:0:0:0:1", ["2001:db8::/32"], true],
    ["2001:db9::1", ["2001:db8::/32"], false],
    ["fe80::1%eth0", ["fe80::/10"], true],
    ["203.0.113.7", ["::/0"], false],
    ["2001:db8::1", ["0.0.0.0/0"], false],
    ["", ["0.0.0.0/0", "::/0"], false],
    ["unknown", ["0.0.0.0/0", "::/0"], false],
    ["203.0.113.7, 10.0.0.1", ["0.0.0.0/0"], false],
  ])("%j in %j: %s", (address, networks, expected) => {
    expect(isInNetworks(address, networks)).toBe(expected);
  });

  it("is that its first bits are the network's", () => {
    const bits = (groups: number[], size: number) => groups.map((one) => one.toString(2).padStart(size, "0")).join("");
    const v4 = fc.array(fc.nat(255), { minLength: 4, maxLength: 4 });
    const v6 = fc.array(fc.nat(0xffff), { minLength: 8, maxLength: 8 });
    const check = (text: (groups: number[]) => string, size: number) => (one: number[], other: number[], n: number) => {
      const length = n % (one.length * size + 1);
      const network = networksOf(text(one))[length]!;
      expect(parseNetwork(network)).toEqual({ network });
      const isIn = bits(one, size).slice(0, length) === bits(other, size).slice(0, length);
      expect(isInNetworks(text(other), [network])).toBe(isIn);
    };
    const near = (groups: number[]) => fc.tuple(fc.constant(groups), fc.nat(groups.length - 1), fc.nat(255));
    const pair = (groups: fc.Arbitrary<number[]>) =>
      groups.chain(near).map(([one, at, to]) => [one, one.with(at, to)] as const);
    fc.assert(
      fc.property(pair(v4), fc.nat(32), ([a, b], n) => check((g) => g.join("."), 8)(a, b, n)),
      { numRuns: 100 },
    );
    const hex = (groups: number[]) => groups.map((one) => one.toString(16)).join(":");
    // Eight groups that begin as a mapped address does are an IPv4 address, of which the examples tell.
    const plain = pair(v6).filter(([a, b]) => a[0] !== 0 && b[0] !== 0);
    fc.assert(
      fc.property(plain, fc.nat(128), ([a, b], n) => check(hex, 16)(a, b, n)),
      { numRuns: 100 },
    );
  });
});
