import { describe, expect, it } from "vitest";
import { world } from "../support/world.ts";

const OURS = {
  "x-content-type-options": "nosniff",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
};

describe("an answer of our own", () => {
  it.each([
    ["a success", "GET", "/permissions/list", 200],
    ["a success that may be cached", "GET", "/.well-known/jwks.json", 200],
    ["health", "GET", "/health", 200],
    ["a refusal", "GET", "/agents", 401],
    ["an unknown path", "GET", "/nowhere", 404],
    ["an unknown method", "PATCH", "/agents", 405],
    ["a refusal of the gateway", "GET", "/proxy/lab/things", 401],
    ["a preflight", "OPTIONS", "/agents", 200],
  ])("runs nowhere and is framed by nobody: %s", async (_, method, path, expected) => {
    const answer = await world().fetch(path, { method });
    expect(answer.status).toBe(expected);
    expect(Object.fromEntries(answer.headers)).toMatchObject(OURS);
    expect(answer.headers.get("content-type")).toMatch(/^application\/json\b/);
    expect(answer.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
    expect(["server", "x-powered-by", "via"].filter((name) => answer.headers.has(name))).toEqual([]);
    await answer.text();
  });

  it("does the same where the deployment is not set up", async () => {
    const answer = await world({ SECRET_PEPPER: "short" }).call("/health");
    expect([answer.status, answer.body.code]).toEqual([503, "misconfigured"]);
    expect(Object.fromEntries(answer.headers)).toMatchObject({ ...OURS, "cache-control": "no-store" });
  });

  it("is stored nowhere, the published keys excepted", async () => {
    const self = world();
    for (const path of ["/health", "/permissions/list", "/agents", "/nowhere", "/proxy/lab/x"]) {
      expect([path, (await self.call(path)).headers.get("cache-control")]).toEqual([path, "no-store"]);
    }
    expect((await self.call("/.well-known/jwks.json")).headers.get("cache-control")).toMatch(/^public, max-age=300/);
  });
});

describe("a proxied page", () => {
  it("cannot run on the gateway's origin, nor set rules for it", async () => {
    const self = world();
    const { token } = await self.agent();
    const { status, headers, body } = await self.call("/proxy/lab/lab/page/x", {
      token,
      headers: { origin: "https://evil.example" },
    });
    expect(status).toBe(200);
    expect(body).toContain("<script>");
    expect(Object.fromEntries(headers)).toMatchObject({
      "content-type": "text/html",
      "content-security-policy": "default-src 'none'; sandbox",
      "x-content-type-options": "nosniff",
      "x-kept": "yes",
    });
    expect(headers.get("cache-control")).toContain("private");
    const dropped = [
      "set-cookie",
      "strict-transport-security",
      "access-control-allow-origin",
      "access-control-allow-credentials",
      "content-security-policy-report-only",
      "clear-site-data",
      "alt-svc",
      "service-worker-allowed",
      "report-to",
      "reporting-endpoints",
      "nel",
      "refresh",
      "accept-ch",
      "speculation-rules",
    ];
    expect(dropped.filter((name) => headers.has(name))).toEqual([]);
    expect(headers.get("access-control-expose-headers") ?? "").not.toContain("*");
  });
});
