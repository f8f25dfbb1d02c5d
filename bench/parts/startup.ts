import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { ratio, summary } from "../measure.ts";
import { by, claim, type Part } from "../part.ts";
import { cpuOf, start, type Running } from "../processes.ts";
import { bundle, ROOT, startBare, startWorkerd, temporary, UPSTREAM_TOKEN } from "../product.ts";

/** Kilobytes that the Worker may have, minified and gzipped. */
const BUDGET = 256;

/** Measures how long a Worker takes to start, and what its bundle contains. */
export const startup: Part = async ({ effort, port, log }) => {
  const checks = Array.from({ length: by(effort, 1, 3, 7) }, check);
  const repeats = by(effort, 2, 5, 15);
  const upstream = await start(process.execPath, [join(ROOT, "bench/upstream.ts"), String(port)], port);
  const floor = readFileSync(join(ROOT, "bench/peers/floor.js"), "utf8");
  const samples: Record<"ours" | "floor", { ms: number; cpu: number }[]> = { ours: [], floor: [] };
  try {
    bundle();
    for (let repeat = -1; repeat < repeats; repeat++) {
      const ours = await firstAnswer(() => startBare(port + 1, port), "/.well-known/jwks.json");
      const theirs = await firstAnswer(
        () =>
          startWorkerd(
            "floor",
            port + 2,
            { "main.js": floor },
            { UPSTREAM: `http://127.0.0.1:${port}`, TOKEN: UPSTREAM_TOKEN },
          ),
        "/proxy/github/repos/octo/hello/issues/5",
      );
      if (repeat < 0) continue;
      samples.ours.push(ours);
      samples.floor.push(theirs);
    }
  } finally {
    await upstream.stop();
  }
  const modules = sizes();
  const gzipped = Math.round((gzipSync(bundle(), { level: 9 }).length / 1024) * 10) / 10;
  const cpu = (list: readonly { cpu: number }[]) => list.map((one) => one.cpu);
  const extra = summary(samples.ours.map((one, i) => one.cpu - samples.floor[i]!.cpu));
  log(`active at startup ${summary(checks.map(({ active }) => active)).median} ms, bundle ${gzipped} KB gzipped`);
  return {
    claims: [
      claim(
        {
          work: "`wrangler check startup`, active",
          beside: "",
          figure: "ms, here and not on Cloudflare's machines",
          measured: summary(checks.map(({ active }) => active)),
        },
        1000,
      ),
      claim(
        {
          work: "a bare workerd from its start to its first answer",
          beside: "workerd with the floor's ten lines",
          figure: "CPU",
          measured: ratio(cpu(samples.ours), cpu(samples.floor)),
        },
        null,
      ),
      claim(
        { work: "the same", beside: "workerd with the floor's ten lines", figure: "ms of CPU more", measured: extra },
        null,
      ),
      claim(
        {
          work: "bundle",
          beside: "",
          figure: "KB minified and gzipped",
          measured: { median: gzipped, low: gzipped, high: gzipped },
        },
        BUDGET,
      ),
    ],
    tables: [
      {
        title: "Bundle by module, minified, before gzip",
        head: ["module", "KB", "share"],
        rows: modules.map(({ name, bytes, share }) => [
          name,
          (bytes / 1024).toFixed(1),
          `${(share * 100).toFixed(1)} %`,
        ]),
      },
    ],
    notes: ["One second is Cloudflare's limit on the time that a Worker's global scope may take."],
    data: { checks, firstAnswer: samples, modules },
  };
};

/** Milliseconds from `wrangler check startup`: of the whole profile, and of what was not idle in it. */
function check(): { sampled: number; active: number } {
  const { stdout, stderr, status } = spawnSync(
    "wrangler",
    ["check", "startup", "--outfile", temporary("startup.cpuprofile")],
    { cwd: ROOT, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] },
  );
  const sampled = /Sampled time: ([\d.]+) ms/.exec(stdout)?.[1];
  const active = /Active: ([\d.]+) ms/.exec(stdout)?.[1];
  if (status !== 0 || !sampled || !active) throw new Error(`wrangler check startup failed:\n${stdout}\n${stderr}`);
  return { sampled: Number(sampled), active: Number(active) };
}

/** From the start of the process until its first answer has come. */
async function firstAnswer(starting: () => Promise<Running>, path: string): Promise<{ ms: number; cpu: number }> {
  const began = performance.now();
  const server = await starting();
  try {
    const response = await fetch(`http://127.0.0.1:${server.port}${path}`);
    await response.arrayBuffer();
    if (!response.ok) throw new Error(`${response.status} on ${path}`);
    return { ms: performance.now() - began, cpu: cpuOf(server.pid) };
  } finally {
    await server.stop();
  }
}

/** What each room of the source and each library has in the bundle. */
function sizes(): { name: string; bytes: number; share: number }[] {
  const file = temporary("bundle.json");
  const { status, stderr } = spawnSync(
    "wrangler",
    ["deploy", "--dry-run", "--outdir", temporary("measured"), "--metafile", file],
    { cwd: ROOT, encoding: "utf8", env: { ...process.env, WRANGLER_SEND_METRICS: "false" } },
  );
  if (status !== 0) throw new Error(`wrangler deploy --dry-run failed:\n${stderr}`);
  const { outputs } = JSON.parse(readFileSync(file, "utf8")) as {
    outputs: Record<string, { bytes: number; inputs: Record<string, { bytesInOutput: number }> }>;
  };
  const [output] = Object.entries(outputs)
    .find(([name]) => name.endsWith(".js"))!
    .slice(1) as [(typeof outputs)[string]];
  const bytes = new Map<string, number>();
  for (const [input, { bytesInOutput }] of Object.entries(output.inputs)) {
    const library = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(input)?.[1];
    const [, room] = /^src\/([^/]+)\//.exec(input) ?? [];
    const name = library ?? (room ? `src/${room}` : input.startsWith("src/") ? "src" : "wrangler");
    bytes.set(name, (bytes.get(name) ?? 0) + bytesInOutput);
  }
  return [...bytes]
    .map(([name, count]) => ({ name, bytes: count, share: count / output.bytes }))
    .sort((one, other) => other.bytes - one.bytes);
}
