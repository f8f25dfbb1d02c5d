import { beforeAll, describe, expect, it } from "vitest";
import { answer, app } from "../../src/app.ts";
import { world } from "../support/world.ts";

/** What is its own for every request. */
const OWN = new Set(["x-request-id", "date"]);

const list = {
  method: "POST",
  body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list", params: {} }),
  headers: { "content-type": "application/json" },
};

const REQUESTS: [what: string, path: string, init?: RequestInit][] = [
  ["a read", "/proxy/lab/things/7?page=2"],
  ["a write", "/proxy/lab/things/7", { method: "DELETE" }],
  ["a body", "/proxy/lab/things", { method: "POST", body: "{}", headers: { "content-type": "application/json" } }],
  ["an encoded path", "/proxy/lab/things/a%20b"],
  ["a service alone", "/proxy/lab"],
  ["no service", "/proxy/"],
  ["an unknown service", "/proxy/nobody/things"],
  ["a service in capitals", "/proxy/LAB/things/7"],
  ["dot segments", "/proxy/lab/../../agents"],
  ["encoded dot segments", "/proxy/lab/%2e%2e/things"],
  ["a way out of the gateway", "/proxy/../agents"],
  ["an encoded prefix", "/%70roxy/lab/things/7"],
  ["a doubled slash", "//proxy/lab/things/7"],
  ["a route below /proxy", "/proxy/_explain"],
  ["HEAD", "/proxy/lab/things/7", { method: "HEAD" }],
  ["OPTIONS", "/proxy/lab/things/7", { method: "OPTIONS" }],
  ["another method", "/proxy/lab/things/7", { method: "PROPFIND" }],
  ["an upgrade", "/proxy/lab/things/7", { headers: { upgrade: "websocket" } }],
  ["a browser", "/proxy/lab/things/7", { headers: { origin: "https://app.example.com" } }],
  ["the name of the gateway in a query", "/agents?to=/proxy/lab/things"],
  ["a message to the MCP server", "/mcp", list],
  ["a message to a narrower MCP server", "/mcp?tools=lab", list],
  ["a message to the MCP server that is none", "/mcp", { ...list, body: "{" }],
  [
    "a page's message to the MCP server",
    "/mcp",
    { ...list, headers: { ...list.headers, origin: "https://a.example" } },
  ],
  ["another method at the MCP server", "/mcp"],
  ["a path below the MCP server", "/mcp/", list],
];

describe("the gateway and the MCP server without the router", () => {
  const unlimited = { limit: async () => ({ success: true }) };
  const settings = { CORS_ORIGINS: "https://app.example.com", RATE_FREE: unlimited };
  /** One agent for each of the two, so that nothing that one is told depends on the other. */
  const sides = [app, { fetch: answer }].map((served) => ({ self: world(settings, served), token: "" }));
  beforeAll(async () => {
    for (const side of sides) side.token = (await side.self.agent(["lab:things:read", "lab:things:write"])).token;
  });

  for (const [what, path, init = {}] of REQUESTS) {
    it(`answers as the router does: ${what}`, async () => {
      const told: unknown[] = [];
      for (const bearer of [true, false]) {
        for (const { self, token } of sides) {
          const { status, headers, body } = await self.call(path, { ...init, ...(bearer && { token }) });
          const { request_id: _, ...rest } = typeof body === "object" ? body : { body };
          told.push({ status, rest, headers: [...headers].filter(([name]) => !OWN.has(name)) });
        }
      }
      expect(told[1]).toEqual(told[0]);
      expect(told[3]).toEqual(told[2]);
    });
  }

  it("answers 503 where the deployment is not set up, as the router does", async () => {
    for (const served of [app, { fetch: answer }]) {
      const { call } = world({ SIGNING_KEYS: "" }, served);
      const { status, headers, body } = await call("/proxy/lab/things/7");
      expect([status, body.code]).toEqual([503, "misconfigured"]);
      expect(headers.get("x-request-id")).toBe(body.request_id);
      expect(headers.get("content-security-policy")).toBe("default-src 'none'; frame-ancestors 'none'");
    }
  });
});
