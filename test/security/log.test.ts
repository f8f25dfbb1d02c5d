import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { testSecrets } from "../support/secrets.ts";
import { WRONG_API_KEY } from "../support/secrets.ts";
import { world } from "../support/world.ts";
import { SLOW } from "../support/extents.ts";

const METHODS = ["log", "info", "warn", "error", "debug"] as const;
let lines: string[] = [];

beforeEach(() => {
  lines = [];
  for (const method of METHODS) {
    vi.spyOn(console, method).mockImplementation(
      (...values: unknown[]) => void lines.push(values.map(String).join(" ")),
    );
  }
});
afterEach(() => void vi.restoreAllMocks());

const lastLine = () => JSON.parse(lines.at(-1)!) as Record<string, unknown>;

describe("the log", () => {
  it("has a line for every refusal with who, what and why, and none for a success", async () => {
    const self = world();
    const agent = await self.agent();
    expect(lines).toEqual([]);
    const refused = await self.call("/proxy/lab/things", { method: "POST", token: agent.token });
    expect(refused.status).toBe(403);
    expect(lines).toHaveLength(1);
    expect(lastLine()).toEqual({
      request_id: refused.body.request_id,
      method: "POST",
      path: "/proxy/lab/things",
      status: 403,
      code: "insufficient_permissions",
      agent_id: agent.id,
      duration_ms: expect.any(Number),
      took_ms: { status: expect.any(Number) },
    });
    const asked = await self.call("/agents", { token: agent.token });
    expect([asked.status, lastLine().agent_id]).toEqual([403, agent.id]);
    await self.call("/agents/revoke-tokens", { method: "POST", token: agent.token });
    await self.call("/agents", { token: agent.token });
    expect(lastLine()).toMatchObject({ status: 401, code: "token_revoked", agent_id: agent.id });
    await self.call("/agents", { token: "garbage" });
    expect(lastLine()).toMatchObject({ method: "GET", path: "/agents", status: 401, code: "invalid_token" });
    await self.call("/agents/verify", { method: "POST", json: { agent_id: agent.id, api_key: WRONG_API_KEY } });
    expect(lastLine()).toMatchObject({ path: "/agents/verify", status: 401 });
    await self.call("/agents/register", { method: "POST", json: {} });
    expect(lastLine()).toMatchObject({ path: "/agents/register", status: 400, code: "validation_error" });
  });

  it("holds no secret, whatever is refused, and wherever it was sent", SLOW, async () => {
    const self = world();
    const [agent, admin] = [await self.agent(), await self.admin()];
    const { id, apiKey, token, refreshToken } = agent;
    const secrets = [apiKey, token, refreshToken, admin.token, ...Object.values(testSecrets), "s3cret"];
    const bodies = [
      "{",
      "s3cret",
      JSON.stringify({ agent_id: id, api_key: `${apiKey}x`, name: "s3cret" }),
      JSON.stringify({ refresh_token: `${refreshToken}x` }),
      JSON.stringify({ permissions: ["s3cret"], name: "a name", owner_email: "o@example.com" }),
      JSON.stringify({ url: "https://user:s3cret@hooks.example.com/", events: ["agent.revoked"] }),
    ];
    const paths = [
      "/agents/register",
      "/agents/verify",
      "/agents/refresh",
      "/webhooks",
      `/agents/${id}/rotate-key`,
      "/proxy/lab/things",
      "/proxy/lab/uncovered",
      "/proxy/lab/lab/hangup/x",
      "/proxy/github/repos/o/r/issues",
      "/nowhere",
    ];
    for (const path of paths) {
      for (const body of bodies) {
        const headers = {
          "content-type": "application/json",
          "x-api-key": apiKey,
          cookie: "session=s3cret",
          referer: "https://example.com/?s3cret",
          authorization: `Basic ${btoa(`s3cret:${apiKey}`)}`,
        };
        await self.call(`${path}?access_token=${token}&key=s3cret`, { method: "POST", body, headers });
        await self.call(`${path}?access_token=${token}&key=s3cret`, { method: "POST", body, token });
        await self.call(path, { method: "POST", body, token: `${token.slice(0, -6)}s3cret` });
      }
    }
    expect(lines.length).toBeGreaterThan(100);
    const shown = secrets.filter((secret) => lines.some((line) => line.includes(secret)));
    expect(shown).toEqual([]);
  });

  it("is one line of JSON for each, whatever a stranger writes", async () => {
    const self = world();
    const odd = ["%0a%7b%22status%22%3a200%7d", "%22%2c%22status%22%3a%22200", "%e2%80%a8", "%1b%5b2J", "%00", "é"];
    for (const text of odd) await self.call(`/nowhere/${text}`);
    expect(lines).toHaveLength(odd.length);
    for (const line of lines) {
      expect(line).not.toMatch(/[\n\r\u001b\u2028\u0000]/);
      expect(JSON.parse(line)).toMatchObject({ status: 404, code: "not_found" });
    }
  });

  it("has the cause of what failed here, which the answer does not show", async () => {
    const failure = new Error("SELECT secret FROM agents: near 'x': syntax error");
    const prepare = () => {
      throw failure;
    };
    const self = world({ DB: { prepare, batch: prepare } });
    const { status, body } = await self.call("/agents/verify", {
      method: "POST",
      json: { agent_id: "agt_x", api_key: WRONG_API_KEY },
    });
    expect([status, body.code, body.title]).toEqual([500, "internal_error", "Internal server error"]);
    expect(JSON.stringify(body)).not.toMatch(/SELECT|syntax|Error:|at /);
    expect(lastLine()).toMatchObject({ request_id: body.request_id, status: 500, cause: `Error: ${failure.message}` });
  });
});
