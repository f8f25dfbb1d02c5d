import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, it } from "vitest";
import { makeDayKey } from "../../src/audit/archive/day-keys.ts";
import { archiveRecords } from "../../src/audit/archive/write.ts";
import { matchesFilter, rangeOf, type RecordFilter } from "../../src/audit/filter.ts";
import { findRecord, searchRecords, type Log } from "../../src/audit/search.ts";
import type { RecordRow } from "../../src/audit/store/records.ts";
import { searchHot } from "../../src/audit/store/search.ts";
import { deleteArchived } from "../../src/audit/store/sweep.ts";
import { insertEntriesIntoLog } from "../../src/audit/insert.ts";
import { loadConfig } from "../../src/config/config.ts";
import { newEntry, type AuditEntry } from "../../src/outbox/record.ts";
import { countOperations } from "../support/count-operations.ts";
import { testEnv, world, type Registered } from "../support/world.ts";
import { SLOW, few } from "../support/extents.ts";

const START = Date.parse("2026-03-01T10:00:00Z");
const { dataKeys } = loadConfig(testEnv() as Env);
const log: Log = { db: env.AUDIT_DB, bucket: env.AUDIT_ARCHIVE, dataKeys };

const AGENTS = ["agt_one", "agt_two", "agt_three", null];
const ADDRESSES = ["192.0.2.1", "192.0.2.2", null];

/** The `n`th record of a log that has a bit of everything, four a second. */
function entryOf(n: number): AuditEntry {
  const at = START + n * 250;
  const agentId = AGENTS[n % 7 < 4 ? 0 : n % 4]!;
  const origin = {
    actor: [
      { type: "agent", id: agentId, name: `Agent ${n % 5}` },
      { type: "agent", id: "agt_admin", name: "Ädmin" },
      { type: "bootstrap", id: null, name: null },
      null,
    ][n % 9 < 6 ? 0 : n % 4] as AuditEntry["actor"],
    act: [],
    ipAddress: ADDRESSES[n % 3]!,
    requestId: `request ${n % 50}`,
    keyId: n % 6 === 0 ? `key_${n % 12}` : null,
    sessionId: n % 5 === 0 ? "ses_1" : null,
  };
  const isCall = n % 3 !== 0;
  return newEntry(isCall ? "gateway.call" : "agent.updated", at, origin, {
    agentId,
    outcome: n % 11 === 0 ? "denied" : n % 17 === 0 ? "failed" : "success",
    ...(isCall
      ? {
          service: n % 2 ? "github" : "slack",
          method: n % 4 ? "GET" : "POST",
          path: `/repos/octo/${n % 8 === 0 ? "Hello" : "other"}/issues/${n % 30}`,
          permission: n % 2 ? "github:issues:read github:repos:read" : "slack:messages:write",
          status: 200,
        }
      : { before: { name: `former ${n % 13}` }, after: { name: "ÄÖ Neu" }, message: `name changed, ${n}` }),
  });
}

const filters: readonly RecordFilter[] = [
  {},
  { agentIds: ["agt_one"] },
  { agentIds: ["agt_two"], outcome: "success" },
  { agentIds: ["agt_two", "agt_three"] },
  { agentIds: ["agt_one", "agt_none", "agt_three"], outcome: "denied" },
  { agentIds: ["agt_one", "agt_two"], q: "former 4" },
  { agentIds: ["agt_one", "agt_two"], ip: "192.0.2.2", addressSeenBy: "agt_admin" },
  { agentIds: ["agt_one", ""] },
  { agentIds: ["agt_one"], outcome: "denied" },
  { outcome: "denied" },
  { outcome: "failed", service: "github" },
  { outcome: "success", action: "agent.updated" },
  { actor: "agt_admin" },
  { actor: "bootstrap" },
  { service: "slack", method: "POST" },
  { path: "/repos/octo/H" },
  { path: "/repos/octo/Hello/issues/16" },
  { permission: "github:repos:read" },
  { permission: "github:repos" },
  { keyId: "key_6" },
  { sessionId: "ses_1", agentIds: ["agt_one"] },
  { requestId: "request 7" },
  { ip: "192.0.2.2", addressSeenBy: "agt_one", agentIds: ["agt_one"] },
  { q: "FORMER 4" },
  { q: "äö" },
  { q: "ÄÖ neu" },
  { q: "agent 3" },
  { from: START + 10_000, to: START + 20_000 },
  { agentIds: ["agt_one"], from: START + 100_000, to: START + 101_000 },
  { from: START + 1_000_000_000 },
];

async function all(where: Log, filter: RecordFilter, limit: number): Promise<string[]> {
  const ids: string[] = [];
  let cursor: string | undefined;
  for (let pages = 0; pages < 1000; pages++) {
    const page = await searchRecords(where, filter, { limit, cursor });
    expect(page.records.length).toBeLessThanOrEqual(limit);
    ids.push(...page.records.map(({ id }) => id));
    if (page.next === null) return ids;
    expect(page.next < (cursor ?? "b")).toBe(true);
    cursor = page.next;
  }
  throw new Error("no end");
}

describe("a search", () => {
  const COUNT = 2000;
  let rows: RecordRow[];
  const counter = countOperations();
  const counted: Log = { ...log, db: counter.overrides.AUDIT_DB as D1Database };

  const expected = (filter: RecordFilter) => {
    const { fromId, beforeId } = rangeOf(filter);
    return rows
      .filter((row) => row.id >= fromId && row.id < beforeId && matchesFilter(filter, row))
      .map(({ id }) => id)
      .toSorted()
      .toReversed();
  };

  beforeAll(async () => {
    const entries = Array.from({ length: COUNT }, (_, n) => entryOf(n));
    await insertEntriesIntoLog(env.AUDIT_DB, entries, START);
    rows = (await env.AUDIT_DB.prepare("SELECT * FROM records").all<RecordRow>()).results;
    expect(rows).toHaveLength(COUNT);
  });

  few(8).each(filters.map((filter) => [JSON.stringify(filter), filter] as const))(
    "finds exactly what %s says",
    async (_, filter) => {
      const wanted = expected(filter);
      expect(await all(log, filter, 100)).toEqual(wanted);
      for (const limit of [1, 7]) {
        const { records, next } = await searchRecords(log, filter, { limit });
        expect(records.map(({ id }) => id)).toEqual(wanted.slice(0, limit));
        if (wanted.length > limit) expect(next).not.toBeNull();
      }
    },
  );

  it("compares each filter with something that it finds, and with something that it does not", () => {
    const counts = filters.slice(0, -1).map((filter) => expected(filter).length);
    expect(counts.filter((count, n) => n > 0 && (count === 0 || count === COUNT))).toEqual([0, 0]);
  });

  few(4).each([
    [{}, 800],
    [{ agentIds: ["agt_one"] }, 150],
    [{ agentIds: ["agt_one"], outcome: "denied" as const }, 250],
    [{ agentIds: ["agt_one", "agt_two", "agt_three"] }, 500],
    [{ agentIds: ["agt_one", "agt_two"], outcome: "denied" as const }, 600],
    [{ outcome: "failed" as const }, 700],
    [{ outcome: "success" as const }, 800],
    [{ requestId: "0195500c-2000-7000-8000-000000000000" }, 6],
  ])("reads by an index, and no more than a page needs: %j", async (filter, most) => {
    const { awaited, auditStatements, result } = await counter.run(() => searchRecords(counted, filter, { limit: 50 }));
    expect(awaited.rowsRead).toBeLessThanOrEqual(most);
    expect(result.records.length).toBe("requestId" in filter ? 0 : 50);
    for (const { sql, bindings } of auditStatements) {
      const { results } = await env.AUDIT_DB.prepare(`EXPLAIN QUERY PLAN ${sql}`)
        .bind(...bindings)
        .all<{ detail: string }>();
      const scans = results
        .map(({ detail }) => detail)
        .filter((one) => one.startsWith("SCAN") && !/^SCAN (walk|CONSTANT ROW|k VIRTUAL|\(subquery|r$)/.test(one));
      expect({ sql, scans }).toEqual({ sql, scans: [] });
    }
  });

  it("that finds little stops after its budget, and goes on where it stopped", async () => {
    const budget = { rows: 300, pieces: 50 };
    for (const filter of [
      { keyId: "key_none" },
      { agentIds: ["agt_one"], keyId: "key_none" },
      { outcome: "denied" as const, q: "none" },
    ]) {
      let range = rangeOf(filter);
      let pages = 0;
      for (;;) {
        const { result, awaited } = await counter.run(() => searchHot(counted.db, filter, range, 50, budget));
        expect(result.rows).toEqual([]);
        expect(awaited.rowsRead).toBeLessThan(2000);
        pages++;
        if (result.nextId === null) break;
        expect(result.nextId < range.beforeId).toBe(true);
        range = { fromId: range.fromId, beforeId: result.nextId };
      }
      const least = filter.outcome
        ? 1
        : filter.agentIds
          ? expected({ agentIds: ["agt_one"] }).length / 300
          : // A piece of time is read to its end.
            COUNT / 430;
      expect(pages).toBeGreaterThanOrEqual(least);
      expect(pages).toBeLessThanOrEqual(least + 2);
    }
  });

  it(
    "goes on in the archive, with each record once, while some of it is in both and some was not archived",
    SLOW,
    async () => {
      // What the last second of the archive has is not archived, like what comes late.
      while ((await archiveRecords({ ...log, retentionDays: null }, START, 500)) === 500);
      const late = [entryOf(10), entryOf(401)];
      await insertEntriesIntoLog(env.AUDIT_DB, late, START);
      rows = (await env.AUDIT_DB.prepare("SELECT * FROM records").all<RecordRow>()).results;
      const slots = await env.AUDIT_DB.prepare("SELECT minute, agent_id FROM record_minutes WHERE minute < ?")
        .bind(START / 60_000 + 5)
        .all<{ minute: number; agent_id: string }>();
      const some = slots.results.map(({ minute, agent_id }) => [minute, agent_id] as const);
      expect(await deleteArchived(env.AUDIT_DB, some)).toBe(1200);
      expect(await env.AUDIT_DB.prepare("SELECT count(*) AS n FROM records").first("n")).toBe(COUNT - 1200 + 2);
      for (const filter of [
        {},
        { agentIds: ["agt_one"] },
        { agentIds: ["agt_two", "agt_one"] },
        { outcome: "denied" as const },
        { q: "former 4" },
        { from: START + 290_000, to: START + 310_000 },
        { to: START + 200_000, agentIds: ["agt_one"] },
      ])
        for (const limit of [50, 200]) expect(await all(log, filter, limit)).toEqual(expected(filter));
      for (const row of [rows[5]!, rows.at(-1)!, rows.find(({ id }) => id === late[0]!.id)!]) {
        expect((await findRecord(log, row.id, undefined))?.id).toBe(row.id);
        expect((await findRecord(log, row.id, [row.agent_id]))?.message).toBe(row.message);
        expect((await findRecord(log, row.id, ["agt_other", row.agent_id]))?.id).toBe(row.id);
        expect(await findRecord(log, row.id, ["agt_other"])).toBeUndefined();
        expect(await findRecord(log, row.id, [])).toBeUndefined();
      }
      expect(await findRecord(log, `aud_${"0".repeat(32)}`, undefined)).toBeUndefined();
    },
  );
});

describe("a write whose end came after its intent had left the database", () => {
  const at = START - 86_400_000;
  const origin = { actor: null, act: [], ipAddress: null, requestId: null, keyId: null, sessionId: null };
  const of = { agentId: "agt_late", service: "lab", method: "PUT", path: "/late" };
  const intent = newEntry("gateway.call", at, origin, { ...of, part: "intent", outcome: "unknown" });
  const end = newEntry("gateway.call", at, origin, { ...of, part: "end", id: intent.id, intentRandom: intent.random });
  const found = async (filter: RecordFilter) =>
    (await searchRecords(log, { ...filter, from: at, to: at + 1000 }, { limit: 50 })).records.map((one) => one.outcome);
  const archive = async () => {
    while ((await archiveRecords({ ...log, retentionDays: null }, START, 500)) === 500);
  };

  it("is found by its end, and not as one whose end is not known", SLOW, async () => {
    await insertEntriesIntoLog(env.AUDIT_DB, [intent], START);
    await archive();
    expect(await deleteArchived(env.AUDIT_DB, [[Math.floor(at / 60_000), "agt_late"]])).toBe(1);
    expect(await found({ outcome: "unknown" })).toEqual(["unknown"]);
    await insertEntriesIntoLog(env.AUDIT_DB, [end], START);
    for (const agentIds of [undefined, ["agt_late"], ["agt_late", "agt_other"]]) {
      expect(await found({ agentIds, outcome: "unknown" })).toEqual([]);
      expect(await found({ agentIds, outcome: "success" })).toEqual(["success"]);
      expect(await found({ agentIds })).toEqual(["success"]);
    }
    await archive();
    await deleteArchived(env.AUDIT_DB, [[Math.floor(at / 60_000), "agt_late"]]);
    expect([await found({ outcome: "unknown" }), await found({})]).toEqual([[], ["success"]]);
  });
});

describe("GET /audit", () => {
  const self = world();
  let [admin, one, other] = [] as unknown as [Registered, Registered, Registered];
  beforeAll(async () => {
    [admin, one, other] = [await self.admin(), await self.agent(), await self.agent()];
    await self.call("/proxy/lab/things/1", { token: one.token, ip: "192.0.2.7" });
    await self.call(`/agents/${one.id}/tier`, {
      method: "PUT",
      token: admin.token,
      json: { tier: "pro" },
      ip: "203.0.113.77",
    });
    await self.drain();
  });
  const get = (query: string, who = admin) => self.call(`/audit?${query}`, { token: who.token });

  it("shows an agent what is about itself, without the addresses of others; administrators see all", async () => {
    const own = await get("", one);
    expect(own.status).toBe(200);
    expect(own.body.records.map(({ action }: { action: string }) => action)).toEqual([
      "agent.tier_updated",
      "gateway.call",
      "token.issued",
      "agent.registered",
    ]);
    expect(own.body.records[0]).toMatchObject({
      actor: { type: "agent", id: admin.id },
      ip_address: null,
      agent_id: one.id,
    });
    expect(own.body.records[1]).toMatchObject({
      service: "lab",
      method: "GET",
      path: "/things/1",
      outcome: "success",
      upstream_status: 200,
      ip_address: "192.0.2.7",
    });
    expect(JSON.stringify(own.body)).not.toContain("203.0.113.77");
    const all = await get(`agent_id=${one.id}`);
    expect(all.body.records.map(({ id }: { id: string }) => id)).toEqual(
      own.body.records.map(({ id }: { id: string }) => id),
    );
    expect(all.body.records[0].ip_address).toBe("203.0.113.77");
    const [id] = own.body.records.map((record: { id: string }) => record.id);
    expect((await self.call(`/audit/${id}`, { token: one.token })).body.record).toEqual(own.body.records[0]);
    expect((await self.call(`/audit/${id}`, { token: admin.token })).body.record.ip_address).toBe("203.0.113.77");
    expect((await self.call(`/audit/${id}`, { token: other.token })).status).toBe(404);
    expect((await self.call("/audit/agt_1", { token: one.token })).status).toBe(404);
  });

  it("does not tell an agent by a filter what it does not show", SLOW, async () => {
    expect((await get(`agent_id=${one.id}`, other)).status).toBe(403);
    expect((await get(`ip=203.0.113.77&agent_id=${one.id}`)).body.records).toHaveLength(1);
    expect((await get("ip=203.0.113.77", one)).body.records).toEqual([]);
    expect((await get("ip=192.0.2.7", one)).body.records).toHaveLength(1);
  });

  few(3).each([
    ["q=x", "q"],
    ["ip=192.0.2.7", "ip"],
    ["path=/x", "path"],
    ["q=x&from=2026-03-01T00:00:00Z&to=2026-03-02T00:00:01Z", "q"],
    ["from=2026-03-02T00:00:00Z&to=2026-03-02T00:00:00Z", "to"],
    ["from=yesterday", "from"],
    ["action=agent.liked", "action"],
    ["outcome=fine", "outcome"],
    ["path=x&agent_id=a", "path"],
    ["cursor=act_00000000000000000000000000000000", "cursor"],
    ["limit=201", "limit"],
    ["limit=0", "limit"],
    ["agentid=x", "agentid"],
  ])("refuses %s", async (query, field) => {
    const { status, body } = await get(query);
    expect([status, body.details.map((one: { field: string }) => one.field)]).toEqual([400, [field]]);
  });

  it.each([
    "q=x&from=2026-03-01T00:00:00Z&to=2026-03-02T00:00:00Z",
    "q=x&agent_id=a",
    "service=github",
    "limit=200&cursor=",
  ])("takes %s", async (query) => {
    expect((await get(query.replace("cursor=", `cursor=aud_${"f".repeat(32)}`))).status).toBe(200);
  });

  it("is itself recorded when an administrator reads, and not when an agent reads its own", async () => {
    self.sent.length = 0;
    await get(`agent_id=${one.id}&outcome=success`);
    expect(self.entries).toMatchObject([
      {
        action: "audit.read",
        agentId: null,
        actor: { id: admin.id },
        after: { agent_id: one.id, outcome: "success" },
        path: "/audit",
        method: "GET",
      },
    ]);
    self.sent.length = 0;
    await get("", one);
    expect(self.entries).toEqual([]);
  });

  it("says that the archive cannot be read, if it is needed", async () => {
    await makeDayKey(env.AUDIT_DB, Math.floor(START / 86_400_000), dataKeys);
    await env.AUDIT_DB.prepare(
      "INSERT INTO log_state VALUES ('swept_before', 9999999999) ON CONFLICT DO UPDATE SET value = excluded.value",
    ).run();
    await env.AUDIT_DB.prepare(
      `INSERT INTO archive_objects (name, hour, first_id, last_id, records, bytes, state, changed_at)
       VALUES ('2026/03/01/10/x.jsonl.gz', ?1, 'aud_0', 'aud_f', 1, 1, 'loose', 0)`,
    )
      .bind(START / 3_600_000)
      .run();
    const failing = world({ AUDIT_ARCHIVE: { get: () => Promise.reject(new Error("no")) } });
    const answer = await failing.call(`/audit?from=2026-03-01T10:00:00Z&to=2026-03-01T11:00:00Z`, {
      token: admin.token,
    });
    expect([answer.status, answer.body.code]).toEqual([503, "archive_unavailable"]);
  });
});
