import { createScheduledController } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it, vi } from "vitest";
import { sweepUnapproved } from "../../src/agents/sweep.ts";
import { loadConfig, type Config } from "../../src/config/config.ts";
import { runScheduledJobs } from "../../src/jobs/run-jobs.ts";
import worker from "../../src/index.ts";
import { failing } from "../support/bindings.ts";
import { countOperations } from "../support/count-operations.ts";
import { world, type World } from "../support/world.ts";
import { SLOW } from "../support/extents.ts";

const DAY_MS = 86_400_000;

afterEach(() => void vi.useRealTimers());

const clean = (where: World, now = Date.now()) => runScheduledJobs(where.env, loadConfig(where.env), now);

async function count(where: World, sql: string, ...bindings: unknown[]): Promise<number> {
  const row = await where.env.DB.prepare(`SELECT COUNT(*) AS n FROM ${sql}`)
    .bind(...bindings)
    .first<{ n: number }>();
  return row!.n;
}

/** Says that everything in the audit log stands in the archive. */
const archive = (where: World) => where.env.AUDIT_DB.prepare("UPDATE batches SET archived_at = 0").run();

async function countRecords(where: World, sql: string, ...bindings: unknown[]): Promise<number> {
  const row = await where.env.AUDIT_DB.prepare(`SELECT COUNT(*) AS n FROM ${sql}`)
    .bind(...bindings)
    .first<{ n: number }>();
  return row!.n;
}

describe("the hot window of the audit log", () => {
  it("loses what is older than its days and archived, keeps the rest, and keeps the counts exact", SLOW, async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const self = world({ ACTIVITY_RETENTION_DAYS: "30" });
    const { id, token } = await self.agent();
    await self.call("/proxy/lab/things/1", { token });
    await self.call("/proxy/lab/things/1", { token, method: "DELETE" });
    await self.drain();
    vi.setSystemTime(Date.now() + 29 * DAY_MS);
    await archive(self);
    await clean(self);
    expect(await countRecords(self, "records WHERE agent_id = ?1", id)).toBe(4);
    const admin = await self.admin();
    await self.drain();
    vi.setSystemTime(Date.now() + 2 * DAY_MS);
    await clean(self);
    expect(await countRecords(self, "records WHERE agent_id = ?1", id)).toBe(0);
    expect(await countRecords(self, "record_minutes WHERE agent_id = ?1", id)).toBe(0);
    expect(await countRecords(self, "records WHERE agent_id = ?1", admin.id)).toBe(2);
    expect(await countRecords(self, "record_counts WHERE agent_id = ?1", id)).toBe(0);
    const { results } = await self.env.AUDIT_DB.prepare(
      "SELECT is_success, total FROM record_counts WHERE agent_id = '*'",
    ).all<{ is_success: number; total: number }>();
    for (const { is_success, total } of results)
      expect(total).toBe(await countRecords(self, "records WHERE (outcome = 'success') = ?1", is_success));
  });

  it("keeps what is not archived, however old", SLOW, async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const self = world({ ACTIVITY_RETENTION_DAYS: "1", AUDIT_ARCHIVE: failing(env.AUDIT_ARCHIVE) });
    vi.spyOn(console, "error").mockImplementation(() => {});
    const { id } = await self.agent();
    await self.drain();
    vi.setSystemTime(Date.now() + 3 * DAY_MS);
    await clean(self);
    expect(await countRecords(self, "records WHERE agent_id = ?1", id)).toBe(2);
    await archive(self);
    await clean(self);
    expect(await countRecords(self, "records WHERE agent_id = ?1", id)).toBe(0);
  });
});

describe("rows of the former activity log", () => {
  it(
    "become records that read as they did, in bounded batches, unless they are older than the retention",
    SLOW,
    async () => {
      const self = world({ ACTIVITY_RETENTION_DAYS: "1" });
      const { id, token } = await self.agent();
      await self.drain();
      const seed = (at: number, rows: number) =>
        self.env.DB.prepare(
          `INSERT INTO activity (id, agent_id, at, ip_address, status, message, by_other, batch)
         SELECT 'act_' || printf('%012x%020x', ?1 + value, value), ?2, ?1 + value, '10.0.0.1', iif(value % 10, 'success', 'failure'),
           iif(value % 10, 'github GET /repos/a/b → 200', 'github GET /repos/a/b → denied, needs github:repos:read and github:issues:read'), 0, 'b'
         FROM (WITH RECURSIVE n (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < ?3) SELECT value FROM n)`,
        )
          .bind(at, id, rows)
          .run();
      await seed(Date.now() - 3 * DAY_MS, 1234);
      await seed(Date.now() - 3_600_000, 1100);
      await self.env.DB.prepare("INSERT INTO activity_counts VALUES (?1, 'success', 1234)").bind(id).run();
      await clean(self);
      expect(await count(self, "activity")).toBe(0);
      expect(await count(self, "activity_counts")).toBe(0);
      const { body } = await self.call(`/agents/${id}/activity?limit=100`, { token });
      expect(body.pagination.total).toBe(1102);
      expect(body.activity.slice(2, 4)).toMatchObject([
        {
          id: expect.stringMatching(/^act_/),
          status: "failure",
          ip_address: "10.0.0.1",
          message: "github GET /repos/a/b → denied, needs github:repos:read and github:issues:read",
        },
        { status: "success", message: "github GET /repos/a/b → 200" },
      ]);
      expect((await self.records(id))[2]).toMatchObject({
        action: "gateway.call",
        outcome: "denied",
        actor: { type: "agent", id },
        service: "github",
        method: "GET",
        path: "/repos/a/b",
        permission: "github:repos:read github:issues:read",
      });
    },
  );
});

describe("what has expired", () => {
  it("goes: sessions once no access token of them lives, keys after their overlap", SLOW, async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const self = world({ REFRESH_TOKEN_TTL_SECONDS: "600", REFRESH_FAMILY_TTL_SECONDS: "1000" });
    const { id, token } = await self.agent();
    await self.env.DB.prepare("INSERT INTO api_keys (hash, agent_id, created_at, expires_at) VALUES (?1, ?2, 0, ?3)")
      .bind(`hash of ${id}`, id, Date.now() + 500_000)
      .run();
    await self.env.DB.batch([
      self.env.DB.prepare(
        "INSERT INTO refresh_families (id, agent_id, issued_at, expires_at) VALUES ('fam_' || ?1, ?1, 0, ?2)",
      ).bind(id, Date.now() + 1_000_000),
      self.env.DB.prepare(
        "INSERT INTO refresh_tokens (hash, family_id, expires_at) VALUES (?1, 'fam_' || ?1, ?2)",
      ).bind(id, Date.now() + 600_000),
    ]);
    const left = async () => [
      await count(self, "sessions WHERE agent_id = ?1", id),
      await count(self, "refresh_families WHERE agent_id = ?1", id),
      await count(self, "refresh_tokens WHERE hash = ?1", id),
    ];
    await clean(self);
    expect(await count(self, "api_keys WHERE agent_id = ?1", id)).toBe(2);
    vi.setSystemTime(Date.now() + 1_001_000);
    await clean(self);
    expect(await count(self, "api_keys WHERE agent_id = ?1", id)).toBe(1);
    expect(await left()).toEqual([1, 1, 0]);
    expect((await self.call(`/agents/${id}`, { token })).status).toBe(200);
    vi.setSystemTime(Date.now() + 3_600_000);
    await clean(self);
    expect(await left()).toEqual([0, 0, 0]);
  });
});

describe("agents that nobody approved", () => {
  it(
    "go after their days, with an event, and no agent that anybody has looked at or that was ever active",
    SLOW,
    async () => {
      vi.useFakeTimers({ toFake: ["Date"] });
      const self = world({ REGISTRATION: "approval", UNAPPROVED_AGENT_DAYS: "10" });
      const admin = await self.admin();
      const register = async (where = self) => {
        const json = { name: "Waiting", owner_email: "o@example.com" };
        return (await where.call("/agents/register", { method: "POST", json })).body.agent.agent_id as string;
      };
      const forgotten = await register();
      const [approved, renamed, rejected, undone] = [
        await register(),
        await register(),
        await register(),
        await register(),
      ];
      const open = await register(world({ REGISTRATION: "open" }));
      const put = (id: string, status: string) =>
        self.call(`/agents/${id}/status`, { method: "PUT", token: admin.token, json: { status } });
      vi.setSystemTime(Date.now() + 1000);
      await put(approved, "active");
      await put(rejected, "suspended");
      await put(undone, "active");
      await put(undone, "inactive");
      await self.call(`/agents/${renamed}`, { method: "PATCH", token: admin.token, json: { name: "Looked at" } });
      const exist = async () => {
        const all = [forgotten, approved, renamed, rejected, undone, open];
        return Promise.all(all.map((id) => count(self, "agents WHERE id = ?1", id)));
      };
      vi.setSystemTime(Date.now() + 10 * DAY_MS - 1000);
      await clean(self);
      expect(await exist()).toEqual([1, 1, 1, 1, 1, 1]);
      vi.setSystemTime(Date.now() + 1000);
      expect(await sweepUnapproved(self.env.DB, 10, Date.now(), 500)).toBe(1);
      expect(await exist()).toEqual([0, 1, 1, 1, 1, 1]);
      expect(await count(self, "api_keys WHERE agent_id = ?1", forgotten)).toBe(0);
      const { results } = await self.env.DB.prepare(
        "SELECT data FROM events WHERE agent_id = ?1 AND event = 'agent.deleted'",
      )
        .bind(forgotten)
        .all<{ data: string }>();
      expect(results.map(({ data }) => JSON.parse(data).deleted_by)).toEqual(["agentauth"]);
    },
  );

  it("go in bounded steps, however many they are", SLOW, async () => {
    const self = world();
    await self.env.DB.prepare(
      `INSERT INTO agents (id, name, owner_email, permissions, status, tier, created_at, updated_at)
       SELECT printf('agt_flood%019d', value), 'Flood', 'f@example.com', '[]', 'inactive', 'free', value, value
       FROM (WITH RECURSIVE n (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 1700) SELECT value FROM n)`,
    ).run();
    await clean(self);
    expect(await count(self, "agents WHERE name = 'Flood'")).toBe(0);
  });
});

describe("every job", () => {
  it("finds what it drops by an index", SLOW, async () => {
    const counter = countOperations();
    const self = world(counter.overrides);
    const { statements } = await counter.run(() => clean(self));
    expect(statements.length).toBeGreaterThanOrEqual(5);
    for (const { sql, bindings } of statements) {
      const plan = await env.DB.prepare(`EXPLAIN QUERY PLAN ${sql}`)
        .bind(...bindings)
        .all<{ detail: string }>();
      const scans = plan.results.filter(({ detail }) => /^SCAN (?!\(?subquery|\d+)/.test(detail));
      expect({
        sql,
        // The outbox is read from its beginning, in the order of its key, up to a limit; json_each is a list that is given, and the
        // webhooks are those of administrators.
        scans: scans.filter(
          ({ detail }) =>
            !/VIRTUAL TABLE|USING INDEX (?:activity_counts_empty|webhooks_for_all)|^SCAN (CONSTANT ROW$|audit_outbox$|events$|json_each )/.test(
              detail,
            ),
        ),
      }).toEqual({
        sql,
        scans: [],
      });
    }
  });
});

describe("the cron trigger", () => {
  it("runs the jobs for its scheduled time", SLOW, async () => {
    const self = world();
    const { id } = await self.agent();
    const sessions = () => count(self, "sessions WHERE agent_id = ?1", id);
    expect(await sessions()).toBe(1);
    await worker.scheduled(createScheduledController({ scheduledTime: Date.now() + 100 * DAY_MS }), self.env);
    expect(await sessions()).toBe(0);
  });
});

describe("a job that fails", () => {
  it("keeps none of the others, and is logged", async () => {
    const self = world();
    const errors = vi.spyOn(console, "error").mockImplementation(() => {});
    let done = 0;
    const jobs = {
      broken: () => Promise.reject(new Error("no")),
      endless: async (_env: Env, _config: Config, _now: number, most: number) => (done++, most),
    };
    // Each step takes a second, and a job has twenty.
    const clock = { now: () => 7_000 + done * 1000 };
    await runScheduledJobs(self.env, loadConfig(self.env), Date.now(), jobs, clock);
    expect(done).toBe(20);
    expect(errors.mock.calls.flat().join()).toContain('"job":"broken"');
    errors.mockRestore();
  });
});

describe("when an agent last proved itself", () => {
  it("follows through the queue, and late messages do not turn it back", SLOW, async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const self = world();
    const { id, apiKey, token } = await self.agent();
    const read = async () => (await self.call(`/agents/${id}`, { token })).body;
    expect((await read()).last_verified_at).toBeNull();
    const columns = "agent_id, id, part, at, ready_at, entry";
    const late = await self.env.DB.prepare(
      `SELECT ${columns} FROM audit_outbox WHERE agent_id = ? AND entry ->> 'action' = 'token.issued'`,
    )
      .bind(id)
      .first<Record<string, string | number>>();
    const before = (await read()).agent.updated_at;
    vi.setSystemTime(Date.now() + 5000);
    await self.call("/agents/verify", { method: "POST", json: { agent_id: id, api_key: apiKey } });
    const at = new Date().toISOString();
    await self.drain();
    await self.env.DB.prepare(`INSERT INTO audit_outbox (${columns}) VALUES (?, ?, ?, ?, ?, ?)`)
      .bind(...Object.values(late!))
      .run();
    await self.drain();
    const { last_verified_at, agent } = await read();
    expect(last_verified_at).toBe(at);
    expect(agent.updated_at).toBe(before);
  });
});
