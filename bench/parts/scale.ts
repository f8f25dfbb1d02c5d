import { mkdtempSync } from "node:fs";
import { client, type Agent, type Operations } from "../client.ts";
import { newEntry, SYSTEM_ORIGIN } from "../../src/outbox/record.ts";
import { fill, type Filled, type Size } from "../fill.ts";
import { startLoad, type Job } from "../load.ts";
import { percentile, ratio, significant, summary } from "../measure.ts";
import { by, claim, type Bench, type Claim, type Part, type Table } from "../part.ts";
import { cpuOf, type Running } from "../processes.ts";
import { counting, settings, startMiniflare, temporary } from "../product.ts";

const DAY = 86_400_000;
const RETENTION_DAYS = 90;
/** What one run of the schedule deletes at the most: twenty steps of five hundred rows. */
const SWEPT = 10_000;
/** Records of one batch of the queue of the audit log. */
const BATCH = 100;

/** A filled database behind a Worker. */
interface Grown extends Filled {
  readonly size: Size;
  readonly server: Running;
  readonly admin: Agent;
}

/** What one repeat of one work took, in milliseconds; CPU is that of the processes behind it, for each request. */
interface Sample {
  readonly p50: number;
  readonly p99: number;
  readonly cpu: number;
}

type Request = Pick<Job, "heads" | "bodies">;

/** Whether what is asked costs the same in a database a hundred times as large. */
export const scale: Part = async (bench) => {
  const { effort, log } = bench;
  const repeats = by(effort, 1, 5, 7);
  const count = by(effort, 20, 100, 400);
  const grown: Grown[] = [];
  const load = startLoad();
  try {
    for (const [index, size] of sizes(bench).entries()) grown.push(await grow(size, bench.port + index, log));
    const works = Object.keys(requests(grown[0]!));
    const samples: Record<string, Record<string, Sample[]>> = {};
    const note = (work: string, size: string, sample: Sample) => ((samples[work] ??= {})[size] ??= []).push(sample);
    for (const work of works) {
      for (let repeat = -1; repeat < repeats; repeat++) {
        for (const one of grown) {
          const request = requests(one)[work]!;
          const before = cpuOf(one.server.pid);
          const { latencies } = await load.run({
            ...request,
            port: one.server.port,
            count,
            concurrency: 1,
            expect: 200,
          });
          const cpu = (cpuOf(one.server.pid) - before) / count;
          if (repeat < 0) continue;
          note(work, one.size.name, { p50: percentile(latencies, 0.5), p99: percentile(latencies, 0.99), cpu });
        }
      }
      log(`${work}: ${line(samples[work]!)}`);
    }
    const rows = await rowsRead(grown, works);

    const inserts = by(effort, 3, 10, 40);
    const sweeps = by(effort, 1, 3, 12);
    for (const [work, times, run] of [
      [`insert ${BATCH} records`, inserts, insertBatch],
      [`sweep ${SWEPT.toLocaleString("en-US")} records`, sweeps, sweep],
    ] as const) {
      for (let turn = -1; turn < times; turn++) {
        for (const one of grown) {
          const before = cpuOf(one.server.pid);
          const began = performance.now();
          const operations = await run(one, turn + 1);
          const took = performance.now() - began;
          const cpu = cpuOf(one.server.pid) - before;
          if (turn < 0) continue;
          // Of few runs each is a repeat of its own.
          note(work, one.size.name, { p50: took, p99: took, cpu });
          if (turn === times - 1) (rows[work] ??= {})[one.size.name] = operations;
        }
      }
      log(`${work}: ${line(samples[work]!)}`);
    }
    const list = [...claims(samples, grown), ...sweepRates(samples, grown)];
    return {
      claims: list,
      tables: [sizeTable(grown), latencyTable(samples, grown), ratioTable(samples, grown), rowsTable(rows, grown)],
      listClaims: false,
      notes: [
        `${repeats} interleaved repeats of ${count} requests, one at a time, through the whole Worker in Miniflare, whose own share of each answer is several hundred µs; the databases were filled with SQL, every agent with a key and a session, one in ten with a webhook.`,
        "The listings' totals come from counters that triggers and batches keep: no query counts rows.",
        "A search looks at no more than 500 matches in each of its indexes, once for the page and once for the total: that is what its rows are. An insert's and a sweep's are those of their rows, their indexes and their counts.",
        `A batch and a sweep are timed ${inserts} and ${sweeps} times each, so that their p99 is their slowest run's neighbour: their ratio is that of single runs.`,
      ],
      data: {
        sizes: grown.map(({ size, bytes, auditBytes }) => ({ ...size, bytes, auditBytes })),
        samples: condensed(samples),
        rows,
      },
    };
  } finally {
    load.stop();
    for (const { server } of grown) await server.stop();
  }
};

function sizes({ effort, full, records }: Bench): Size[] {
  const of = (agents: number, records: number): Size => ({
    name: `${short(agents)} agents, ${short(records)} records`,
    agents,
    records,
  });
  if (records) return [of(10_000, 100_000), of(10_000, records)];
  if (effort === "smoke") return [of(1000, 20_000), of(10_000, 200_000)];
  if (effort === "quick") return [of(10_000, 100_000), of(100_000, 1_000_000)];
  const list = [of(10_000, 1_000_000), of(100_000, 1_000_000), of(1_000_000, 1_000_000)];
  // 6.4 GB, of the 8 that AUDIT_DB may have.
  return full ? [...list, of(1_000_000, 12_000_000)] : list;
}

const short = (count: number) => (count >= 1_000_000 ? `${count / 1_000_000} M` : `${count / 1000} k`);

async function grow(size: Size, port: number, log: (line: string) => void): Promise<Grown> {
  const began = Date.now();
  const persist = mkdtempSync(temporary("scale-"));
  const options = {
    upstreamPort: port,
    persist,
    wrap: counting(),
    settings: { ACTIVITY_RETENTION_DAYS: String(RETENTION_DAYS) },
  };
  await (await startMiniflare(port, options)).stop();
  const filled = await fill(persist, size, settings(0));
  const server = await startMiniflare(port, options);
  log(
    `${size.name}: ${megabytes(filled.bytes)} and ${megabytes(filled.auditBytes)} MB, made in ${Math.round((Date.now() - began) / 1000)} s`,
  );
  return { ...filled, size, server, admin: await client(port).admin() };
}

const megabytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(0);

/** What is asked of each, over its sampled agents. */
function requests({ sampled, admin, server, oldest, step, size }: Grown): Record<string, Request> {
  const get = (paths: readonly string[]): Request => ({
    bodies: [],
    heads: paths.map(
      (path) => `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${server.port}\r\nAuthorization: Bearer ${admin.token}`,
    ),
  });
  const middle = oldest + step * Math.floor(size.records / 2);
  const before = `act_${middle.toString(16).padStart(12, "0")}${"7".padEnd(20, "0")}`;
  const ids = sampled.map(({ id }) => id);
  const verifications = sampled.map(({ id, apiKey }) => JSON.stringify({ agent_id: id, api_key: apiKey }));
  const head = `POST /agents/verify HTTP/1.1\r\nHost: 127.0.0.1:${server.port}\r\nContent-Type: application/json`;
  return {
    "list agents": get(["/agents?limit=50"]),
    "list agents of a status": get(["/agents?limit=50&status=suspended"]),
    "search agents": get(["/agents?limit=50&q=agent%2042"]),
    "get an agent": get(ids.map((id) => `/agents/${id}`)),
    "verify an API key": { heads: verifications.map(() => head), bodies: verifications },
    "an agent's activity": get(ids.map((id) => `/agents/${id}/activity?limit=50`)),
    "all activity": get(["/activity?limit=50"]),
    "all activity, from the middle": get([`/activity?limit=50&before=${before}`]),
    "failures only": get(["/activity?limit=50&status=failure"]),
    "the log": get(["/audit?limit=50"]),
    "the log, from the middle": get([`/audit?limit=50&cursor=aud_${before.slice(4)}`]),
    "the log of an agent": get(ids.map((id) => `/audit?limit=50&agent_id=${id}`)),
    "the denials of an agent": get(ids.map((id) => `/audit?limit=50&agent_id=${id}&outcome=denied`)),
    "all denials": get(["/audit?limit=50&outcome=denied"]),
    "the log by its method": get(["/audit?limit=50&method=POST"]),
    "the log by an actor": get(ids.map((id) => `/audit?limit=50&actor=${id}`)),
    "the log by a request": get(["/audit?limit=50&request_id=none"]),
    "the log of a day by a path": get([`/audit?limit=50&path=/repos/octo/hello/issues/1&${day(middle)}`]),
    "the log of a day by an address": get([`/audit?limit=50&ip=203.0.113.7&${day(middle)}`]),
    "the log of an agent by a text": get(ids.map((id) => `/audit?limit=50&agent_id=${id}&q=LACKS`)),
  };
}

/** The day before a time, as parameters of a query. */
const day = (at: number): string => `from=${new Date(at - DAY).toISOString()}&to=${new Date(at).toISOString()}`;

type Rows = Record<string, Record<string, Operations>>;

/** One counted call of each work on each size. */
async function rowsRead(grown: readonly Grown[], works: readonly string[]): Promise<Rows> {
  const rows: Rows = {};
  for (const work of works) {
    for (const one of grown) {
      const { heads, bodies } = requests(one)[work]!;
      const [method, path] = heads[0]!.split(" ") as [string, string];
      const json = bodies[0] && JSON.parse(bodies[0]);
      const token = method === "GET" ? one.admin.token : undefined;
      const { operations } = await client(one.server.port).counted(path, {
        method,
        ...(json && { json }),
        ...(token && { token }),
      });
      (rows[work] ??= {})[one.size.name] = operations;
    }
  }
  return rows;
}

async function insertBatch({ server, sampled }: Grown, turn: number): Promise<Operations> {
  const at = Date.now();
  const json = Array.from({ length: BATCH }, (_, i) => {
    const agentId = sampled[(turn * BATCH + i) % sampled.length]!.id;
    const origin = { ...SYSTEM_ORIGIN, actor: { type: "agent", id: agentId, name: "agent" } as const };
    const about = { agentId, service: "github", method: "GET", path: "/repos/octo/hello/issues/5", status: 200 };
    return { kind: "record", entry: newEntry("gateway.call", at, origin, about) };
  });
  const { status, body } = await client(server.port).call("/bench/queue/agentauth-activity", { method: "POST", json });
  if (status !== 200) throw new Error(`the batch was not taken: ${status} ${JSON.stringify(body)}`);
  return body as Operations;
}

/** Runs the schedule as of a moment at which just so many rows more have expired. */
async function sweep({ server, oldest, step }: Grown, turn: number): Promise<Operations> {
  const at = oldest + RETENTION_DAYS * DAY + step * SWEPT * (turn + 1);
  const { status, body } = await client(server.port).call(`/bench/scheduled?at=${at}`, { method: "POST" });
  if (status !== 200) throw new Error(`the sweep failed: ${status} ${JSON.stringify(body)}`);
  return body as Operations;
}

const line = (of: Record<string, Sample[]>) =>
  Object.entries(of)
    .map(
      ([size, list]) =>
        `${size} p50 ${summary(list.map(({ p50 }) => p50)).median} p99 ${summary(list.map(({ p99 }) => p99)).median} ms`,
    )
    .join("; ");

/** A figure is flat if its p99 is at most 1.3 times that in the smallest database. */
const FLAT = 1.3;

function claims(samples: Record<string, Record<string, Sample[]>>, grown: readonly Grown[]): Claim[] {
  const [first, ...larger] = grown.map(({ size }) => size.name) as [string, ...string[]];
  const list: Claim[] = [];
  for (const [work, of] of Object.entries(samples)) {
    for (const size of larger) {
      const measured = ratio(
        of[size]!.map(({ p99 }) => p99),
        of[first]!.map(({ p99 }) => p99),
      );
      const why = work.startsWith("sweep")
        ? "The same rows are read and written; what grows is the file: an expired row is taken out of its agent's place in an index and off its agent's count, on pages that no cache holds. It goes on behind the answers, in steps of 500 rows"
        : "D1 reads the same rows for them, and where their p50 and their CPU are flat too, these are single slow answers of a shared machine";
      list.push(
        claim({ work, beside: first, figure: `p99 with ${size}`, measured, why, chart: size === larger.at(-1) }, FLAT),
      );
    }
  }
  return list;
}

/** How fast a sweep deletes: two thousand rows a second at least, which is a bound for the time of all of them. */
const sweepRates = (samples: Record<string, Record<string, Sample[]>>, grown: readonly Grown[]): Claim[] =>
  Object.entries(samples)
    .filter(([work]) => work.startsWith("sweep"))
    .flatMap(([work, of]) =>
      grown.map(({ size: { name } }) => {
        const measured = summary(of[name]!.map(({ p50 }) => p50));
        const figure = "ms, which is 2,000 records a second";
        return claim({ work: `${work} of ${name}`, beside: "", figure, measured }, (SWEPT / 2000) * 1000);
      }),
    );

/** By how much each figure grows from the smallest database, for each larger one. */
function ratioTable(samples: Record<string, Record<string, Sample[]>>, grown: readonly Grown[]): Table {
  const [first, ...larger] = grown.map(({ size }) => size.name) as [string, ...string[]];
  const rows: string[][] = [];
  for (const [work, of] of Object.entries(samples)) {
    const row = [work];
    for (const size of larger) {
      const of_ = (key: keyof Sample) =>
        ratio(
          of[size]!.map((one) => one[key]),
          of[first]!.map((one) => one[key]),
        ).median;
      const p99 = of_("p99");
      row.push(`${p99 > FLAT ? `**${p99}**` : p99} · ${of_("p50")} · ${of_("cpu")}`);
    }
    rows.push(row);
  }
  return { title: `p99 · p50 · CPU beside ${first}; goal for p99 ≤ ${FLAT}`, head: ["work", ...larger], rows };
}

const sizeTable = (grown: readonly Grown[]): Table => ({
  title: "Databases",
  head: ["", "MB of DB", "MB of AUDIT_DB", "bytes a record"],
  rows: grown.map(({ size, bytes, auditBytes }) => [
    size.name,
    megabytes(bytes),
    megabytes(auditBytes),
    Math.round(auditBytes / size.records),
  ]),
});

function latencyTable(samples: Record<string, Record<string, Sample[]>>, grown: readonly Grown[]): Table {
  const rows: string[][] = [];
  for (const [work, of] of Object.entries(samples)) {
    const cells = [work];
    for (const { size } of grown) {
      const middle = (key: keyof Sample) => significant(summary(of[size.name]!.map((one) => one[key])).median);
      cells.push(`${middle("p50")} / ${middle("p99")}`);
    }
    rows.push(cells);
  }
  return { title: "p50 / p99 in ms", head: ["work", ...grown.map(({ size }) => size.name)], rows };
}

/** Every statement of every work: what it reads must not hang on what there is. */
function rowsTable(rows: Rows, grown: readonly Grown[]): Table {
  const table: (string | number)[][] = [];
  for (const [work, of] of Object.entries(rows)) {
    const cells: (string | number)[] = [work];
    for (const { size } of grown) {
      const { statements } = of[size.name]!;
      const read = statements.reduce((sum, one) => sum + one.rowsRead, 0);
      const written = statements.reduce((sum, one) => sum + one.rowsWritten, 0);
      cells.push(`${read.toLocaleString("en-US")} / ${written.toLocaleString("en-US")}`);
    }
    table.push(cells);
  }
  return {
    title: "Rows read / written, by D1's own meta (authentication included)",
    head: ["work", ...grown.map(({ size }) => size.name)],
    rows: table,
  };
}

const condensed = (samples: Record<string, Record<string, Sample[]>>) =>
  Object.fromEntries(
    Object.entries(samples).map(([work, of]) => [
      work,
      Object.fromEntries(
        Object.entries(of).map(([size, list]) => [
          size,
          {
            p50_ms: summary(list.map(({ p50 }) => p50)),
            p99_ms: summary(list.map(({ p99 }) => p99)),
            cpu_ms: summary(list.map(({ cpu }) => cpu)),
          },
        ]),
      ),
    ]),
  );
