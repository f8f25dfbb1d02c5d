import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it, vi } from "vitest";
import { world, type World } from "../support/world.ts";
import { SLOW } from "../support/extents.ts";

afterEach(() => void vi.useRealTimers());

const verify = (where: World, id: string, apiKey: string) =>
  where.call("/agents/verify", { method: "POST", json: { agent_id: id, api_key: apiKey } });
const revokeTokens = (where: World, token: string) =>
  where.call("/agents/revoke-tokens", { method: "POST", token, headers: { "content-type": "application/json" } });

describe("revoke-tokens", () => {
  it("ends every token and session of the caller, and leaves it able to verify", async () => {
    const self = world();
    const { id, apiKey, token, refreshToken } = await self.agent();
    const second = (await verify(self, id, apiKey)).body.token;
    const { status, body } = await revokeTokens(self, token);
    expect(status).toBe(200);
    expect(body).toEqual({ success: true, message: expect.any(String), revoked_at: expect.stringMatching(/Z$/) });
    for (const ended of [token, second.access_token]) {
      expect((await self.call(`/agents/${id}`, { token: ended })).body.code).toBe("token_revoked");
    }
    for (const ended of [refreshToken, second.refresh_token]) {
      const refreshed = await self.call("/agents/refresh", { method: "POST", json: { refresh_token: ended } });
      expect(refreshed.body.code).toBe("session_ended");
    }
    const fresh = await verify(self, id, apiKey);
    expect((await self.call(`/agents/${id}`, { token: fresh.body.token.access_token })).status).toBe(200);
  });

  it("ends a session that was opened within the second of an earlier end", SLOW, async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const self = world();
    const { id, apiKey, token } = await self.agent();
    await revokeTokens(self, token);
    const second = (await verify(self, id, apiKey)).body.token;
    expect((await revokeTokens(self, second.access_token)).status).toBe(200);
    expect((await self.call(`/agents/${id}`, { token: second.access_token })).status).toBe(401);
    const third = (await verify(self, id, apiKey)).body.token;
    expect((await self.call(`/agents/${id}`, { token: third.access_token })).status).toBe(200);
    const refreshed = await self.call("/agents/refresh", {
      method: "POST",
      json: { refresh_token: third.refresh_token },
    });
    expect((await self.call(`/agents/${id}`, { token: refreshed.body.token.access_token })).status).toBe(200);
  });

  it("leaves no session alive that was opened at the same time", SLOW, async () => {
    const self = world();
    const admin = await self.admin();
    for (let round = 0; round < 5; round++) {
      const { id, apiKey, refreshToken } = await self.agent();
      const status = (to: string) =>
        self.call(`/agents/${id}/status`, { method: "PUT", token: admin.token, json: { status: to } });
      const opened = [
        ...Array.from({ length: 6 }, () => verify(self, id, apiKey)),
        self.call("/agents/refresh", { method: "POST", json: { refresh_token: refreshToken } }),
      ];
      opened.splice(round, 0, status("suspended"));
      const answers = (await Promise.all(opened)).filter(({ body }) => body.token);
      // Back in force, so that it is not the status that refuses.
      await status("active");
      for (const { body } of answers) {
        expect((await self.call(`/agents/${id}`, { token: body.token.access_token })).status).toBe(401);
        const json = { refresh_token: body.token.refresh_token };
        expect((await self.call("/agents/refresh", { method: "POST", json })).status).toBe(401);
      }
    }
  });

  it("leaves other agents alone", async () => {
    const self = world();
    const [one, other] = [await self.agent(), await self.agent()];
    await revokeTokens(self, one.token);
    expect((await self.call(`/agents/${other.id}`, { token: other.token })).status).toBe(200);
  });

  it("is written to KV, for as long as a token may live", async () => {
    const self = world();
    const { id, token } = await self.agent();
    await revokeTokens(self, token);
    await expect.poll(() => env.REVOCATIONS.get(`below:${id}`)).not.toBeNull();
    const { keys } = await env.REVOCATIONS.list({ prefix: `below:${id}` });
    expect(keys[0]!.expiration! - Date.now() / 1000).toBeGreaterThan(3590);
  });

  it("takes effect even if KV cannot be written", async () => {
    const self = world({
      REVOCATIONS: {
        get: () => Promise.reject(new Error("KV down")),
        put: () => Promise.reject(new Error("KV down")),
      },
    });
    const { id, token } = await self.agent();
    expect((await revokeTokens(self, token)).status).toBe(200);
    expect((await self.call(`/agents/${id}`, { token })).status).toBe(401);
  });

  it("wants a token", async () => {
    const { status, body } = await world().call("/agents/revoke-tokens", { method: "POST" });
    expect(status).toBe(401);
    expect(body.code).toBe("missing_token");
  });
});
