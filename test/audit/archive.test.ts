import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import { resealDayKeys } from "../../src/audit/archive/day-keys.ts";
import { readArchive, type ArchivePage, type ArchiveQuery, type PageBudget } from "../../src/audit/archive/read.ts";
import { sweepArchive } from "../../src/audit/archive/retention.ts";
import {
  archiveRecords,
  deleteReplaced,
  joinHours,
  sweepBatches,
  type Archive,
} from "../../src/audit/archive/write.ts";
import { loadConfig } from "../../src/config/config.ts";
import { runScheduledJobs } from "../../src/jobs/run-jobs.ts";
import { world } from "../support/world.ts";
import { failing } from "../support/bindings.ts";
import { recordId, seedRecords, type SeededRow } from "../support/audit-rows.ts";
import { SLOW } from "../support/extents.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const T = Date.UTC(2026, 10, 20, 10, 0, 0);

const dataKey = (kid: string) => ({ kty: "oct" as const, kid, k: btoa(kid.padEnd(32, "x")).replace(/=+$/, "") });
const archive: Archive = {
  db: env.AUDIT_DB,
  bucket: env.AUDIT_ARCHIVE,
  dataKeys: [dataKey("first")],
  retentionDays: null,
};

const TABLES = ["records", "record_minutes", "batches", "archive_objects", "day_keys"];

beforeEach(async () => {
  await env.AUDIT_DB.batch(TABLES.map((table) => env.AUDIT_DB.prepare(`DELETE FROM ${table}`)));
  for (const name of await names()) await env.AUDIT_ARCHIVE.delete(name);
});

const names = async (): Promise<string[]> => (await env.AUDIT_ARCHIVE.list()).objects.map(({ key }) => key);
const count = async (from: string): Promise<number> =>
  (await env.AUDIT_DB.prepare(`SELECT count(*) AS n FROM ${from}`).first<number>("n"))!;

/** Runs a job as the cron does, until it has nothing left. */
async function run(job: (limit: number) => Promise<number>): Promise<void> {
  while ((await job(500)) === 500);
}
const archiveAll = (now: number, to = archive) => run((limit) => archiveRecords(to, now, limit));
const joinAll = (now: number, to = archive) => run((limit) => joinHours(to, now, limit));

/** Every page of a search of the archive. */
async function pages(
  query: Partial<ArchiveQuery> = {},
  { from = archive, budget }: { from?: Archive; budget?: PageBudget } = {},
): Promise<ArchivePage[]> {
  const all: ArchivePage[] = [];
  let beforeId: string | null = query.beforeId ?? recordId(T + 400 * DAY, 0);
  while (beforeId !== null && all.length < 1000) {
    const page: ArchivePage = await readArchive(
      from,
      { fromId: recordId(0, 0), limit: 100, matches: () => true, ...query, beforeId },
      budget,
    );
    all.push(page);
    beforeId = page.nextId;
  }
  return all;
}
const read = async (...args: Parameters<typeof pages>) => (await pages(...args)).flatMap(({ rows }) => rows);
const ids = async (...args: Parameters<typeof pages>) => (await read(...args)).map(({ id }) => id);

/** Calls of two agents, one a minute each, over some hours. Returns their ids, the oldest first. */
async function seedHours(hours: number, perHour = 6): Promise<string[]> {
  const all: string[] = [];
  for (let i = 0; i < hours * perHour; i++) {
    const at = T + Math.floor((i * HOUR) / perHour);
    all.push(
      ...(await seedRecords([
        { agent: "agt_a", at },
        { agent: i % 2 ? "agt_b" : "", at: at + 1 },
      ])),
    );
  }
  return all;
}

describe("archiving", () => {
  it("puts what stands in AUDIT_DB into an object for each hour, readable by nobody without the key, and reads it back as it was", async () => {
    const rows: SeededRow[] = [
      { agent: "agt_a", at: T + 5, message: "first, with \n a line break and ünïcode" },
      { agent: "agt_b", at: T + HOUR + 5 },
    ];
    const made = await seedRecords(rows);
    const { results: stored } = await env.AUDIT_DB.prepare("SELECT * FROM records ORDER BY id DESC").all();
    await archiveAll(T + 2 * HOUR);
    expect(await names()).toEqual([
      expect.stringMatching(`^2026/11/20/10/${made[0]}-${made[0]}-[0-9a-f]{16}\\.jsonl\\.gz$`),
      expect.stringMatching(`^2026/11/20/11/${made[1]}-${made[1]}-[0-9a-f]{16}\\.jsonl\\.gz$`),
    ]);
    for (const name of await names()) {
      const bytes = new Uint8Array(await (await env.AUDIT_ARCHIVE.get(name))!.arrayBuffer());
      expect(new TextDecoder("latin1").decode(bytes)).not.toMatch(/agt_|first|octo/);
    }
    expect(await read()).toEqual(stored.map(({ batch: _batch, is_counted: _isCounted, ...row }) => row));
    expect(await count("batches WHERE archived_at IS NULL")).toBe(0);
    expect(await count("records")).toBe(2);
  });

  it("archives nothing, and says that nothing is archived, without DATA_KEYS", async () => {
    await seedRecords([{ agent: "agt_a", at: T }]);
    await archiveAll(T, { ...archive, dataKeys: [] });
    expect(await names()).toEqual([]);
    expect(await count("batches WHERE archived_at IS NULL")).toBe(1);
  });

  it("loses nothing and shows nothing twice if it is cut short between the bucket and the database, and more has come meanwhile", async () => {
    const first = await seedRecords([
      { agent: "agt_a", at: T },
      { agent: "agt_a", at: T + 20 },
    ]);
    const cut = { ...archive, db: failingBatch() };
    await expect(archiveRecords(cut, T + 1, 500)).rejects.toThrow("cut short");
    expect(await names()).toHaveLength(1);
    // The same again is the same object.
    await expect(archiveRecords(cut, T + 1, 500)).rejects.toThrow("cut short");
    expect(await names()).toHaveLength(1);
    const second = await seedRecords([{ agent: "agt_a", at: T + 10 }]);
    await archiveAll(T + 2);
    expect(await names()).toHaveLength(2);
    expect(await ids()).toEqual([...first, ...second].toSorted().toReversed());
    // An object with the same first and last record, and another between them, is another object.
    expect(await count("archive_objects")).toBe(1);
  });

  it("is done once by two runs at once", SLOW, async () => {
    const made = await seedRecords([{ agent: "agt_a", at: T }]);
    await Promise.all([archiveRecords(archive, T, 500), archiveRecords(archive, T, 500)]);
    expect(await names()).toHaveLength(1);
    expect(await count("day_keys")).toBe(1);
    expect(await ids()).toEqual(made);
  });

  it("makes other objects under another key of the same day, which a database has after it was restored", async () => {
    const made = await seedRecords([{ agent: "agt_a", at: T }]);
    await archiveAll(T);
    await env.AUDIT_DB.batch([
      env.AUDIT_DB.prepare("DELETE FROM day_keys"),
      env.AUDIT_DB.prepare("DELETE FROM archive_objects"),
      env.AUDIT_DB.prepare("UPDATE batches SET archived_at = NULL"),
    ]);
    await archiveAll(T);
    expect(await names()).toHaveLength(2);
    expect(await ids()).toEqual(made);
  });

  it("keeps everything while the bucket fails", SLOW, async () => {
    const made = await seedRecords([{ agent: "agt_a", at: T }]);
    const broken = { ...archive, bucket: failing(env.AUDIT_ARCHIVE, "R2 is down") };
    await expect(archiveRecords(broken, T, 500)).rejects.toThrow("R2 is down");
    expect(await count("batches WHERE archived_at IS NULL")).toBe(1);
    await expect(
      readArchive(broken, { fromId: "", beforeId: recordId(T + 1, 0), limit: 1, matches: () => true }),
    ).resolves.toEqual({ rows: [], nextId: null });
    await archiveAll(T);
    expect(await ids()).toEqual(made);
    await expect(pages({}, { from: broken })).rejects.toThrow("The archive cannot be read");
  });
});

/** The database, of which the batch that marks what is archived fails. */
function failingBatch(): D1Database {
  return new Proxy(env.AUDIT_DB, {
    get(target, name) {
      if (name !== "batch") return (Reflect.get(target, name) as () => unknown).bind(target);
      return async (statements: D1PreparedStatement[]) => {
        // The key of the day is made by a batch of two.
        const [first] = statements;
        if (JSON.stringify(first).includes("archive_objects") || statements.length !== 2) throw new Error("cut short");
        return target.batch(statements);
      };
    },
  });
}

describe("joining", () => {
  it(
    "makes one object of an hour that is over, and the pages are those from before, for each agent and for all",
    SLOW,
    async () => {
      const made = await seedHours(3);
      for (let step = 0; step < 3; step++) await archiveAll(T);
      const before = { all: await ids(), a: await ids({ agentIds: ["agt_a"] }), b: await ids({ agentIds: ["agt_b"] }) };
      expect(before.all).toEqual(made.toSorted().toReversed());
      await joinAll(T + 3 * HOUR);
      expect(await count("archive_objects WHERE state = 'joined'")).toBe(2);
      expect(await count("archive_objects WHERE state = 'loose'")).toBe(1);
      expect({
        all: await ids(),
        a: await ids({ agentIds: ["agt_a"] }),
        b: await ids({ agentIds: ["agt_b"] }),
      }).toEqual(before);
      expect(await ids({ agentIds: ["agt_none"] })).toEqual([]);
      expect(await ids({ agentIds: [""] })).toHaveLength(9);
    },
  );

  it("deletes what was joined only after pages that may be reading it", async () => {
    const made = await seedHours(1);
    await archiveAll(T);
    await seedRecords([{ agent: "agt_a", at: T + HOUR / 2 }]);
    await archiveAll(T);
    await joinAll(T + 3 * HOUR);
    expect(await names()).toHaveLength(3);
    expect(await deleteReplaced(archive, T + 3 * HOUR + 1000, 500)).toBe(0);
    expect(await deleteReplaced(archive, T + 3 * HOUR + 301_000, 500)).toBe(2);
    expect(await names()).toEqual([expect.stringMatching(/\.joined\.gz$/)]);
    expect(await count("archive_objects")).toBe(1);
    expect(await ids()).toHaveLength(made.length + 1);
  });

  it(
    "joins what comes later by itself, and shows the last part of each record once, wherever its parts stand",
    SLOW,
    async () => {
      const id = recordId(T + 7, 999_999);
      await seedRecords([{ agent: "agt_a", at: T + 7, id, part: 0, outcome: "unknown" }]);
      await archiveAll(T);
      await joinAll(T + 3 * HOUR);
      await seedRecords([{ agent: "agt_a", at: T + 7, id, part: 1, outcome: "failed" }]);
      await archiveAll(T + 3 * HOUR);
      expect(await read({ agentIds: ["agt_a"] })).toMatchObject([{ id, part: 1, outcome: "failed" }]);
      // The record as it ended does not match, though its intent did.
      expect(await read({ matches: ({ outcome }) => outcome === "unknown" })).toEqual([]);
      await joinAll(T + 5 * HOUR);
      expect(await count("archive_objects WHERE state = 'joined'")).toBe(2);
      expect(await read()).toMatchObject([{ id, part: 1, outcome: "failed" }]);
    },
  );

  it("reads one agent's records by ranges, and never the parts of others", SLOW, async () => {
    const others = Array.from({ length: 400 }, (_, i) => ({
      agent: `agt_${i}`,
      at: T + i,
      message: `${i}`.repeat(200),
    }));
    await seedRecords([...others, { agent: "agt_mine", at: T + 1000 }]);
    await archiveAll(T);
    await joinAll(T + 3 * HOUR);
    const [{ bytes } = { bytes: 0 }] = (
      await env.AUDIT_DB.prepare("SELECT bytes FROM archive_objects WHERE state = 'joined'").all<{ bytes: number }>()
    ).results;
    const ranges: R2Range[] = [];
    const bucket = new Proxy(env.AUDIT_ARCHIVE, {
      get: (target, name) =>
        name === "get"
          ? (key: string, options?: R2GetOptions) => {
              ranges.push(options!.range as R2Range);
              return target.get(key, options);
            }
          : Reflect.get(target, name),
    });
    expect(await read({ agentIds: ["agt_mine"] }, { from: { ...archive, bucket } })).toHaveLength(1);
    const length = ranges.reduce((sum, range) => sum + ("suffix" in range ? range.suffix : range.length!), 0);
    expect(ranges.length).toBeLessThanOrEqual(3);
    expect(length).toBeLessThan(bytes / 2);
  });

  it("skips an object that somebody deleted, and shows the others", SLOW, async () => {
    await seedHours(1, 1);
    await archiveAll(T);
    const [gone] = await names();
    await seedRecords([{ agent: "agt_a", at: T + 60_000 }]);
    await archiveAll(T);
    await env.AUDIT_ARCHIVE.delete(gone!);
    expect(await ids()).toHaveLength(1);
    await joinAll(T + 3 * HOUR);
    expect(await ids()).toHaveLength(1);
  });
});

describe("pages", () => {
  it("end at the budget and go on where they ended, at every size of page and budget", SLOW, async () => {
    const made = (await seedHours(2, 4)).toSorted().toReversed();
    // Objects that overlap.
    for (const id of made.slice(2, 8)) await archiveOne(id);
    await archiveAll(T);
    for (const [limit, objects] of [
      [1, 1],
      [3, 2],
      [100, 1],
      [100, 5],
    ] as const) {
      expect(await ids({ limit }, { budget: { objects, bytes: 1e9 } })).toEqual(made);
      expect(await ids({ limit, agentIds: ["agt_a"] }, { budget: { objects, bytes: 1 } })).toHaveLength(8);
    }
    const empty = await pages({ matches: () => false }, { budget: { objects: 1, bytes: 1e9 } });
    expect(empty.length).toBeGreaterThan(1);
    expect(empty.every(({ rows }) => rows.length === 0)).toBe(true);
  });

  it("contain a range only", async () => {
    const made = (await seedHours(3)).toSorted();
    await archiveAll(T);
    await joinAll(T + 2 * HOUR);
    expect(await ids({ fromId: made[5]!, beforeId: made[30]! })).toEqual(made.slice(5, 30).toReversed());
  });

  it("find their objects by indexes", async () => {
    const plans = [
      "SELECT name FROM archive_objects INDEXED BY archive_objects_by_hour WHERE hour BETWEEN 1 AND 2 AND first_id < 'x' AND state != 'replaced' AND (hour, last_id, name) < (2, 'x', 'y') ORDER BY hour DESC, last_id DESC, name DESC LIMIT 5",
      "SELECT name FROM archive_objects WHERE state = 'loose' AND hour = (SELECT min(hour) FROM archive_objects WHERE state = 'loose' AND hour < 5) ORDER BY first_id LIMIT 5",
      "SELECT name FROM archive_objects WHERE state = 'replaced' AND changed_at < 5 ORDER BY changed_at LIMIT 5",
      "SELECT id FROM batches WHERE archived_at IS NULL ORDER BY first_id LIMIT 5",
    ];
    for (const sql of plans) {
      const { results } = await env.AUDIT_DB.prepare(`EXPLAIN QUERY PLAN ${sql}`).all<{ detail: string }>();
      const details = results.map(({ detail }) => detail);
      expect(
        details.filter((detail) => /^SCAN|TEMP B-TREE/.test(detail) && !/USING (COVERING )?INDEX/.test(detail)),
      ).toEqual([]);
    }
  });
});

/** Archives the batch of one record alone. */
async function archiveOne(id: string): Promise<void> {
  await env.AUDIT_DB.prepare("UPDATE batches SET archived_at = -1 WHERE archived_at IS NULL AND first_id <> ?1")
    .bind(id)
    .run();
  await archiveAll(T);
  await env.AUDIT_DB.prepare("UPDATE batches SET archived_at = NULL WHERE archived_at = -1").run();
}

describe("the keys of days", () => {
  it("are encrypted again under the newest of DATA_KEYS, after which the older one can go", SLOW, async () => {
    const made = await seedRecords([
      { agent: "agt_a", at: T },
      { agent: "agt_a", at: T + DAY },
    ]);
    await archiveAll(T);
    const both = [dataKey("second"), dataKey("first")];
    await expect(pages({}, { from: { ...archive, dataKeys: [dataKey("second")] } })).rejects.toThrow(
      "DATA_KEYS has no key with the kid first",
    );
    expect(await resealDayKeys(env.AUDIT_DB, both, 500)).toBe(2);
    expect(await resealDayKeys(env.AUDIT_DB, both, 500)).toBe(0);
    const rotated = { ...archive, dataKeys: [dataKey("second")] };
    expect(await ids({}, { from: rotated })).toEqual(made.toReversed());
    // What comes later on the same day is under the same key.
    const later = await seedRecords([{ agent: "agt_a", at: T + DAY + 1 }]);
    await archiveAll(T, rotated);
    expect(await ids({}, { from: rotated })).toEqual([...later, ...made.toReversed()]);
  });

  it("cannot be used for another day", async () => {
    await seedRecords([
      { agent: "agt_a", at: T },
      { agent: "agt_a", at: T + DAY },
    ]);
    await archiveAll(T);
    await env.AUDIT_DB.prepare("UPDATE day_keys SET key = (SELECT key FROM day_keys ORDER BY day DESC LIMIT 1)").run();
    await expect(pages()).rejects.toThrow("The archive cannot be read");
  });
});

describe("AUDIT_RETENTION_DAYS", () => {
  it("deletes the key of a day, its objects, those that are not listed included, and what is known of them", async () => {
    await seedRecords([{ agent: "agt_a", at: T }]);
    const kept = await seedRecords([{ agent: "agt_a", at: T + 2 * DAY }]);
    await archiveAll(T);
    await env.AUDIT_ARCHIVE.put("2026/11/20/10/lost-at-a-cut.jsonl.gz", "x");
    const bounded = { ...archive, retentionDays: 2 };
    await run((limit) => sweepArchive(bounded, T + 2 * DAY, limit));
    expect(await names()).toHaveLength(3);
    await run((limit) => sweepArchive(bounded, T + 3 * DAY, limit));
    expect(await names()).toEqual([expect.stringContaining(kept[0]!)]);
    expect([await count("archive_objects"), await count("day_keys")]).toEqual([1, 1]);
    expect(await ids()).toEqual(kept);
  });

  it(
    "makes the records unreadable at once, even if the bucket fails, and deletes the objects later",
    SLOW,
    async () => {
      await seedRecords([{ agent: "agt_a", at: T }]);
      await archiveAll(T);
      const bounded = { ...archive, retentionDays: 1, bucket: failing(env.AUDIT_ARCHIVE, "R2 is down") };
      await expect(sweepArchive(bounded, T + 3 * DAY, 500)).rejects.toThrow("R2 is down");
      expect(await ids()).toEqual([]);
      expect(await names()).toHaveLength(1);
      await run((limit) => sweepArchive({ ...bounded, bucket: env.AUDIT_ARCHIVE }, T + 3 * DAY, limit));
      expect(await names()).toEqual([]);
    },
  );

  it("lets nothing of such a day into the archive any more, and lets it leave the database", async () => {
    const bounded = { ...archive, retentionDays: 1 };
    await seedRecords([{ agent: "agt_a", at: T }]);
    await archiveAll(T + 3 * DAY, bounded);
    expect(await names()).toEqual([]);
    expect([await count("day_keys"), await count("batches WHERE archived_at IS NULL")]).toEqual([0, 0]);
  });

  it("holds without DATA_KEYS too, where nothing is archived", async () => {
    await seedRecords([{ agent: "agt_a", at: T }]);
    await seedRecords([{ agent: "agt_a", at: T + 5 * DAY }]);
    const keyless = { ...archive, dataKeys: [], retentionDays: 3 };
    await archiveAll(T + 5 * DAY, keyless);
    expect(await count("batches WHERE archived_at IS NULL")).toBe(1);
    expect(await names()).toEqual([]);
  });

  it("is not outrun by a run of the archive that had the key before", SLOW, async () => {
    await seedRecords([{ agent: "agt_a", at: T }]);
    const sweep = () => run((limit) => sweepArchive({ ...archive, retentionDays: 1 }, T + 3 * DAY, limit));
    const bucket = new Proxy(env.AUDIT_ARCHIVE, {
      get: (target, name) =>
        name === "put"
          ? async (...args: Parameters<R2Bucket["put"]>) => {
              await sweep();
              return target.put(...args);
            }
          : Reflect.get(target, name),
    });
    await archiveRecords({ ...archive, bucket }, T, 500);
    expect(await ids()).toEqual([]);
    await sweep();
    expect([await names(), await count("archive_objects")]).toEqual([[], 0]);
  });
});

it(
  "leaves the database too after AUDIT_RETENTION_DAYS, if these are fewer than ACTIVITY_RETENTION_DAYS",
  SLOW,
  async () => {
    const now = T + 10 * DAY;
    await seedRecords([{ agent: "agt_a", at: T }]);
    const kept = await seedRecords([{ agent: "agt_a", at: now - DAY }]);
    const overrides = { DATA_KEYS: JSON.stringify({ keys: archive.dataKeys }), AUDIT_RETENTION_DAYS: "3" };
    const self = world(overrides);
    for (let minute = 0; minute < 2; minute++) await runScheduledJobs(self.env, loadConfig(self.env), now);
    const { results } = await env.AUDIT_DB.prepare("SELECT id FROM records").all<{ id: string }>();
    expect(results.map(({ id }) => id)).toEqual(kept);
    expect(await ids()).toEqual(kept);
  },
);

it("deletes batches that are archived and, where there is somebody to send them to, sent", async () => {
  await seedRecords([{ agent: "agt_a", at: T }]);
  expect(await sweepBatches(env.AUDIT_DB, false, 500)).toBe(0);
  await archiveAll(T);
  expect(await sweepBatches(env.AUDIT_DB, true, 500)).toBe(0);
  expect(await sweepBatches(env.AUDIT_DB, false, 500)).toBe(1);
});
