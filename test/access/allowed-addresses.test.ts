import { beforeAll, describe, expect, it } from "vitest";
import { world, type Registered } from "../support/world.ts";
import { SLOW } from "../support/extents.ts";

const self = world({ STANDING_TTL_SECONDS: "0" });
let admin: Registered;
beforeAll(async () => {
  admin = await self.admin();
});

const allow = (id: string, allowed_ips: string[] | null) =>
  self.call(`/agents/${id}`, { method: "PATCH", token: admin.token, json: { allowed_ips } });

const REFUSED = [403, "address_not_allowed"];

describe("an agent with allowed addresses", () => {
  it("is refused elsewhere at every call, and is served again where the list is lifted", SLOW, async () => {
    const agent = await self.agent(["lab:things:read", "lab:things:write"]);
    expect((await allow(agent.id, ["203.0.113.0/24", "2001:db8::/32"])).status).toBe(200);
    const paths: [string, string][] = [
      ["GET", `/agents/${agent.id}`],
      ["GET", "/proxy/lab/things/1"],
      ["DELETE", "/proxy/lab/things/1"],
      ["PATCH", `/agents/${agent.id}`],
      ["POST", "/agents/revoke-tokens"],
    ];
    for (const ip of ["203.0.114.1", "2001:db9::1", "::ffff:203.0.114.1", "unknown", " "]) {
      for (const [method, path] of paths) {
        const { status, body } = await self.call(path, { method, token: agent.token, ip });
        expect([ip, path, status, body.code]).toEqual([ip, path, ...REFUSED]);
        expect(JSON.stringify(body)).not.toContain("203.0.113");
      }
    }
    for (const ip of ["203.0.113.7", "::ffff:203.0.113.7", "2001:DB8::1"]) {
      expect([ip, (await self.call("/proxy/lab/things/1", { token: agent.token, ip })).status]).toEqual([ip, 200]);
    }
    await allow(agent.id, null);
    expect((await self.call(`/agents/${agent.id}`, { token: agent.token, ip: "203.0.114.1" })).status).toBe(200);
  });

  it("is not helped by headers that anybody can send", async () => {
    const agent = await self.agent();
    await allow(agent.id, ["203.0.113.0/24"]);
    for (const name of ["x-forwarded-for", "x-real-ip", "forwarded", "true-client-ip", "cf-connecting-ipv6"]) {
      const headers = { [name]: "203.0.113.7" };
      const { status, body } = await self.call(`/agents/${agent.id}`, { token: agent.token, ip: "10.0.0.1", headers });
      expect([name, status, body.code]).toEqual([name, ...REFUSED]);
    }
  });
});
