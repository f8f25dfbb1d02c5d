import { beforeAll, describe, expect, it } from "vitest";
import { world, type Registered } from "../support/world.ts";
import { legacy, META, modern } from "./client.ts";
import { SLOW } from "../support/extents.ts";

const self = world();
let agent: Registered;
let token: string;
beforeAll(async () => {
  agent = await self.agent(["lab:things:read"]);
  ({ token } = agent);
  const admin = await self.admin();
  await self.call(`/agents/${agent.id}/tier`, { method: "PUT", token: admin.token, json: { tier: "enterprise" } });
});

/** Sends a text as it is. */
const raw = (body: BodyInit | null, headers: Record<string, string> = {}, method = "POST") =>
  self.call("/mcp", { method, body, token, headers: { "content-type": "application/json", ...headers } });

describe("POST /mcp of 2026-07-28", () => {
  it("says by server/discover what it is", async () => {
    const { status, body, headers } = await modern(self, "server/discover", {}, { token });
    expect(status).toBe(200);
    expect(headers.get("content-type")).toBe("application/json");
    expect(body).toMatchObject({
      jsonrpc: "2.0",
      id: 1,
      result: {
        resultType: "complete",
        supportedVersions: ["2026-07-28", "2025-11-25", "2025-06-18"],
        capabilities: { tools: {}, prompts: {}, resources: {} },
        cacheScope: "private",
        _meta: { "io.modelcontextprotocol/serverInfo": { name: "agentauth" } },
      },
    });
  });

  it.each([
    ["prompts/list", { prompts: [] }],
    ["resources/list", { resources: [] }],
    ["resources/templates/list", { resourceTemplates: [] }],
  ])("answers %s with an empty list that may be kept", async (method, list) => {
    const { body } = await modern(self, method, {}, { token });
    expect(body.result).toMatchObject({ ...list, resultType: "complete", ttlMs: 60_000, cacheScope: "private" });
  });

  it.each([
    ["prompts/get", { name: "x" }, undefined],
    ["resources/read", { uri: "test://x" }, { uri: "test://x" }],
  ])("has nothing to %s", async (method, params, data) => {
    const { status, body } = await modern(self, method, params, { token });
    expect([status, body.error.code, body.error.data]).toEqual([400, -32602, data]);
  });

  it.each(["initialize", "ping", "logging/setLevel", "resources/subscribe", "subscriptions/listen", "unknown/method"])(
    "has no %s: 404",
    async (method) => {
      const { status, body } = await modern(self, method, {}, { token });
      expect([status, body.id, body.error.code]).toEqual([404, 1, -32601]);
    },
  );

  it.each<[string, number, Record<string, unknown>, Record<string, string>]>([
    ["no Mcp-Method", -32020, {}, { "mcp-method": "" }],
    ["another Mcp-Method", -32020, {}, { "mcp-method": "prompts/list" }],
    ["Mcp-Method in another case", -32020, {}, { "mcp-method": "TOOLS/LIST" }],
    ["no MCP-Protocol-Version", -32020, {}, { "mcp-protocol-version": "" }],
    ["no MCP-Protocol-Version and no Mcp-Method", -32020, {}, { "mcp-protocol-version": "", "mcp-method": "" }],
    ["an older version in the header alone", -32020, {}, { "mcp-protocol-version": "2025-11-25" }],
    [
      "a version in the body alone",
      -32020,
      { _meta: { ...META, "io.modelcontextprotocol/protocolVersion": "2027-01-01" } },
      {},
    ],
    ["no _meta", -32602, { _meta: undefined }, {}],
    ["no clientCapabilities", -32602, { _meta: { "io.modelcontextprotocol/protocolVersion": "2026-07-28" } }, {}],
    ["no protocolVersion", -32602, { _meta: { "io.modelcontextprotocol/clientCapabilities": {} } }, {}],
  ])("refuses a request with %s: 400", async (_, code, params, headers) => {
    const { status, body } = await modern(self, "tools/list", params, { token, headers });
    expect([status, body.id, body.error.code]).toEqual([400, 1, code]);
  });

  it("names its versions to a client of another one", async () => {
    const version = "1900-01-01";
    const _meta = { ...META, "io.modelcontextprotocol/protocolVersion": version };
    const { status, body } = await modern(
      self,
      "tools/list",
      { _meta },
      { token, headers: { "mcp-protocol-version": version } },
    );
    expect([status, body.error]).toEqual([
      400,
      {
        code: -32022,
        message: "Unsupported protocol version",
        data: { supported: ["2026-07-28", "2025-11-25", "2025-06-18"], requested: version },
      },
    ]);
  });

  const name = "lab_get_thing";
  const wrapped = (text: string) => `=?base64?${btoa(text)}?=`;
  it.each([
    ["plain", name],
    ["in white space", `  ${name}  `],
    ["in base64", wrapped(name)],
  ])("takes an Mcp-Name that is %s", async (_, header) => {
    const params = { name, arguments: { id: "7" } };
    const { status, body } = await modern(self, "tools/call", params, { token, headers: { "mcp-name": header } });
    expect([status, body.result.structuredContent.url]).toEqual([200, "/things/7"]);
  });

  it.each([
    ["missing", ""],
    ["another", "lab_list_things"],
    ["another in base64", wrapped("lab_list_things")],
    ["base64 without its padding", wrapped(name).replace("=?=", "?=")],
    ["not base64", "=?base64?!!!?="],
  ])("refuses an Mcp-Name that is %s", async (_, header) => {
    const params = { name, arguments: { id: "7" } };
    const { status, body } = await modern(self, "tools/call", params, { token, headers: { "mcp-name": header } });
    expect([status, body.error?.code]).toEqual([400, -32020]);
  });

  it("sends one event to a client that takes nothing but a stream", async () => {
    const { status, headers, body } = await modern(
      self,
      "server/discover",
      {},
      { token, headers: { accept: "text/event-stream" } },
    );
    expect([status, headers.get("content-type"), headers.get("x-accel-buffering")]).toEqual([
      200,
      "text/event-stream",
      "no",
    ]);
    const [event, data, ...end] = (body as string).split("\n");
    expect([event, end]).toEqual(["event: message", ["", ""]]);
    expect(JSON.parse(data!.slice("data: ".length))).toMatchObject({ id: 1, result: { resultType: "complete" } });
  });

  it("refuses a client that takes neither JSON nor a stream", async () => {
    const { status, body } = await modern(self, "server/discover", {}, { token, headers: { accept: "text/html" } });
    expect([status, body.error.code]).toEqual([406, -32600]);
  });
});

describe("POST /mcp of the older revisions", () => {
  it.each([
    ["2025-11-25", "2025-11-25"],
    ["2025-06-18", "2025-06-18"],
    ["2024-11-05", "2025-11-25"],
    ["2026-07-28", "2025-11-25"],
  ])("is initialized with %s as %s, without a session", async (wanted, got) => {
    const params = { protocolVersion: wanted, capabilities: {}, clientInfo: { name: "test", version: "1" } };
    const { status, headers, body } = await legacy(self, "initialize", params, { token, headers: {} });
    expect([status, headers.get("mcp-session-id"), body.result.protocolVersion]).toEqual([200, null, got]);
    expect(body.result).toMatchObject({ serverInfo: { name: "agentauth" }, capabilities: { tools: {} } });
    expect(body.result).not.toHaveProperty("resultType");
  });

  it("accepts notifications with 202 and no body", async () => {
    const notification = { jsonrpc: "2.0", method: "notifications/initialized" };
    const { status, body } = await raw(JSON.stringify(notification), { "mcp-protocol-version": "2025-06-18" });
    expect([status, body]).toEqual([202, ""]);
  });

  it("answers ping, lists and calls without what only the newest revision has", async () => {
    expect((await legacy(self, "ping", {}, { token })).body).toEqual({ jsonrpc: "2.0", id: 1, result: {} });
    const listed = await legacy(self, "tools/list", {}, { token });
    expect(Object.keys(listed.body.result)).toEqual(["tools"]);
    const called = await legacy(self, "tools/call", { name: "lab_get_thing", arguments: { id: "7" } }, { token });
    expect(called.body.result.structuredContent).toMatchObject({ method: "GET", url: "/things/7" });
    expect(called.body.result).not.toHaveProperty("resultType");
  });

  it("answers a method that it does not have with 200 and an error, also server/discover", async () => {
    for (const method of ["logging/setLevel", "server/discover"]) {
      const { status, body } = await legacy(self, method, {}, { token });
      expect([status, body.error.code]).toEqual([200, -32601]);
    }
  });

  it("refuses a version that it does not know", async () => {
    const { status, body } = await legacy(
      self,
      "tools/list",
      {},
      { token, headers: { "mcp-protocol-version": "2025-03-26" } },
    );
    expect([status, body.error.code]).toEqual([400, -32022]);
  });
});

describe("what is no message", () => {
  const deep = `{"jsonrpc":"2.0","id":1,"method":"ping","params":${'{"a":'.repeat(200)}1${"}".repeat(200)}}`;
  it.each<[string, string, number, number]>([
    ["no JSON", "{", 400, -32700],
    ["a batch", '[{"jsonrpc":"2.0","id":1,"method":"ping"}]', 400, -32600],
    ["an empty batch", "[]", 400, -32600],
    ["a text", '"ping"', 400, -32600],
    ["null", "null", 400, -32600],
    ["another version of JSON-RPC", '{"jsonrpc":"1.0","id":1,"method":"ping"}', 400, -32600],
    ["an id that is null", '{"jsonrpc":"2.0","id":null,"method":"ping"}', 400, -32600],
    ["an id that is an object", '{"jsonrpc":"2.0","id":{},"method":"ping"}', 400, -32600],
    ["an id that is no whole number", '{"jsonrpc":"2.0","id":1.5,"method":"ping"}', 400, -32600],
    ["a response", '{"jsonrpc":"2.0","id":1,"result":{}}', 400, -32600],
    ["params that are a list", '{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', 400, -32602],
    ["params that are too deep", deep, 400, -32600],
    ["nothing", "", 400, -32700],
    ["longer than a megabyte", `{"jsonrpc":"2.0","id":1,"method":"${"x".repeat(1024 * 1024)}"}`, 413, -32600],
  ])("%s is refused", async (_, text, status, code) => {
    const answer = await raw(text);
    expect([answer.status, answer.body.jsonrpc, answer.body.error?.code]).toEqual([status, "2.0", code]);
  });

  it("is not UTF-8", async () => {
    const answer = await raw(new Uint8Array([0x7b, 0xff, 0x7d]));
    expect([answer.status, answer.body.error.code]).toEqual([400, -32700]);
  });

  it("is declared as another type than JSON", async () => {
    const answer = await raw('{"jsonrpc":"2.0","id":1,"method":"ping"}', { "content-type": "text/plain" });
    expect([answer.status, answer.body.error.code]).toEqual([415, -32600]);
  });

  it.each(["GET", "DELETE", "PUT"])("comes by %s: 405", async (method) => {
    const { status, headers } = await self.call("/mcp", { method, token });
    expect([status, headers.get("allow")]).toEqual([405, "POST, OPTIONS"]);
  });
});

describe("the origin of a page", () => {
  const from = (where: typeof self, origin: string) =>
    modern(where, "server/discover", {}, { token, headers: { origin } });

  it("is this deployment's, or one of CORS_ORIGINS", async () => {
    const other = world({ CORS_ORIGINS: "https://console.example.com" });
    expect((await from(self, "https://auth.example.com")).status).toBe(200);
    expect((await from(other, "https://console.example.com")).status).toBe(200);
  });

  it.each(["https://evil.example", "null", "https://auth.example.com.evil.example", "http://auth.example.com"])(
    "is not %s: 403, before the token is looked at",
    async (origin) => {
      const { status, body } = await from(self, origin);
      expect([status, body.code]).toEqual([403, "origin_not_allowed"]);
      const without = await modern(self, "server/discover", {}, { headers: { origin } });
      expect([without.status, without.body.code]).toEqual([403, "origin_not_allowed"]);
    },
  );

  it("is refused in local development with a host by which a page reached this machine", async () => {
    const local = world({ ENVIRONMENT: "development", ISSUER: "http://localhost:8787" });
    const at = (url: string, origin: string) =>
      modern(local, "server/discover", {}, { path: url, headers: { origin } });
    expect((await at("http://evil.example/mcp", "http://evil.example")).status).toBe(421);
    expect((await at("http://localhost:8787/mcp", "http://evil.example")).status).toBe(421);
    // As far as the token.
    expect((await at("http://127.0.0.1:8787/mcp", "http://localhost:8787")).status).toBe(401);
  });
});

describe("the sender", () => {
  it("needs a token, in the header alone", async () => {
    const { status, headers, body } = await modern(self, "tools/list");
    expect([status, body.code]).toEqual([401, "missing_token"]);
    expect(headers.get("www-authenticate")).toMatch(/^Bearer /);
    const inQuery = await modern(self, "tools/list", {}, { path: `/mcp?access_token=${token}` });
    expect([inQuery.status, inQuery.body.code]).toEqual([401, "missing_token"]);
    const inBody = await modern(self, "tools/list", { access_token: token });
    expect([inBody.status, inBody.body.code]).toEqual([401, "missing_token"]);
  });

  it("is a stranger, whose body is not read", async () => {
    const body = new ReadableStream({
      pull() {
        throw new Error("read");
      },
    });
    const { status } = await self.call("/mcp", {
      method: "POST",
      body,
      headers: { "content-type": "application/json" },
    });
    expect(status).toBe(401);
  });

  it("has nothing any more after a revocation, not a list and not a call", SLOW, async () => {
    const strict = world({ STANDING_TTL_SECONDS: "0" });
    const ended = await strict.agent();
    await strict.call(`/agents/revoke-tokens`, { method: "POST", token: ended.token });
    for (const [method, params] of [
      ["tools/list", {}],
      ["server/discover", {}],
      ["unknown/method", {}],
      ["tools/call", { name: "lab_get_thing", arguments: { id: "1" } }],
      ["tools/call", { name: "lab_get_thing", arguments: {} }],
      ["tools/call", { name: "nothing" }],
    ] as const) {
      const { status, body } = await modern(strict, method, params, { token: ended.token });
      expect([method, status, body.code]).toEqual([method, 401, "token_revoked"]);
    }
  });

  it("is counted once for each message, whatever it is", SLOW, async () => {
    const keys: string[] = [];
    const counting = world({
      RATE_FREE: { limit: async ({ key }: { key: string }) => ({ success: keys.push(key) > 0 }) },
    });
    const { id, token: own } = await counting.agent(["lab:things:read"]);
    const read = { name: "lab_get_thing", arguments: { id: "1" } };
    for (const [method, params] of [
      ["tools/list", {}],
      ["tools/call", read],
      ["tools/call", { name: "lab_get_thing", arguments: { id: ".." } }],
      ["tools/call", { name: "my_activity" }],
      ["tools/call", { name: "nothing" }],
      ["unknown/method", {}],
      ["tools/list", { _meta: {} }],
    ] as const) {
      keys.splice(0);
      await modern(counting, method, params, { token: own });
      expect([method, keys.filter((key) => key === id)]).toEqual([method, [id]]);
    }
  });
});
