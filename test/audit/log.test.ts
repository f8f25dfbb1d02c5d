import { createExecutionContext, createMessageBatch, getQueueResult } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { consumeMessages } from "../../src/audit/consume.ts";
import { insertEntriesIntoLog } from "../../src/audit/insert.ts";
import { insertIntent, isIntentRecorded } from "../../src/audit/intent.ts";
import { sendRecords, type AuditMessage } from "../../src/audit/message.ts";
import { moveOutbox } from "../../src/audit/move.ts";
import { measureOutbox } from "../../src/audit/outbox-size.ts";
import { toRecordId } from "../../src/audit/activity.ts";
import { listActivity } from "../../src/audit/read.ts";
import { searchRecords, type Log } from "../../src/audit/search.ts";
import { sweepRecords } from "../../src/audit/sweep.ts";
import { newEvent } from "../../src/outbox/event.ts";
import { newEntry, SYSTEM_ORIGIN, type AuditEntry } from "../../src/outbox/record.ts";
import worker from "../../src/index.ts";
import { seedRecords } from "../support/audit-rows.ts";
import { expectCountsToAgree } from "../support/record-counts.ts";
import { failing, slow } from "../support/bindings.ts";
import { countOperations } from "../support/count-operations.ts";
import { SLOW } from "../support/extents.ts";
import { testEnv, world } from "../support/world.ts";

const START = Date.parse("2026-03-01T10:00:00Z");
const AGENT = "agt_000000000000000000000001";

const origin = { ...SYSTEM_ORIGIN, actor: { type: "agent", id: AGENT, name: "One" } as const };
const call = (at: number, more: Partial<AuditEntry> = {}): AuditEntry =>
  newEntry("gateway.call", at, origin, {
    agentId: AGENT,
    service: "lab",
    method: "PUT",
    path: "/things/1",
    upstreamStatus: 200,
    ...more,
  });
/** Numbers below one that only look random. */
function numbersFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** A write: its intent, and its end. */
function write(at: number): { intent: AuditEntry; end: AuditEntry } {
  const intent = call(at, { part: "intent", upstreamStatus: null, outcome: "unknown" });
  return { intent, end: call(at, { part: "end", id: intent.id, intentRandom: intent.random }) };
}

const consume = (
  messages: readonly AuditMessage[],
  databases: Pick<Env, "DB" | "AUDIT_DB"> = env,
  isRepeated = false,
) => consumeMessages(databases, messages, { now: START, isRepeated });
const record = (entry: AuditEntry): AuditMessage => ({ kind: "record", entry });
const putIntoOutbox = (entry: AuditEntry, readyAt = entry.at) => insertIntent(env.DB, entry, readyAt).run();
const waiting = () => env.DB.prepare("SELECT count(*) AS n FROM audit_outbox").first<number>("n");
const stored = async () =>
  (await env.AUDIT_DB.prepare("SELECT id, part, outcome, intent_random FROM records ORDER BY id, part").all()).results;
const list = (limit = 50, offset = 0) => listActivity(env, { agentId: AGENT, limit, offset });

const countsAgree = () => expectCountsToAgree(env.AUDIT_DB);

beforeEach(async () => {
  const tables = ["records", "record_minutes", "record_seconds", "record_counts", "batches", "log_state"];
  await env.AUDIT_DB.batch(tables.map((table) => env.AUDIT_DB.prepare(`DELETE FROM ${table}`)));
  await env.DB.batch(["audit_outbox", "audit_state", "events"].map((table) => env.DB.prepare(`DELETE FROM ${table}`)));
});
afterEach(() => void vi.restoreAllMocks());

describe("a write", () => {
  it("is one record by its intent and its end, in whatever order and however often they come", async () => {
    const { intent, end } = write(START);
    const whole = { id: end.id, part: 1, outcome: "success", intent_random: intent.random };
    await putIntoOutbox(intent, START + 60_000);
    await moveOutbox(env, START + 59_999);
    expect(await stored(), "its end may come").toEqual([]);
    expect((await list()).activities).toEqual([]);
    await consume([record(end), record(end)]);
    expect([await waiting(), await stored()]).toEqual([0, [whole]]);
    await consume([record(end)], env, true);
    await insertEntriesIntoLog(env.AUDIT_DB, [intent], START);
    expect(await stored(), "the intent says no more").toEqual([whole]);
    expect(await list()).toMatchObject({
      total: 1,
      activities: [{ status: "success", message: "lab PUT /things/1 → 200" }],
    });
    await countsAgree();
  });

  it("whose end is not heard of is a record with an unknown outcome; an end after that is another row", async () => {
    const { intent, end } = write(START);
    await putIntoOutbox(intent, START + 60_000);
    await moveOutbox(env, START + 60_000);
    expect(await stored()).toEqual([{ id: intent.id, part: 0, outcome: "unknown", intent_random: null }]);
    expect(await list()).toMatchObject({ total: 1, activities: [{ status: "failure" }] });
    await countsAgree();
    await consume([record(end)]);
    expect((await stored()).map(({ part }) => part)).toEqual([0, 1]);
    expect(await list()).toMatchObject({ total: 1, activities: [{ status: "success" }] });
    await countsAgree();
  });

  it("whose end stands in the outbox too is moved as one, and what comes while it is moved stays", SLOW, async () => {
    const { intent, end } = write(START);
    await putIntoOutbox(intent, START + 60_000);
    await sendRecords({ DB: env.DB, ACTIVITY: failing(env.ACTIVITY) }, [{ entry: end }]);
    expect((await list()).activities, "it is seen at once").toHaveLength(1);
    const late = call(START + 1);
    const AUDIT_DB = {
      prepare: (sql: string) => env.AUDIT_DB.prepare(sql),
      async batch(statements: D1PreparedStatement[]) {
        await putIntoOutbox(late);
        return env.AUDIT_DB.batch(statements);
      },
    } as D1Database;
    vi.spyOn(console, "error").mockImplementation(() => {});
    await moveOutbox({ DB: env.DB, AUDIT_DB }, START);
    expect((await stored()).map(({ id, part }) => [id, part])).toEqual([[end.id, 1]]);
    expect(await waiting()).toBe(1);
    await Promise.all([moveOutbox(env, START + 1), moveOutbox(env, START + 1)]);
    expect([await waiting(), (await stored()).length]).toEqual([0, 2]);
    await countsAgree();
  });

  it("keeps the counts right through any order of intents, ends, repetitions and sweeps", SLOW, async () => {
    const random = numbersFrom(18);
    const entries = Array.from({ length: 150 }, (_, n) => {
      const agentId = [AGENT, "agt_2", null][n % 3]!;
      const { intent, end } = write(START + n * 300);
      const outcome = (["success", "denied", "failed"] as const)[n % 5 > 2 ? 0 : n % 3]!;
      return [
        { ...intent, agentId },
        { ...end, agentId, outcome },
        { ...call(START + n * 300), agentId, outcome },
      ];
    }).flat();
    for (let step = 0; step < 20; step++) {
      const some = Array.from({ length: 1 + random(30) }, () => entries[random(entries.length)]!);
      await insertEntriesIntoLog(env.AUDIT_DB, some, START);
      await countsAgree();
    }
    const { results } = await env.AUDIT_DB.prepare("SELECT keys FROM batches").all<{ keys: string }>();
    const keys = results.flatMap(({ keys: own }) => JSON.parse(own) as unknown[]);
    const rows = (await env.AUDIT_DB.prepare("SELECT agent_id, id, part FROM records").raw()) as unknown[];
    expect(keys.map(String).toSorted(), "each row is in one batch").toEqual(rows.map(String).toSorted());
    await env.AUDIT_DB.prepare(
      "UPDATE batches SET archived_at = 0 WHERE id IN (SELECT id FROM batches LIMIT 20)",
    ).run();
    const sweep = () => sweepRecords(env.AUDIT_DB, { retentionDays: 1 }, START + 10 * 86_400_000, 500);
    while ((await sweep()) > 0) await countsAgree();
    await countsAgree();
    const kept = await env.AUDIT_DB.prepare(
      `SELECT count(*) AS n FROM records r WHERE EXISTS (SELECT 1 FROM records p JOIN batches b ON b.id = p.batch
       WHERE p.id = r.id AND p.agent_id = r.agent_id AND b.archived_at IS NULL)`,
    ).first("n");
    expect(await env.AUDIT_DB.prepare("SELECT count(*) AS n FROM records").first("n")).toBe(kept);
    expect(kept).not.toBe(rows.length);
  });
});

describe("the end of a write that waits, while its intent stands in the log", () => {
  it("is what its agent sees", async () => {
    const { intent, end } = write(START);
    await insertEntriesIntoLog(env.AUDIT_DB, [intent, call(START - 1)], START);
    await putIntoOutbox(end);
    const page = await list();
    expect([page.total, page.activities.map(({ message }) => message)]).toEqual([
      2,
      ["lab PUT /things/1 → 200", "lab PUT /things/1 → 200"],
    ]);
  });
});

describe("a log's database that does not answer", () => {
  it("stops no registration, verification, refresh or revocation", async () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    const self = world({ AUDIT_DB: failing(env.AUDIT_DB) });
    const { id, apiKey, refreshToken } = await self.agent();
    const post = (path: string, json: unknown, token?: string) =>
      self.call(path, { method: "POST", json, ...(token && { token }) });
    expect((await post("/agents/refresh", { refresh_token: refreshToken })).status).toBe(200);
    const { token } = (await post("/agents/verify", { agent_id: id, api_key: apiKey })).body;
    expect((await self.call("/proxy/lab/things/1", { token: token.access_token })).status).toBe(200);
    expect((await post(`/agents/${id}/revoke`, {}, token.access_token)).status).toBe(200);
    expect((await self.call(`/agents/${id}/activity`, { token: (await self.admin()).token })).status).toBe(503);
  });

  it("gets its messages again, and each is one record with one event", SLOW, async () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    const entry = call(START, { outcome: "denied" });
    const event = newEvent("gateway.denied", AGENT, START, {
      agent_id: AGENT,
      denied_at: new Date(START).toISOString(),
      service: "lab",
      method: "PUT",
      path: "/",
      required: "lab:things:write",
      ip_address: "",
    });
    const deliver = async (bindings: object, attempts: number) => {
      const messages = [{ id: "m", timestamp: new Date(), attempts, body: { kind: "record", entry, event } }];
      const [batch, ctx] = [createMessageBatch("agentauth-activity", messages), createExecutionContext()];
      const DELIVERIES = { send: async () => {} };
      await worker.queue(batch, { ...testEnv(), DELIVERIES, ...bindings } as unknown as Env, ctx);
      return (await getQueueResult(batch, ctx)).retryMessages.length;
    };
    const events = () => env.DB.prepare("SELECT count(*) AS n FROM events").first("n");
    expect(await deliver({ AUDIT_DB: failing(env.AUDIT_DB) }, 1)).toBe(1);
    expect([await stored(), await events()]).toEqual([[], 0]);
    // The log is written, and what follows from it is not.
    expect(await deliver({ DB: failing(env.DB) }, 2)).toBe(1);
    expect([(await stored()).length, await events()]).toEqual([1, 0]);
    expect(await deliver({ AUDIT_DB: slow(env.AUDIT_DB, 20) }, 3)).toBe(0);
    expect([(await stored()).length, await events()]).toEqual([1, 1]);
    // Once the event is delivered, a message that comes twice brings none.
    await env.DB.prepare("DELETE FROM events").run();
    expect(await deliver({}, 1)).toBe(0);
    expect([(await stored()).length, await events()]).toEqual([1, 0]);
    await countsAgree();
  });

  it("leaves the outbox as it is, and takes it once it answers; what it refuses holds up no others", async () => {
    const errors = vi.spyOn(console, "error").mockImplementation(() => {});
    const entries = [call(START), { ...call(START + 1), outcome: "fine" as never }, call(START + 2)];
    for (const entry of entries) await putIntoOutbox(entry);
    await env.DB.prepare("INSERT INTO audit_outbox VALUES ('agt_x', 'aud_x', 'whole', 0, 0, 'no JSON')").run();
    await expect(moveOutbox({ DB: env.DB, AUDIT_DB: failing(env.AUDIT_DB) }, START + 9)).rejects.toThrow("Network");
    expect([await waiting(), await stored()]).toEqual([4, []]);
    await moveOutbox(env, START + 9);
    expect((await stored()).map(({ id }) => id)).toEqual([entries[0]!.id, entries[2]!.id]);
    expect(await waiting()).toBe(2);
    expect(errors.mock.calls.flat().filter((line) => String(line).includes("record_not_moved"))).toHaveLength(2);
    await moveOutbox(env, START + 10);
    expect(await waiting()).toBe(2);
  });
});

describe("a queue that does not answer", () => {
  it("loses nothing: what it refuses stands in the outbox, is seen at once, and is moved", async () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    const self = world({ ACTIVITY: failing(env.ACTIVITY) });
    const { id, token } = await self.agent();
    await self.call("/proxy/lab/things/1", { token });
    await self.call("/proxy/lab/things/1", { token, method: "DELETE" });
    const before = (await self.call(`/agents/${id}/activity`, { token })).body;
    expect(before.activity.map(({ message }: { message: string }) => message)).toEqual([
      "lab DELETE /things/1 → denied, needs lab:things:write",
      "lab GET /things/1 → 200",
      "verified",
      "registered",
    ]);
    expect(await env.DB.prepare("SELECT count(*) AS n FROM events WHERE event = 'gateway.denied'").first("n")).toBe(1);
    await moveOutbox(env, Date.now());
    expect((await self.call(`/agents/${id}/activity`, { token })).body).toEqual(before);
  });
});

describe("an agent's activity", () => {
  it(
    "is what stands in the log and what waits in the outbox, on pages of any offset, while it is moved",
    SLOW,
    async () => {
      const entries = Array.from({ length: 60 }, (_, n) => call(START + n, { outcome: n % 4 ? "success" : "failed" }));
      await insertEntriesIntoLog(
        env.AUDIT_DB,
        entries.filter((_, n) => n % 3 === 0),
        START,
      );
      const outbox = entries.filter((_, n) => n % 3 !== 0);
      for (const entry of outbox) await putIntoOutbox(entry);
      // As a move that was cut short leaves it: these are in both.
      await insertEntriesIntoLog(env.AUDIT_DB, outbox.slice(5, 15), START);
      const ids = entries.map(({ id }) => id.replace("aud_", "act_")).toReversed();
      for (const offset of [0, 1, 7, 30, 55, 60, 100]) {
        const page = await list(10, offset);
        expect([page.total, page.activities.map(({ id }) => id)]).toEqual([60, ids.slice(offset, offset + 11)]);
      }
      const failures = await listActivity(env, { agentId: AGENT, limit: 100, offset: 3, status: "failure" });
      expect([failures.total, failures.activities.length]).toEqual([15, 12]);
      const after = await listActivity(env, { agentId: AGENT, limit: 5, offset: 0, before: ids[20] });
      expect(after.activities.map(({ id }) => id)).toEqual(ids.slice(21, 27));
      await moveOutbox(env, START + 100);
      expect((await list(100)).activities.map(({ id }) => id)).toEqual(ids);
    },
  );
});

describe("an outbox that is above its bound", () => {
  it("takes no intent and no call, counts them, and says how many there were once it is not", SLOW, async () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    const now = START;
    await measureOutbox(env.DB, now, 1_000_000);
    const fill = env.DB.prepare(
      `INSERT INTO audit_outbox SELECT 'agt_full', printf('aud_%032x', value), 'whole', 0, 9e15, json_quote(hex(zeroblob(500)))
       FROM (WITH RECURSIVE n (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 2500) SELECT value FROM n)`,
    );
    await fill.run();
    await measureOutbox(env.DB, now, 100_000_000);
    const { intent } = write(now);
    expect(isIntentRecorded(await putIntoOutbox(intent))).toBe(true);
    await measureOutbox(env.DB, now, 1_000_000);
    expect(isIntentRecorded(await putIntoOutbox(write(now).intent))).toBe(false);
    const broken = { DB: env.DB, ACTIVITY: failing(env.ACTIVITY) };
    await sendRecords(broken, [{ entry: call(now) }]);
    await sendRecords(broken, [{ entry: call(now) }, { entry: call(now) }]);
    expect(await waiting()).toBe(2501);
    await env.DB.prepare("DELETE FROM audit_outbox").run();
    await Promise.all([measureOutbox(env.DB, now, 1_000_000), measureOutbox(env.DB, now, 1_000_000)]);
    await measureOutbox(env.DB, now, 1_000_000);
    await moveOutbox(env, now);
    expect((await env.AUDIT_DB.prepare("SELECT action, outcome, count FROM records").all()).results).toEqual([
      { action: "gateway.call", outcome: "unknown", count: 3 },
    ]);
    expect(isIntentRecorded(await putIntoOutbox(write(now).intent))).toBe(true);
  });
});

describe("the hot window", () => {
  it("becomes shorter while the database is too large, but for the last hour and what is not archived", async () => {
    const now = START + 10 * 3_600_000;
    const entries = [0, 1, 2, 9.5].map((hours) => call(START + hours * 3_600_000));
    for (const entry of entries) await insertEntriesIntoLog(env.AUDIT_DB, [entry], START);
    await env.AUDIT_DB.prepare("UPDATE batches SET archived_at = 0 WHERE first_id <> ?").bind(entries[1]!.id).run();
    const sweep = (maxBytes: number) => sweepRecords(env.AUDIT_DB, { retentionDays: 90, maxBytes }, now, 500);
    expect(await sweep(1e9)).toBe(0);
    expect(await sweep(1)).toBe(2);
    expect((await stored()).map(({ id }) => id)).toEqual([entries[1]!.id, entries[3]!.id]);
    await countsAgree();
  });

  const size = async () => (await env.AUDIT_DB.prepare("SELECT 1").all()).meta.size_after;
  const archived = () => env.AUDIT_DB.prepare("UPDATE batches SET archived_at = 0").run();
  const seed = async (count: number, row: (n: number) => { agent: string; at: number; message?: string }) => {
    for (let first = 0; first < count; first += 500) {
      await seedRecords(Array.from({ length: Math.min(500, count - first) }, (_, n) => row(first + n)));
    }
    await archived();
  };
  const left = () => env.AUDIT_DB.prepare("SELECT count(*) AS n, min(at) AS at FROM records").first();

  it(
    "is measured by what the database says of its size: once that is small enough, nothing more leaves",
    SLOW,
    async () => {
      const before = await size();
      await seed(3000, (n) => ({ agent: `agt_${n % 3}`, at: START + n * 1000, message: "x".repeat(300) }));
      const full = await size();
      expect(full - before).toBeGreaterThan(1_000_000);
      const maxBytes = full - 100_000;
      const sweep = () => sweepRecords(env.AUDIT_DB, { retentionDays: 90, maxBytes }, START + 86_400_000, 500);
      let steps = 0;
      while ((await sweep()) === 500) steps++;
      expect([steps, await size()]).toEqual([1, expect.toSatisfy((bytes: number) => bytes <= maxBytes)]);
      // A step takes 2,000 records, whole minutes of an agent.
      expect(await left()).toEqual({
        n: expect.toSatisfy((n: number) => n >= 1000 && n <= 1020),
        at: expect.any(Number),
      });
      const found = await env.AUDIT_DB.prepare("SELECT min(at) >= ?1 AS is_newest FROM records")
        .bind(START + 1_980_000)
        .first("is_newest");
      expect(found).toBe(1);
    },
  );

  it("takes a minute of one agent in several steps if it has very many records", SLOW, async () => {
    await seed(2500, (n) => ({ agent: AGENT, at: START + n * 20 }));
    const sweep = () => sweepRecords(env.AUDIT_DB, { retentionDays: 1 }, START + 3 * 86_400_000, 500);
    expect(await sweep()).toBe(500);
    expect(await left()).toEqual({ n: 500, at: START + 40_000 });
    expect(await env.AUDIT_DB.prepare("SELECT minute * 60000 AS at FROM record_minutes").first("at")).toBe(START);
    await sweep();
    expect(await sweep()).toBe(0);
    expect(await left()).toEqual({ n: 0, at: null });
    expect(await env.AUDIT_DB.prepare("SELECT count(*) AS n FROM record_minutes").first("n")).toBe(0);
    expect(await env.AUDIT_DB.prepare("SELECT value FROM log_state WHERE name = 'swept_before'").first("value")).toBe(
      START / 1000 + 60,
    );
  });
});

describe("everybody's records", () => {
  const counter = countOperations();
  const counted = counter.overrides as unknown as Pick<Env, "DB" | "AUDIT_DB">;
  const log: Log = { db: counted.AUDIT_DB, bucket: env.AUDIT_ARCHIVE, dataKeys: [] };
  const byNewest = (rows: readonly string[]) => rows.toSorted().toReversed();

  it.each([
    ["50 agents in turns, 10 times a second", 3000, (n: number) => [`agt_${n % 50}`, n * 100], 700],
    ["one agent, 50 times a second", 3000, (n: number) => [AGENT, n * 20], 400],
    ["one agent, every 7 minutes", 300, (n: number) => [AGENT, n * 420_000], 1500],
  ] as const)("are read in order, and few more than a page shows: %s", SLOW, async (_, count, rowOf, most) => {
    const ids: string[] = [];
    for (let first = 0; first < count; first += 500) {
      const rows = Array.from({ length: Math.min(500, count - first) }, (_one, n) => rowOf(first + n));
      ids.push(
        ...(await seedRecords(rows.map(([agent, after]) => ({ agent: String(agent), at: START + Number(after) })))),
      );
    }
    const wanted = byNewest(ids).slice(0, 150);
    let cursor: string | undefined;
    for (const page of [0, 1, 2]) {
      const { awaited, result } = await counter.run(() => searchRecords(log, {}, { limit: 50, cursor }));
      expect(result.records.map(({ id }) => id)).toEqual(wanted.slice(page * 50, page * 50 + 50));
      expect(awaited.rowsRead).toBeLessThan(most);
      cursor = result.next!;
    }
    const { awaited, result } = await counter.run(() => listActivity(counted, { limit: 50, offset: 100 }));
    expect(result.activities.slice(0, 50).map(({ id }) => toRecordId(id))).toEqual(wanted.slice(100));
    expect(awaited.rowsRead).toBeLessThan(most * 4);
  });

  it("that the former version writes are found as well", async () => {
    await env.AUDIT_DB.prepare(`INSERT INTO record_seconds VALUES (${START / 1000}, '${AGENT}')`).run();
    const [id] = await seedRecords([{ agent: AGENT, at: START }]);
    await env.AUDIT_DB.prepare("DELETE FROM record_minutes").run();
    await env.AUDIT_DB.prepare(`INSERT INTO record_seconds VALUES (${START / 1000 + 1}, '${AGENT}')`).run();
    expect((await searchRecords(log, {}, { limit: 5 })).records.map((one) => one.id)).toEqual([id]);
    await archivedAll();
    await sweepRecords(env.AUDIT_DB, { retentionDays: 1 }, START + 3 * 86_400_000, 500);
    expect(await env.AUDIT_DB.prepare("SELECT count(*) AS n FROM record_seconds").first("n")).toBe(0);
  });

  it("have their minutes after the migration", async () => {
    await env.AUDIT_DB.prepare(`INSERT INTO record_seconds VALUES (${START / 1000 + 59}, '${AGENT}')`).run();
    await env.AUDIT_DB.prepare("DELETE FROM record_minutes").run();
    const migration = env.TEST_AUDIT_MIGRATIONS.find(({ name }) => name === "0002_minutes.sql")!;
    const move = migration.queries.find((query) =>
      query.includes("INSERT OR IGNORE INTO record_minutes (minute, agent_id) SELECT"),
    );
    await env.AUDIT_DB.prepare(move!).run();
    const { results } = await env.AUDIT_DB.prepare("SELECT minute * 60000 AS at, agent_id FROM record_minutes").all();
    expect(results).toEqual([{ at: START, agent_id: AGENT }]);
  });

  const archivedAll = () => env.AUDIT_DB.prepare("UPDATE batches SET archived_at = 0").run();
});
