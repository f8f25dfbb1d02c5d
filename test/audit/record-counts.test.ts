import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { AFTER_EVERY_ID, minuteOfId } from "../../src/audit/audit-record.ts";
import { consumeMessages } from "../../src/audit/consume.ts";
import { insertEntriesIntoLog } from "../../src/audit/insert.ts";
import { moveOutbox } from "../../src/audit/move.ts";
import { readActivity } from "../../src/audit/store/activity.ts";
import { insertOrCount } from "../../src/audit/store/state.ts";
import { sweepRecords } from "../../src/audit/sweep.ts";
import { newEntry, SYSTEM_ORIGIN, type AuditEntry } from "../../src/outbox/record.ts";
import { seedRecords } from "../support/audit-rows.ts";
import { failing } from "../support/bindings.ts";
import { countOperations } from "../support/count-operations.ts";
import { SLOW, extents } from "../support/extents.ts";
import { expectCountsToAgree } from "../support/record-counts.ts";

/** How many records there are of each agent: added up once a minute is over, and exact at any time. */
const MINUTE = 60_000;
const START = Date.parse("2026-03-01T10:00:00Z");
const AGENTS = ["agt_1", "agt_2", "agt_3"];
const OUTCOMES = ["success", "success", "denied", "failed"] as const;

const call = (at: number, agentId: string | null, more: Partial<AuditEntry> = {}): AuditEntry =>
  newEntry("gateway.call", at, SYSTEM_ORIGIN, { agentId, service: "lab", ...more });
const insert = (entries: readonly AuditEntry[], now: number) => insertEntriesIntoLog(env.AUDIT_DB, entries, now);
const totalOf = async (agentId: string, db: D1Database = env.AUDIT_DB) =>
  (await readActivity(db, { agentId, before: AFTER_EVERY_ID }, { limit: 0, offset: 0 })).total;
const countedRows = async () =>
  (await env.AUDIT_DB.prepare("SELECT agent_id, total FROM record_counts ORDER BY 1").raw()) as [string, number][];

/** Numbers below one that only look random. */
function numbersFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

let formerBatches = 0;

/** Inserts a record as the former version of the Worker does, which counts each at once. */
async function insertAsFormer(entry: AuditEntry): Promise<void> {
  const key = [entry.agentId ?? "", entry.id, entry.part === "intent" ? 0 : 1] as const;
  const batch = `former-${++formerBatches}`;
  const outcome = entry.part === "intent" ? "unknown" : entry.outcome;
  const inserted = `records r WHERE r.agent_id = ?1 AND r.id = ?2 AND r.part = ?3 AND r.batch = ?4`;
  await env.AUDIT_DB.batch([
    env.AUDIT_DB.prepare(
      `INSERT INTO records (agent_id, id, part, at, action, outcome, random, batch) SELECT ?1, ?2, ?3, ?5, 'gateway.call', ?6, '00', ?4
       WHERE ?3 = 1 OR NOT EXISTS (SELECT 1 FROM records WHERE agent_id = ?1 AND id = ?2 AND part = 1) ON CONFLICT DO NOTHING`,
    ).bind(...key, batch, entry.at, outcome),
    env.AUDIT_DB.prepare("INSERT OR IGNORE INTO record_minutes VALUES (?1, ?2)").bind(minuteOfId(entry.id), key[0]),
    ...[key[0], "*"].map((whose) =>
      env.AUDIT_DB.prepare(
        `INSERT INTO record_counts SELECT ?5, is_success, sum(number) FROM (
           SELECT r.outcome = 'success' AS is_success, 1 AS number FROM ${inserted}
           UNION ALL SELECT i.outcome = 'success', -1 FROM records i WHERE i.agent_id = ?1 AND i.id = ?2 AND i.part = 0
             AND ?3 = 1 AND EXISTS (SELECT 1 FROM ${inserted}))
         WHERE true GROUP BY 2 HAVING sum(number) <> 0 ON CONFLICT DO UPDATE SET total = total + excluded.total`,
      ).bind(...key, batch, whose),
    ),
    env.AUDIT_DB.prepare(
      "INSERT INTO batches (id, first_id, last_id, keys, created_at) SELECT ?4, ?2, ?2, json_array(json_array(?1, ?2, ?3)), 0",
    ).bind(...key, batch),
  ]);
}

beforeEach(async () => {
  const tables = ["records", "record_minutes", "record_counts", "batches", "log_state", "call_hours"];
  await env.AUDIT_DB.batch(tables.map((table) => env.AUDIT_DB.prepare(`DELETE FROM ${table}`)));
  await env.DB.prepare("DELETE FROM audit_outbox").run();
});
afterEach(() => void vi.restoreAllMocks());

describe("the counts of agents", () => {
  for (const { numRuns, options } of extents(10, 150)) {
    it(
      `agree with the records through ${numRuns} moves that are late, repeated, cut short or at once, and sweeps`,
      options,
      async () => {
        vi.spyOn(console, "error").mockImplementation(() => {});
        const random = numbersFrom(numRuns);
        const known: AuditEntry[] = [];
        let now = START;
        const oneOf = <T>(list: readonly T[]): T => list[random(list.length)]!;
        const make = (): AuditEntry[] => {
          const at = now - random(2) * random(90_000);
          const [agentId, outcome] = [oneOf([...AGENTS, null]), oneOf(OUTCOMES)];
          if (random(4) === 0) return [call(at, agentId, { outcome })];
          const intent = call(at, agentId, { part: "intent", outcome: "unknown" });
          return [intent, { ...intent, part: "end", outcome, intentRandom: intent.random }];
        };
        const some = (most: number) => {
          while (known.length < 8 || random(2) > 0) known.push(...make());
          // Now and then one that is old, and may have been swept.
          const recent = random(8) === 0 ? known : known.slice(-12);
          return Array.from({ length: 1 + random(most) }, () => oneOf(recent));
        };
        const steps: (() => Promise<unknown>)[] = [
          () => insert(some(12), now),
          () => Promise.all([insert(some(6), now), insert(some(6), now + (random(5) === 0 ? MINUTE : 0))]),
          () =>
            consumeMessages(
              env,
              some(6).map((entry) => ({ kind: "record", entry })),
              { now, isRepeated: true },
            ),
          async () => {
            await env.DB.batch(insertOrCount(env.DB, some(5)));
            // The log has them, and the outbox keeps them.
            const DB = {
              prepare: (text: string) => env.DB.prepare(text),
              batch: () => Promise.reject(new Error("D1_ERROR: Network connection lost.")),
            };
            await moveOutbox({ DB: DB as unknown as D1Database, AUDIT_DB: env.AUDIT_DB }, now).catch(() => {});
          },
          () => moveOutbox({ DB: env.DB, AUDIT_DB: failing(env.AUDIT_DB) }, now).catch(() => {}),
          () => Promise.all([moveOutbox(env, now), moveOutbox(env, now + 1)]),
          async () => {
            for (const entry of some(3)) await insertAsFormer(entry);
          },
          async () => void (now += random(MINUTE)),
          async () => void (now += random(4) === 0 ? 90 * MINUTE : random(20_000)),
          async () => {
            await env.AUDIT_DB.prepare("UPDATE batches SET archived_at = 0").run();
            await sweepRecords(env.AUDIT_DB, { retentionDays: 90, maxBytes: 1 }, now, 500);
          },
        ];
        for (let step = 0; step < numRuns; step++) {
          await oneOf(steps)();
          await expectCountsToAgree(env.AUDIT_DB, AGENTS);
        }
      },
    );
  }

  it("agree where one version of the Worker records that a write begins, and the other that it ends", async () => {
    for (const [number, after] of [0, 2 * MINUTE].entries()) {
      const intent = call(START, AGENTS[number]!, { part: "intent", outcome: "unknown" });
      const end = { ...intent, part: "end" as const, outcome: "success" as const, intentRandom: intent.random };
      const other = call(START, AGENTS[number]!, { part: "intent", outcome: "unknown" });
      await insert([intent], START);
      await insertAsFormer(other);
      await insert([], START + after);
      await insertAsFormer(end);
      await insert([{ ...end, id: other.id }], START + after);
      await expectCountsToAgree(env.AUDIT_DB);
      await insert([call(START + 4 * MINUTE, null)], START + 4 * MINUTE);
      await expectCountsToAgree(env.AUDIT_DB);
      expect(await totalOf(AGENTS[number]!)).toBe(2);
    }
  });

  it("agree after records have left that nothing came after", async () => {
    await insert([call(START, "agt_1"), call(START + MINUTE, "agt_1"), call(START, "agt_2")], START + MINUTE);
    await env.AUDIT_DB.prepare("UPDATE batches SET archived_at = 0").run();
    await insert([call(START, "agt_1")], START);
    expect(await sweepRecords(env.AUDIT_DB, { retentionDays: 1 }, START + 3 * 86_400_000, 500)).toBe(500);
    await expectCountsToAgree(env.AUDIT_DB);
    expect([await totalOf("agt_1"), await totalOf("agt_2")]).toEqual([1, 0]);
  });

  it("cost one row for an agent and a minute, however many batches have records of it", async () => {
    const counter = countOperations();
    const db = counter.overrides.AUDIT_DB as D1Database;
    const agents = Array.from({ length: 20 }, (_, n) => `agt_turn${n}`);
    const batchAt = (now: number) => async () => {
      const entries = agents.map((agentId) => call(now, agentId));
      await insertEntriesIntoLog(db, entries, now);
    };
    await batchAt(START)();
    const { awaited } = await counter.run(batchAt(START + 1000));
    // A row for each record, and for the batch, its two indexes, everybody's count, the hour and the counters.
    expect(awaited.rowsWritten).toBeGreaterThanOrEqual(20);
    expect(awaited.rowsWritten).toBeLessThan(30);
    expect((await countedRows()).map(([agentId]) => agentId)).toEqual(["*"]);
    await batchAt(START + MINUTE)();
    expect(await countedRows()).toEqual([["*", 60], ...agents.toSorted().map((agentId) => [agentId, 2])]);
    expect(await totalOf(agents[0]!)).toBe(3);
    await expectCountsToAgree(env.AUDIT_DB);
  });

  it("read only the records of minutes that are not counted", SLOW, async () => {
    const counter = countOperations();
    const db = counter.overrides.AUDIT_DB as D1Database;
    await insert(
      Array.from({ length: 500 }, () => call(START, "agt_1")),
      START,
    );
    await insert([call(START + MINUTE, "agt_1"), call(START + MINUTE, "agt_1")], START + MINUTE);
    const { awaited, result } = await counter.run(() => totalOf("agt_1", db));
    expect(result).toBe(502);
    expect(awaited.rowsRead).toBeLessThan(20);
  });

  it("are made up for after a former version of the Worker has run, a few minutes with each batch", SLOW, async () => {
    await insert([call(START, "agt_1")], START);
    for (let minute = 1; minute <= 35; minute++) await insertAsFormer(call(START + minute * MINUTE, "agt_2"));
    await insert([call(START + 36 * MINUTE, "agt_1")], START + 36 * MINUTE);
    const counted = () =>
      env.AUDIT_DB.prepare("SELECT value FROM log_state WHERE name = 'counted_before'").first<number>("value");
    const first = START / MINUTE;
    expect(await counted()).toBe(first + 10);
    await expectCountsToAgree(env.AUDIT_DB);
    for (const expected of [20, 30, 36, 36]) {
      await insert([call(START + 36 * MINUTE, "agt_1")], START + 36 * MINUTE);
      expect(await counted()).toBe(first + expected);
      await expectCountsToAgree(env.AUDIT_DB);
    }
    // A clock that is behind takes nothing back.
    await insert([call(START, "agt_1")], START);
    expect(await counted()).toBe(first + 36);
    await expectCountsToAgree(env.AUDIT_DB);
  });

  it("begin after what the former version has counted", async () => {
    await seedRecords([{ agent: "agt_1", at: START }]);
    await env.AUDIT_DB.prepare("INSERT INTO record_counts VALUES ('agt_1', 1, 1), ('*', 1, 1)").run();
    const migration = env.TEST_AUDIT_MIGRATIONS.find(({ name }) => name === "0004_counted_minutes.sql")!;
    await env.AUDIT_DB.prepare(migration.queries.find((query) => query.includes("INSERT OR IGNORE"))!).run();
    expect(await env.AUDIT_DB.prepare("SELECT value FROM log_state").first("value")).toBe(START / MINUTE + 1);
    await insert([call(START + 1, "agt_1"), call(START + MINUTE, "agt_1")], START + MINUTE);
    expect(await totalOf("agt_1")).toBe(3);
    await expectCountsToAgree(env.AUDIT_DB);
  });
});
