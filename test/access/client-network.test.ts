import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { clientNetwork } from "../../src/access/client-network.ts";

describe("the network that a limit by address counts on", () => {
  it.each([
    ["203.0.113.7", "203.0.113.7"],
    [" 203.0.113.7 ", "203.0.113.7"],
    ["::ffff:203.0.113.7", "203.0.113.7"],
    ["::FFFF:cb00:7107", "203.0.113.7"],
    ["0:0:0:0:0:ffff:203.0.113.7", "203.0.113.7"],
    ["2001:db8::1", "2001:db8:0:0::/64"],
    ["2001:0DB8:0000:0000:ffff:ffff:ffff:ffff", "2001:db8:0:0::/64"],
    ["2001:db8:0:1::", "2001:db8:0:1::/64"],
    ["2001:db8::1:0:0:0:1", "2001:db8:0:1::/64"],
    ["fe80::1%eth0", "fe80:0:0:0::/64"],
    ["fe80::2%25eth0", "fe80:0:0:0::/64"],
    ["::1", "0:0:0:0::/64"],
    ["::", "0:0:0:0::/64"],
    ["1:2:3:4:5:6:7::", "1:2:3:4::/64"],
    ["1:2:3:4:5:6:203.0.113.7", "1:2:3:4::/64"],
  ])("of %s is %s", (address, network) => {
    expect(clientNetwork(address)).toBe(network);
  });

  it.each([
    "",
    "unknown",
    "1.2.3",
    "1.2.3.4.5",
    "256.0.0.1",
    "01.2.3.4",
    "0x7f.1",
    "1.2.3.4.",
    "1:2:3",
    "1::2::3",
    "1:2:3:4:5:6:7:8:9",
    "12345::",
    "::1]/x[",
    "[::1]",
    "1.2.3.4, 5.6.7.8",
    "evil.example",
  ])("of %j, which is no address, is its text", (address) => {
    expect(clientNetwork(address)).toBe(`unknown:${address}`);
  });

  it("is bounded, whatever is sent", () => {
    expect(clientNetwork("1".repeat(10_000))).toHaveLength("unknown:".length + 64);
    expect(clientNetwork(":".repeat(10_000))).toHaveLength("unknown:".length + 64);
  });

  it("is one for all addresses of a /64 in all their spellings, and differs between two", () => {
    const groups = (length: number) =>
      fc.array(fc.integer({ min: 0, max: 0xffff }), { minLength: length, maxLength: length });
    const hex = (group: number) => group.toString(16);
    const spell = (all: number[], zeros: boolean) =>
      zeros
        ? all.map((group) => hex(group).padStart(4, "0").toUpperCase()).join(":")
        : new URL(`http://[${all.map(hex).join(":")}]`).hostname.slice(1, -1);
    fc.assert(
      fc.property(groups(4), groups(4), groups(4), (prefix, one, other) => {
        // ::/64 is where mapped IPv4 addresses lie.
        fc.pre(prefix.some((group) => group !== 0));
        const network = clientNetwork(spell([...prefix, ...one], true));
        expect(clientNetwork(spell([...prefix, ...other], false))).toBe(network);
        const next = [...prefix.slice(0, 3), prefix[3]! ^ 1];
        fc.pre(next.some((group) => group !== 0));
        expect(clientNetwork(spell([...next, ...one], false))).not.toBe(network);
      }),
    );
  });
});
