import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { countCalls, MAX_HOURS } from "../../src/audit/call-counts.ts";
import { insertRecords } from "../../src/audit/store/records.ts";
import { newEntry, SYSTEM_ORIGIN, type AuditEntry } from "../../src/outbox/record.ts";
import { world } from "../support/world.ts";

/** Counters of the log: a picture of the last hours that reads no record. */
const HOUR = 3_600_000;
const NOW = Date.parse("2026-11-26T12:30:00Z");

const call = (at: number, fields: Partial<AuditEntry> = {}): AuditEntry => ({
  ...newEntry("gateway.call", at, SYSTEM_ORIGIN, { agentId: "agt_counted", service: "lab" }),
  ...fields,
});

let batches = 0;
const insert = (entries: readonly AuditEntry[], now = NOW) =>
  insertRecords(env.AUDIT_DB, entries, `counted-${++batches}`, now);

const totals = async (hours: number, now = NOW) =>
  (await countCalls(env.AUDIT_DB, hours, now)).map(({ at, calls }) => [
    new Date(at).toISOString().slice(11, 13),
    calls.success,
    calls.denied,
    calls.failed,
    calls.unknown,
  ]);

beforeEach(async () => {
  const tables = ["records", "record_minutes", "record_counts", "batches", "call_hours"];
  await env.AUDIT_DB.batch(tables.map((table) => env.AUDIT_DB.prepare(`DELETE FROM ${table}`)));
});

describe("calls by hour", () => {
  it("are counted by their outcome, each once, and nothing but calls", async () => {
    const denied = call(NOW, { outcome: "denied" });
    await insert([call(NOW - HOUR), call(NOW), call(NOW), denied, newEntry("audit.read", NOW, SYSTEM_ORIGIN, {})]);
    await insert([denied]);
    expect(await totals(3)).toEqual([
      ["10", 0, 0, 0, 0],
      ["11", 1, 0, 0, 0],
      ["12", 2, 1, 0, 0],
    ]);
  });

  it("count a write by its end, whatever came before it", async () => {
    const intent = call(NOW - HOUR, { part: "intent" });
    await insert([intent]);
    expect(await totals(2)).toEqual([
      ["11", 0, 0, 0, 1],
      ["12", 0, 0, 0, 0],
    ]);
    const end = { ...intent, part: "end" as const, outcome: "success" as const, intentRandom: intent.random };
    await insert([end]);
    await insert([end, intent]);
    expect(await totals(2)).toEqual([
      ["11", 1, 0, 0, 0],
      ["12", 0, 0, 0, 0],
    ]);
  });

  it("are forgotten after 31 days", async () => {
    await insert([call(NOW)]);
    const later = NOW + (MAX_HOURS + 1) * HOUR;
    await insert([call(later)], later);
    const { results } = await env.AUDIT_DB.prepare("SELECT hour FROM call_hours").all();
    expect(results).toEqual([{ hour: Math.floor(later / HOUR) }]);
  });

  it("write as many rows as there are hours and outcomes, however many calls", async () => {
    await insert(Array.from({ length: 100 }, () => call(NOW)));
    const { n } = (await env.AUDIT_DB.prepare("SELECT count(*) AS n FROM call_hours").first<{ n: number }>())!;
    expect(n).toBe(1);
    const plan = await env.AUDIT_DB.prepare(
      "EXPLAIN QUERY PLAN SELECT hour, outcome, total FROM call_hours WHERE hour >= ?1 AND total > 0 ORDER BY hour, outcome",
    )
      .bind(1)
      .all<{ detail: string }>();
    expect(plan.results.map(({ detail }) => detail)).toEqual([
      expect.stringMatching(/^SEARCH call_hours USING PRIMARY KEY/),
    ]);
  });
});

describe("GET /audit/counts", () => {
  afterEach(() => void vi.useRealTimers());

  it("shows administrators the last hours, the present one last", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const self = world();
    const { token } = await self.admin();
    const { status, body } = await self.call("/audit/counts", { token });
    expect([status, body.hours.length]).toEqual([200, 24]);
    expect(Date.parse(body.hours[23].at)).toBe(Math.floor(Date.now() / HOUR) * HOUR);
    expect((await self.call(`/audit/counts?hours=${MAX_HOURS}`, { token })).body.hours).toHaveLength(MAX_HOURS);
  });

  it.each(["0", "-1", "745", "1.5", "", "many"])("refuses %j hours", async (hours) => {
    const self = world();
    const { token } = await self.admin();
    expect((await self.call(`/audit/counts?hours=${hours}`, { token })).status).toBe(400);
  });
});
