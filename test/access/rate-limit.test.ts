import { afterEach, describe, expect, it, vi } from "vitest";
import { limitAgent, limitToken, rememberAgentOf } from "../../src/access/rate-limit.ts";
import type { AccessClaims } from "../../src/tokens/access-token.ts";
import { WRONG_API_KEY } from "../support/secrets.ts";
import { rateLimit } from "../support/rate-limit.ts";
import { countOperations } from "../support/count-operations.ts";
import { world, type Answer, type World } from "../support/world.ts";
import { SLOW, few } from "../support/extents.ts";

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

/** Stops the clock where a minute begins. */
const atMinute = () => vi.useFakeTimers({ toFake: ["Date"], now: Math.ceil(Date.now() / 60_000) * 60_000 });

function expectRefusal({ headers, body }: Answer, told: object, policy: string): void {
  expect(body).toMatchObject({ error: "Rate limit exceeded", code: "rate_limited", status: 429, ...told });
  expect(headers.get("retry-after")).toBe(String(body.retry_after));
  expect(body.retry_after).toBeGreaterThan(0);
  expect(body.retry_after).toBeLessThanOrEqual(60);
  expect(headers.get("ratelimit-policy")).toBe(policy);
}

describe("the limit of a tier", () => {
  afterEach(() => void vi.useRealTimers());

  it("stops an agent at the gateway, and follows a change of tier within the bound", SLOW, async () => {
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

  it("stops an agent at its own endpoints, where it still may refresh", SLOW, async () => {
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

  it("stops refreshes before they cost the caller its token", SLOW, async () => {
    // Each needs the token of the one before it: a busy machine may not make sixty in a minute of the real clock.
    atMinute();
    const self = world({ RATE_FREE: rateLimit(60) });
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
  afterEach(() => void vi.useRealTimers());

  const standsInstead = async (rate_limit: number): Promise<void> => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const self = world();
    const [agent, admin] = [await self.agent(), await self.admin()];
    await self.call(`/agents/${agent.id}`, { method: "PATCH", token: admin.token, json: { rate_limit } });
    const call = () => self.call(`/agents/${agent.id}`, { token: agent.token });
    const refused = await callsUntilRefused(rate_limit, call);
    expectRefusal(refused, { tier: null, limit: rate_limit }, `"agent";q=${rate_limit};w=60`);
    await self.call(`/agents/${agent.id}`, { method: "PATCH", token: admin.token, json: { rate_limit: null } });
    vi.setSystemTime(Date.now() + 5000);
    expect((await call()).status).toBe(200);
  };
  it("of 10 stands instead of the tier's", () => standsInstead(10));
  it("of 120 stands instead of the tier's", SLOW, () => standsInstead(120));
});

describe("the limit of an address", () => {
  afterEach(() => void vi.useRealTimers());

  it("stops guesses on /agents/verify, before the body is looked at, and no other address", SLOW, () =>
    stopsGuesses("/agents/verify", { agent_id: "agt_x", api_key: "" }),
  );
  // The others are counted by the same lines.
  few(2).each([
    ["/agents/register", { name: "n" }],
    ["/agents/refresh", { refresh_token: "rt_guess" }],
  ])("stops guesses on %s, before the body is looked at, and no other address", SLOW, stopsGuesses);

  async function stopsGuesses(path: string, json: object): Promise<void> {
    atMinute();
    const self = world({ RATE_ADDRESS: rateLimit(300) });
    const ip = `198.51.100.${path.length}`;
    const refused = await callsUntilRefused(300, () => self.call(path, { method: "POST", json, ip }));
    expectRefusal(refused, { tier: null, limit: 300 }, '"address";q=300;w=60');
    expect((await self.call(path, { method: "POST", json, ip: "198.51.100.250" })).status).not.toBe(429);
    for (const name of ["x-forwarded-for", "x-real-ip", "forwarded", "true-client-ip"]) {
      const claimed = { method: "POST", json, ip, headers: { [name]: "198.51.100.251" } };
      expect([name, (await self.call(path, claimed)).status]).toEqual([name, 429]);
    }
  }
});

describe("the limit of an IPv6 address", () => {
  afterEach(() => void vi.useRealTimers());

  const spellingsIn = (prefix: string) => (n: number) => [
    `${prefix}::${n.toString(16)}`,
    `${prefix.toUpperCase()}:0:0:0:${n.toString(16)}`,
    `${prefix}:${n.toString(16)}::`,
    `${prefix}::10.0.${n >> 8}.${n & 255}`,
    `${prefix}:a:b:c:${n.toString(16)}%eth0`,
  ];

  it("is that of its /64, in every spelling", SLOW, async () => {
    const self = world();
    const prefix = `2001:db8:${(Date.now() % 0xffff).toString(16)}:5`;
    const spellings = spellingsIn(prefix);
    const guess = (ip: string) =>
      self.call("/agents/refresh", { method: "POST", json: { refresh_token: "rt_guess" }, ip });
    const refused = await callsUntilRefused(300, (n) => guess(spellings(n)[n % 5]!));
    expectRefusal(refused, { tier: null, limit: 300 }, '"address";q=300;w=60');
    expect((await guess(`${prefix.slice(0, -1)}6::1`)).status).toBe(401);
  });

  it("lets 300 of 450 registrations in that come from one /64", SLOW, async () => {
    atMinute();
    const self = world({ RATE_ADDRESS: rateLimit(300) });
    const prefix = `2001:db8:${(Date.now() % 0xffff).toString(16)}:7`;
    const spellings = spellingsIn(prefix);
    const json = (n: number) => ({ name: `subscriber ${n}`, owner_email: "owner@example.com" });
    const register = (ip: string, n: number) => self.call("/agents/register", { method: "POST", json: json(n), ip });
    const answers = await Promise.all(Array.from({ length: 450 }, (_, n) => register(spellings(n)[n % 5]!, n)));
    const withStatus = (wanted: number) => answers.filter(({ status }) => status === wanted);
    expect([withStatus(201).length, withStatus(429).length]).toEqual([300, 150]);
    expectRefusal(withStatus(429)[0]!, { tier: null, limit: 300 }, '"address";q=300;w=60');
    expect((await register(`${prefix.slice(0, -1)}8::1`, 0)).status).toBe(201);
  });
});

describe("guesses at one agent's key", () => {
  it("are stopped from wherever they come; the owner of the key can still verify", async () => {
    const self = world();
    const { id, apiKey } = await self.agent();
    self.sent.length = 0;
    const guess = (n: number) =>
      self.call("/agents/verify", {
        method: "POST",
        json: { agent_id: id, api_key: WRONG_API_KEY },
        ip: `203.0.113.${n}`,
      });
    const refused = await callsUntilRefused(30, guess);
    expectRefusal(refused, { tier: null, limit: 30 }, '"agent";q=30;w=60');
    expect(
      (await self.call("/agents/verify", { method: "POST", json: { agent_id: id, api_key: apiKey } })).status,
    ).toBe(200);
    expect(self.entries.filter(({ outcome }) => outcome !== "success").length).toBeLessThanOrEqual(60);
  });

  it("are apart from what one key may open", SLOW, async () => {
    const self = world();
    const { id, apiKey } = await self.agent();
    const verify = () => self.call("/agents/verify", { method: "POST", json: { agent_id: id, api_key: apiKey } });
    expectRefusal(await callsUntilRefused(60, verify), { tier: null, limit: 60 }, '"key";q=60;w=60');
  });

  it("leave no row for an agent that does not exist", async () => {
    const self = world();
    const json = { agent_id: "agt_nobody", api_key: WRONG_API_KEY };
    expect((await self.call("/agents/verify", { method: "POST", json })).status).toBe(401);
    await self.drain();
    expect(await self.records("agt_nobody")).toEqual([]);
    const counted = await self.env.AUDIT_DB.prepare(
      "SELECT COUNT(*) AS n FROM record_counts WHERE agent_id = 'agt_nobody'",
    ).first("n");
    expect(counted).toBe(0);
  });
});

describe("the order in which a request is counted", () => {
  const write = (where: World, token: string) => where.call("/proxy/lab/things/1", { method: "DELETE", token });
  const code = ({ status, body }: Answer) => `${status} ${body.code ?? ""}`.trim();
  afterEach(() => void vi.useRealTimers());

  it("costs no read of the database above the limit: 150 writes are refused by what is known", SLOW, async () => {
    atMinute();
    const counter = countOperations({ RATE_FREE: rateLimit(60) });
    const self = world(counter.overrides);
    const { token } = await self.agent(["lab:things:write"]);
    const refused = await callsUntilRefused(60, () => write(self, token));
    expectRefusal(refused, { tier: "free", limit: 60 }, '"free";q=60;w=60');
    const { result, awaited } = await counter.run(() =>
      Promise.all(Array.from({ length: 150 }, () => write(self, token))),
    );
    expect(new Set(result.map(code))).toEqual(new Set(["429 rate_limited"]));
    expect(awaited.d1).toBe(0);
  });

  it(
    "costs one read in each STANDING_TTL_SECONDS where other tokens of the agent have used its limit up",
    SLOW,
    async () => {
      atMinute();
      const counter = countOperations({ RATE_FREE: rateLimit(60) });
      const self = world(counter.overrides);
      const { id, apiKey, token } = await self.agent(["lab:things:write"]);
      const verified = await self.call("/agents/verify", { method: "POST", json: { agent_id: id, api_key: apiKey } });
      await callsUntilRefused(60, () => write(self, token));
      const other = verified.body.token.access_token as string;
      const many = () => Promise.all(Array.from({ length: 50 }, () => write(self, other)));
      expect((await counter.run(many)).awaited.d1).toBe(0);
      vi.setSystemTime(Date.now() + 5000);
      const { result, awaited } = await counter.run(() => write(self, other));
      expect([code(result), awaited.d1]).toEqual(["429 rate_limited", 1]);
      expect((await counter.run(many)).awaited.d1).toBe(0);
    },
  );

  it("lets no revoked token eat its owner's limit, or read the database twice, or go on for ever", SLOW, async () => {
    atMinute();
    const counter = countOperations({ RATE_FREE: rateLimit(60) });
    const self = world(counter.overrides);
    const { id, apiKey, token: stolen } = await self.agent(["lab:things:write"]);
    expect((await write(self, stolen)).status).toBe(200);
    await self.env.DB.prepare("UPDATE sessions SET ended_at = 1 WHERE agent_id = ?1").bind(id).run();
    const thief = await counter.run(async () => {
      const codes = [];
      for (let n = 0; n < 90; n++) codes.push(code(await write(self, stolen)));
      return codes;
    });
    expect([thief.awaited.d1, thief.result[0]]).toEqual([1, "401 token_revoked"]);
    expect(new Set(thief.result)).toEqual(new Set(["401 token_revoked", "429 rate_limited"]));
    const json = { agent_id: id, api_key: apiKey };
    const { body } = await self.call("/agents/verify", { method: "POST", json });
    const own = await Promise.all(Array.from({ length: 58 }, () => write(self, body.token.access_token)));
    expect(own.map(({ status }) => status)).toEqual(Array<number>(58).fill(200));
  });

  it("counts tokens that the isolate does not know against the address they come from", async () => {
    const counter = countOperations();
    const self = world(counter.overrides);
    const { token } = await self.agent();
    const keys: string[] = [];
    const RATE_ADDRESS = {
      limit: async ({ key }: RateLimitOptions) => {
        keys.push(key);
        return { success: !key.startsWith("token:2001:db8:9") };
      },
    };
    const where = world({ ...counter.overrides, RATE_ADDRESS });
    const from = (ip: string) => where.call("/webhooks", { token, ip });
    const { result, awaited } = await counter.run(() => from("2001:db8:9:1::5"));
    expect([code(result), awaited.d1]).toEqual(["429 rate_limited", 0]);
    expect((await from("2001:db8:8:1::5")).status).toBe(200);
    // Once it was good it is known, wherever it comes from.
    expect((await from("2001:db8:9:1::5")).status).toBe(200);
    expect(keys).toEqual(["token:2001:db8:9:1::/64", "token:2001:db8:8:1::/64"]);
  });

  it("follows a higher tier within the bound also where only writes are sent", SLOW, async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const self = world();
    const [agent, admin] = [await self.agent(["lab:things:write"]), await self.admin()];
    await callsUntilRefused(60, () => write(self, agent.token));
    await self.call(`/agents/${agent.id}/tier`, { method: "PUT", token: admin.token, json: { tier: "pro" } });
    vi.setSystemTime(Date.now() + 5000);
    expect((await write(self, agent.token)).status).toBe(200);
  });
});

describe("what a token is counted under", () => {
  /** The bindings of limits, of which each says what was counted, and refuses what the test says. */
  function limits() {
    const counted: string[] = [];
    const refused = new Set<string>();
    const bindings = new Proxy({} as Env, {
      get: (_, name: string) => ({
        limit: async ({ key }: RateLimitOptions) => {
          counted.push(`${name} ${key}`);
          return { success: !refused.has(name) };
        },
      }),
    });
    return { env: bindings, refused, counted: () => counted.splice(0) };
  }
  let ids = 0;
  const newClaims = (sessionId: string | undefined, delegators: readonly string[] = []) => {
    const [agentId, jti] = [`agt_${++ids}`, `jti_${ids}`];
    const links = [...delegators, agentId].map((one) => ({ agentId: one, basis: { sessionId } }));
    const delegation = delegators.length > 0 ? { actors: [agentId] } : undefined;
    return { agentId, jti, claims: { links, jti, delegation } as unknown as AccessClaims };
  };
  const agentOf = (id: string) => ({ id, tier: "pro", rateLimit: null }) as const;
  const codeOf = (work: Promise<void>) =>
    work.then(
      () => "within",
      ({ code }: { code: string }) => code,
    );
  const from = { ipAddress: "192.0.2.1", now: 100_000, memoryMs: 5000 };

  it("is its session, or itself where it has none or others are acted for", async () => {
    const { env, counted } = limits();
    const [session, single] = [newClaims("ses_a"), newClaims(undefined)];
    const delegated = newClaims("ses_b", ["agt_delegator"]);
    for (const { claims } of [session, single, delegated]) await limitToken(env, claims, from);
    const address = "RATE_ADDRESS token:192.0.2.1";
    const keys = ["token:ses_a", `token:${single.jti}`, `token:${delegated.jti}`];
    expect(counted()).toEqual(keys.flatMap((key) => [address, `RATE_3000 ${key}`]));
    // Once it was good, the limit is that of its agent, and its address is not asked about.
    rememberAgentOf(session.claims, agentOf(session.agentId), 100_000);
    await limitToken(env, session.claims, from);
    expect(counted()).toEqual(["RATE_PRO token:ses_a"]);
  });

  it("is refused by what is known of its agent for as long as that may be remembered", async () => {
    const { env, refused, counted } = limits();
    const { claims, agentId } = newClaims("ses_c");
    rememberAgentOf(claims, agentOf(agentId), 100_000);
    refused.add("RATE_PRO");
    const at = (now: number, memoryMs = 5000) => codeOf(limitToken(env, claims, { ...from, now, memoryMs }));
    expect([await at(100_000), await at(104_999), await at(105_000), await at(99_999)]).toEqual([
      "rate_limited",
      "rate_limited",
      "within",
      "within",
    ]);
    // Nothing may be remembered: for a second it is nevertheless.
    expect([await at(100_999, 0), await at(101_000, 0)]).toEqual(["rate_limited", "within"]);
    expect(new Set(counted())).toEqual(new Set(["RATE_PRO token:ses_c"]));
  });

  it("is not asked at all while an agent that it depends on is known to be above its limit", async () => {
    const { env, refused, counted } = limits();
    const busy = newClaims("ses_d");
    refused.add("RATE_PRO");
    expect(await codeOf(limitAgent(env, agentOf(busy.agentId), 100_000))).toBe("rate_limited");
    expect(counted()).toEqual([`RATE_PRO ${busy.agentId}`]);
    const delegated = newClaims("ses_e", [busy.agentId]);
    const at = (now: number, { claims } = busy) => codeOf(limitToken(env, claims, { ...from, now }));
    expect([await at(100_000), await at(104_999), await at(104_999, delegated)]).toEqual(
      Array<string>(3).fill("rate_limited"),
    );
    expect(counted()).toEqual([]);
    expect([await at(105_000), await at(99_999)]).toEqual(["within", "within"]);
    // One request that is within the limit ends what is known.
    refused.clear();
    await limitAgent(env, agentOf(busy.agentId), 100_000);
    expect(await at(100_001)).toBe("within");
  });
});

describe("Retry-After", () => {
  afterEach(() => void vi.useRealTimers());

  it("is what is left of a minute since the first refusal, at least a second, in the header and in the body", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    let success = false;
    const self = world({ RATE_ADDRESS: { limit: async () => ({ success }) } });
    const begin = Date.now();
    const ip = "198.51.100.77";
    const at = async (ms: number) => {
      vi.setSystemTime(begin + ms);
      const { headers, body } = await self.call("/agents/refresh", {
        method: "POST",
        json: { refresh_token: "rt_x" },
        ip,
      });
      return [headers.get("retry-after"), body.retry_after, body.message?.split(" up. ")[1]];
    };
    expect(await at(0)).toEqual(["60", 60, "Wait 60 seconds."]);
    expect(await at(999)).toEqual(["60", 60, "Wait 60 seconds."]);
    expect(await at(1000)).toEqual(["59", 59, "Wait 59 seconds."]);
    expect(await at(45_500)).toEqual(["15", 15, "Wait 15 seconds."]);
    expect(await at(59_999)).toEqual(["1", 1, "Wait 1 second."]);
    // Refused for longer than a minute: another minute has begun.
    expect(await at(60_000)).toEqual(["60", 60, "Wait 60 seconds."]);
    success = true;
    expect((await at(70_000))[0]).toBeNull();
    success = false;
    expect(await at(71_000)).toEqual(["60", 60, "Wait 60 seconds."]);
  });

  it("of an agent's own limit begins anew once a request of it was within the limit", SLOW, async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    let success = true;
    const self = world({ RATE_FREE: { limit: async () => ({ success }) }, STANDING_TTL_SECONDS: "0" });
    const { id, token } = await self.agent();
    const begin = Date.now();
    const after = async (seconds: number, isWithin: boolean) => {
      success = isWithin;
      vi.setSystemTime(begin + seconds * 1000);
      return (await self.call(`/agents/${id}`, { token })).headers.get("retry-after");
    };
    expect([await after(0, false), await after(20, false), await after(25, true), await after(30, false)]).toEqual([
      "60",
      "40",
      null,
      "60",
    ]);
  });
});

describe("a rate limit that cannot be asked", () => {
  it("refuses with 503 and says so, on every path that counts", async () => {
    const { id, apiKey, token, refreshToken } = await world().agent();
    const broken = { limit: () => Promise.reject(new Error("internal error")) };
    const calls: [binding: string, path: string, json?: object][] = [
      ["RATE_ADDRESS", "/agents/register", { name: "An agent", owner_email: "owner@example.com" }],
      ["RATE_FREE", "/agents/verify", { agent_id: id, api_key: apiKey }],
      ["RATE_FREE", "/agents/refresh", { refresh_token: refreshToken }],
      ["RATE_VERIFY", "/agents/verify", { agent_id: id, api_key: WRONG_API_KEY }],
      ["RATE_FREE", "/webhooks"],
      ["RATE_FREE", "/proxy/lab/things/1"],
    ];
    for (const [binding, path, json] of calls) {
      const init = json ? { method: "POST", json } : { token };
      const { status, body, headers } = await world({ [binding]: broken }).call(path, init);
      expect([path, status, body.code, headers.get("retry-after")]).toEqual([path, 503, "limit_unknown", "1"]);
    }
  });
});

describe("a text that is no API key", () => {
  it("is told so without the database, and counts against the address", async () => {
    const counter = countOperations();
    let counted = 0;
    const RATE_ADDRESS = { limit: async () => ({ success: counted++ < 7 }) };
    const self = world({ ...counter.overrides, RATE_ADDRESS });
    const key = WRONG_API_KEY;
    const odd = [`${key}\n`, `"${key}"`, key.slice(0, -1), key.toLowerCase(), "ak_x", "whsec_AAAA", `${key}x`, key];
    const { result, awaited, later } = await counter.run(async () => {
      const answers: Answer[] = [];
      for (const one of odd) {
        answers.push(await self.call("/agents/verify", { method: "POST", json: { agent_id: "agt_x", api_key: one } }));
      }
      return answers;
    });
    for (const { status, body, headers } of result.slice(0, 7)) {
      expect([status, body.error, body.code]).toEqual([401, "Invalid credentials", "malformed_api_key"]);
      expect(body.message).toContain("does not have the form of an API key");
      expect(headers.get("www-authenticate")).toMatch(/^Bearer realm="agentauth", resource_metadata=/);
    }
    expect(result[7]!.status).toBe(429);
    expect(awaited.d1).toBe(0);
    // The first is counted for the audit log at once, and the others with it some seconds later, which may be meanwhile.
    expect([1, 2]).toContain(awaited.queueSends + later.queueSends);
  });

  it("is none of an agent's failures: its own limit and its log are as before", SLOW, async () => {
    const self = world();
    const { id } = await self.agent();
    self.sent.length = 0;
    for (let n = 0; n < 40; n++) {
      const json = { agent_id: id, api_key: "ak_x" };
      expect((await self.call("/agents/verify", { method: "POST", json })).body.code).toBe("malformed_api_key");
    }
    expect(self.entries).toEqual([]);
  });
});

describe("the right key of an agent that is not active", () => {
  few(1).each([
    ["inactive", "It can verify once an administrator has approved it."],
    ["suspended", "It can verify again once an administrator has activated it."],
    ["revoked", "It stays revoked: register another agent."],
  ])("%s: says what to wait for, to nobody else", async (status, told) => {
    const self = world();
    const [{ id, apiKey }, admin] = [await self.agent(), await self.admin()];
    await self.call(`/agents/${id}/status`, { method: "PUT", token: admin.token, json: { status } });
    const verify = (key: string) =>
      self.call("/agents/verify", { method: "POST", json: { agent_id: id, api_key: key } });
    const { body, status: answered } = await verify(apiKey);
    expect([answered, body.error, body.code]).toEqual([401, "Invalid credentials", "agent_inactive"]);
    expect(body.message).toBe(`The API key is right, but the agent is ${status}. ${told}`);
    expect((await verify(WRONG_API_KEY)).body.code).toBe("invalid_credentials");
    const row = await self.env.DB.prepare("SELECT COUNT(*) AS n FROM sessions WHERE agent_id = ?1").bind(id).first();
    expect(row).toEqual({ n: 1 });
  });
});
