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
/** A busy machine measures too much, never too little: the smallest of so many attempts counts. */
const STARTUP_ATTEMPTS = 5;

/** The size that `npm run size -- --record` wrote last. */
const RECORD = join(ROOT, "scripts/size.json");

/**
 * Builds what `wrangler deploy` would upload, prints its size and how long its global scope takes, and ends with an error if one is
 * over its budget. `--record` keeps the size, from which the next change's growth is counted.
 */
const out = mkdtempSync(join(tmpdir(), "agentauth-size-"));
try {
  wrangler("deploy", "--dry-run", "--outdir", out);
  const script = readFileSync(join(out, readdirSync(out).find((name) => name.endsWith(".js")) ?? "index.js"));
  const size = gzipSync(script, { level: 9 }).length;
  console.log(
    `Worker bundle: ${kilobytes(script.length)} KB minified, ${kilobytes(size)} KB gzipped (budget ${BUDGET / 1024} KB)`,
  );
  if (size > BUDGET) fail("The Worker is over its size budget.");
  if (/["']node:/.test(script.toString())) fail("The Worker imports Node built-ins: it must run without polyfills.");

  const { gzipped: recorded } = JSON.parse(readFileSync(RECORD, "utf8")) as { gzipped: number };
  if (process.argv.includes("--record")) writeFileSync(RECORD, `${JSON.stringify({ gzipped: size })}\n`);
  else if (size > recorded * (1 + MAX_GROWTH)) {
    const growth = ((size / recorded - 1) * 100).toFixed(0);
    console.log(
      `WARNING: the Worker has grown by ${growth} % since ${kilobytes(recorded)} KB. If that is meant, run \`npm run size -- --record\`.`,
    );
  }

  const startup = startupTime();
  console.log(`Global scope: ${startup.toFixed(1)} ms of CPU (budget ${STARTUP_BUDGET_MS} ms)`);
  if (startup > STARTUP_BUDGET_MS) fail("The Worker's global scope takes longer than its budget.");
} finally {
  rmSync(out, { recursive: true });
}

/** Milliseconds that are not idle in the profile of `wrangler check startup`: of the first attempt within the budget, or the best. */
function startupTime(): number {
  let best = Infinity;
  for (let attempt = 0; attempt < STARTUP_ATTEMPTS && best > STARTUP_BUDGET_MS; attempt++) {
    const active = /Active: ([\d.]+) ms/.exec(
      wrangler("check", "startup", "--outfile", join(out, "startup.cpuprofile")),
    );
    if (!active) fail("wrangler check startup printed no time.");
    best = Math.min(best, Number(active[1]));
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
