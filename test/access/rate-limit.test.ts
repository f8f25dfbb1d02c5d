import { afterEach, describe, expect, it, vi } from "vitest";
import { world, type Answer } from "../support/world.ts";

/**
 * Calls until it is refused, almost to the limit at once, then one by one. A minute may end in between, hence twice the limit at
 * the most.
 */
async function callsUntilRefused(
  limit: number,
  call: (n: number) => Promise<Answer>,
  atOnce = limit - 2,
): Promise<Answer> {
  const first = await Promise.all(Array.from({ length: atOnce }, (_, n) => call(n)));
  expect(first.filter(({ status }) => status === 429)).toEqual([]);
  for (let n = atOnce; n < 2 * limit + 2; n++) {
    const answer = await call(n);
    if (answer.status === 429) {
      expect(n).toBeGreaterThanOrEqual(limit - 2);
      return answer;
    }
  }
  throw new Error(`never refused within ${2 * limit + 2} calls`);
}

function expectRefusal({ headers, body }: Answer, told: object, policy: string): void {
  expect(body).toMatchObject({ error: "Rate limit exceeded", code: "rate_limited", status: 429, ...told });
  expect(body.retry_after).toBe(60);
  expect(headers.get("retry-after")).toBe("60");
  expect(headers.get("ratelimit-policy")).toBe(policy);
}

describe("the limit of a tier", () => {
  afterEach(() => void vi.useRealTimers());

  it("stops an agent at the gateway, and follows a change of tier within the bound", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const self = world({ STANDING_TTL_SECONDS: "5" });
    const [agent, other, admin] = [await self.agent(), await self.agent(), await self.admin()];
    const call = () => self.call("/proxy/lab/things/1", { token: agent.token });
    const refused = await callsUntilRefused(60, call);
    expectRefusal(refused, { tier: "free", limit: 60 }, '"free";q=60;w=60');
    expect((await self.call("/proxy/lab/things/1", { token: other.token })).status).toBe(200);
    await self.call(`/agents/${agent.id}/tier`, { method: "PUT", token: admin.token, json: { tier: "pro" } });
    vi.setSystemTime(Date.now() + 5000);
    expect((await call()).status).toBe(200);
  });

  it("stops an agent at its own endpoints, where it still may refresh", async () => {
    const self = world();
    const agent = await self.agent();
    const refused = await callsUntilRefused(60, () => self.call(`/agents/${agent.id}`, { token: agent.token }));
    expectRefusal(refused, { tier: "free", limit: 60 }, '"free";q=60;w=60');
    const refreshed = await self.call("/agents/refresh", {
      method: "POST",
      json: { refresh_token: agent.refreshToken },
    });
    expect(refreshed.status).toBe(200);
  });

  it("stops refreshes before they cost the caller its token", async () => {
    const self = world();
    const agent = await self.agent();
    let token = agent.refreshToken;
    const next = async () => {
      const answer = await self.call("/agents/refresh", { method: "POST", json: { refresh_token: token } });
      if (answer.status === 200) token = answer.body.token.refresh_token;
      return answer;
    };
    const refused = await callsUntilRefused(60, next, 0);
    expectRefusal(refused, { tier: null, limit: 60 }, '"session";q=60;w=60');
    const row = await self.env.DB.prepare(
      "SELECT COUNT(*) AS alive FROM sessions WHERE agent_id = ?1 AND ended_at IS NULL",
    )
      .bind(agent.id)
      .first<{ alive: number }>();
    expect(row!.alive).toBe(1);
  });
});

describe("the limit of an agent's own", () => {
  it.each([10, 30, 120])("of %i stands instead of the tier's, wherever it is lower or higher", async (rate_limit) => {
    const self = world();
    const [agent, admin] = [await self.agent(), await self.admin()];
    await self.call(`/agents/${agent.id}`, { method: "PATCH", token: admin.token, json: { rate_limit } });
    const call = () => self.call(`/agents/${agent.id}`, { token: agent.token });
    const refused = await callsUntilRefused(rate_limit, call);
    expectRefusal(refused, { tier: null, limit: rate_limit }, `"agent";q=${rate_limit};w=60`);
    await self.call(`/agents/${agent.id}`, { method: "PATCH", token: admin.token, json: { rate_limit: null } });
    expect((await call()).status).toBe(200);
  });
});

describe("the limit of an address", () => {
  it.each([
    ["/agents/register", { name: "n" }],
    ["/agents/verify", { agent_id: "agt_x", api_key: "" }],
    ["/agents/refresh", { refresh_token: "rt_guess" }],
  ])("stops guesses on %s, before the body is looked at, and no other address", async (path, json) => {
    const self = world();
    const ip = `198.51.100.${path.length}`;
    const refused = await callsUntilRefused(300, () => self.call(path, { method: "POST", json, ip }));
    expectRefusal(refused, { tier: null, limit: 300 }, '"address";q=300;w=60');
    expect((await self.call(path, { method: "POST", json, ip: "198.51.100.250" })).status).not.toBe(429);
    for (const name of ["x-forwarded-for", "x-real-ip", "forwarded", "true-client-ip"]) {
      const claimed = { method: "POST", json, ip, headers: { [name]: "198.51.100.251" } };
      expect([name, (await self.call(path, claimed)).status]).toEqual([name, 429]);
    }
  });
});

describe("the limit of an IPv6 address", () => {
  const spellingsIn = (prefix: string) => (n: number) => [
    `${prefix}::${n.toString(16)}`,
    `${prefix.toUpperCase()}:0:0:0:${n.toString(16)}`,
    `${prefix}:${n.toString(16)}::`,
    `${prefix}::10.0.${n >> 8}.${n & 255}`,
    `${prefix}:a:b:c:${n.toString(16)}%eth0`,
  ];

  it("is that of its /64, in every spelling", async () => {
    const self = world();
    const prefix = `2001:db8:${(Date.now() % 0xffff).toString(16)}:5`;
    const spellings = spellingsIn(prefix);
    const guess = (ip: string) =>
      self.call("/agents/refresh", { method: "POST", json: { refresh_token: "rt_guess" }, ip });
    const refused = await callsUntilRefused(300, (n) => guess(spellings(n)[n % 5]!));
    expectRefusal(refused, { tier: null, limit: 300 }, '"address";q=300;w=60');
    expect((await guess(`${prefix.slice(0, -1)}6::1`)).status).toBe(401);
  });

  it("lets not all of 450 registrations in that come from one /64", { tags: ["slow"] }, async () => {
    const self = world();
    const prefix = `2001:db8:${(Date.now() % 0xffff).toString(16)}:7`;
    const spellings = spellingsIn(prefix);
    const json = (n: number) => ({ name: `subscriber ${n}`, owner_email: "owner@example.com" });
    const register = (ip: string, n: number) => self.call("/agents/register", { method: "POST", json: json(n), ip });
    const answers = await Promise.all(Array.from({ length: 450 }, (_, n) => register(spellings(n)[n % 5]!, n)));
    const registered = answers.filter(({ status }) => status === 201).length;
    expect(answers.filter(({ status }) => status !== 201 && status !== 429)).toEqual([]);
    // A minute may end in between, and each minute lets 300 in.
    if (registered === 450) for (let n = 450; n < 650; n++) answers.push(await register(spellings(n)[0]!, n));
    expectRefusal(
      answers.find(({ status }) => status === 429)!,
      { tier: null, limit: 300 },
      '"address";q=300;w=60',
    );
    expect((await register(`${prefix.slice(0, -1)}8::1`, 0)).status).toBe(201);
  });
});

describe("guesses at one agent's key", () => {
  it("are stopped from wherever they come; the owner of the key can still verify", async () => {
    const self = world();
    const { id, apiKey } = await self.agent();
    self.sent.length = 0;
    const guess = (n: number) =>
      self.call("/agents/verify", { method: "POST", json: { agent_id: id, api_key: "ak_x" }, ip: `203.0.113.${n}` });
    const refused = await callsUntilRefused(30, guess);
    expectRefusal(refused, { tier: null, limit: 30 }, '"agent";q=30;w=60');
    expect(
      (await self.call("/agents/verify", { method: "POST", json: { agent_id: id, api_key: apiKey } })).status,
    ).toBe(200);
    expect(self.sent.filter(({ status }) => status === "failure").length).toBeLessThanOrEqual(60);
  });

  it("are apart from what one key may open", async () => {
    const self = world();
    const { id, apiKey } = await self.agent();
    const verify = () => self.call("/agents/verify", { method: "POST", json: { agent_id: id, api_key: apiKey } });
    expectRefusal(await callsUntilRefused(60, verify), { tier: null, limit: 60 }, '"key";q=60;w=60');
  });

  it("leave no row for an agent that does not exist", async () => {
    const self = world();
    const json = { agent_id: "agt_nobody", api_key: "ak_x" };
    expect((await self.call("/agents/verify", { method: "POST", json })).status).toBe(401);
    await self.drain();
    const row = await self.env.DB.prepare("SELECT COUNT(*) AS n FROM activity WHERE agent_id = 'agt_nobody'").first<{
      n: number;
    }>();
    expect(row!.n).toBe(0);
    const counted = await self.env.DB.prepare(
      "SELECT COUNT(*) AS n FROM activity_counts WHERE agent_id = 'agt_nobody'",
    ).first<{ n: number }>();
    expect(counted!.n).toBe(0);
  });
});
