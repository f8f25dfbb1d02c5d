import { describe, expect, it } from "vitest";
import { world } from "../support/world.ts";

const ORIGIN = "https://console.example.com";
const settings = { CORS_ORIGINS: `${ORIGIN}, https://other.example.com` };
const from = (origin: string, init: RequestInit = {}) => ({ ...init, headers: { ...init.headers, origin } });

describe("a browser on an origin that is named", () => {
  it.each<[status: number, path: string, init?: RequestInit]>([
    [200, "/permissions/list"],
    [400, "/agents/verify", { method: "POST" }],
    [401, "/agents"],
    [401, "/proxy/lab/things"],
    [404, "/nowhere"],
    [405, "/agents", { method: "PATCH" }],
    [413, "/agents/verify", { method: "POST", body: "x".repeat(65_537) }],
    [415, "/agents/verify", { method: "POST", body: "{}", headers: { "content-type": "text/plain" } }],
  ])("may read the %s of %s", async (status, path, init) => {
    const answer = await world(settings).call(path, from(ORIGIN, init));
    expect(answer.status).toBe(status);
    expect(answer.headers.get("access-control-allow-origin")).toBe(ORIGIN);
    expect(answer.headers.get("access-control-allow-credentials")).toBeNull();
    expect(answer.headers.get("access-control-expose-headers")).toContain("Retry-After");
    expect(answer.headers.get("vary")).toMatch(/\borigin\b/i);
  });

  it("is told before what it may send", async () => {
    const asked = { "access-control-request-method": "PUT", "access-control-request-headers": "authorization, x-own" };
    const { status, headers, body } = await world(settings).call(
      "/agents/agt_x/tier",
      from(ORIGIN, { method: "OPTIONS", headers: asked }),
    );
    expect([status, body]).toEqual([200, {}]);
    expect(Object.fromEntries(headers)).toMatchObject({
      "content-type": "application/json",
      "access-control-allow-origin": ORIGIN,
      "access-control-allow-methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
      "access-control-allow-headers": "authorization, x-own",
      "access-control-max-age": "600",
      vary: expect.stringMatching(/origin/i),
    });
  });

  it("may be any, where all are named", async () => {
    const { headers } = await world({ CORS_ORIGINS: "*" }).call("/agents", from("https://anybody.example"));
    expect(headers.get("access-control-allow-origin")).toBe("*");
  });
});

describe("a browser on any other origin", () => {
  it.each([
    "https://evil.example",
    "null",
    `${ORIGIN}.evil.example`,
    "http://console.example.com",
    "https://CONSOLE.example.com",
  ])("may read nothing: %s", async (origin) => {
    for (const path of ["/permissions/list", "/agents", "/nowhere"]) {
      const { headers } = await world(settings).call(path, from(origin));
      expect(headers.get("access-control-allow-origin")).toBeNull();
    }
    const method = "OPTIONS";
    const asked = { "access-control-request-method": "PUT", "access-control-request-headers": "authorization" };
    const preflight = await world(settings).call("/agents", from(origin, { method, headers: asked }));
    expect([preflight.status, preflight.headers.get("access-control-allow-origin")]).toEqual([200, null]);
  });
});
