import { beforeAll, describe, expect, it } from "vitest";
import { world, type Registered } from "../support/world.ts";

const self = world();
let agent: Registered;
beforeAll(async () => {
  agent = await self.agent();
});

describe("a token that is sent in any other way than as a Bearer", () => {
  it.each<[way: string, headers: (token: string) => Record<string, string>]>([
    ["the query", () => ({})],
    ["a cookie", (token) => ({ cookie: `access_token=${token}` })],
    ["X-API-Key", (token) => ({ "x-api-key": token })],
    ["Proxy-Authorization", (token) => ({ "proxy-authorization": `Bearer ${token}` })],
    ["Basic", (token) => ({ authorization: `Basic ${token}` })],
    ["Token", (token) => ({ authorization: `Token ${token}` })],
    ["no scheme", (token) => ({ authorization: token })],
    ["a scheme that begins alike", (token) => ({ authorization: `BearerX ${token}` })],
    ["two at once", (token) => ({ authorization: `Bearer ${token}, Bearer ${token}` })],
  ])("is none: %s", async (_, headers) => {
    const path = `/agents/${agent.id}?access_token=${agent.token}`;
    const { status, body } = await self.call(path, { headers: headers(agent.token) });
    expect([status, body.code]).toEqual([401, "missing_token"]);
  });

  it("is none as a token that is bound to a key", async () => {
    const headers = { authorization: `DPoP ${agent.token}` };
    const { status, body } = await self.call(`/agents/${agent.id}`, { headers });
    expect([status, body.code]).toEqual([401, "invalid_token"]);
  });

  it("is one as a Bearer, in any case", async () => {
    for (const scheme of ["Bearer", "bearer", "BEARER"]) {
      const headers = { authorization: `${scheme} ${agent.token}` };
      expect((await self.call(`/agents/${agent.id}`, { headers })).status).toBe(200);
    }
  });
});

describe("a deployment without ADMIN_BOOTSTRAP_TOKEN", () => {
  const without = world({ ADMIN_BOOTSTRAP_TOKEN: undefined });

  it.each(["null", "undefined", "Bearer"])("takes no text for it: %s", async (token) => {
    const json = { name: "agent", owner_email: "owner@example.com", permissions: ["*:*:*"] };
    for (const path of ["/agents/register", "/people/bootstrap"]) {
      const { status, body } = await without.call(path, { method: "POST", json, token });
      expect([path, status, body.code]).toEqual([path, 401, "invalid_token"]);
    }
  });
});
