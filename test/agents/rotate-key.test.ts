import { afterEach, describe, expect, it, vi } from "vitest";
import { isApiKey, newApiKey } from "../../src/agents/api-key.ts";
import { world, type Registered, type World } from "../support/world.ts";
import { SLOW } from "../support/extents.ts";

afterEach(() => void vi.useRealTimers());

const verify = (where: World, id: string, apiKey: string) =>
  where.call("/agents/verify", { method: "POST", json: { agent_id: id, api_key: apiKey } });
const rotate = (where: World, who: Registered, id = who.id, json?: unknown) =>
  where.call(`/agents/${id}/rotate-key`, {
    method: "POST",
    token: who.token,
    headers: { "content-type": "application/json" },
    ...(json !== undefined && { json }),
  });

describe("an API key", () => {
  it("has a checksum that detects a typing error without a request", () => {
    for (let i = 0; i < 200; i++) {
      const key = newApiKey();
      expect(isApiKey(key)).toBe(true);
      const at = 3 + (i % 49);
      const other = key[at] === "A" ? "B" : "A";
      expect(isApiKey(key.slice(0, at) + other + key.slice(at + 1))).toBe(false);
    }
    expect(new Set(Array.from({ length: 200 }, newApiKey)).size).toBe(200);
    for (const wrong of ["", "ak_", `sk_${newApiKey().slice(3)}`, `${newApiKey()} `, newApiKey().slice(0, -1)]) {
      expect(isApiKey(wrong)).toBe(false);
    }
  });

  it("is kept as a keyed hash only", async () => {
    const self = world();
    const { id, apiKey } = await self.agent();
    const { results } = await self.env.DB.prepare("SELECT * FROM api_keys WHERE agent_id = ?1").bind(id).all();
    expect(results).toHaveLength(1);
    expect(JSON.stringify(results)).not.toContain(apiKey.slice(3, 20));
    expect((await verify(world({ SECRET_PEPPER: "another-pepper-0123456789-0123456789" }), id, apiKey)).status).toBe(
      401,
    );
  });

  it("of another agent proves nothing", async () => {
    const self = world();
    const [one, other] = [await self.agent(), await self.agent()];
    expect((await verify(self, one.id, other.apiKey)).status).toBe(401);
  });
});

describe("rotating a key", () => {
  it("gives a fresh one while the former stays good for the overlap, and no longer", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const self = world();
    const agent = await self.agent();
    const { status, body } = await rotate(self, agent, agent.id, { overlap_seconds: 60 });
    expect(status).toBe(200);
    expect(Object.keys(body).sort()).toEqual(["credentials", "message", "previous_key_expires_at", "success"]);
    expect(Object.keys(body.credentials).sort()).toEqual(["api_key", "token_type"]);
    expect(isApiKey(body.credentials.api_key)).toBe(true);
    expect(body.previous_key_expires_at).toBe(new Date(Date.now() + 60_000).toISOString());
    for (const key of [agent.apiKey, body.credentials.api_key]) {
      expect((await verify(self, agent.id, key)).status).toBe(200);
    }
    expect((await self.call(`/agents/${agent.id}`, { token: agent.token })).status).toBe(200);
    vi.setSystemTime(Date.now() + 60_000);
    expect((await verify(self, agent.id, agent.apiKey)).status).toBe(401);
    expect((await verify(self, agent.id, body.credentials.api_key)).status).toBe(200);
  });

  it("needs no body: the former key is good for an hour", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const self = world();
    const agent = await self.agent();
    const { status, body } = await rotate(self, agent);
    expect(status).toBe(200);
    expect(body.previous_key_expires_at).toBe(new Date(Date.now() + 3_600_000).toISOString());
  });

  it("without an overlap ends the former key and every session that it opened", SLOW, async () => {
    const self = world();
    const agent = await self.agent();
    const { body } = await rotate(self, agent, agent.id, { overlap_seconds: 0 });
    expect((await verify(self, agent.id, agent.apiKey)).status).toBe(401);
    expect((await self.call(`/agents/${agent.id}`, { token: agent.token })).status).toBe(401);
    const refreshed = await self.call("/agents/refresh", {
      method: "POST",
      json: { refresh_token: agent.refreshToken },
    });
    expect(refreshed.status).toBe(401);
    const fresh = await verify(self, agent.id, body.credentials.api_key);
    expect(fresh.status).toBe(200);
    expect((await self.call(`/agents/${agent.id}`, { token: fresh.body.token.access_token })).status).toBe(200);
  });

  it("never lengthens the life of a key", SLOW, async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const self = world();
    const agent = await self.agent();
    await rotate(self, agent, agent.id, { overlap_seconds: 60 });
    const keys = [];
    for (let i = 0; i < 6; i++) {
      vi.setSystemTime(Date.now() + 1);
      keys.push((await rotate(self, agent, agent.id, { overlap_seconds: 3000 })).body.credentials.api_key);
    }
    const good = [];
    for (const key of [agent.apiKey, ...keys]) good.push((await verify(self, agent.id, key)).status === 200);
    expect(good).toEqual(good.map(() => true));
    vi.setSystemTime(Date.now() + 61_000);
    expect((await verify(self, agent.id, agent.apiKey)).status).toBe(401);
  });

  it("is the agent's own business and the admins'; a revoked agent gets none", async () => {
    const self = world();
    const [agent, other, admin] = [await self.agent(), await self.agent(), await self.admin()];
    expect((await rotate(self, other, agent.id)).status).toBe(403);
    expect((await rotate(self, admin, agent.id)).status).toBe(200);
    expect((await rotate(self, admin, "agt_none")).status).toBe(404);
    await self.call(`/agents/${agent.id}/revoke`, { method: "POST", token: admin.token });
    expect((await rotate(self, admin, agent.id)).body.code).toBe("agent_revoked");
    const { results } = await self.env.DB.prepare("SELECT * FROM api_keys WHERE agent_id = 'agt_none'").all();
    expect(results).toEqual([]);
  });

  it.each([
    [{ overlap_seconds: -1 }],
    [{ overlap_seconds: 1.5 }],
    [{ overlap_seconds: "60" }],
    [{ overlap_seconds: 2_592_001 }],
    [[]],
  ])("refuses %j", async (json) => {
    const self = world();
    const agent = await self.agent();
    expect((await rotate(self, agent, agent.id, json)).status).toBe(400);
    expect((await verify(self, agent.id, agent.apiKey)).status).toBe(200);
  });
});
