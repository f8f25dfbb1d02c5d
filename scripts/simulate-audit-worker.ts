import { readArchive } from "../src/audit/archive/read.ts";
import { archiveRecords, deleteReplaced, joinHours, sweepBatches, type Archive } from "../src/audit/archive/write.ts";
import { firstRecordIdAt } from "../src/audit/audit-record.ts";
import { insertEntriesIntoLog } from "../src/audit/insert.ts";
import { sweepRecords } from "../src/audit/sweep.ts";
import type { EncryptionKey } from "../src/crypto/encryption.ts";
import { newEntry, type AuditEntry } from "../src/outbox/record.ts";

/** The Worker in which scripts/simulate-audit.ts runs a year of the audit log: the jobs and the consumer of the product, day by day. */

const AGENTS = 50;
/** How many records come together in a batch of the queue: those of a second. */
const PER_BATCH = 10;
const SECOND_MS = 1000;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const START = Date.UTC(2026, 0, 1);

/** What was asked of the two stores, in all. */
export interface Used {
  records: number;
  rowsRead: number;
  rowsWritten: number;
  puts: number;
  gets: number;
  /** The size of the database, in bytes. */
  bytes: number;
}

/** What stands where at the end of a day. */
export interface Evening extends Used {
  /** How many days the database goes back. */
  readonly hotDays: number;
  readonly objects: number;
  readonly archivedBytes: number;
}

/** A page of one agent's records, from the archive. */
export interface Lookup {
  readonly records: number;
  readonly gets: number;
  readonly rowsRead: number;
  readonly ms: number;
}

interface SimulationEnv {
  readonly AUDIT_DB: D1Database;
  readonly AUDIT_ARCHIVE: R2Bucket;
  /** JSON of a key of DATA_KEYS. */
  readonly DATA_KEY: string;
}

const used: Used = { records: 0, rowsRead: 0, rowsWritten: 0, puts: 0, gets: 0, bytes: 0 };

/** The database, of which each statement's rows are counted. */
function counted(db: D1Database): D1Database {
  const originals = new WeakMap<object, D1PreparedStatement>();
  const count = <T extends D1Result>(result: T): T => {
    used.rowsRead += result.meta.rows_read ?? 0;
    used.rowsWritten += result.meta.rows_written ?? 0;
    used.bytes = result.meta.size_after ?? used.bytes;
    return result;
  };
  const wrap = (statement: D1PreparedStatement): D1PreparedStatement => {
    const wrapped = {
      bind: (...values: unknown[]) => wrap(statement.bind(...values)),
      all: async () => count(await statement.all()),
      run: async () => count(await statement.run()),
      first: async (column?: string) => {
        const [row] = count(await statement.all<Record<string, unknown>>()).results;
        return row === undefined ? null : column === undefined ? row : row[column];
      },
    } as unknown as D1PreparedStatement;
    originals.set(wrapped, statement);
    return wrapped;
  };
  return {
    prepare: (text: string) => wrap(db.prepare(text)),
    batch: async (statements: D1PreparedStatement[]) =>
      (await db.batch(statements.map((one) => originals.get(one) ?? one))).map(count),
  } as unknown as D1Database;
}

/** The bucket, of which each operation is counted. */
const countedBucket = (bucket: R2Bucket): R2Bucket =>
  ({
    put: (...args: Parameters<R2Bucket["put"]>) => (used.puts++, bucket.put(...args)),
    get: (...args: Parameters<R2Bucket["get"]>) => (used.gets++, bucket.get(...args)),
    list: (...args: Parameters<R2Bucket["list"]>) => (used.puts++, bucket.list(...args)),
    delete: (...args: Parameters<R2Bucket["delete"]>) => bucket.delete(...args),
  }) as unknown as R2Bucket;

const PATHS = [
  "/repos/octo/hello/issues/5",
  "/repos/octo/hello/pulls/17/files",
  "/user/repos",
  "/repos/octo/site/contents/README.md",
];
const PERMISSIONS = ["github:issues:read", "github:pull_requests:read", "github:repos:read", "github:repos:read"];
const agents = Array.from(
  { length: AGENTS },
  (_, index) => `agt_${index.toString(36).padStart(4, "0")}${"x".repeat(20)}`,
);

/** One call through the gateway, as the gateway records it. */
function newCall(at: number, number: number): AuditEntry {
  const id = agents[(number * 7919) % AGENTS]!;
  const which = number % PATHS.length;
  const origin = {
    actor: { type: "agent" as const, id, name: `agent ${id.slice(4, 8)}` },
    act: [],
    ipAddress: `203.0.113.${number % 250}`,
    requestId: crypto.randomUUID(),
    keyId: `key_${id.slice(4)}`,
    sessionId: `fam_${id.slice(4)}`,
  };
  const isDenied = number % 50 === 0;
  return newEntry("gateway.call", at, origin, {
    agentId: id,
    outcome: isDenied ? "denied" : "success",
    service: "github",
    method: "GET",
    path: PATHS[which]!,
    rule: "GET /repos/{owner}/{repo}/issues/{number:int} issues",
    permission: PERMISSIONS[which]!,
    status: isDenied ? 403 : 200,
    upstreamStatus: isDenied ? null : 200,
    durationMs: 80 + (number % 300),
    bytesIn: 0,
    bytesOut: 2000 + (number % 5000),
    message: isDenied ? `lacks ${PERMISSIONS[which]}` : null,
  });
}

const run = async (job: (limit: number) => Promise<number>): Promise<void> => {
  while ((await job(500)) >= 500);
};

/**
 * The records of a day, which come at full speed in the first seconds or minutes of some of its hours, and then the jobs of its night. So a
 * batch, a minute and an object have as many records of as many agents as at full traffic.
 */
async function runDay(
  archive: Archive,
  { day, hours, perHour, hotDays }: { day: number; hours: number; perHour: number; hotDays: number },
): Promise<Evening> {
  const { db } = archive;
  for (let hour = 0; hour < hours; hour++) {
    const from = START + day * DAY_MS + hour * HOUR_MS;
    for (let done = 0; done < perHour; done += PER_BATCH) {
      const entries = Array.from({ length: Math.min(PER_BATCH, perHour - done) }, (_, index) =>
        newCall(from + Math.floor(((done + index) * SECOND_MS) / PER_BATCH), used.records++),
      );
      await insertEntriesIntoLog(db, entries, entries.at(-1)!.at);
    }
    await run((limit) => archiveRecords(archive, from + HOUR_MS, limit));
  }
  const evening = START + (day + 1) * DAY_MS + 2 * HOUR_MS;
  await run((limit) => joinHours(archive, evening, limit));
  await run((limit) => deleteReplaced(archive, evening + HOUR_MS, limit));
  await run((limit) => sweepBatches(db, false, limit));
  await run((limit) => sweepRecords(db, { retentionDays: hotDays }, evening, limit));
  const state = await db
    .prepare(
      `SELECT (SELECT min(minute) FROM record_minutes) AS minute,
        (SELECT count(*) FROM archive_objects WHERE state <> 'replaced') AS objects,
        (SELECT sum(bytes) FROM archive_objects WHERE state <> 'replaced') AS archivedBytes`,
    )
    .first<{ minute: number; objects: number; archivedBytes: number }>();
  const { minute, objects, archivedBytes } = state!;
  const ends = START + (day + 1) * DAY_MS;
  return { ...used, objects, archivedBytes, hotDays: Math.round((ends - minute * 60_000) / DAY_MS) };
}

async function lookUp(archive: Archive, day: number): Promise<Lookup> {
  const at = START + day * DAY_MS;
  const before = { ...used };
  const started = Date.now();
  const page = await readArchive(archive, {
    agentIds: [agents[3]!],
    fromId: firstRecordIdAt(at),
    beforeId: firstRecordIdAt(at + DAY_MS),
    matches: () => true,
    limit: 200,
  });
  return {
    records: page.rows.length,
    gets: used.gets - before.gets,
    rowsRead: used.rowsRead - before.rowsRead,
    ms: Date.now() - started,
  };
}

export default {
  async fetch(request: Request, env: SimulationEnv): Promise<Response> {
    const dataKeys = [JSON.parse(env.DATA_KEY) as EncryptionKey];
    const archive = {
      db: counted(env.AUDIT_DB),
      bucket: countedBucket(env.AUDIT_ARCHIVE),
      dataKeys,
      retentionDays: null,
    };
    const { pathname, searchParams } = new URL(request.url);
    const number = (name: string) => Number(searchParams.get(name));
    if (pathname === "/lookup") return Response.json(await lookUp(archive, number("day")));
    const names = {
      day: number("day"),
      hours: number("hours"),
      perHour: number("perHour"),
      hotDays: number("hotDays"),
    };
    return Response.json(await runDay(archive, names));
  },
};
