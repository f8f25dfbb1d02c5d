import { mkdtempSync } from "node:fs";
import Database from "better-sqlite3";
import { newEntry, SYSTEM_ORIGIN } from "../../src/outbox/record.ts";
import { client } from "../client.ts";
import { databaseFile, fill, type Filled } from "../fill.ts";
import { median, significant, summary } from "../measure.ts";
import { by, claim, type Claim, type Part, type Table } from "../part.ts";
import { counting, settings, startMiniflare, temporary } from "../product.ts";

/** What one D1 database holds (https://developers.cloudflare.com/d1/platform/limits/), and what of it the product lets the log take. */
const DATABASE_BYTES = 10e9;
const LOG_BYTES = 8e9;
/** Queries a second of one D1 database whose queries take a millisecond each, by the same page: it runs one at a time. */
const QUERIES = 1000;
/** Messages a second of one queue (https://developers.cloudflare.com/queues/platform/limits/). */
const MESSAGES = 5000;
/** Records of one batch of the log's queue. */
const BATCH = 100;
/** The calls a second for which is said what breaks. */
const CALLS = 10_000;

/** How much fits into the databases, and what ends first as calls become more. */
export const capacity: Part = async ({ effort, port, log }) => {
  const agents = by(effort, 2000, 20_000, 100_000);
  const records = by(effort, 20_000, 200_000, 500_000);
  const persist = mkdtempSync(temporary("capacity-"));
  const options = { upstreamPort: port, persist, wrap: counting() };
  await (await startMiniflare(port + 1, options)).stop();
  const filled = await fill(persist, { name: "", agents, records }, settings(0));
  const bytes = bytesByTable(databaseFile(persist, "agents"));
  const each = (tables: readonly string[], rows: number) =>
    tables.reduce((sum, table) => sum + (bytes.get(table) ?? 0), 0) / rows;
  const sizes: Sizes = {
    agent: each(["agents", "agent_permissions"], agents),
    key: each(["api_keys"], agents),
    session: each(["sessions"], agents),
    record: filled.auditBytes / records,
  };
  const server = await startMiniflare(port + 1, options);
  let inserted: number[];
  try {
    inserted = await insertBatches(server.port, filled, by(effort, 3, 15, 40));
  } finally {
    await server.stop();
  }
  const recordsPerSecond = (BATCH / median(inserted)) * 1000;
  log(
    `an agent ${Math.round(sizes.agent)} bytes, a session ${Math.round(sizes.session)}, a record ${Math.round(sizes.record)}`,
  );
  log(`${Math.round(recordsPerSecond)} records a second in batches of ${BATCH}`);
  const plain = (figure: string, value: number): Claim => {
    const measured = summary([significant(value)]);
    return claim({ work: "one database", beside: "", figure, measured }, null);
  };
  const whole = sizes.agent + sizes.key + 3 * sizes.session;
  return {
    claims: [
      plain("million agents with a key and three sessions in 10 GB", DATABASE_BYTES / whole / 1e6),
      plain("million records in the 8 GB of the log", LOG_BYTES / sizes.record / 1e6),
      plain("records a second into the log, in Miniflare", recordsPerSecond),
    ],
    listClaims: false,
    tables: [sizeTable(sizes), breakTable(sizes, recordsPerSecond)],
    notes: [
      `Bytes of the pages of SQLite, indexes included, of ${agents.toLocaleString("en-US")} agents with a key and a session each and ${records.toLocaleString("en-US")} records. An agent here has one permission; each further one is a row of its own.`,
      `Bounds of Cloudflare's are those that it publishes: one D1 database runs one query at a time, ${QUERIES.toLocaleString("en-US")} a second if each takes a millisecond, and a queue takes ${MESSAGES.toLocaleString("en-US")} messages a second. How fast records are inserted was measured here, in Miniflare, in batches of ${BATCH}, and is not Cloudflare's.`,
      "A deployment of its own for each region, group of agents, or service has its own databases and queue: what is bounded grows with their number. A Worker, its cache and its rate limits are not bounded by the number of calls.",
    ],
    data: { agents, records, sizes, insertedMs: inserted },
  };
};

/** Bytes of a row with its indexes. */
interface Sizes {
  readonly agent: number;
  readonly key: number;
  readonly session: number;
  readonly record: number;
}

/** The bytes of each table with its indexes. */
function bytesByTable(file: string): ReadonlyMap<string, number> {
  const db = new Database(file, { readonly: true });
  const rows = db
    .prepare("SELECT m.tbl_name, sum(s.pgsize) AS bytes FROM dbstat s JOIN sqlite_master m USING (name) GROUP BY 1")
    .all() as { tbl_name: string; bytes: number }[];
  db.close();
  return new Map(rows.map(({ tbl_name, bytes }) => [tbl_name, bytes]));
}

/** Milliseconds of each of so many batches of calls of a hundred agents. */
async function insertBatches(port: number, { sampled }: Filled, times: number): Promise<number[]> {
  const { call } = client(port);
  const taken: number[] = [];
  // The first is not counted.
  for (let turn = -1; turn < times; turn++) {
    const at = Date.now();
    const json = Array.from({ length: BATCH }, (_, i) => {
      const agentId = sampled[i % sampled.length]!.id;
      const origin = { ...SYSTEM_ORIGIN, actor: { type: "agent", id: agentId, name: "agent" } as const };
      const about = { agentId, service: "github", method: "GET", path: "/repos/octo/hello/issues/5", status: 200 };
      return { kind: "record", entry: newEntry("gateway.call", at, origin, about) };
    });
    const began = performance.now();
    const { status, body } = await call("/bench/queue/agentauth-activity", { method: "POST", json });
    if (status !== 200) throw new Error(`the batch was not taken: ${status} ${JSON.stringify(body)}`);
    if (turn >= 0) taken.push(performance.now() - began);
  }
  return taken;
}

const millions = (count: number): string => `${significant(count / 1e6)} million`;

function sizeTable({ agent, key, session, record }: Sizes): Table {
  const row = (name: string, bytes: number, room: number) => [name, Math.round(bytes), millions(room / bytes)];
  return {
    title: "What fits into one database",
    head: ["", "bytes", "as many fit"],
    rows: [
      row("an agent, in 10 GB", agent, DATABASE_BYTES),
      row("its API key", key, DATABASE_BYTES),
      row("a session", session, DATABASE_BYTES),
      row("an agent with a key and three sessions", agent + key + 3 * session, DATABASE_BYTES),
      row("a record, in the 8 GB of the hot log", record, LOG_BYTES),
    ],
  };
}

/** What ends first, the lowest number of calls first. */
function breakTable({ record }: Sizes, recordsPerSecond: number): Table {
  const minutes = LOG_BYTES / record / CALLS / 60;
  const bounds: readonly (readonly [what: string, callsPerSecond: number, then: string, remedy: string])[] = [
    [
      "writes: the intent and the status, one query each on `DB`",
      QUERIES / 2,
      "writes wait for D1, and are 503 in the end",
      "several deployments, by service or group of agents",
    ],
    [
      "tokens whose status is read again (every `STANDING_TTL_SECONDS`, in each isolate that sees them)",
      QUERIES,
      "reads of tokens that are not remembered wait",
      "raise `STANDING_TTL_SECONDS`: reads of one token are one query in as many seconds",
    ],
    [
      `records: inserts of ${BATCH} into \`AUDIT_DB\``,
      recordsPerSecond,
      "records wait in the queue, for four days at the most, and come late",
      "several deployments",
    ],
    [
      "messages: one a call on the queue `agentauth-activity`",
      MESSAGES,
      "what the queue refuses goes into the outbox of `DB`, one query a record",
      "several deployments",
    ],
    [
      "calls: the Worker and its rate limits",
      Infinity,
      "nothing: Cloudflare runs as many isolates as are needed",
      "none",
    ],
  ];
  const rows = bounds
    .toSorted(([, one], [, other]) => one - other)
    .map(([what, calls, then, remedy]) => [
      what,
      Number.isFinite(calls) ? `${Math.round(calls).toLocaleString("en-US")}` : "no bound",
      then,
      remedy,
    ]);
  return {
    title: `What breaks first on the way to ${CALLS.toLocaleString("en-US")} calls a second, where the hot log would hold ${Math.round(minutes)} minutes`,
    head: ["what is asked for", "a second, at most", "then", "what to do"],
    rows,
  };
}
