import { describe, expect, it } from "vitest";
import { readRequestHeaders, toldHeaders } from "../../src/policy/request-headers.ts";
import { resolveRequest } from "../../src/policy/resolve.ts";
import { loadServices } from "../../src/policy/services.ts";
import { describeFault, upstreamSettings } from "../../src/config/upstream-settings.ts";
import { BUILT_IN_CATALOGUE } from "../../src/permissions/catalogue.ts";

const ORDERS = {
  base_url: "https://orders.example.com",
  resources: { orders: ["read", "write"] },
  rules: ["* /orders orders", "POST /orders/search orders:read"],
};

function load(change: Record<string, unknown> = {}) {
  const { upstreams, faults } = upstreamSettings({ UPSTREAMS: { orders: { ...ORDERS, ...change } } });
  const loaded = loadServices(upstreams, BUILT_IN_CATALOGUE);
  return { ...loaded, faults: [...faults, ...loaded.faults.map(describeFault)] };
}
const { services } = load();

/** What becomes of one request's headers: those that are forwarded without the defaults, or why it is refused. */
function read(service: string, request: string, headers: Record<string, string>, among = services) {
  const [method = "", target = ""] = request.split(" ");
  const resolved = resolveRequest(among, { service, method, target, headers: new Headers(headers) });
  if (resolved.outcome === "refused") return { code: resolved.code, message: resolved.message };
  const sent = new Set(Object.keys(headers));
  const { forwarded, dropped } = resolved.headers;
  return { forwarded: Object.fromEntries(Object.entries(forwarded).filter(([name]) => sent.has(name))), dropped };
}

describe("a request header", () => {
  it("that is harmless passes to every upstream", () => {
    const headers = {
      accept: "text/csv",
      "accept-language": "de",
      "last-event-id": "7",
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
      tracestate: "vendor=1",
      "if-match": '"1"',
      "idempotency-key": "once",
      range: "bytes=0-9",
    };
    for (const service of services.keys()) {
      expect(read(service, "GET /orders", headers), service).toEqual({ forwarded: headers, dropped: [] });
    }
  });

  it("that HTTP libraries, browsers and proxies add is dropped without a word", () => {
    const headers = {
      "user-agent": "x",
      "accept-encoding": "gzip",
      "cf-connecting-ip": "10.0.0.1",
      "x-forwarded-for": "10.0.0.1",
      "sec-fetch-mode": "cors",
      origin: "https://a.example",
      "x-stainless-lang": "js",
      authorization: "Bearer x",
    };
    expect(read("orders", "POST /orders", headers)).toEqual({
      forwarded: { "user-agent": "AgentAuth-Gateway/1" },
      dropped: [],
    });
  });

  it("that is unknown is dropped and named", () => {
    expect(
      read("orders", "POST /orders", { "x-tenant": "1", cookie: "a=1", baggage: "user=1", prefer: "wait=9" }),
    ).toEqual({
      forwarded: {},
      dropped: ["baggage", "cookie", "prefer", "x-tenant"],
    });
  });

  it.each([
    ["orders", "a condition that the gateway does not know", { "if-schedule-tag-match": '"1"' }],
    ["orders", "a condition that Connection names", { connection: "close, If-Match", "if-match": '"1"' }],
    ["orders", "a part of a representation", { "content-range": "bytes 0-9/20" }],
    ["orders", "a coding that Connection names", { connection: "content-encoding", "content-encoding": "gzip" }],
    ["orders", "another spelling of Idempotency-Key", { "x-idempotency-key": "once" }],
    ["stripe", "an old version", { "stripe-version": "2019-12-03" }],
    [
      "salesforce",
      "details of duplicates",
      { "sforce-duplicate-rule-header": "allowSave=true; includeRecordDetails=true" },
    ],
    ["salesforce", "an option that is not known", { "sforce-all-or-none": "true" }],
    ["salesforce", "an assignment that is not one", { "sforce-auto-assign": "perhaps" }],
  ])("of %s without which a write would do something else refuses it: %s", (service, _, headers) => {
    expect(read(service, "POST /orders", headers)).toMatchObject({ code: "header_refused" });
    const name = Object.keys(headers).at(-1);
    const { forwarded = {}, dropped } = read(service, "GET /orders", headers);
    // Stripe's is the gateway's own version.
    expect(Object.values(forwarded)).not.toContain(Object.values(headers).at(-1));
    expect(dropped).toContain(name);
  });

  it("is judged by what the request does, and not by its method", () => {
    const headers = { "content-language": "de" };
    expect(read("orders", "POST /orders/search", headers)).toEqual({ forwarded: {}, dropped: ["content-language"] });
    expect(read("orders", "POST /orders", headers)).toMatchObject({ code: "header_refused" });
  });

  it.each([
    ["stripe", { "stripe-account": "acct_1" }],
    ["stripe", { "stripe-context": "acct_1" }],
    ["zendesk", { "x-on-behalf-of": "user@example.com" }],
    ["salesforce", { "sforce-call-options": "client=Partner/1" }],
    ["salesforce", { "x-sfdc-session": "00D" }],
  ])("of %s that acts as somebody else refuses every request: %o", (service, headers) => {
    const [name = ""] = Object.keys(headers);
    for (const method of ["GET", "POST"]) {
      expect(read(service, `${method} /orders`, headers)).toMatchObject({
        code: "header_refused",
        message: expect.stringContaining(name),
      });
    }
    // Of another vendor it is one of many names.
    expect(read("github", "GET /orders", headers)).toEqual({ forwarded: {}, dropped: [name] });
  });

  it.each([
    ["github", { "x-github-api-version": "2022-11-28", "time-zone": "Europe/Amsterdam" }],
    ["stripe", { "stripe-version": "2024-06-20" }],
    ["zendesk", { "x-zendesk-marketplace-app-id": "99999" }],
    [
      "salesforce",
      {
        "sforce-auto-assign": "FALSE",
        "sforce-call-options": "defaultNamespace=battle",
        "sforce-duplicate-rule-header": "allowSave=true",
        "sforce-query-options": "batchSize=200",
        "x-sfdc-packageversion-clientpkg": "1.0",
        "x-prettyprint": "1",
      },
    ],
  ])("that %s documents passes: %o", (service, headers) => {
    expect(read(service, "POST /orders", headers)).toEqual({ forwarded: headers, dropped: [] });
  });

  it("that names a coding passes, and one that names none does not", () => {
    expect(read("orders", "POST /orders", { "content-encoding": "GZIP" })).toEqual({
      forwarded: { "content-encoding": "GZIP" },
      dropped: [],
    });
    for (const coding of ["identity", "utf-8", ""]) {
      expect(read("orders", "POST /orders", { "content-encoding": coding })).toEqual({ forwarded: {}, dropped: [] });
    }
  });

  it("that names another method refuses the request, and one that names its own changes nothing", () => {
    for (const name of ["x-http-method-override", "x-http-method", "x-method-override"]) {
      expect(read("orders", "GET /orders", { [name]: "DELETE" })).toMatchObject({ code: "header_refused" });
      expect(read("orders", "POST /orders", { [name]: "PATCH" })).toMatchObject({ code: "header_refused" });
      expect(read("orders", "POST /orders", { [name]: "post" })).toEqual({ forwarded: {}, dropped: [] });
    }
  });
});

describe("an own upstream", () => {
  it("gets the headers that its settings list, and always those that they set", () => {
    const { services: own, faults } = load({
      request_headers: ["Mcp-Session-Id", "Mcp-Protocol-Version", "Notion-Version", "OData-*", "Prefer", "X-*"],
      headers: { "Anthropic-Version": "2023-06-01", "User-Agent": "orders-bot" },
    });
    expect(faults).toEqual([]);
    const headers = {
      "mcp-session-id": "1",
      "mcp-protocol-version": "2025-11-25",
      "notion-version": "2026-03-11",
      "odata-maxversion": "4.01",
      prefer: "return=minimal",
      "x-tenant": "7",
    };
    expect(read("orders", "POST /orders", headers, own)).toEqual({ forwarded: headers, dropped: [] });
    expect(
      read(
        "orders",
        "POST /orders",
        { "anthropic-version": "2020-01-01", "x-forwarded-for": "1", "x-agentauth-x": "1" },
        own,
      ),
    ).toEqual({ forwarded: { "anthropic-version": "2023-06-01" }, dropped: ["anthropic-version"] });
    const resolved = resolveRequest(own, {
      service: "orders",
      method: "GET",
      target: "/orders",
      headers: new Headers(),
    });
    expect(resolved).toMatchObject({
      headers: { forwarded: { "anthropic-version": "2023-06-01", "user-agent": "orders-bot" }, dropped: [] },
    });
  });

  it("refuses a write whose listed header is lost", () => {
    const { services: own } = load({ request_headers: ["X-Tenant"] });
    const headers = { connection: "x-tenant", "x-tenant": "7" };
    expect(read("orders", "POST /orders", headers, own)).toMatchObject({ code: "header_refused" });
  });

  it.each([
    ["respond-async, return=minimal", "return=minimal"],
    ["Respond-Async; wait=1 , handling=strict", "handling=strict"],
    ['return="a, respond-async", wait=9', 'return="a, respond-async", wait=9'],
    ["respond-async", undefined],
  ])("gets of the preferences %s: %s", (sent, got) => {
    const { services: own } = load({ request_headers: ["prefer"] });
    expect(read("orders", "GET /orders", { prefer: sent }, own)).toEqual({
      forwarded: got === undefined ? {} : { prefer: got },
      dropped: got === sent ? [] : ["prefer"],
    });
  });

  it.each([
    ["request_headers", ["Authorization"], "request_headers.0: names a header"],
    ["request_headers", ["X-Forwarded-*"], "request_headers.0: names a header"],
    ["request_headers", ["X-Tenant", "CF-Connecting-IP"], "request_headers.1: names a header"],
    ["request_headers", ["Cookie"], "request_headers.0: names a header"],
    ["request_headers", ["Connection"], "request_headers.0: names a header"],
    ["request_headers", ["Content-Type"], "request_headers.0: names a header"],
    ["request_headers", ["X-HTTP-Method-Override"], "request_headers.0: names a header"],
    ["request_headers", ["X-AgentAuth-Dropped"], "request_headers.0: names a header"],
    ["request_headers", ["*"], "request_headers.0: must be the name"],
    ["request_headers", ["X-Key"], "request_headers.0: the credential is sent in X-Key"],
    ["headers", { "x-key": "1" }, "headers.x-key: the credential is sent in x-key"],
    ["headers", { Host: "a.example" }, "headers.Host: names a header"],
    ["headers", { "X-Forwarded-Host": "a.example" }, "headers.X-Forwarded-Host: names a header"],
    ["headers", { "X-*": "1" }, "headers.X-*:"],
    ["headers", { "X-A": "a\nb" }, "headers.X-A: must be 1 to 1,024 printable"],
    ["headers", { "X-A": "" }, "headers.X-A: must be 1 to 1,024 printable"],
  ])("cannot have in %s %o", (key, value, expected) => {
    const credential = { scheme: "header", name: "X-Key" };
    expect(load({ credential, [key]: value }).faults.join("\n")).toContain(`UPSTREAMS.orders.${expected}`);
  });

  it("cannot both set and pass on a header", () => {
    const { faults } = load({ headers: { "X-Tenant": "1" }, request_headers: ["x-tenant"] });
    expect(faults.join()).toContain("UPSTREAMS.orders.request_headers.0: headers sets x-tenant");
  });
});

describe("a GET or HEAD with a body", () => {
  it.each([{ "content-length": "4" }, { "transfer-encoding": "chunked" }, { "content-length": "4, 4" }])(
    "is refused: %o",
    (headers) => {
      for (const method of ["GET", "HEAD"]) {
        expect(read("orders", `${method} /orders`, headers)).toMatchObject({ code: "body_not_forwarded" });
      }
      expect(read("orders", "POST /orders", headers)).toHaveProperty("forwarded");
    },
  );

  it("is one that has bytes", () => {
    expect(read("orders", "GET /orders", { "content-length": "0", "content-type": "application/json" })).toHaveProperty(
      "forwarded",
    );
  });
});

describe("X-AgentAuth-Dropped", () => {
  it("is bounded", () => {
    expect(toldHeaders(["a", "b"])).toBe("a, b");
    const many = toldHeaders(Array.from({ length: 200 }, (_, index) => `x-header-${index}`));
    expect(many.length).toBeLessThan(530);
    expect(many).toMatch(/^x-header-0, .*, \.\.\.$/);
    expect(toldHeaders(["x".repeat(5000)])).toBe("...");
  });

  it("has no name twice, and none that is forwarded", () => {
    const sent = new Headers({ "x-a": "1", accept: "*/*" });
    const { dropped, forwarded } = readRequestHeaders(sent, "GET", services.get("orders")!.definition, false);
    expect([dropped, forwarded.accept]).toEqual([["x-a"], "*/*"]);
  });
});

describe("whatever a service lets through by the beginning of a name", () => {
  const github = services.get("github")!.definition;
  const forwarded = (headers: Record<string, string>, more: object) =>
    Object.keys(
      readRequestHeaders(
        new Map(Object.entries(headers)),
        "GET",
        {
          ...github,
          defaultHeaders: {},
          requestHeaders: { "*": { passes: /^/, otherwise: "drop" } },
          ...more,
        } as never,
        false,
      ).forwarded,
    );

  it("what decides how a request is read passes with none of them", () => {
    const headers = { cookie: "a=b", "x-http-method": "DELETE", "content-md5": "x", "x-original-url": "/admin" };
    expect(forwarded({ ...headers, "x-mine": "1" }, {})).toEqual(["user-agent", "x-mine"]);
  });

  it("the header of the upstream's own token is the gateway's", () => {
    const tokenPlaces = [{ scheme: "token" }, { scheme: "header", name: "x-api-key" }];
    expect(forwarded({ "x-api-key": "mine", "x-other": "1" }, { tokenPlaces })).toEqual(["user-agent", "x-other"]);
  });
});
