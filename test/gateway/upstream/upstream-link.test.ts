import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { extents } from "../../support/extents.ts";
import { canonicalPath } from "../../../src/policy/path.ts";
import { locateMember, resolveLink } from "../../../src/gateway/upstream/upstream-link.ts";

const GATEWAY = "https://gateway.example";
const ISSUER = "https://auth.example";
const scope = (basePath = "", issuer: string | null = ISSUER) => ({
  service: { name: "orders", basePath },
  fetched: new URL(`https://up.example${basePath}/orders/1`),
  gatewayOrigin: GATEWAY,
  issuer,
});

describe("a link below the service", () => {
  it.each([
    ["https://up.example/orders?page=2", `${GATEWAY}/proxy/orders/orders?page=2`],
    ["HTTPS://UP.example:443/orders#part", `${GATEWAY}/proxy/orders/orders#part`],
    ["/orders/2", "/proxy/orders/orders/2"],
    ["//up.example/orders/2", `${GATEWAY}/proxy/orders/orders/2`],
    ["2", `${GATEWAY}/proxy/orders/orders/2`],
    ["?page=2", `${GATEWAY}/proxy/orders/orders/1?page=2`],
    ["/orders/%7Ea%2f%c3%bc", "/proxy/orders/orders/~a%2F%C3%BC"],
    ["/orders/ü x", "/proxy/orders/orders/%C3%BC%20x"],
    ["/", "/proxy/orders/"],
    ["https://up.example", `${GATEWAY}/proxy/orders/`],
    // What is folded away was never a path of the gateway's.
    [
      "https://up.example/../../proxy/slack/api/chat.postMessage",
      `${GATEWAY}/proxy/orders/proxy/slack/api/chat.postMessage`,
    ],
    ["../../../../agents/revoke-tokens", `${GATEWAY}/proxy/orders/agents/revoke-tokens`],
    ["/%2e%2e/%2E./agents", "/proxy/orders/agents"],
  ])("leads through the gateway: %s", (text, expected) => {
    expect(resolveLink(text, scope())).toBe(expected);
  });

  it.each([
    ["/api/v3/b", "/proxy/orders/b"],
    ["https://up.example/api/v3", `${GATEWAY}/proxy/orders`],
    ["https://up.example/api/v3?x=1", `${GATEWAY}/proxy/orders?x=1`],
    ["/api/v3x", "https://up.example/api/v3x"],
    ["/api/v3/../../agents/revoke-tokens", "https://up.example/agents/revoke-tokens"],
    ["../../../../../proxy/slack/api/x", "https://up.example/proxy/slack/api/x"],
    ["/agents", "https://up.example/agents"],
  ])("is matched by whole segments of the base path: %s", (text, expected) => {
    expect(resolveLink(text, scope("/api/v3"))).toBe(expected);
  });

  it.each([
    "/orders//2",
    "/orders//",
    "https://up.example//gateway.example/agents",
    "/orders/..%2f..%2f..%2fagents",
    "/orders/%252e%252e/agents",
    "/orders/%5c..%5cagents",
    "/orders;x/2",
    "/orders/x.",
    "/orders/%00",
    "/orders/%0d%0aLocation:%20x",
    "/orders/%ff",
    "/orders/%zz",
    `/${"x".repeat(9000)}`,
  ])("is none where the gateway would refuse its path: %s", (text) => {
    expect(resolveLink(text, scope())).toBeUndefined();
  });
});

describe("a link to the gateway itself", () => {
  it.each([
    "https://gateway.example/agents/revoke-tokens",
    "https://gateway.example/proxy/orders/orders/1",
    "https://GATEWAY.example:443/proxy/slack/api/chat.postMessage",
    "http://gateway.example/agents",
    "https://gateway.example./agents",
    "https:///gateway.example/agents",
    "//gateway.example/agents",
    "https://g%61teway.example/agents",
    "https://ｇａｔｅｗａｙ.example/agents",
    "https://gateway。example/agents",
    "https://gate\u00adway.example/agents",
    "https://auth.example/agents",
    "https://auth.example:443/proxy/slack/x",
    " https://gateway.example/agents ",
  ])("is none, whatever it is spelled like: %s", (text) => {
    expect(resolveLink(text, scope())).toBeUndefined();
  });

  it("is none of the gateway's where a scheme without slashes makes it relative", () => {
    expect(resolveLink("https:gateway.example/agents", scope())).toBe(
      `${GATEWAY}/proxy/orders/orders/gateway.example/agents`,
    );
  });

  it.each([
    ["http://127.0.0.1:8787", "http://localhost:8787/agents"],
    ["http://127.0.0.1:8787", "http://2130706433:8787/agents"],
    ["http://127.0.0.1:8787", "http://0x7f.1:8787/agents"],
    ["http://127.0.0.1:8787", "http://[::1]:8787/agents"],
    ["http://localhost:8787", "http://[::ffff:127.0.0.1]:8787/agents"],
    ["http://localhost:8787", "http://127.9.9.9:8787/agents"],
    ["http://localhost:8787", "http://a.localhost.:8787/agents"],
  ])("is none on the loopback interface either: %s, %s", (gatewayOrigin, text) => {
    expect(resolveLink(text, { ...scope(), gatewayOrigin })).toBeUndefined();
  });

  it("is none where the Host that was called is none", () => {
    expect(resolveLink("https://files.example/x", { ...scope(), gatewayOrigin: "http://[::1" })).toBeUndefined();
  });

  it("is not mistaken for another host or port", () => {
    for (const text of [
      "https://gateway.example.evil/x",
      "https://xgateway.example/x",
      "https://gateway.example:8443/x",
    ]) {
      expect(resolveLink(text, scope())).toBe(text);
    }
  });
});

describe("a link to elsewhere", () => {
  it.each([
    ["https://files.example/signed?sig=a%2Fb&x='", "https://files.example/signed?sig=a%2Fb&x=%27"],
    ["//files.example/x", "https://files.example/x"],
    ["http://up.example/orders", "http://up.example/orders"],
    ["https://up.example:8443/orders", "https://up.example:8443/orders"],
    ["https://bücher.example/x", "https://xn--bcher-kva.example/x"],
  ])("is passed on as it was parsed: %s", (text, expected) => {
    expect(resolveLink(text, scope())).toBe(expected);
  });

  it.each([
    "javascript:alert(1)",
    "data:text/html,x",
    "ftp://files.example/x",
    "file:///etc/passwd",
    "https://user@files.example/x",
    "https://gateway.example:x@files.example/x",
    "https://up.example@gateway.example/agents",
    "/\\gateway.example/agents",
    "\\\\gateway.example\\agents",
    "https:\\\\gateway.example/agents",
    "/\t/gateway.example/agents",
    "ht\ntps://gateway.example/agents",
    "https://files.example/\r\nX: y",
    "https://[bad/x",
    "https://a b/x",
  ])("is none where it is no plain http(s) URL: %j", (text) => {
    expect(resolveLink(text, scope())).toBeUndefined();
  });
});

describe("whatever an upstream writes, a client that joins the result to the gateway calls the same service, or another host", () => {
  const parts =
    ".. . / \\ // %2e %2f %5c @ : ? # https: http:// api v3 proxy slack orders agents revoke-tokens ｇ {x} {/y}".split(
      " ",
    );
  const hosts = ["gateway.example", "auth.example", "up.example", "\t", " "];
  const text = fc.array(fc.constantFrom(...parts, ...hosts), { maxLength: 12 }).map((chosen) => chosen.join(""));
  const paths = fc.constantFrom("", "/api/v3");

  function expectHarmless(resolved: string | undefined, isStrict: boolean): void {
    // Whether the client fills a template in or leaves it empty.
    for (const filling of isStrict || !resolved?.includes("{") ? [undefined] : ["", "x"]) {
      const filled =
        filling === undefined
          ? resolved
          : resolved?.replace(/\{([/?&]?)\w+\}/g, (_, operator) => filling && operator + filling);
      const called = filled === undefined ? null : URL.parse(filled, `${GATEWAY}/proxy/orders/orders/1`);
      if (called === null) return;
      if (isStrict) expect(called.host).not.toMatch(/^(?:auth\.example|gateway\.example\.)$/);
      if (called.origin !== GATEWAY) return;
      expect(called.pathname, resolved).toMatch(/^\/proxy\/orders(?:\/|$)/);
      if (isStrict) expect(canonicalPath(called.pathname.slice("/proxy/orders".length))).not.toBeTypeOf("string");
    }
  }

  for (const { numRuns, options } of extents(1000, 40_000)) {
    it(`where a link is: ${numRuns} links`, options, () => tryLinks(numRuns));
    it(`where a member has the name of a link: ${numRuns} links`, options, () => tryMembers(numRuns));
  }

  function tryLinks(numRuns: number): void {
    fc.assert(
      fc.property(text, paths, (link, basePath) => expectHarmless(resolveLink(link, scope(basePath)), true)),
      { numRuns },
    );
  }

  function tryMembers(numRuns: number): void {
    const examples: [string, string, "http" | "https"][] = [
      ["https:../../agents", "", "http"],
      ["https:orders/../../../../agents", "", "http"],
      ["x/%2e%2e/../../../agents", "/api/v3", "https"],
      ["/{x}../../agents", "/api/v3", "https"],
      ["http://up.example{/y}agents", "", "http"],
      ["https://up.example/api/v3{/y}agents", "/api/v3", "https"],
    ];
    fc.assert(
      fc.property(text, paths, fc.constantFrom("http", "https"), (link, basePath, scheme) => {
        const fetched = new URL(`${scheme}://up.example${basePath}/orders/1`);
        const target = locateMember(link, { ...scope(basePath), fetched });
        expectHarmless(target?.place === "other" ? link : target?.link, false);
      }),
      { numRuns, examples },
    );
  }
});
