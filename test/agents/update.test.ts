import { beforeAll, describe, expect, it } from "vitest";
import { world, type Registered } from "../support/world.ts";
import { SLOW } from "../support/extents.ts";

const self = world();
let admin: Registered;
beforeAll(async () => {
  admin = await self.admin();
});

const patch = (who: Registered, id: string, json: unknown) =>
  self.call(`/agents/${id}`, { method: "PATCH", token: who.token, json });

const eventsOf = async (id: string) => {
  const { results } = await self.env.DB.prepare(
    "SELECT data FROM events WHERE agent_id = ?1 AND event = 'agent.updated' ORDER BY id",
  )
    .bind(id)
    .all<{ data: string }>();
  return results.map(({ data }) => JSON.parse(data) as Record<string, unknown>);
};

describe("updating an agent", () => {
  let unchanged: Registered | undefined;
  it("changes what an agent says of itself, leaves the rest, and is told once", async () => {
    const agent = await self.agent();
    const before = (await self.call(`/agents/${agent.id}`, { token: agent.token })).body;
    const { status, body } = await patch(agent, agent.id, { name: " Renamed ", metadata: { team: "billing" } });
    expect(status).toBe(200);
    expect(Object.keys(body).sort()).toEqual(["agent", "details", "message", "success"]);
    expect(body.message).toBe("The agent's name, metadata are changed.");
    expect(body.agent).toEqual({ ...before.agent, name: "Renamed", updated_at: body.agent.updated_at });
    expect(body.agent.updated_at >= before.agent.updated_at).toBe(true);
    expect(body.details).toEqual({ ...before.details, metadata: { team: "billing" } });
    expect((await self.records(agent.id))[0]).toMatchObject({
      agentId: agent.id,
      message: `name, metadata changed by ${agent.id}`,
    });

    const again = await patch(agent, agent.id, { name: "Renamed" });
    expect(again.body.message).toMatch(/^Nothing to change/);
    expect(again.body.agent).toEqual(body.agent);
    expect(await eventsOf(agent.id)).toEqual([
      { agent_id: agent.id, fields: ["name", "metadata"], updated_by: agent.id, updated_at: expect.any(String) },
    ]);
    expect((await patch(agent, agent.id, { description: "New" })).body.details.description).toBe("New");
    expect((await patch(agent, agent.id, { description: null, metadata: {} })).body.details).toMatchObject({
      description: null,
      metadata: {},
    });
    // When it last verified itself is written behind its answer.
    const last_verified_at = expect.toBeOneOf([null, expect.any(String)]);
    expect((await self.call(`/agents/${agent.id}`, { token: agent.token })).body.details).toEqual({
      ...before.details,
      last_verified_at,
    });
  });

  it("has fields that only an administrator may send, whatever stands beside them", SLOW, async () => {
    const agent = await self.agent();
    for (const json of [
      { owner_email: "thief@example.com" },
      { rate_limit: 3000 },
      { allowed_ips: null },
      { grantable: ["*:*:*"] },
      { name: "Renamed all the same", rate_limit: null },
    ]) {
      const { status, body } = await patch(agent, agent.id, json);
      expect([status, body.code, body.required]).toEqual([403, "insufficient_permissions", "*:*:*"]);
      expect(body.message).toContain(Object.keys(json).at(-1));
    }
    expect((await self.call(`/agents/${agent.id}`, { token: agent.token })).body.agent.name).not.toMatch(/Renamed/);
    expect(await eventsOf(agent.id)).toEqual([]);
    const all = {
      owner_email: " New.Owner@example.com ",
      rate_limit: 120,
      allowed_ips: ["10.0.0.0/8"],
      grantable: ["lab:things:read", "lab:things:read"],
    };
    const { body } = await patch(admin, agent.id, all);
    expect(body.agent.owner_email).toBe("New.Owner@example.com");
    expect(body.details).toMatchObject({ rate_limit: 120, allowed_ips: ["10.0.0.0/8"] });
    const row = await self.env.DB.prepare("SELECT grantable FROM agents WHERE id = ?1").bind(agent.id).first();
    expect(row).toEqual({ grantable: '["lab:things:read"]' });
    const lifted = await patch(admin, agent.id, { rate_limit: null, allowed_ips: null, grantable: [] });
    expect(lifted.body.details).toMatchObject({ rate_limit: null, allowed_ips: null });
  });

  it("is not open to other agents, and not done to one that is revoked or is not", async () => {
    const [agent, other] = [await self.agent(), await self.agent()];
    expect((await patch(other, agent.id, { name: "Taken over" })).status).toBe(403);
    expect((await patch(admin, "agt_000000000000000000000000", { name: "Nobody" })).status).toBe(404);
    await self.call(`/agents/${agent.id}/revoke`, { method: "POST", token: admin.token });
    expect((await patch(admin, agent.id, { name: "Undead" })).body.code).toBe("agent_revoked");
  });

  it.each<[string, unknown]>([
    ["nothing", {}],
    ["only what is undefined", { name: undefined }],
    ["a list", []],
    ["null", null],
    ["a short name", { name: "ab" }],
    ["a name that is hidden", { name: "\u200b\u200b\u200b\u200b" }],
    ["no name", { name: null }],
    ["an odd owner", { owner_email: "nobody" }],
    ["a rate between the limits", { rate_limit: 61 }],
    ["a rate as text", { rate_limit: "60" }],
    ["no rate at all", { rate_limit: 0 }],
    ["no networks", { allowed_ips: [] }],
    ["too many networks", { allowed_ips: Array.from({ length: 51 }, (_, n) => `10.0.0.${n}`) }],
    ["a network with host bits", { allowed_ips: ["10.0.0.1/8"] }],
    ["a name as a network", { allowed_ips: ["localhost"] }],
    ["a text as networks", { allowed_ips: "10.0.0.0/8" }],
    ["metadata as a list", { metadata: ["x"] }],
    ["metadata as a text", { metadata: "x" }],
    ["no metadata", { metadata: null }],
    ["metadata of numbers", { metadata: { a: 1 } }],
    ["nested metadata", { metadata: { a: { b: "c" } } }],
    ["metadata that is hidden", { metadata: { a: "x\u202e" } }],
    ["half a character", { metadata: { a: "\ud800" } }],
    ["metadata that is too long", { metadata: { a: "x".repeat(4090) } }],
    ["metadata that is too long in bytes", { metadata: { a: "é".repeat(2046) } }],
    ["an unknown permission", { grantable: ["lab:nothing:read"] }],
    ["a malformed permission", { grantable: ["*:things:read"] }],
    ["a huge list", { grantable: Array.from({ length: 51 }, () => "lab:things:read") }],
  ])("refuses %s and changes nothing", async (_, json) => {
    // As nothing changes, one is enough for all.
    unchanged ??= await self.agent();
    expect((await patch(admin, unchanged.id, json)).status).toBe(400);
    const row = await self.env.DB.prepare(
      "SELECT change_id, updated_at - created_at AS later FROM agents WHERE id = ?1",
    )
      .bind(unchanged.id)
      .first<{ later: number }>();
    expect(row!.later).toBe(0);
  });

  it("keeps every text as it is, also those that JavaScript has a meaning for", SLOW, async () => {
    const agent = await self.agent();
    const metadata = {
      constructor: "a",
      prototype: "b",
      hasOwnProperty: "c",
      'a"b\\': "line\nbreak",
      é: "x".repeat(4000),
    };
    expect((await patch(agent, agent.id, { metadata })).body.details.metadata).toEqual(metadata);
    const raw = await self.call(`/agents/${agent.id}`, {
      method: "PATCH",
      token: agent.token,
      headers: { "content-type": "application/json" },
      body: '{"metadata":{"a":"b","__proto__":"x"}}',
    });
    expect([raw.status, raw.body.message]).toEqual([
      400,
      "The body is not valid. metadata must not have the name __proto__.",
    ]);
  });

  it("of one value by two at once is one change", async () => {
    const agent = await self.agent();
    const both = await Promise.all([1, 2].map(() => patch(admin, agent.id, { name: "At once" })));
    expect(both.map(({ status }) => status)).toEqual([200, 200]);
    expect(await eventsOf(agent.id)).toHaveLength(1);
  });
});
