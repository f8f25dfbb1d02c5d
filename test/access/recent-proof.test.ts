import { decodeJwt } from "jose";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { newApiKey } from "../../src/agents/api-key.ts";
import { world, type Registered } from "../support/world.ts";
import { SLOW, few } from "../support/extents.ts";

const self = world();
beforeEach(() => void vi.useFakeTimers({ toFake: ["Date"] }));
afterEach(() => void vi.useRealTimers());

const later = (seconds: number) => vi.setSystemTime(Date.now() + seconds * 1000);
const post = (path: string, token: string, json?: unknown) =>
  self.call(path, { method: "POST", token, ...(json !== undefined && { json }) });
const eventsOf = async (id: string) =>
  (
    await self.env.DB.prepare("SELECT event FROM events WHERE agent_id = ?1 ORDER BY id")
      .bind(id)
      .all<{ event: string }>()
  ).results.map(({ event }) => event);
const statusOf = (id: string) =>
  self.env.DB.prepare("SELECT status FROM agents WHERE id = ?1").bind(id).first("status");

describe("an access token", () => {
  it("says when its agent last proved itself by key, also once it was refreshed", async () => {
    const { token, refreshToken } = await self.agent();
    const proven = decodeJwt(token).auth_time;
    expect(proven).toBe(Math.floor(Date.now() / 1000));
    later(1000);
    const { body } = await post("/agents/refresh", token, { refresh_token: refreshToken });
    expect(decodeJwt(body.token.access_token)).toMatchObject({ auth_time: proven, iat: (proven as number) + 1000 });
  });
});

describe("revoking an agent", () => {
  it("with a proof of the last 5 minutes is for good", async () => {
    const { id, token } = await self.agent();
    later(300);
    const { status, body } = await post(`/agents/${id}/revoke`, token);
    expect([status, body.agent.status]).toEqual([200, "revoked"]);
    expect(await eventsOf(id)).toContain("agent.revoked");
  });

  it("with an older one suspends, answers as ever, says so, and an administrator may undo it", async () => {
    const agent = await self.agent();
    later(302);
    const { status, body } = await post(`/agents/${agent.id}/revoke`, agent.token);
    expect(status).toBe(200);
    expect(Object.keys(body).sort()).toEqual(["agent", "message", "success"]);
    expect(body.agent.status).toBe("suspended");
    expect(body.message).toContain("suspended");
    expect((await eventsOf(agent.id)).toSorted()).toEqual([
      "agent.registered",
      "agent.status_updated",
      "agent.verified",
    ]);
    expect((await self.call(`/agents/${agent.id}`, { token: agent.token })).status).toBe(401);
    const admin = await self.admin();
    const undone = await self.call(`/agents/${agent.id}/status`, {
      method: "PUT",
      token: admin.token,
      json: { status: "active" },
    });
    expect(undone.body.agent.status).toBe("active");
  });

  it("with a refreshed token is no better: a refresh is no proof", async () => {
    const agent = await self.agent();
    later(302);
    const { body } = await post("/agents/refresh", agent.token, { refresh_token: agent.refreshToken });
    expect((await post(`/agents/${agent.id}/revoke`, body.token.access_token)).body.agent.status).toBe("suspended");
  });

  it("with an older one and the key is for good", async () => {
    const { id, token, apiKey } = await self.agent();
    later(3000);
    expect((await post(`/agents/${id}/revoke`, token, { api_key: apiKey })).body.agent.status).toBe("revoked");
  });

  it("by an administrator's older token suspends as well, and setting the status needs the proof", SLOW, async () => {
    const [agent, admin] = [await self.agent(), await self.admin()];
    later(302);
    expect((await post(`/agents/${agent.id}/revoke`, admin.token)).body.agent.status).toBe("suspended");
    const set = (json: object) => self.call(`/agents/${agent.id}/status`, { method: "PUT", token: admin.token, json });
    expect((await set({ status: "revoked" })).body.code).toBe("reauthentication_required");
    expect((await set({ status: "active" })).status).toBe(200);
    expect((await set({ status: "revoked", api_key: admin.apiKey })).body.agent.status).toBe("revoked");
    // A repetition by an older token finds it done.
    expect((await post(`/agents/${agent.id}/revoke`, admin.token)).body.agent.status).toBe("revoked");
  });
});

describe("an older token", () => {
  it("is an administrator's to delete agents with, as clients that were published do without a key", SLOW, async () => {
    const [agent, admin] = [await self.agent(), await self.admin()];
    later(302);
    expect((await self.call(`/agents/${agent.id}`, { method: "DELETE", token: admin.token })).status).toBe(200);
    expect(await statusOf(agent.id)).toBeNull();
  });
});

describe("what a stolen token may not do", () => {
  const rotate = (agent: Registered, json: object) => post(`/agents/${agent.id}/rotate-key`, agent.token, json);

  it("is to make a key: 403 that says what to do, and nothing is written", async () => {
    const agent = await self.agent();
    later(302);
    const { status, body } = await rotate(agent, { overlap_seconds: 0 });
    expect([status, body.code]).toEqual([403, "reauthentication_required"]);
    expect(body.error).toContain("api_key");
    const count = await self.env.DB.prepare("SELECT count(*) AS n FROM api_keys WHERE agent_id = ?1")
      .bind(agent.id)
      .first("n");
    expect(count).toBe(1);
  });

  it("is to guess the key, even with a recent proof: of its own it must be, and in force", SLOW, async () => {
    const [agent, other] = [await self.agent(), await self.agent()];
    for (const key of [newApiKey(), other.apiKey, "ak_x", `${agent.apiKey} `]) {
      const { status, body } = await rotate(agent, { overlap_seconds: 60, api_key: key });
      expect([status, body.code]).toEqual([403, "reauthentication_required"]);
      expect(JSON.stringify(body)).not.toContain(key.trim());
    }
    expect(await statusOf(agent.id)).toBe("active");
    later(1000);
    const rotated = await rotate(agent, { overlap_seconds: 60, api_key: agent.apiKey });
    expect(rotated.status).toBe(200);
    later(61);
    // Its overlap is over.
    expect((await rotate(agent, { api_key: agent.apiKey })).body.code).toBe("reauthentication_required");
    expect((await rotate(agent, { api_key: rotated.body.credentials.api_key })).status).toBe(200);
  });
});

describe("a token that was asked for with less than its agent has", () => {
  const PERMISSIONS = ["lab:things:read", "lab:things:write"];
  const LIMITS = [
    ["a scope at verify", { path: "/agents/verify", scope: "lab:things:read" }],
    ["a scope at the token endpoint", { path: "/oauth/token", scope: "lab:things:read" }],
    ["details at the token endpoint", { path: "/oauth/token", authorization_details: true }],
  ] as const;

  async function lessThan(agent: Registered, limits: (typeof LIMITS)[number][1]): Promise<string> {
    if (limits.path === "/agents/verify") {
      const json = { agent_id: agent.id, api_key: agent.apiKey, scope: limits.scope };
      return (await self.call(limits.path, { method: "POST", json })).body.token.access_token;
    }
    const ends = { expires_at: new Date(Date.now() + 3_600_000).toISOString() };
    const details = JSON.stringify([{ type: "agentauth_grant", permission: "lab:things:read", ...ends }]);
    const body = new URLSearchParams({
      grant_type: "client_credentials",
      client_id: agent.id,
      client_secret: agent.apiKey,
      ...("scope" in limits ? { scope: limits.scope } : { authorization_details: details }),
    });
    return (await self.call(limits.path, { method: "POST", body })).body.access_token;
  }

  few(1).each(LIMITS)("makes and ends no key, and ends no agent, which would be more: %s", async (_, limits) => {
    const agent = await self.agent(PERMISSIONS);
    const token = await lessThan(agent, limits);
    const keys = `/agents/${agent.id}/keys`;
    const ownKey = (await self.call(keys, { token: agent.token })).body.keys[0].id;
    for (const answer of [
      await post(keys, token, {}),
      await post(`/agents/${agent.id}/rotate-key`, token, {}),
      await self.call(`${keys}/${ownKey}`, { method: "DELETE", token }),
    ]) {
      expect([answer.status, answer.body.code]).toEqual([403, "reauthentication_required"]);
      expect(answer.body.error).toContain("gives less than its agent has");
    }
    // The key itself is the proof, whichever token it comes with.
    expect((await post(keys, token, { api_key: agent.apiKey })).status).toBe(201);
    expect((await post(`/agents/${agent.id}/revoke`, token)).body.agent.status).toBe("suspended");
  });

  it("makes no administrator's key", async () => {
    const admin = await self.admin();
    const token = await lessThan(admin, LIMITS[0][1]);
    expect((await post(`/agents/${admin.id}/keys`, token, {})).body.code).toBe("reauthentication_required");
    expect((await post(`/agents/${admin.id}/keys`, admin.token, {})).status).toBe(201);
  });

  it("is one that has all of it: with limits, with an end that is near, and as a wildcard", SLOW, async () => {
    const [admin, agent] = [await self.admin(), await self.agent(["lab:things:*"])];
    const soon = new Date(Date.now() + 200_000).toISOString();
    const grants = [
      { permission: "lab:things:*" },
      { permission: "github:issues:read", where: { "path.owner": "octo" } },
      { permission: "lab:notes:read", expires_at: soon },
    ];
    const put = await self.call(`/agents/${agent.id}/grants`, { method: "PUT", token: admin.token, json: { grants } });
    expect(put.status).toBe(200);
    // Granted after it was issued.
    expect((await post(`/agents/${agent.id}/keys`, agent.token, {})).body.code).toBe("reauthentication_required");
    const json = { agent_id: agent.id, api_key: agent.apiKey };
    const { token } = (await self.call("/agents/verify", { method: "POST", json })).body;
    expect((await post(`/agents/${agent.id}/keys`, token.access_token, {})).status).toBe(201);
  });
});
