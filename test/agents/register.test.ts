import { describe, expect, it } from "vitest";
import { isApiKey } from "../../src/agents/api-key.ts";
import { decideRegistration, type Registrar } from "../../src/agents/register.ts";
import { BUILT_IN_CATALOGUE } from "../../src/permissions/catalogue.ts";
import { testEnv, world, type World } from "../support/world.ts";
import { SLOW } from "../support/extents.ts";

const good = { name: "An agent", owner_email: "owner@example.com" };
const { ADMIN_BOOTSTRAP_TOKEN } = testEnv();

const register = (where: World, json: object, token?: string) =>
  where.call("/agents/register", { method: "POST", json, ...(token && { token }) });

describe("registration", () => {
  it("answers 201 with exactly the agent and its key, which is shown nowhere else", async () => {
    const self = world();
    const { status, body } = await register(self, { ...good, description: "reads orders" });
    expect(status).toBe(201);
    expect(Object.keys(body).sort()).toEqual(["agent", "credentials", "message", "success"]);
    expect(Object.keys(body.agent).sort()).toEqual([
      "agent_id",
      "created_at",
      "name",
      "owner_email",
      "permissions",
      "status",
      "tier",
      "updated_at",
    ]);
    expect(body.agent).toMatchObject({
      ...good,
      status: "active",
      tier: "free",
      permissions: [],
    });
    expect(body.agent.agent_id).toMatch(/^agt_[0-9A-Za-z]{24}$/);
    expect(Object.keys(body.credentials).sort()).toEqual(["api_key", "token_type"]);
    expect(isApiKey(body.credentials.api_key)).toBe(true);
    const proof = { agent_id: body.agent.agent_id, api_key: body.credentials.api_key };
    const verified = await self.call("/agents/verify", { method: "POST", json: proof });
    const token = verified.body.token.access_token;
    const read = await self.call(`/agents/${body.agent.agent_id}`, { token });
    expect(read.body.agent).toEqual(body.agent);
    expect(JSON.stringify([verified.body, read.body])).not.toContain(body.credentials.api_key);
  });

  it("keeps a permission once, and takes null for what is optional", async () => {
    const { body } = await register(world(), {
      ...good,
      permissions: ["github:issues:read", "github:issues:read"],
      description: null,
    });
    expect(body.agent.permissions).toEqual(["github:issues:read"]);
    expect((await register(world(), { ...good, permissions: null })).status).toBe(201);
  });

  it("names each permission that cannot be granted, and why", async () => {
    const { status, body } = await register(world(), {
      ...good,
      permissions: ["github:issues:read", "github:issues:delete", "*:issues:read", "nonsense"],
    });
    expect(status).toBe(400);
    expect(body.code).toBe("unknown_permission");
    expect(body.details.map(({ permission }: { permission: string }) => permission)).toEqual([
      "github:issues:delete",
      "*:issues:read",
      "nonsense",
    ]);
    for (const { message } of body.details) expect(message.length).toBeGreaterThan(10);
  });

  it("takes no status, tier or id from the body", async () => {
    const self = world({ REGISTRATION: "approval" });
    for (const own of [{ status: "active" }, { tier: "enterprise" }, { agent_id: "agt_mine" }, { id: "agt_mine" }]) {
      const { status, body } = await register(self, { ...good, ...own });
      expect([own, status, body.code]).toEqual([own, 400, "unknown_field"]);
    }
    const { body } = await register(self, good);
    expect(body.agent).toMatchObject({ status: "inactive", tier: "free" });
  });
});

describe("the first admin", () => {
  it("is registered with the bootstrap token, and with nothing like it", async () => {
    const admin = { ...good, permissions: ["*:*:*"] };
    expect((await register(world(), admin, ADMIN_BOOTSTRAP_TOKEN)).body.agent.permissions).toEqual(["*:*:*"]);
    const stranger = await register(world(), admin);
    expect(stranger.status).toBe(403);
    expect(stranger.body).toMatchObject({ title: "Forbidden", code: "grant_beyond_caller" });
    for (const token of [ADMIN_BOOTSTRAP_TOKEN.slice(0, -1), `${ADMIN_BOOTSTRAP_TOKEN}x`, "undefined", "null"]) {
      expect((await register(world(), admin, token)).status).toBe(401);
    }
    expect((await register(world({ ADMIN_BOOTSTRAP_TOKEN: "" }), admin, ADMIN_BOOTSTRAP_TOKEN)).status).toBe(401);
  });

  it("is not registered by an agent, which can grant no more than it has", SLOW, async () => {
    const self = world();
    const { token } = await self.agent(["github:issues:*"]);
    expect((await register(self, { ...good, permissions: ["github:issues:read"] }, token)).status).toBe(201);
    for (const permission of ["*:*:*", "github:*:*", "github:repos:read", "lab:things:read"]) {
      const { status, body } = await register(self, { ...good, permissions: [permission] }, token);
      expect([permission, status, body.code]).toEqual([permission, 403, "grant_beyond_caller"]);
    }
  });
});

describe("registration policy", () => {
  it("approval: the agent waits, inactive, until an admin says so", async () => {
    const self = world({ REGISTRATION: "approval" });
    const { status, body } = await register(self, good);
    expect([status, body.agent.status]).toEqual([201, "inactive"]);
    const proof = { agent_id: body.agent.agent_id, api_key: body.credentials.api_key };
    const verify = () => self.call("/agents/verify", { method: "POST", json: proof });
    expect((await verify()).body.error).toBe("Invalid credentials");
    const { token } = await self.admin();
    await self.call(`/agents/${proof.agent_id}/status`, { method: "PUT", token, json: { status: "active" } });
    expect((await verify()).status).toBe(200);
    expect((await register(self, good, token)).body.agent.status).toBe("active");
  });

  it("admin: nobody else registers", SLOW, async () => {
    const self = world({ REGISTRATION: "admin" });
    const closed = await register(self, good);
    expect([closed.status, closed.body.code]).toEqual([403, "registration_closed"]);
    const { token } = await self.admin();
    expect((await register(self, good, token)).status).toBe(201);
    const { token: ofAgent } = await world().agent();
    expect((await register(self, good, ofAgent)).status).toBe(403);
  });

  const holding = (...permissions: string[]): Registrar => ({
    kind: "agent",
    name: "registrar",
    permissions: new Set(permissions),
    authority: { agentId: "agt_a", basis: { sessionId: "ses_a" }, version: 1, required: permissions },
  });
  it.each<[string, Registrar, "open" | "approval" | "admin", string[], string]>([
    ["a stranger", { kind: "stranger" }, "open", ["github:issues:read"], "active"],
    ["a stranger", { kind: "stranger" }, "approval", ["github:issues:read"], "inactive"],
    ["a stranger", { kind: "stranger" }, "admin", ["github:issues:read"], "closed"],
    ["a stranger", { kind: "stranger" }, "open", ["*:*:*"], "exceeds_grantor"],
    ["a stranger", { kind: "stranger" }, "admin", ["nonsense"], "malformed"],
    ["an agent", holding("github:*:*"), "open", ["github:issues:write"], "active"],
    ["an agent", holding("github:*:*"), "approval", ["github:issues:write"], "inactive"],
    ["an agent", holding("github:issues:read"), "open", ["github:issues:write"], "exceeds_grantor"],
    ["an agent without rights", holding(), "open", ["github:issues:read"], "exceeds_grantor"],
    ["an admin", holding("*:*:*"), "admin", ["*:*:*"], "active"],
    ["an admin", holding("*:*:*"), "approval", ["stripe:*:*"], "active"],
    ["the bootstrap token", { kind: "bootstrap", authority: { lasts: true } }, "admin", ["*:*:*"], "active"],
    ["the bootstrap token", { kind: "bootstrap", authority: { lasts: true } }, "admin", ["nonsense"], "malformed"],
  ])("%s %o under %s asking for %j: %s", (_, registrar, policy, permissions, outcome) => {
    const verdict = decideRegistration(permissions, registrar, policy, BUILT_IN_CATALOGUE);
    expect(verdict.verdict === "accepted" ? verdict.status : verdict.verdict).toBe(outcome);
  });
});
