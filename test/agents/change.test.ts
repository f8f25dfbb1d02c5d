import { afterEach, describe, expect, it, vi } from "vitest";
import { SLOW, few } from "../support/extents.ts";
import { world, type Registered, type World } from "../support/world.ts";

const AGENT_KEYS = [
  "agent_id",
  "created_at",
  "name",
  "owner_email",
  "permissions",
  "status",
  "tier",
  "updated_at",
] as const;

const put = (where: World, who: Registered, path: string, json: unknown) =>
  where.call(path, { method: "PUT", token: who.token, json });
const setStatus = (where: World, who: Registered, id: string, status: unknown) =>
  put(where, who, `/agents/${id}/status`, { status });
const verify = (where: World, { id, apiKey }: Registered) =>
  where.call("/agents/verify", { method: "POST", json: { agent_id: id, api_key: apiKey } });
const refresh = (where: World, { refreshToken }: Registered) =>
  where.call("/agents/refresh", { method: "POST", json: { refresh_token: refreshToken } });

/** Inserts a webhook. Returns a function that reads which of its events are in the outbox. */
async function listen(where: World, agentId: string, events: string[]): Promise<() => Promise<string[]>> {
  await where.env.DB.prepare(
    `INSERT INTO webhooks (id, agent_id, url, events, secret, created_at, updated_at) VALUES (?1, ?2, 'https://x.example', ?3, '{"kid":"x"}', 0, 0)`,
  )
    .bind(`wh_${agentId}`, agentId, JSON.stringify(events))
    .run();
  return async () => {
    const { results } = await where.env.DB.prepare(
      "SELECT event FROM events WHERE agent_id = ?1 AND event IN (SELECT value FROM json_each(?2)) ORDER BY id",
    )
      .bind(agentId, JSON.stringify(events))
      .all<{ event: string }>();
    return results.map(({ event }) => event);
  };
}

describe("revoking an agent", () => {
  it("is open to the agent itself, answers with it and is final", SLOW, async () => {
    const self = world();
    const [agent, admin] = [await self.agent(), await self.admin()];
    const events = await listen(self, agent.id, ["agent.revoked", "agent.status_updated"]);
    const { status, body } = await self.call(`/agents/${agent.id}/revoke`, { method: "POST", token: agent.token });
    expect(status).toBe(200);
    expect(Object.keys(body).sort()).toEqual(["agent", "message", "success"]);
    expect(Object.keys(body.agent).sort()).toEqual(AGENT_KEYS);
    expect(body.agent.status).toBe("revoked");
    expect((await self.call(`/agents/${agent.id}`, { token: agent.token })).status).toBe(401);
    expect((await verify(self, agent)).body.error).toBe("Invalid credentials");
    expect((await refresh(self, agent)).status).toBe(401);
    const revived = await setStatus(self, admin, agent.id, "active");
    expect(revived.status).toBe(409);
    expect(revived.body.code).toBe("agent_revoked");
    const again = await self.call(`/agents/${agent.id}/revoke`, { method: "POST", token: admin.token });
    expect(again.status).toBe(200);
    expect((await events()).sort()).toEqual(["agent.revoked", "agent.status_updated"]);
  });

  it("is not open to another agent", async () => {
    const self = world();
    const [agent, other] = [await self.agent(), await self.agent()];
    const { status } = await self.call(`/agents/${agent.id}/revoke`, { method: "POST", token: other.token });
    expect(status).toBe(403);
    expect((await self.call(`/agents/${agent.id}`, { token: agent.token })).status).toBe(200);
  });

  it("gives an admin 404 for an agent that is not", async () => {
    const self = world();
    const { token } = await self.admin();
    expect((await self.call("/agents/agt_none/revoke", { method: "POST", token })).status).toBe(404);
  });
});

describe("an agent's status", () => {
  few(1).each(["suspended", "inactive"])("%s ends its tokens for good and can be undone", async (status) => {
    const self = world();
    const [agent, admin] = [await self.agent(), await self.admin()];
    const set = await setStatus(self, admin, agent.id, status);
    expect(set.status).toBe(200);
    expect(set.body.agent.status).toBe(status);
    expect((await verify(self, agent)).status).toBe(401);
    expect((await setStatus(self, admin, agent.id, "active")).body.agent.status).toBe("active");
    expect((await self.call(`/agents/${agent.id}`, { token: agent.token })).body.code).toBe("token_revoked");
    expect((await refresh(self, agent)).body.code).toBe("session_ended");
    const fresh = await verify(self, agent);
    expect(fresh.status).toBe(200);
    expect((await self.call(`/agents/${agent.id}`, { token: fresh.body.token.access_token })).status).toBe(200);
  });

  it("sends one event for a change, and none for an update that changes nothing", SLOW, async () => {
    const self = world();
    const [agent, admin] = [await self.agent(), await self.admin()];
    const events = await listen(self, agent.id, ["agent.status_updated"]);
    await setStatus(self, admin, agent.id, "suspended");
    const before = await self.call(`/agents/${agent.id}`, { token: admin.token });
    const again = await setStatus(self, admin, agent.id, "suspended");
    expect(again.status).toBe(200);
    expect(again.body.agent.updated_at).toBe(before.body.agent.updated_at);
    expect(await events()).toEqual(["agent.status_updated"]);
    const records = await self.records(agent.id);
    expect(records.filter(({ message }) => message?.startsWith("status is")).length).toBe(1);
  });

  it("is for admins only, and one of four", SLOW, async () => {
    const self = world();
    const [agent, admin] = [await self.agent(), await self.admin()];
    expect((await setStatus(self, agent, agent.id, "active")).status).toBe(403);
    for (const wrong of ["deleted", "", null, 1, undefined, ["active"]]) {
      expect((await setStatus(self, admin, agent.id, wrong)).status).toBe(400);
    }
    expect((await setStatus(self, admin, "agt_none", "active")).status).toBe(404);
  });
});

describe("an agent's permissions", () => {
  const set = (where: World, who: Registered, id: string, permissions: unknown) =>
    put(where, who, `/agents/${id}/permissions`, { permissions });

  afterEach(() => void vi.useRealTimers());

  it("narrow its tokens with their next request, reads within the bound, and add to the next", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const self = world({ STANDING_TTL_SECONDS: "5" });
    const [agent, admin] = [await self.agent(["lab:things:read", "lab:things:write"]), await self.admin()];
    const read = async (token: string) => (await self.call("/proxy/lab/files/a", { token })).status;
    const reader = await self.agent(["lab:things:read"]);
    expect(await read(reader.token)).toBe(200);
    expect((await set(self, admin, reader.id, ["lab:notes:read"])).status).toBe(200);
    vi.setSystemTime(Date.now() + 5000);
    expect(await read(reader.token)).toBe(403);

    const events = await listen(self, agent.id, ["agent.permissions_updated"]);
    const { status, body } = await set(self, admin, agent.id, ["lab:notes:read", "lab:things:read"]);
    expect(status).toBe(200);
    expect(body.agent.permissions).toEqual(["lab:notes:read", "lab:things:read"]);
    const remove = await self.call("/proxy/lab/things/1", { method: "DELETE", token: agent.token });
    expect(remove.body).toMatchObject({ status: 403, granted: ["lab:things:read"] });
    expect((await self.call("/proxy/lab/things/1/notes", { token: agent.token })).status).toBe(403);
    const fresh = await verify(self, agent);
    expect((await self.call("/proxy/lab/things/1/notes", { token: fresh.body.token.access_token })).status).toBe(200);
    expect(await events()).toEqual(["agent.permissions_updated"]);
  });

  it("are named one by one where they cannot be granted", SLOW, async () => {
    const self = world();
    const [agent, admin] = [await self.agent(), await self.admin()];
    const { status, body } = await set(self, admin, agent.id, ["lab:things:read", "*:things:read", "lab:nothing:read"]);
    expect(status).toBe(400);
    expect(body.details.map((detail: { permission: string }) => detail.permission)).toEqual([
      "*:things:read",
      "lab:nothing:read",
    ]);
    for (const wrong of ["lab:things:read", [7], null, Array.from({ length: 51 }, () => "lab:things:read")]) {
      expect((await set(self, admin, agent.id, wrong)).status).toBe(400);
    }
  });

  it("can be taken away to the last one", SLOW, async () => {
    const self = world({ STANDING_TTL_SECONDS: "0" });
    const [agent, admin] = [await self.agent(["lab:things:read"]), await self.admin()];
    expect((await self.call("/proxy/lab/things/1", { token: agent.token })).status).toBe(200);
    const { status, body } = await set(self, admin, agent.id, []);
    expect([status, body.agent.permissions]).toEqual([200, []]);
    expect((await self.records(agent.id))[0]!.message).toBe(`permissions are none, set by ${admin.id}`);
    expect((await self.call("/proxy/lab/things/1", { token: agent.token })).body.granted).toEqual([]);
    expect((await self.call(`/agents/${agent.id}`, { token: agent.token })).status).toBe(200);
    // Nobody asks for an agent without permissions by an empty list: it is left out.
    const json = { name: "nothing", owner_email: "owner@example.com", permissions: [] };
    expect((await self.call("/agents/register", { method: "POST", json })).status).toBe(400);
  });

  it("are set by admins only, and not on a revoked agent", SLOW, async () => {
    const self = world();
    const [agent, admin] = [await self.agent(), await self.admin()];
    expect((await set(self, agent, agent.id, ["lab:notes:read"])).status).toBe(403);
    expect((await set(self, agent, agent.id, ["*:*:*"])).status).toBe(403);
    await self.call(`/agents/${agent.id}/revoke`, { method: "POST", token: admin.token });
    expect((await set(self, admin, agent.id, ["lab:notes:read"])).status).toBe(409);
    expect((await set(self, admin, "agt_none", ["lab:notes:read"])).status).toBe(404);
  });
});

describe("an agent's tier", () => {
  it("is set by admins, sends an event, and is one of three", async () => {
    const self = world();
    const [agent, admin] = [await self.agent(), await self.admin()];
    const events = await listen(self, agent.id, ["agent.tier_updated"]);
    const { status, body } = await put(self, admin, `/agents/${agent.id}/tier`, { tier: "enterprise" });
    expect(status).toBe(200);
    expect(body.agent.tier).toBe("enterprise");
    expect(Object.keys(body).sort()).toEqual(["agent", "message", "success"]);
    expect((await put(self, admin, `/agents/${agent.id}/tier`, { tier: "enterprise" })).status).toBe(200);
    expect(await events()).toEqual(["agent.tier_updated"]);
    expect((await put(self, agent, `/agents/${agent.id}/tier`, { tier: "free" })).status).toBe(403);
    expect((await put(self, admin, `/agents/${agent.id}/tier`, { tier: "gold" })).status).toBe(400);
    expect((await put(self, admin, "/agents/agt_none/tier", { tier: "pro" })).status).toBe(404);
  });
});

describe("deleting an agent", () => {
  it("ends it with its keys, sessions and webhooks, and is sent to the webhooks that subscribe to it", async () => {
    const self = world();
    const [agent, admin] = [await self.agent(), await self.admin()];
    await listen(self, agent.id, ["agent.deleted"]);
    await self.env.DB.prepare(
      `INSERT INTO webhooks (id, agent_id, url, events, secret, created_at, updated_at, all_agents)
       VALUES (?1, ?2, 'https://x.example', '["agent.deleted"]', '{"kid":"x"}', 0, 0, 1)`,
    )
      .bind(`wh_all_${admin.id}`, admin.id)
      .run();
    const { status, body } = await self.call(`/agents/${agent.id}`, { method: "DELETE", token: admin.token });
    expect(status).toBe(200);
    expect(Object.keys(body).sort()).toEqual(["message", "success"]);
    expect((await self.call(`/agents/${agent.id}`, { token: agent.token })).status).toBe(401);
    expect((await verify(self, agent)).body.error).toBe("Invalid credentials");
    expect((await refresh(self, agent)).status).toBe(401);
    for (const table of ["api_keys", "sessions"]) {
      const row = await self.env.DB.prepare(`SELECT COUNT(*) AS n FROM ${table} WHERE agent_id = ?1`)
        .bind(agent.id)
        .first<{ n: number }>();
      expect([table, row!.n]).toEqual([table, 0]);
    }
    expect((await self.call(`/webhooks/wh_${agent.id}`, { token: admin.token })).status).toBe(404);
    const { results } = await self.env.DB.prepare("SELECT data FROM events WHERE agent_id = ?1 AND event = ?2")
      .bind(agent.id, "agent.deleted")
      .all<{ data: string }>();
    expect(JSON.parse(results[0]!.data)).toMatchObject({ agent_id: agent.id, deleted_by: admin.id });
    expect((await self.call(`/agents/${agent.id}`, { method: "DELETE", token: admin.token })).status).toBe(404);
  });

  it("is for admins only", async () => {
    const self = world();
    const agent = await self.agent();
    expect((await self.call(`/agents/${agent.id}`, { method: "DELETE", token: agent.token })).status).toBe(403);
  });
});

describe("a change of what was read", () => {
  it("is made only if the agent is still as it was read, and says how it is now", SLOW, async () => {
    const self = world();
    const [agent, admin] = [await self.agent(["github:issues:read"]), await self.admin()];
    const path = `/agents/${agent.id}`;
    const read = async () => (await self.call(path, { token: admin.token })).body.agent.updated_at as string;
    const patch = (json: object) => self.call(path, { method: "PATCH", token: admin.token, json });
    const changes = {
      status: (updated_at: string) => put(self, admin, `${path}/status`, { status: "suspended", updated_at }),
      tier: (updated_at: string) => put(self, admin, `${path}/tier`, { tier: "pro", updated_at }),
      description: (updated_at: string) => patch({ description: "from an old page", updated_at }),
    };
    const old = await read();
    await scheduler.wait(2);
    expect((await patch({ description: "by somebody else" })).status).toBe(200);
    const now = await read();
    expect(now).not.toBe(old);
    for (const [name, change] of Object.entries(changes)) {
      const { status, body } = await change(old);
      expect([name, status, body.code]).toEqual([name, 409, "agent_changed"]);
      expect(body.message).toContain("is active now");
    }
    const unchanged = (await self.call(path, { token: admin.token })).body;
    expect(unchanged).toMatchObject({
      agent: { status: "active", tier: "free", updated_at: now },
      details: { description: "by somebody else" },
    });
    let last = now;
    for (const change of Object.values(changes).toReversed()) {
      const { status, body } = await change(last);
      expect(status).toBe(200);
      last = body.agent.updated_at;
    }
    for (const wrong of ["yesterday", 1, ""]) {
      expect((await put(self, admin, `${path}/tier`, { tier: "free", updated_at: wrong })).status).toBe(400);
    }
  });

  it("is made by one of two who decide at once, and the other one is told", SLOW, async () => {
    const self = world({ REGISTRATION: "approval" });
    const admin = await self.admin();
    const json = { name: "Waits", owner_email: "owner@example.com", permissions: ["github:issues:read"] };
    const { agent } = (await self.call("/agents/register", { method: "POST", json })).body;
    const events = await listen(self, agent.agent_id, ["agent.status_updated"]);
    await scheduler.wait(2);
    const decide = (status: string) =>
      put(self, admin, `/agents/${agent.agent_id}/status`, { status, updated_at: agent.updated_at });
    const answers = await Promise.all([decide("active"), decide("active"), decide("suspended")]);
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 409, 409]);
    expect(await events()).toEqual(["agent.status_updated"]);
  });
});
