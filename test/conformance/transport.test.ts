import { beforeAll, describe, expect, inject, it } from "vitest";
import { admin, call, isError, newAgent, withAdmin, type Agent } from "./client.ts";
import { ENDPOINTS, requestOf } from "./contract.ts";

withAdmin();

const METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH"];
const byPath = Map.groupBy(Object.keys(ENDPOINTS), (endpoint) => endpoint.split(" ")[1]!);
let agent: Agent;
beforeAll(async () => {
  agent = await newAgent();
});

describe("a method that a path does not have", () => {
  it.each([...byPath])("%s: 405 with Allow", async (_, endpoints) => {
    const methods = endpoints.map((endpoint) => requestOf(endpoint).method);
    const { path } = requestOf(endpoints[0]!);
    for (const method of METHODS.filter((one) => !methods.includes(one))) {
      const answer = await call(method, path, { token: admin.token });
      // OAuth's endpoints have a shape of errors of their own (RFC 6749 §5.2).
      if (Object.hasOwn(answer.body, "error_description")) expect(path).toMatch(/^\/oauth\//);
      else isError(answer, 405);
      expect(answer.status).toBe(405);
      const allowed = answer.headers.get("allow")!.split(", ");
      expect(allowed).toEqual(expect.arrayContaining(methods));
      expect(allowed).not.toContain(method);
    }
  });
});

describe("a path that is not there", () => {
  it.each([
    "/nowhere",
    "/agents/x/y/z",
    "/webhooks/x/y",
    "/v1/agents",
    "/.well-known/nothing",
    "/%",
    "/.git/config",
    "/.dev.vars",
    "/_headers",
    "/wrangler.toml",
  ])("%s: 404 in JSON", async (path) => isError(await call("GET", path, { token: admin.token }), 404));
});

describe("the reference", () => {
  it("is served, as what it is, where there are assets", async ({ skip }) => {
    for (const [path, type] of [
      ["/docs", "text/html; charset=utf-8"],
      ["/openapi.json", "application/json"],
    ] as const) {
      const { status, headers } = await call("GET", path);
      skip(status === 404, "a Worker without assets");
      expect([status, headers.get("content-type")]).toEqual([200, type]);
      expect(headers.get("x-content-type-options")).toBe("nosniff");
    }
  });

  it.each(["/docs", "/openapi.json"])(
    "%s is read only, and what is not there is refused like anything else",
    async (path) => {
      const { headers, ...answer } = await call("POST", path, { json: {} });
      isError({ headers, ...answer }, 405);
      expect(headers.get("allow")).toBe("GET, HEAD, OPTIONS");
      isError(await call("GET", "/docs/nothing.js"), 404);
    },
  );
});

describe("a static path", () => {
  it("wins over a parameter in its place", async () => {
    expect((await call("GET", "/webhooks/events")).body).toHaveProperty("events");
    isError(await call("GET", "/agents/register", { token: admin.token }), 405);
    isError(await call("DELETE", "/agents/verify", { token: admin.token }), 405);
  });
});

describe("an empty body", () => {
  const empty = ["POST /agents/revoke-tokens", "POST /agents/{id}/revoke", "POST /agents/{id}/rotate-key"] as const;
  it.each(empty)("%s: is no error, with a JSON content type and without any", async (endpoint) => {
    for (const headers of [{}, { "content-type": "" }]) {
      const { id, token } = await newAgent();
      const { method, path } = requestOf(endpoint, { id });
      const answer = await call(method, path, { token, headers });
      expect([answer.status, answer.body.success]).toEqual([200, true]);
    }
  });

  it("is none on GET and DELETE either", async () => {
    expect((await call("GET", `/agents/${agent.id}`, { token: agent.token })).status).toBe(200);
    isError(await call("DELETE", "/webhooks/none", { token: agent.token }), 404);
  });

  it("is one where something is required", async () => {
    for (const path of ["/agents/register", "/agents/verify", "/agents/refresh"])
      isError(await call("POST", path), 400);
    isError(await call("POST", "/webhooks", { token: agent.token }), 400);
  });
});

const WITH_BODY = [
  ["POST", "/agents/register"],
  ["POST", "/agents/verify"],
  ["POST", "/agents/refresh"],
  ["PUT", "/agents/{id}/tier"],
  ["PUT", "/agents/{id}/status"],
  ["PUT", "/agents/{id}/permissions"],
  ["POST", "/agents/{id}/rotate-key"],
  ["POST", "/webhooks"],
] as const;

describe.each(WITH_BODY)("a body of %s %s", (method, template) => {
  const send = (raw: string, headers?: Record<string, string>) => {
    const { path } = requestOf(`${method} ${template}`, { id: agent.id });
    return call(method, path, { token: admin.token, raw, ...(headers && { headers }) });
  };

  it("that is not JSON is 400", async () => {
    for (const raw of ["{", "{'name': 1}", "nul", '{"a":1}}', "\u0000", '{"a":NaN}']) isError(await send(raw), 400);
  });

  it("that is JSON, but no object of the right shape, is 400", async () => {
    const odd = [
      "null",
      "[]",
      "1",
      '"text"',
      "true",
      "[[[[]]]]",
      '{"__proto__":{"admin":true}}',
      `[${"[".repeat(2000)}${"]".repeat(2000)}]`,
    ];
    for (const raw of odd) {
      isError(await send(raw), 400);
    }
  });

  it("with a field that nobody knows is 400 that names it, and so is such a query", async () => {
    const body = await send('{"unheard_of":1}');
    isError(body, 400, "unknown_field");
    expect(body.body.message).toContain("unheard_of");
    const { path } = requestOf(`${method} ${template}`, { id: agent.id });
    const query = await call(method, `${path}?unheard_of=1`, { token: admin.token, json: {} });
    isError(query, 400, "unknown_parameter");
    expect(query.body.message).toContain("unheard_of");
  });

  it("with a number for each text is 400", async () => {
    const raw = JSON.stringify({
      name: 1,
      owner_email: 1,
      agent_id: 1,
      api_key: 1,
      refresh_token: 1,
      url: 1,
      events: 1,
      tier: 1,
      status: 1,
      permissions: 1,
      overlap_seconds: "1",
    });
    isError(await send(raw), 400);
  });

  it("over 64 KB is 413", async () => {
    isError(await send(JSON.stringify({ name: "x".repeat(65_536) })), 413);
  });

  it("of another type is 415", async () => {
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]) {
      isError(await send("{}", { "content-type": type }), 415);
    }
  });
});

describe("every answer", () => {
  it("carries a request id, is not guessed at and is not stored", async () => {
    for (const path of ["/health", "/nowhere", "/agents", "/permissions/list"]) {
      const { headers } = await call("GET", path);
      expect(headers.get("x-request-id")).toMatch(/\w/);
      expect(headers.get("x-content-type-options")).toBe("nosniff");
      expect(headers.get("cache-control")).toBe("no-store");
    }
  });

  it("to HEAD is that to GET without its body", async () => {
    const answer = await call("HEAD", "/health");
    expect([answer.status, answer.text]).toEqual([200, ""]);
  });

  it("to a preflight says what is allowed, and allows no origin that is not configured", async () => {
    const preflight = (origin: string) =>
      call("OPTIONS", "/agents/verify", { headers: { origin, "access-control-request-method": "POST" } });
    expect((await preflight(inject("target").url)).status).toBe(200);
    const answer = await preflight("https://evil.example");
    // In local development, pages of another machine are refused altogether.
    expect([200, 421]).toContain(answer.status);
    expect(answer.headers.get("access-control-allow-origin")).not.toBe("https://evil.example");
  });
});

/** Every other success of the REST face is a JSON object. */
const NOT_JSON = {
  "GET /audit/export": ["application/jsonl", "text/csv"],
  "GET /metrics": ["application/openmetrics-text"],
};

describe("a success", () => {
  it("is a JSON object, but for exports", async ({ skip }) => {
    const { status, body } = await call("GET", "/openapi.json");
    skip(status === 404, "a Worker without assets");
    const found: Record<string, string[]> = {};
    for (const [path, methods] of Object.entries<Record<string, { responses: Record<string, { content?: object }> }>>(
      body.paths,
    )) {
      if (path.startsWith("/proxy/{service}/")) continue;
      for (const [method, { responses }] of Object.entries(methods)) {
        const types = ["200", "201"].flatMap((code) => Object.keys(responses[code]?.content ?? {}));
        if (types.join() !== "application/json") found[`${method.toUpperCase()} ${path}`] = types;
      }
    }
    expect(found).toMatchObject(NOT_JSON);
    // The paths of MCP and of OAuth have their own standards.
    const own = Object.keys(found).filter((endpoint) => !/ \/(mcp|oauth|\.well-known)/.test(endpoint));
    expect(own).toEqual(Object.keys(NOT_JSON));
  });
});
