import { env as bound } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { failing, held, slow } from "../support/bindings.ts";
import { WRONG_API_KEY } from "../support/secrets.ts";
import { testEnv, world } from "../support/world.ts";
import { SLOW, few } from "../support/extents.ts";

const SLOW_MS = 30;

describe("a slow database", () => {
  it("changes no response, and gives two refreshes of one token at once the same successor", async () => {
    const self = world({ DB: slow(testEnv().DB, SLOW_MS) });
    const { refreshToken } = await self.agent();
    const json = { refresh_token: refreshToken };
    const both = await Promise.all([1, 2].map(() => self.call("/agents/refresh", { method: "POST", json })));
    expect(both.map(({ status }) => status)).toEqual([200, 200]);
    expect(both[0]!.body.token.refresh_token).toBe(both[1]!.body.token.refresh_token);
  });

  it("is waited for: nobody is authenticated meanwhile", async () => {
    const { token } = await world().agent();
    const { binding: DB, release } = held(testEnv().DB);
    let response: unknown;
    const calling = world({ DB, STANDING_TTL_SECONDS: "0" })
      .call("/webhooks", { token })
      .then((answer) => (response = answer));
    await scheduler.wait(SLOW_MS);
    expect(response).toBeUndefined();
    release();
    expect((await calling) as object).toMatchObject({ status: 200 });
  });
});

describe("a database that fails", () => {
  it("refuses everybody, and says that it is temporary", async () => {
    const { token } = await world().agent();
    const self = world({ DB: failing(testEnv().DB) });
    const refused = await self.call("/webhooks", { token });
    expect([refused.status, refused.body.code, refused.headers.get("retry-after")]).toEqual([
      503,
      "standing_unknown",
      "1",
    ]);
    const json = { agent_id: "agt_x", api_key: WRONG_API_KEY };
    const verified = await self.call("/agents/verify", { method: "POST", json });
    expect([verified.status, verified.body.code]).toEqual([503, "database_unavailable"]);
    const health = await self.call("/health");
    expect([health.status, health.body.status]).toEqual([503, "unhealthy"]);
  });
});

describe("a slow or failing KV namespace", () => {
  few(1).each([
    ["slow", slow(bound.REVOCATIONS, SLOW_MS)],
    ["failing", failing(bound.REVOCATIONS, "KV PUT failed: 500 Internal Server Error")],
  ])("that is %s does not keep a revocation from being in force at once", async (_, REVOCATIONS) => {
    const self = world({ REVOCATIONS, STANDING_TTL_SECONDS: "0" });
    const { token } = await self.agent();
    expect((await self.call("/proxy/lab/things", { token })).status).toBe(200);
    expect((await self.call("/agents/revoke-tokens", { method: "POST", token })).status).toBe(200);
    const own = await self.call("/webhooks", { token });
    const proxied = await self.call("/proxy/lab/things", { token });
    expect([own, proxied].map(({ status, body }) => [status, body.code])).toEqual([
      [401, "token_revoked"],
      [401, "token_revoked"],
    ]);
  });
});

describe("a slow or failing queue", () => {
  it("holds up no response: what happened is recorded once the queue takes it", SLOW, async () => {
    const sent: unknown[] = [];
    const { binding: ACTIVITY, release } = held({ send: async (message: unknown) => void sent.push(message) });
    const { token } = await world({ ACTIVITY }).agent();
    expect(token).toBeTruthy();
    expect(sent).toEqual([]);
    release();
    await expect.poll(() => sent).toHaveLength(2);
  });

  it("fails no response", async () => {
    const ACTIVITY = failing({ send: async () => undefined }, "Queue sendBatch failed: Internal Server Error");
    const { id, token } = await world({ ACTIVITY }).agent();
    expect((await world({ ACTIVITY }).call(`/agents/${id}`, { token })).status).toBe(200);
  });
});
