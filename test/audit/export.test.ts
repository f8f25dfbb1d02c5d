import { env } from "cloudflare:workers";
import { beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { archiveRecords, joinHours, sweepBatches } from "../../src/audit/archive/write.ts";
import { sweepRecords } from "../../src/audit/sweep.ts";
import { writeExport } from "../../src/api/audit-export.ts";
import { recordId, seedRecords } from "../support/audit-rows.ts";
import { failing } from "../support/bindings.ts";
import { world, type Registered } from "../support/world.ts";
import { SLOW } from "../support/extents.ts";

const key = { kty: "oct" as const, kid: "data", k: btoa("d".repeat(32)).replaceAll("=", "") };
const self = world({ DATA_KEYS: JSON.stringify({ keys: [key] }) });
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const T = Date.UTC(2026, 5, 20, 10, 0, 0);
let admin: Registered;

beforeAll(async () => {
  admin = await self.admin();
});

beforeEach(async () => {
  const tables = ["records", "record_minutes", "record_counts", "batches", "archive_objects", "day_keys", "log_state"];
  await env.AUDIT_DB.batch(tables.map((table) => env.AUDIT_DB.prepare(`DELETE FROM ${table}`)));
  await env.DB.prepare("DELETE FROM audit_outbox").run();
  self.sent.length = 0;
});

// oxlint-disable-next-line typescript/no-explicit-any
type Json = any;

async function get(query = "", token = admin.token) {
  const response = await self.fetch(`/audit/export${query}`, { token });
  return {
    status: response.status,
    type: response.headers.get("content-type"),
    text: new TextDecoder().decode(await response.arrayBuffer()),
  };
}

/** The records of an export as JSON lines, and its last line. */
async function exported(query = ""): Promise<{ records: Json[]; end: Json }> {
  const { status, text } = await get(query);
  expect([status, text.endsWith("\n")]).toEqual([200, true]);
  const lines = text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Json);
  return { records: lines.slice(0, -1), end: lines.at(-1).end };
}

/** What the log says of exports, once all that was sent is written. */
async function recorded(): Promise<Json[]> {
  await self.settled();
  await self.drain();
  const { results } = await env.AUDIT_DB.prepare(
    "SELECT part, outcome, actor_id, count, bytes_out, after, message FROM records WHERE action = 'audit.exported' ORDER BY id, part",
  ).all<Json>();
  for (const row of results) row.after = JSON.parse(row.after);
  return results;
}

/** Records of which the older half has left the database for the archive. Returns their ids, the newest first. */
async function seedBoth(): Promise<string[]> {
  const ids: string[] = [];
  for (let i = 0; i < 40; i++)
    ids.push(...(await seedRecords([{ agent: `agt_${i % 3}`, at: T + i * HOUR, message: `call ${i}` }])));
  const archive = { db: env.AUDIT_DB, bucket: env.AUDIT_ARCHIVE, dataKeys: [key], retentionDays: null };
  const now = T + 40 * HOUR;
  while ((await archiveRecords(archive, now, 500)) === 500);
  while ((await joinHours(archive, now, 500)) === 500);
  await sweepBatches(env.AUDIT_DB, false, 500);
  await sweepRecords(env.AUDIT_DB, { retentionDays: 1 }, T + 40 * HOUR, 500);
  return ids.toReversed();
}

describe("GET /audit/export", () => {
  it(
    "streams what the database and the archive have, the newest first, and says at its end that it is whole",
    SLOW,
    async () => {
      const ids = await seedBoth();
      const left = await env.AUDIT_DB.prepare("SELECT count(*) AS n FROM records").first<number>("n");
      expect(left).toBeGreaterThan(10);
      expect(left).toBeLessThan(30);
      const { records, end } = await exported();
      expect(records.map(({ id }) => id)).toEqual(ids);
      expect(end).toEqual({ records: 40, next_cursor: null });
      expect(Object.keys(records[0])).toHaveLength(25);
      expect(records[39]).toMatchObject({ agent_id: "agt_0", message: "call 0", outcome: "success", status: 200 });
      expect(JSON.stringify(records)).not.toContain("random");
    },
  );

  it("takes the filters of GET /audit, and a cursor", SLOW, async () => {
    const ids = await seedBoth();
    const iso = (hours: number) => new Date(T + hours * HOUR).toISOString();
    expect((await exported(`?agent_id=agt_1`)).records.every(({ agent_id }) => agent_id === "agt_1")).toBe(true);
    const range = await exported(`?from=${iso(3)}&to=${iso(35)}`);
    expect(range.records.map(({ id }) => id)).toEqual(ids.slice(5, 37));
    const rest = await exported(`?cursor=${ids[30]}`);
    expect(rest.records.map(({ id }) => id)).toEqual(ids.slice(31));
    expect((await get("?q=call")).status).toBe(400);
    expect((await get("?format=xml")).status).toBe(400);
    expect((await get("?limit=5")).status).toBe(400);
    expect((await get("?action=nothing")).status).toBe(400);
  });

  it("is for administrators", async () => {
    const { token } = await self.agent();
    expect((await get("", token)).status).toBe(403);
    expect((await self.call("/audit/export")).status).toBe(401);
  });

  it("writes CSV with a row of names, a row for each record and a last row, and no cell that is a formula", async () => {
    const hostile = '=HYPERLINK("https://evil.example","x")';
    await seedRecords([{ agent: "agt_a", at: T, message: hostile, path: "/a,b" }]);
    const { type, text } = await get("?format=csv");
    expect(type).toContain("text/csv");
    const rows = text.split("\r\n");
    expect(rows).toHaveLength(4);
    expect(rows[0]).toMatch(/^id,at,action,outcome,agent_id,actor_type,/);
    expect(rows[1]).toContain(`"/a,b"`);
    expect(rows[1]).toContain(`"'=HYPERLINK(""https://evil.example"",""x"")"`);
    expect(rows[2]).toMatch(/^"End: 1 records\. Only an export as JSON lines can be verified/);
  });

  it("is recorded, with who, what was asked for and how many records left", async () => {
    await seedRecords([
      { agent: "agt_a", at: T },
      { agent: "agt_b", at: T + 1 },
    ]);
    const { text } = await get("?agent_id=agt_a&format=jsonl");
    expect(await recorded()).toEqual([
      {
        part: 1,
        outcome: "success",
        actor_id: admin.id,
        count: 1,
        bytes_out: new TextEncoder().encode(text).length,
        after: { format: "jsonl", agent_id: "agt_a" },
        message: "The export is whole.",
      },
    ]);
    expect(await env.DB.prepare("SELECT count(*) AS n FROM audit_outbox").first("n")).toBe(0);
  });

  it("stands in the database before the first record leaves, in case that its end is never heard of", async () => {
    await get();
    const { results } = await env.DB.prepare("SELECT part, entry FROM audit_outbox").all<{
      part: string;
      entry: string;
    }>();
    expect(results.map(({ part }) => part)).toContain("intent");
  });

  it("is an error with a status if something fails before the first record", async () => {
    const deaf = world({ AUDIT_DB: failing(env.AUDIT_DB) });
    expect((await deaf.call("/audit/export", { token: admin.token })).status).toBe(503);
  });

  it("is recorded as broken off if the receiver goes away", async () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    for (let i = 0; i < 3; i++) await seedRecords([{ agent: "agt_a", at: T + i, message: "x".repeat(5000) }]);
    const response = await self.fetch("/audit/export", { token: admin.token });
    await response.body!.cancel("enough");
    expect(await recorded()).toMatchObject([{ outcome: "failed", message: expect.stringContaining("broke off") }]);
    vi.restoreAllMocks();
  });
});

describe("writing an export", () => {
  const format = { contentType: "", begin: "", record: () => "r", end: () => "end" };
  const page = (next: string | null) => ({ records: Array.from({ length: 3 }, () => ({}) as Json), next });
  const collect = async (readable: ReadableStream<Uint8Array>) => new Response(readable).text();

  it("reads the next page only when the one before it was taken", async () => {
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    let read = 0;
    const pages = async () => page(++read < 50 ? recordId(T, read) : null);
    const written = { records: 0, bytes: 0, nextCursor: null };
    const writing = writeExport(
      writable.getWriter(),
      format,
      { first: page("x"), pages, checkCaller: async () => {} },
      written,
    );
    const reader = readable.getReader();
    await reader.read();
    await scheduler.wait(20);
    expect(read).toBeLessThan(4);
    for (let isDone = false; !isDone;) isDone = (await reader.read()).done;
    await writing;
    expect([read, written.records]).toEqual([50, 153]);
  });

  it("ends after its pages, and says where it goes on", async () => {
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const written = { records: 0, bytes: 0, nextCursor: null };
    const parts = { first: page("c1"), pages: async (at?: string) => page(`${at}1`), checkCaller: async () => {} };
    const writing = writeExport(writable.getWriter(), format, parts, written, { maxPages: 4, clock: () => 0 });
    expect(await collect(readable)).toBe(`${"r".repeat(12)}end`);
    await writing;
    expect(written).toEqual({ records: 12, bytes: 15, nextCursor: "c1111" });
  });

  it("breaks off once its caller may read the log no more", async () => {
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const writer = writable.getWriter();
    let now = 0;
    const checkCaller = () => Promise.reject(new Error("revoked"));
    const pages = async () => ((now += 31_000), page("c"));
    const written = { records: 0, bytes: 0, nextCursor: null };
    const writing = writeExport(writer, format, { first: page("c"), pages, checkCaller }, written, {
      maxPages: 100,
      clock: () => now,
    }).catch((cause: Error) => writer.abort(cause).then(() => cause.message));
    await expect(collect(readable)).rejects.toThrow();
    expect(await writing).toBe("revoked");
    expect(written.records).toBeLessThan(12);
  });

  it("keeps a day of thousands of records out of memory", SLOW, async () => {
    for (let i = 0; i < 20; i++)
      await seedRecords(Array.from({ length: 500 }, (_, n) => ({ agent: `agt_${n % 7}`, at: T + i * 1000 + n })));
    const { records, end } = await exported(`?to=${new Date(T + DAY).toISOString()}`);
    expect(records).toHaveLength(10_000);
    expect(end).toEqual({ records: 10_000, next_cursor: null });
  });
});
