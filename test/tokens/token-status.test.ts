import { env } from "cloudflare:workers";
import { decodeJwt } from "jose";
import { afterEach, beforeEach, describe, expect, inject, it, vi } from "vitest";
import type { Agent } from "../../src/agents/agent.ts";
import { evaluateTokenStatus } from "../../src/tokens/token-status.ts";
import { world, type World } from "../support/world.ts";

const down = (): never => {
  throw new Error("D1_ERROR: Network connection lost.");
};
const failingDatabase = { prepare: down, batch: down };
const failingKv = { get: () => Promise.reject(new Error("KV down")), put: () => Promise.reject(new Error("KV down")) };

const read = (where: World, token: string) => where.call("/proxy/lab/things/1", { token });

beforeEach(() => void vi.useFakeTimers({ toFake: ["Date"] }));
afterEach(() => void vi.useRealTimers());

describe("where D1 does not answer", () => {
  it("nobody passes: 503, on every path that has to decide", async () => {
    const { id, apiKey, token, refreshToken } = await world().agent(["lab:things:read", "lab:things:write"]);
    const admin = await world().admin();
    const failing = world({ DB: failingDatabase });
    vi.setSystemTime(Date.now() + 6000);
    const calls: [string, RequestInit & { token?: string; json?: unknown }][] = [
      ["/proxy/lab/things/1", { token }],
      ["/proxy/lab/things/1", { token, method: "DELETE" }],
      [`/agents/${id}`, { token }],
      [`/agents/${id}/activity`, { token }],
      ["/agents", { token: admin.token }],
      ["/agents/revoke-tokens", { token, method: "POST" }],
      ["/agents/verify", { method: "POST", json: { agent_id: id, api_key: apiKey } }],
      ["/agents/refresh", { method: "POST", json: { refresh_token: refreshToken } }],
      ["/agents/register", { method: "POST", json: { name: "agent", owner_email: "a@example.com" } }],
    ];
    for (const [path, init] of calls) {
      const { status, headers, body } = await failing.call(path, init);
      expect([path, status]).toEqual([path, 503]);
      expect(headers.get("retry-after")).toBe("1");
      expect(JSON.stringify(body)).not.toContain("D1_ERROR");
    }
    expect((await read(world(), token)).status).toBe(200);
  });

  it("a read passes while the agent's status is cached, and no longer", async () => {
    const { token } = await world().agent();
    expect((await read(world(), token)).status).toBe(200);
    const failing = world({ DB: failingDatabase });
    vi.setSystemTime(Date.now() + 4999);
    expect((await read(failing, token)).status).toBe(200);
    vi.setSystemTime(Date.now() + 1);
    expect((await read(failing, token)).body.code).toBe("standing_unknown");
  });

  it("a revocation that KV knows is still refused as one", async () => {
    const { id, token } = await world().agent();
    await env.REVOCATIONS.put(`below:${id}`, "2");
    expect((await read(world({ DB: failingDatabase, STANDING_TTL_SECONDS: "1" }), token)).body.code).toBe(
      "token_revoked",
    );
  });

  it("a KV that does not answer either revokes nobody: 503, and the token is good once the database is back", async () => {
    const { token } = await world().agent();
    const REVOCATIONS = { ...failingKv, get: () => new Promise<never>(() => {}) };
    const { status, body } = await read(world({ DB: failingDatabase, REVOCATIONS }), token);
    expect([status, body.code]).toEqual([503, "standing_unknown"]);
    expect((await read(world(), token)).status).toBe(200);
  });

  it("both failing refuse everybody", async () => {
    const { token } = await world().agent();
    const { status } = await read(world({ DB: failingDatabase, REVOCATIONS: failingKv }), token);
    expect(status).toBe(503);
  });
});

describe("where only KV does not answer", () => {
  it("D1 decides: an active agent passes, a revoked one does not", async () => {
    const failing = world({ REVOCATIONS: failingKv, STANDING_TTL_SECONDS: "1" });
    const { id, token } = await failing.agent();
    expect((await read(failing, token)).status).toBe(200);
    const admin = await failing.admin();
    expect((await failing.call(`/agents/${id}/revoke`, { method: "POST", token: admin.token })).status).toBe(200);
    vi.setSystemTime(Date.now() + 1000);
    expect((await read(failing, token)).status).toBe(401);
  });
});

describe("KV's silence", () => {
  it("proves nothing: what only D1 knows is in force", async () => {
    const self = world();
    const { id, token } = await self.agent();
    await self.env.DB.prepare("UPDATE agents SET status = 'suspended' WHERE id = ?1").bind(id).run();
    expect(await env.REVOCATIONS.get(`below:${id}`)).toBeNull();
    expect((await read(self, token)).status).toBe(401);
  });
});

describe("the isolate's cache of statuses", () => {
  const open = async (where: World, { id, apiKey }: { id: string; apiKey: string }) => {
    const { body } = await where.call("/agents/verify", { method: "POST", json: { agent_id: id, api_key: apiKey } });
    return body.token as { access_token: string };
  };
  const end = (token: string) =>
    env.DB.prepare("UPDATE sessions SET ended_at = created_at WHERE id = ?1").bind(decodeJwt(token).sid).run();

  it("of one session lets no other session of that agent pass", async () => {
    const self = world();
    const agent = await self.agent();
    const [first, second] = [agent.token, (await open(self, agent)).access_token];
    await end(first);
    expect((await read(self, second)).status).toBe(200);
    expect((await read(self, first)).body.code).toBe("token_revoked");
    expect((await read(self, second)).status).toBe(200);
  });

  it("of an ended session ends no other session of that agent", async () => {
    const self = world();
    const agent = await self.agent();
    const [first, second] = [agent.token, (await open(self, agent)).access_token];
    await end(first);
    expect((await read(self, first)).body.code).toBe("token_revoked");
    expect((await read(self, second)).status).toBe(200);
  });

  it.each([
    ["a write", "PUT", "/api/v2/tickets/1"],
    ["a write that embeds what it may only read", "PUT", "/api/v2/tickets/1?include=users"],
  ])("does not count for %s", async (_, method, path) => {
    const self = world({
      "UPSTREAMS.zendesk": { base_url: inject("upstream") },
      UPSTREAM_ZENDESK_TOKEN: "oauth-token",
    });
    const agent = await self.agent(["zendesk:tickets:read", "zendesk:tickets:write", "zendesk:users:read"]);
    const call = (how: string) => self.call(`/proxy/zendesk${path}`, { method: how, token: agent.token });
    expect((await call("GET")).status).toBe(200);
    expect((await call(method)).status).toBe(200);
    // Ended where only the database knows it.
    await end(agent.token);
    expect((await call("GET")).status).toBe(200);
    expect((await call(method)).body.code).toBe("token_revoked");
  });
});

describe("the status of a token", () => {
  const agent = { id: "agt_a", status: "active", tokenVersion: 2 } as unknown as Agent;

  it.each([
    ["a good agent and session", { agent, linkStands: true }, "good"],
    ["no such agent", undefined, "revoked"],
    ["a session that ended", { agent, linkStands: false }, "revoked"],
    ["an inactive agent", { agent: { ...agent, status: "inactive" as const }, linkStands: true }, "revoked"],
    ["a suspended agent", { agent: { ...agent, status: "suspended" as const }, linkStands: true }, "revoked"],
    ["a version below the agent's", { agent: { ...agent, tokenVersion: 3 }, linkStands: true }, "revoked"],
    ["a version above the agent's", { agent: { ...agent, tokenVersion: 1 }, linkStands: true }, "revoked"],
  ])("%s: %s", (_, record, state) => {
    const good = { agent, linkStands: true, keyAllowedIps: null, keyId: null };
    const own = record && { ...good, ...record };
    expect(evaluateTokenStatus({ links: [{ version: 2 }], boundTo: null }, [own]).state).toBe(state);
    // Of a chain, each link has to be good.
    const links = [{ version: 2 }, { version: 2 }, { version: 2 }];
    for (const at of links.keys()) {
      expect(evaluateTokenStatus({ links, boundTo: null }, [good, good, good].with(at, own as never)).state).toBe(
        state,
      );
    }
    expect(evaluateTokenStatus({ links, boundTo: null }, [own, own]).state).toBe("revoked");
  });

  it("of no agent is none, and of agents of which one needs a bound token is that of a bound one only", () => {
    expect(evaluateTokenStatus({ links: [], boundTo: null }, []).state).toBe("revoked");
    const good = { agent, linkStands: true, keyAllowedIps: null, keyId: null };
    const strict = { ...good, agent: { ...agent, requiresDpop: true } };
    const links = [{ version: 2 }, { version: 2 }];
    for (const records of [
      [strict, good],
      [good, strict],
    ]) {
      expect(evaluateTokenStatus({ links, boundTo: null }, records).state).toBe("revoked");
      expect(evaluateTokenStatus({ links, boundTo: "jkt" }, records).state).toBe("good");
    }
  });
});
