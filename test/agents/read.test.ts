import { describe, expect, it } from "vitest";
import { SLOW } from "../support/extents.ts";
import { world } from "../support/world.ts";

describe("reading an agent", () => {
  it("is open to itself and to admins, and closed to others", async () => {
    const self = world();
    const [agent, other, admin] = [await self.agent(), await self.agent(), await self.admin()];
    const read = (token: string) => self.call(`/agents/${agent.id}`, { token });
    const own = await read(agent.token);
    expect(own.status).toBe(200);
    expect(own.body.agent.agent_id).toBe(agent.id);
    expect((await read(admin.token)).body).toEqual(own.body);
    const refused = await read(other.token);
    expect(refused.status).toBe(403);
    expect(refused.body).toMatchObject({
      error: "Insufficient permissions",
      required: "*:*:*",
      granted: ["lab:things:read"],
    });
    expect(refused.body.agent).toBeUndefined();
    expect((await self.call(`/agents/${agent.id}`)).status).toBe(401);
  });

  it("does not reveal to others which agents exist", async () => {
    const self = world();
    const [agent, other, admin] = [await self.agent(), await self.agent(), await self.admin()];
    const [real, made] = [
      await self.call(`/agents/${agent.id}`, { token: other.token }),
      await self.call("/agents/agt_000000000000000000000000", { token: other.token }),
    ];
    expect([made.status, made.body.message]).toEqual([real.status, real.body.message]);
    expect((await self.call("/agents/agt_000000000000000000000000", { token: admin.token })).status).toBe(404);
  });

  it("shows its details beside it, and no key or hash", async () => {
    const self = world();
    const [admin, json] = [
      await self.admin(),
      {
        name: "Detailed",
        owner_email: "o@example.com",
        description: "What it is for",
        metadata: { team: "billing", constructor: "c", toString: "t", "": "empty" },
        allowed_ips: ["10.1.0.0/16", "::ffff:203.0.113.0/120", "10.1.0.0/16"],
        key_expires_in: 3600,
      },
    ];
    const registered = await self.call("/agents/register", { method: "POST", json, token: admin.token });
    const { agent, credentials } = registered.body;
    const answer = await self.fetch(`/agents/${agent.agent_id}`, { token: admin.token });
    expect(answer.headers.get("cache-control")).toBe("no-store");
    const text = await answer.text();
    expect(text).not.toMatch(/hash|api_key|ak_/);
    const by = { type: "agent", id: admin.id, name: expect.stringMatching(/^agent \d+$/) };
    expect(JSON.parse(text)).toEqual({
      success: true,
      agent,
      last_verified_at: null,
      details: {
        description: "What it is for",
        metadata: json.metadata,
        last_verified_at: null,
        created_by: by,
        approved_by: by,
        rate_limit: null,
        allowed_ips: ["10.1.0.0/16", "203.0.113.0/24"],
        dpop_bound_access_tokens: false,
        owner_person_id: null,
        key_count: 1,
        session_count: 0,
      },
    });
    const listed = await self.call(`/agents?q=${agent.agent_id}`, { token: admin.token });
    expect(listed.body.details).toEqual({ [agent.agent_id]: JSON.parse(text).details });
    const key = await self.env.DB.prepare("SELECT expires_at - created_at AS life FROM api_keys WHERE agent_id = ?1")
      .bind(agent.agent_id)
      .first<{ life: number }>();
    expect(Math.round(key!.life / 1000)).toBe(3600);
    expect(credentials.api_key).toMatch(/^ak_/);
  });

  it("tells who created and who first approved it", SLOW, async () => {
    const self = world({ REGISTRATION: "approval" });
    const [admin, later] = [await self.admin(), await self.admin()];
    const register = async (token?: string) => {
      const json = { name: "Pending", owner_email: "o@example.com" };
      const { body } = await self.call("/agents/register", { method: "POST", json, ...(token && { token }) });
      return body.agent.agent_id as string;
    };
    const detailsOf = async (id: string) => (await self.call(`/agents/${id}`, { token: admin.token })).body.details;
    expect(await detailsOf(admin.id)).toMatchObject({
      created_by: { type: "bootstrap", id: null, name: null },
      approved_by: { type: "bootstrap", id: null, name: null },
    });
    const id = await register();
    expect(await detailsOf(id)).toMatchObject({ created_by: null, approved_by: null });
    const set = (status: string, { token }: { token: string }) =>
      self.call(`/agents/${id}/status`, { method: "PUT", token, json: { status } });
    await set("suspended", admin);
    expect((await detailsOf(id)).approved_by).toBeNull();
    await set("active", admin);
    expect((await detailsOf(id)).approved_by).toMatchObject({ type: "agent", id: admin.id });
    await set("suspended", later);
    await set("active", later);
    expect((await detailsOf(id)).approved_by).toMatchObject({ id: admin.id });
  });
});
