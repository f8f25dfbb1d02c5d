import { generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { startLoad, type Job } from "../load.ts";
import { median, percentile, ratio, significant, summary } from "../measure.ts";
import { by, claim, type Bench, type Claim, type Part, type Table } from "../part.ts";
import { hasHaproxy, haproxyConfig } from "../peers/haproxy.ts";
import { cpuOf, start, type Running } from "../processes.ts";
import {
  accessTokens,
  ISSUER,
  signingKey,
  STANDING_SQL,
  startBare,
  startMiniflare,
  startWorkerd,
  temporary,
  UPSTREAM_TOKEN,
} from "../product.ts";

const HERE = join(import.meta.dirname, "..");

interface Target {
  readonly name: string;
  readonly server: Running;
  readonly prefix: string;
  readonly tokens: readonly string[];
}

interface Cell {
  readonly method: "GET" | "POST";
  readonly size: "1 KB" | "1 MB";
  readonly token: "remembered" | "fresh";
  readonly concurrency: number;
}

/** What one repeat of one cell gave for one target. CPU is milliseconds of the target's own processes for each request. */
interface Sample {
  readonly p50: number;
  readonly p99: number;
  readonly cpu: number;
  readonly perSecond: number;
}

const CELLS: readonly Cell[] = [
  { method: "GET", size: "1 KB", token: "remembered", concurrency: 1 },
  { method: "GET", size: "1 KB", token: "remembered", concurrency: 16 },
  { method: "GET", size: "1 KB", token: "fresh", concurrency: 1 },
  { method: "GET", size: "1 KB", token: "fresh", concurrency: 16 },
  { method: "POST", size: "1 KB", token: "remembered", concurrency: 1 },
  { method: "POST", size: "1 KB", token: "remembered", concurrency: 16 },
  { method: "POST", size: "1 KB", token: "fresh", concurrency: 1 },
  { method: "POST", size: "1 KB", token: "fresh", concurrency: 16 },
  { method: "GET", size: "1 MB", token: "remembered", concurrency: 1 },
  { method: "GET", size: "1 MB", token: "remembered", concurrency: 16 },
  { method: "POST", size: "1 MB", token: "remembered", concurrency: 1 },
  { method: "POST", size: "1 MB", token: "remembered", concurrency: 16 },
];

const nameOf = ({ method, size, token, concurrency }: Cell) =>
  `${method} ${size}, token ${token}, ${concurrency} at a time`;

/** Proxied requests: AgentAuth's bundle beside the floor, the Node peers and the native ceiling. */
export const proxy: Part = async (bench) => {
  const { effort, log } = bench;
  const repeats = by(effort, 1, 5, 15);
  const cells = CELLS.filter((cell) => !bench.only || bench.only.test(nameOf(cell)));
  const requestsOf = ({ size }: Cell) => by(effort, 20, size === "1 KB" ? 300 : 40, size === "1 KB" ? 600 : 60);
  const fresh = cells.filter(({ token }) => token === "fresh").map((cell) => requestsOf(cell) * (repeats + 1));
  const targets = await startTargets(
    bench,
    fresh.reduce((sum, count) => sum + count, 0),
  );
  const load = startLoad();
  const samples: Record<string, Record<string, Sample[]>> = {};
  try {
    // Every target's code is compiled by the time that it is measured.
    for (const method of ["GET", "POST"] as const) {
      const cell = { method, size: "1 KB", token: "remembered", concurrency: 4 } as const;
      for (const target of targets) await load.run(jobFor(target, cell, by(effort, 20, 500, 3000), 0));
    }
    let used = 0;
    for (const cell of cells) {
      const count = requestsOf(cell);
      const of: Record<string, Sample[]> = (samples[nameOf(cell)] = {});
      // The first round is not counted.
      for (let round = -1; round < repeats; round++) {
        for (const target of rotated(targets, round)) {
          const before = cpuOf(target.server.pid);
          const run = await load.run(jobFor(target, cell, count, used));
          const cpu = cpuOf(target.server.pid) - before;
          if (round < 0) continue;
          (of[target.name] ??= []).push({
            p50: percentile(run.latencies, 0.5),
            p99: percentile(run.latencies, 0.99),
            cpu: cpu / count,
            perSecond: (count / run.elapsedMs) * 1000,
          });
        }
        if (cell.token === "fresh") used += count;
      }
      log(
        `${nameOf(cell)}: ${Object.entries(of)
          .map(
            ([name, list]) =>
              `${name} ${median(list.map(({ cpu }) => cpu * 1000)).toFixed(0)} µs CPU, p50 ${median(list.map(({ p50 }) => p50)).toFixed(2)} ms`,
          )
          .join("; ")}`,
      );
    }
  } finally {
    load.stop();
    for (const { server } of targets) await server.stop();
  }
  const list = claims(samples);
  return {
    claims: list,
    tables: [overview(list, samples), absolutes(samples)],
    listClaims: false,
    notes: [
      `Medians of ${repeats} repeats, the targets taking turns in each; CPU is the target's own processes', from the kernel's accounting.`,
      `Under Miniflare, ${simulatorShare(list)} of the CPU is that of its local simulators of D1, KV, queues and rate limits and of its own front, none of which are Cloudflare's: the columns are of the bundle under bare workerd, where storage answers at once.`,
      "Direct is the upstream itself, whose CPU is that of its own answer. HAProxy verifies the signature of every request and knows neither permissions nor revocation; the Node peers remember verified tokens, check one permission, and know no revocation. Express and Hono pass answers on unsearched.",
      ...(hasHaproxy() ? [] : ["HAProxy is not installed here: its columns are missing."]),
    ],
    data: { repeats, targets: TARGETS, samples: condensed(samples) },
  };
};

const TARGETS = {
  direct: "the upstream itself, nothing between",
  "workerd floor": readFileSync(join(HERE, "peers/floor.js"), "utf8"),
  AgentAuth: "the deploy bundle under bare workerd; D1, KV, queue and rate limits answer at once",
  "AgentAuth + simulators": "the deploy bundle in Miniflare, with its local D1, KV, queues and rate limits",
  "Express + http-proxy-middleware": "Node, with jose; verified tokens remembered",
  "Hono on Node": "Node, hono/proxy, with jose; verified tokens remembered",
  "HAProxy ES256": "Debian's HAProxy, one thread, jwt_verify on every request",
  "HAProxy RS256": "the same with RS256",
};

const rotated = <T>(list: readonly T[], by: number): T[] => {
  const from = (by + list.length) % list.length;
  return [...list.slice(from), ...list.slice(0, from)];
};

function jobFor(target: Target, { method, size, token, concurrency }: Cell, count: number, used: number): Job {
  const path =
    method === "POST"
      ? "/repos/octo/hello/issues"
      : size === "1 KB"
        ? "/repos/octo/hello/issues/5"
        : "/repos/octo/hello/contents/large.bin";
  const head = (bearer: string) =>
    [
      `${method} ${target.prefix}${path} HTTP/1.1`,
      `Host: 127.0.0.1:${target.server.port}`,
      `Authorization: Bearer ${bearer}`,
      "Accept: application/vnd.github+json",
      "User-Agent: octokit-rest.js/22.0.1",
      "X-GitHub-Api-Version: 2022-11-28",
      ...(method === "POST" ? ["Content-Type: application/json"] : []),
    ].join("\r\n");
  const fresh = token === "fresh";
  const tokens = fresh
    ? Array.from({ length: count }, (_, i) => target.tokens[1 + ((used + i) % (target.tokens.length - 1))]!)
    : [target.tokens[0]!];
  return {
    port: target.server.port,
    count,
    concurrency,
    heads: tokens.map(head),
    bodies: method === "POST" ? ["x".repeat(size === "1 KB" ? 1024 : 1024 * 1024)] : [],
    expect: method === "POST" ? 201 : 200,
  };
}

/** @param fresh how many tokens are sent that none of them has seen before. */
async function startTargets({ port, log }: Bench, fresh: number): Promise<Target[]> {
  const es256 = await accessTokens(fresh + 2);
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" }) as Record<
    string,
    string
  >;
  const rs256Key = { ...rsa, kid: "rsa" };
  // An RS256 signature takes long to make: a few are enough, since HAProxy remembers none.
  const rs256 = await accessTokens(50, "RS256", rs256Key);
  const upstream = await start(process.execPath, [join(HERE, "upstream.ts"), String(port)], port);
  const peer = {
    BENCH_PEER: JSON.stringify({
      jwk: signingKey,
      issuer: ISSUER,
      upstream: `http://127.0.0.1:${port}`,
      token: UPSTREAM_TOKEN,
    }),
    NODE_ENV: "production",
  };
  const prefix = "/proxy/github";
  const targets: Target[] = [{ name: "direct", server: upstream, prefix: "", tokens: es256 }];
  const add = async (name: string, starting: Promise<Running>, tokens = es256) =>
    void targets.push({ name, server: await starting, prefix, tokens });
  try {
    const floor = readFileSync(join(HERE, "peers/floor.js"), "utf8");
    await add(
      "workerd floor",
      startWorkerd(
        "floor",
        port + 1,
        { "main.js": floor },
        { UPSTREAM: `http://127.0.0.1:${port}`, TOKEN: UPSTREAM_TOKEN },
      ),
    );
    await add("AgentAuth", startBare(port + 2, port));
    await add("AgentAuth + simulators", startMiniflare(port + 3, { upstreamPort: port, sql: STANDING_SQL }));
    const node = (file: string, at: number) =>
      start(process.execPath, [join(HERE, "peers", file), String(at)], at, peer);
    await add("Express + http-proxy-middleware", node("express.ts", port + 4));
    await add("Hono on Node", node("hono.ts", port + 5));
    if (!hasHaproxy()) {
      log("HAProxy is not installed (apt-get install haproxy): the native ceiling is left out.");
      return targets;
    }
    for (const [alg, at, jwk, tokens] of [
      ["ES256", port + 6, signingKey, es256],
      ["RS256", port + 7, rs256Key, rs256],
    ] as const) {
      const file = temporary(`haproxy-${alg}.cfg`);
      haproxyConfig(file, { port: at, upstreamPort: port, alg, jwk, issuer: ISSUER, token: UPSTREAM_TOKEN });
      await add(`HAProxy ${alg}`, start("haproxy", ["-db", "-f", file], at), tokens as string[]);
    }
    return targets;
  } catch (error) {
    for (const { server } of targets) await server.stop();
    throw error;
  }
}

type Samples = Record<string, Record<string, Sample[]>>;

const condensed = (samples: Samples) =>
  Object.fromEntries(
    Object.entries(samples).map(([cell, of]) => [
      cell,
      Object.fromEntries(
        Object.entries(of).map(([name, list]) => [
          name,
          {
            p50_ms: summary(list.map(({ p50 }) => p50)),
            p99_ms: summary(list.map(({ p99 }) => p99)),
            cpu_ms_per_request: summary(list.map(({ cpu }) => cpu)),
            requests_per_second: summary(list.map(({ perSecond }) => perSecond)),
          },
        ]),
      ),
    ]),
  );

/** The goal of each cell: beside the floor only with a cached token, beside the Node peers always. The others are shown without a goal. */
const COMPARISONS = [
  ["direct", "p50", "p50", null],
  ["workerd floor", "CPU per request", "cpu", 1.25],
  ["workerd floor", "p50", "p50", 1.25],
  ["Express + http-proxy-middleware", "CPU per request", "cpu", 1],
  ["Express + http-proxy-middleware", "p50", "p50", 1],
  ["Express + http-proxy-middleware", "p99", "p99", 1],
  ["Hono on Node", "CPU per request", "cpu", 1],
  ["Hono on Node", "p50", "p50", 1],
  ["Hono on Node", "p99", "p99", 1],
  ["HAProxy ES256", "CPU per request", "cpu", null],
  ["HAProxy RS256", "CPU per request", "cpu", null],
  ["AgentAuth + simulators", "CPU per request", "cpu", null],
] as const;

/** What the floor is spared, as profiles of the bundle show it (`bench/profile.ts`). */
const WHY_NOT_THE_FLOOR = {
  "1 KB":
    "Nothing is left that costs much by itself. Of the time in JavaScript, the head of the answer takes 13 %, the request to the upstream 8 %, path, query, headers and rule 7 %, the digest under which the token is remembered 5 %, the search for the credential 4 %, the timer 3 %, the record 3 %, the links 2 %. The floor's ten lines hand head and body through without looking at either",
  "1 MB":
    "The links of GitHub's JSON are rewritten, which reads every byte: half of the CPU. The search for every form of the credential is 8 %, reading and writing in JavaScript 12 %. A body that only passes through JavaScript costs 1.6 to 2.5 × the floor by itself: the floor's is copied from socket to socket by the runtime",
} as const;

/** What a missed goal is owed to: what the floor and the Node peers are spared. */
function whyMissed({ beside, work }: Pick<Claim, "beside" | "work">): string {
  const spared = WHY_NOT_THE_FLOOR[work.startsWith("GET 1 MB") ? "1 MB" : "1 KB"];
  if (beside === "workerd floor" || work.startsWith("GET 1 MB")) return spared;
  return "The Node peers neither search answers nor filter their headers nor log, and one request at a time the floor's ten lines, the least that runs under workerd, take hardly less time than Express";
}

function claims(samples: Samples): Claim[] {
  return CELLS.flatMap((cell) => {
    const of = samples[nameOf(cell)];
    if (!of) return [];
    return COMPARISONS.flatMap(([beside, figure, key, limit]) => {
      const theirs = of[beside];
      if (!theirs) return [];
      const column = (list: readonly Sample[]) => list.map((one) => one[key]);
      const measured = ratio(column(of.AgentAuth!), column(theirs));
      const goal = beside === "workerd floor" && cell.token === "fresh" ? null : limit;
      const shown =
        cell.method === "GET" && cell.token === "remembered" && (cell.size === "1 KB" || cell.concurrency === 1);
      const chart = shown && key !== "p99" && limit !== null;
      const what = { work: nameOf(cell), beside, figure, measured, chart };
      return [claim({ ...what, why: whyMissed(what) }, goal)];
    });
  });
}

/** A line for each cell, a column for each comparison; what misses its goal is bold. */
function overview(list: readonly Claim[], samples: Samples): Table {
  const columns = [...new Set(list.map(columnOf))];
  const rows: (string | number)[][] = [];
  for (const work of new Set(list.map((one) => one.work))) {
    const row = [work, Math.round(median(samples[work]!.AgentAuth!.map(({ cpu }) => cpu)) * 1000)] as (
      | string
      | number
    )[];
    for (const column of columns) {
      const one = list.find((each) => each.work === work && columnOf(each) === column);
      row.push(one ? (one.met === false ? `**${one.measured.median}**` : one.measured.median) : "");
    }
    const floor = samples[work]!["workerd floor"]!;
    const express = samples[work]!["Express + http-proxy-middleware"]!;
    for (const key of ["cpu", "p50"] as const) {
      row.push(
        ratio(
          floor.map((one) => one[key]),
          express.map((one) => one[key]),
        ).median,
      );
    }
    rows.push(row);
  }
  const title = "Ratios ours / theirs; beside them our own CPU per request in µs";
  return { title, head: ["work", "our µs", ...columns, "CPU floor / Express", "p50 floor / Express"], rows };
}

/** What the ratios are made of: of use only beside each other. */
function absolutes(samples: Samples): Table {
  const names = Object.keys(Object.values(samples)[0] ?? {});
  const shown = (list: readonly Sample[] | undefined) => {
    if (!list) return "";
    const of = (key: "cpu" | "p50" | "p99") => significant(median(list.map((one) => one[key])));
    return `${Math.round(of("cpu") * 1000)} µs · ${of("p50")} · ${of("p99")} ms`;
  };
  return {
    title: "CPU a request · p50 · p99",
    head: ["work", ...names],
    rows: Object.entries(samples).map(([cell, of]) => [cell].concat(names.map((name) => shown(of[name])))),
  };
}

/** How much of the CPU under Miniflare is not the product's, over all cells. */
function simulatorShare(list: readonly Claim[]): string {
  const shares = list
    .filter(({ beside }) => beside === "AgentAuth + simulators")
    .map(({ measured }) => Math.round((1 - measured.median) * 100));
  return `${Math.min(...shares)} to ${Math.max(...shares)} %`;
}

const columnOf = ({ beside, figure }: Claim) => `${figure.replace(" per request", "")} / ${beside}`;
