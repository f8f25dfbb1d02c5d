import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { countOperations } from "../support/count-operations.ts";
import { world, type Registered } from "../support/world.ts";
import { SLOW } from "../support/extents.ts";

const SETTINGS = { STANDING_TTL_SECONDS: "0", RATE_FREE: { limit: async () => ({ success: true }) } };
const self = world(SETTINGS);
let admin: Registered;
beforeAll(async () => {
  admin = await self.admin();
});
afterEach(() => void vi.useRealTimers());

const revoke = (json: unknown, who = admin, where = self) =>
  where.call("/agents/bulk-revoke", { method: "POST", token: who.token, json });

/** Registers as many agents of one owner, without keys. */
async function seed(owner: string, count: number, status = "active"): Promise<void> {
  await self.env.DB.prepare(
    `INSERT INTO agents (id, name, owner_email, permissions, status, tier, created_at, updated_at)
     SELECT 'agt_' || lower(hex(randomblob(12))), 'Seeded', ?1, '["lab:things:read"]', ?2, 'free', 1700000000000 + value, 0
     FROM (WITH RECURSIVE n (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < ?3) SELECT value FROM n)`,
  )
    .bind(owner, status, count)
    .run();
}

const statuses = async (owner: string) => {
  const { results } = await self.env.DB.prepare(
    "SELECT status, count(*) AS n FROM agents WHERE owner_email = ?1 GROUP BY status ORDER BY status",
  )
    .bind(owner)
    .all<{ status: string; n: number }>();
  return Object.fromEntries(results.map(({ status, n }) => [status, n]));
};

describe("revoking many agents", () => {
  it("only counts at first, and then does what was counted, with events and records", async () => {
    const owner_email = "leaver@example.com";
    await seed(owner_email, 3);
    await seed(owner_email, 2, "suspended");
    await seed(owner_email, 1, "revoked");
    const agent = await self.agent();
    await self.call(`/agents/${agent.id}`, { method: "PATCH", token: admin.token, json: { owner_email } });
    const filter = { owner_email: "LEAVER@example.com" };
    const dry = await revoke({ filter });
    expect(dry.body).toMatchObject({ success: true, matched: 6, revoked: 0, remaining: 6 });
    expect(await statuses(owner_email)).toEqual({ active: 4, revoked: 1, suspended: 2 });
    self.sent.length = 0;
    const done = await revoke({ filter, dry_run: false, expected: 6 });
    expect(done.body).toEqual({
      success: true,
      message: "6 agents are revoked.",
      matched: 6,
      revoked: 6,
      remaining: 0,
    });
    expect(await statuses(owner_email)).toEqual({ revoked: 7 });
    expect((await self.call(`/agents/${agent.id}`, { token: agent.token })).body.code).toBe("token_revoked");
    const { results } = await self.env.DB.prepare(
      "SELECT event, json_extract(data, '$.revoked_by') AS revoked_by, agent_id FROM events WHERE agent_id = ?1 AND event LIKE 'agent.%rev%'",
    )
      .bind(agent.id)
      .all();
    expect(results).toEqual([{ event: "agent.revoked", revoked_by: admin.id, agent_id: agent.id }]);
    const told = await self.env.DB.prepare("SELECT count(*) AS n FROM audit_outbox WHERE entry ->> 'message' = ?")
      .bind(`status is revoked, set by ${admin.id} with others`)
      .first("n");
    expect(told).toBe(6);
    expect((await revoke({ filter })).body).toMatchObject({ matched: 0 });
  });

  it("changes nothing if the number is another, and nothing twice by two at once", SLOW, async () => {
    const owner_email = "changing@example.com";
    await seed(owner_email, 4);
    const filter = { owner_email };
    for (const expected of [3, 5, 0]) {
      const { status, body } = await revoke({ filter, dry_run: false, expected });
      expect([status, body.code]).toEqual([409, "unexpected_count"]);
    }
    expect(await statuses(owner_email)).toEqual({ active: 4 });
    const both = await Promise.all([1, 2].map(() => revoke({ filter, dry_run: false, expected: 4 })));
    expect(both.map(({ status }) => status).sort()).toEqual([200, 409]);
    const events = await self.env.DB.prepare(
      `SELECT count(*) AS n FROM events e JOIN agents a ON a.id = e.agent_id
       WHERE a.owner_email = ?1 AND e.event = 'agent.revoked'`,
    )
      .bind(owner_email)
      .first();
    expect(events).toEqual({ n: 4 });
  });

  it("takes bounded steps, and says how many are left", SLOW, async () => {
    const owner_email = "many@example.com";
    await seed(owner_email, 1100);
    const filter = { owner_email, permission: "lab:things:read", tier: "free" };
    let expected = (await revoke({ filter })).body.matched as number;
    const steps = [];
    const counter = countOperations();
    const counted = world({ ...SETTINGS, ...counter.overrides });
    while (expected > 0) {
      const { result, awaited } = await counter.run(() => revoke({ filter, dry_run: false, expected }, admin, counted));
      expect([result.status, awaited.d1]).toEqual([200, 3]);
      steps.push(result.body.revoked);
      expected = result.body.remaining;
    }
    expect(steps).toEqual([500, 500, 100]);
    expect(await statuses(owner_email)).toEqual({ revoked: 1100 });
  });

  it("refuses a filter that would have to look at too many", SLOW, async () => {
    await seed("crowd@example.com", 20_001);
    const { status, body } = await revoke({ filter: { tier: "free" } });
    expect([status, body.code]).toEqual([400, "filter_too_broad"]);
    await self.env.DB.prepare("DELETE FROM agents WHERE owner_email = 'crowd@example.com'").run();
  });

  it("never revokes the caller", SLOW, async () => {
    const other = await self.admin();
    const filter = { permission: "*:*:*" };
    const { matched } = (await revoke({ filter })).body;
    await revoke({ filter, dry_run: false, expected: matched });
    expect((await self.call(`/agents/${admin.id}`, { token: admin.token })).body.agent.status).toBe("active");
    expect((await self.call(`/agents/${other.id}`, { token: other.token })).status).toBe(401);
  });

  it.each([
    {},
    { filter: {} },
    { filter: null },
    { filter: { status: undefined } },
    { filter: { owner: "a@example.com" } },
    { filter: { q: "a" } },
    { filter: { tier: "gold" } },
    { filter: { tier: "free" }, dry_run: false },
    { filter: { tier: "free" }, dry_run: "false", expected: 1 },
    { filter: { tier: "free" }, dry_run: false, expected: -1 },
    { filter: { tier: "free" }, dry_run: false, expected: "1" },
    { filter: { tier: "free" }, dryrun: false },
  ])("refuses %j", async (json) => {
    expect((await revoke(json)).status).toBe(400);
  });

  it("is for administrators with a recent proof", async () => {
    const agent = await self.agent();
    expect((await revoke({ filter: { tier: "free" } }, agent)).status).toBe(403);
    vi.useFakeTimers({ toFake: ["Date"] });
    vi.setSystemTime(Date.now() + 301_000);
    const filter = { owner_email: "nobody@example.com" };
    expect((await revoke({ filter })).status).toBe(200);
    const stale = await revoke({ filter, dry_run: false, expected: 0 });
    expect([stale.status, stale.body.code]).toEqual([403, "reauthentication_required"]);
    expect((await revoke({ filter, dry_run: false, expected: 0, api_key: admin.apiKey })).status).toBe(200);
  });
});
