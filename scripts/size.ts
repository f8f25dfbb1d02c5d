import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { fail, ROOT } from "./local.ts";

/** The budget of the deployed Worker, minified and gzipped, in bytes. */
const BUDGET = 256 * 1024;
/** A change that lets the Worker grow by more than this is pointed at: nobody meant a library to come along unseen. */
const MAX_GROWTH = 0.1;
/** The budget of the Worker's global scope, in milliseconds of CPU on the machine that runs this. Cloudflare allows a second. */
const STARTUP_BUDGET_MS = 50;
/** Above the budget is a warning, because other work on the machine adds to what is measured; above this is a fault. */
const MAX_STARTUP_MS = 2 * STARTUP_BUDGET_MS;
/** A busy machine measures too much, never too little: the smallest of so many attempts counts. */
const STARTUP_ATTEMPTS = 15;

/** The size that `npm run size -- --record` wrote last. */
const RECORD = join(ROOT, "scripts/size.json");

/**
 * Builds what `wrangler deploy --env production` would upload, of which wrangler also checks the configuration, prints its size and how long its global scope takes, and ends with an error if one is
 * over its budget. With `--quick`, as in `npm test`, the global scope is not measured. `--record` keeps the size, from which the next change's growth is counted.
 */
const out = mkdtempSync(join(tmpdir(), "agentauth-size-"));
/** What would be uploaded, as one form: each attempt profiles this one, and builds nothing. */
const BUNDLE = join(out, "worker.bundle");
try {
  wrangler("deploy", "--dry-run", "--env=production", "--outdir", out, "--outfile", BUNDLE);
  const script = readFileSync(join(out, readdirSync(out).find((name) => name.endsWith(".js")) ?? "index.js"));
  const size = gzipSync(script, { level: 9 }).length;
  console.log(
    `Worker bundle: ${kilobytes(script.length)} KB minified, ${kilobytes(size)} KB gzipped (budget ${BUDGET / 1024} KB)`,
  );
  if (size > BUDGET) fail("The Worker is over its size budget.");
  if (/["']node:/.test(script.toString())) fail("The Worker imports Node built-ins: it must run without polyfills.");

  const { gzipped: recorded } = JSON.parse(readFileSync(RECORD, "utf8")) as { gzipped: number };
  if (process.argv.includes("--record")) writeFileSync(RECORD, `{ "gzipped": ${size} }\n`);
  else if (size > recorded * (1 + MAX_GROWTH)) {
    const growth = ((size / recorded - 1) * 100).toFixed(0);
    console.log(
      `WARNING: the Worker has grown by ${growth} % since ${kilobytes(recorded)} KB. If that is meant, run \`npm run size -- --record\`.`,
    );
  }

  if (!process.argv.includes("--quick")) checkStartup();
} finally {
  rmSync(out, { recursive: true });
}

/** A CPU profile as V8 writes it (https://chromedevtools.github.io/devtools-protocol/tot/Profiler/#type-Profile); times in microseconds. */
interface Profile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

function checkStartup(): void {
  const startup = startupTime();
  console.log(`Global scope: ${startup.toFixed(1)} ms of CPU (budget ${STARTUP_BUDGET_MS} ms)`);
  if (startup > MAX_STARTUP_MS) fail("The Worker's global scope takes longer than twice its budget.");
  if (startup > STARTUP_BUDGET_MS) console.warn("WARNING: the Worker's global scope takes longer than its budget.");
}

/**
 * Milliseconds of CPU in the profile of `wrangler check startup`: of the first attempt that is good enough, or the best. The Worker's own
 * code, what it calls and the garbage collector count; idle time and the script by which wrangler loads the Worker do not.
 */
function startupTime(): number {
  const file = join(out, "startup.cpuprofile");
  let best = Infinity;
  for (let attempt = 0; attempt < STARTUP_ATTEMPTS && best > STARTUP_BUDGET_MS; attempt++) {
    wrangler("check", "startup", "--worker", BUNDLE, "--outfile", file);
    const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(file, "utf8")) as Profile;
    const counted = new Set(
      nodes
        .filter(({ callFrame: { functionName, url } }) =>
          url === "" ? !/^\((?:idle|program|root)\)$/.test(functionName) : url.endsWith(".js"),
        )
        .map(({ id }) => id),
    );
    if (counted.size === 0) fail("The profile of wrangler check startup has nothing of the Worker.");
    const microseconds = samples.reduce((sum, id, at) => sum + (counted.has(id) ? timeDeltas[at]! : 0), 0);
    best = Math.min(best, microseconds / 1000);
  }
  return best;
}

function wrangler(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync("wrangler", args, {
    cwd: ROOT,
    encoding: "utf8",
    env: { ...process.env, WRANGLER_SEND_METRICS: "false", WRANGLER_HIDE_BANNER: "true" },
  });
  if (status !== 0) fail(`wrangler ${args[0]} failed:\n${stdout}\n${stderr}`);
  return stdout;
}

function kilobytes(bytes: number): string {
  return (bytes / 1024).toFixed(1);
}
