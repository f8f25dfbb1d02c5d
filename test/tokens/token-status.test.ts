import { env } from "cloudflare:workers";
import { decodeJwt } from "jose";
import { afterEach, beforeEach, describe, expect, inject, it, vi } from "vitest";
import type { Agent } from "../../src/agents/agent.ts";
import type { TokenLink } from "../../src/authority/token-row.ts";
import type { AccessClaims } from "../../src/tokens/access-token.ts";
import { evaluateTokenStatus, getTokenStatus, isStatusCached } from "../../src/tokens/token-status.ts";
import { held } from "../support/bindings.ts";
import { world, type World } from "../support/world.ts";
import { SLOW } from "../support/extents.ts";

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

  it(
    "a KV that does not answer either revokes nobody: 503, and the token is good once the database is back",
    SLOW,
    async () => {
      const { token } = await world().agent();
      const REVOCATIONS = { ...failingKv, get: () => new Promise<never>(() => {}) };
      const { status, body } = await read(world({ DB: failingDatabase, REVOCATIONS }), token);
      expect([status, body.code]).toEqual([503, "standing_unknown"]);
      expect((await read(world(), token)).status).toBe(200);
    },
  );

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

  it("of an ended session ends no other session of that agent", SLOW, async () => {
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

describe("what the isolate remembers of a token", () => {
  const NOW = 1_000_000;
  const unreachable = { prepare: () => expect.unreachable("D1 is asked"), batch: () => expect.unreachable() } as never;
  const silent = { get: () => expect.unreachable("KV is asked") } as never;
  const linkOf = ({ id, token }: { id: string; token: string }, more: Partial<TokenLink> = {}): TokenLink => ({
    agentId: id,
    version: 1,
    basis: { sessionId: decodeJwt(token).sid as string },
    ...more,
  });
  const claimsOf = (...links: TokenLink[]) =>
    ({ digest: crypto.randomUUID(), boundTo: null, links }) as unknown as AccessClaims;
  const status = async (claims: AccessClaims, now = NOW, { db = env.DB, revocations = env.REVOCATIONS } = {}) =>
    (await getTokenStatus({ db, revocations }, { claims, now, maxAge: 5000 })).state;
  const isCached = (claims: AccessClaims, now = NOW, maxAge = 5000) => isStatusCached({ claims, now, maxAge });
  const setVersion = (id: string, version: number) =>
    env.DB.prepare("UPDATE agents SET token_version = ?2 WHERE id = ?1").bind(id, version).run();
  const endToken = (jti: string) =>
    env.DB.prepare("INSERT INTO ended_tokens (jti, expires_at) VALUES (?1, 9e15)").bind(jti).run();

  it("is as old as is asked for, of no later time, and of no older version of its agents", async () => {
    const [one, other] = [await world().agent(), await world().agent()];
    const claims = claimsOf(linkOf(one), linkOf(other));
    expect(isCached(claims)).toBe(false);
    expect(await status(claims)).toBe("good");
    for (const [now, maxAge, cached] of [
      [NOW, 5000, true],
      [NOW + 4999, 5000, true],
      [NOW + 5000, 5000, false],
      [NOW - 1, 5000, false],
      [NOW, 0, false],
    ] as const) {
      expect([now, maxAge, isCached(claims, now, maxAge)]).toEqual([now, maxAge, cached]);
    }
    expect(await status(claims, NOW + 1, { db: unreachable, revocations: silent })).toBe("good");
    for (const newer of [
      [linkOf(one, { version: 2 }), linkOf(other)],
      [linkOf(one), linkOf(other, { version: 2 })],
    ]) {
      expect(isCached(claimsOf(...newer))).toBe(false);
      expect(await status(claimsOf(...newer))).toBe("revoked");
    }
    // An older token is revoked by the same records, and so is not good by them.
    await setVersion(other.id, 2);
    const second = claimsOf(linkOf(one), linkOf(other, { version: 2 }));
    expect(await status(second)).toBe("good");
    expect([isCached(second), isCached(claims)]).toEqual([true, false]);
  });

  it("is of this token, this session and this exchange only", async () => {
    const agent = await world().agent();
    const exchanged = (jti: string) => claimsOf(linkOf(agent, { exchanged: jti }));
    const [good, ended] = [crypto.randomUUID(), crypto.randomUUID()];
    await endToken(ended);
    expect(await status(exchanged(good))).toBe("good");
    expect([isCached(exchanged(good)), isCached(exchanged(ended)), isCached(claimsOf(linkOf(agent)))]).toEqual([
      true,
      false,
      false,
    ]);
    expect(await status(exchanged(ended))).toBe("revoked");
    const keyId = await env.DB.prepare("SELECT id FROM api_keys WHERE agent_id = ?1")
      .bind(agent.id)
      .first<string>("id");
    const byKey = (tokenId: string) => claimsOf(linkOf(agent, { basis: { keyId: keyId!, tokenId } }));
    expect([await status(byKey(good)), await status(byKey(ended))]).toEqual(["good", "revoked"]);
  });

  it("is a revocation for good, but for one that a restored database or another setting of the agent takes back", async () => {
    const agent = await world().agent();
    const [older, newer, unbound] = [claimsOf(linkOf(agent)), claimsOf(linkOf(agent, { version: 3 })), claimsOf()];
    Object.assign(unbound, { links: [linkOf(agent, { version: 2 })] });
    await setVersion(agent.id, 2);
    expect([await status(older), await status(newer)]).toEqual(["revoked", "revoked"]);
    const require = (dpop: number) =>
      env.DB.prepare("UPDATE agents SET dpop_required = ?2 WHERE id = ?1").bind(agent.id, dpop).run();
    await require(1);
    expect(await status(unbound, NOW + 6000)).toBe("revoked");
    await require(0);
    expect(await status(unbound, NOW + 12_000)).toBe("good");
    await setVersion(agent.id, 3);
    expect(await status(newer, NOW + 18_000)).toBe("good");
    // Whatever the database says by now: nobody asks it.
    await setVersion(agent.id, 1);
    expect(await status(older, NOW + 24_000, { db: unreachable, revocations: silent })).toBe("revoked");
    expect(isCached(older, NOW + 24_000)).toBe(false);
  });

  it("is not needed for what KV knows of each of its ends, although D1 does not answer", async () => {
    const agent = await world().agent();
    const jti = crypto.randomUUID();
    await env.REVOCATIONS.put(`ended:${jti}`, "1");
    const failing = { db: failingDatabase as never, revocations: env.REVOCATIONS };
    expect(await status(claimsOf(linkOf(agent)), NOW, failing)).toBe("unknown");
    expect(await status(claimsOf(linkOf(agent, { exchanged: jti })), NOW, failing)).toBe("revoked");
    const basis = { keyId: "key", tokenId: jti };
    expect(await status(claimsOf(linkOf(agent), linkOf(agent, { basis })), NOW, failing)).toBe("revoked");
  });

  it("is not asked of KV where the database is to be read, and KV's word ends what is cached", async () => {
    const agent = await world().agent();
    const claims = claimsOf(linkOf(agent));
    const query = { claims, now: NOW, maxAge: 0 };
    const asked: string[] = [];
    const revocations = { get: async (key: string) => (asked.push(key), null) } as never;
    expect((await getTokenStatus({ db: env.DB, revocations }, query)).state).toBe("good");
    expect([asked, isCached(claims, NOW + 1)]).toEqual([[], true]);
    await env.REVOCATIONS.put(`below:${agent.id}`, "2");
    const slowly = held(env.DB);
    expect(await status(claims, NOW + 6000, { db: slowly.binding, revocations: env.REVOCATIONS })).toBe("revoked");
    // Nor for a request that began before.
    expect(isCached(claims, NOW + 1)).toBe(false);
    slowly.release();
  });
});
