import { describe, expect, it } from "vitest";
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

  it("shows no description, key or hash", async () => {
    const self = world();
    const json = { name: "Secretive", owner_email: "o@example.com", description: "internal remark" };
    const { body } = await self.call("/agents/register", { method: "POST", json });
    const { token } = await self.admin();
    const answer = await self.fetch(`/agents/${body.agent.agent_id}`, { token });
    expect(answer.headers.get("cache-control")).toBe("no-store");
    expect(await answer.text()).not.toMatch(/internal remark|hash|api_key|ak_/);
  });
});
