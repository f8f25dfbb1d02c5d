import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { fail, ROOT } from "./local.ts";

/** The budget of the deployed Worker, minified and gzipped, in bytes. */
const BUDGET = 256 * 1024;

/** Builds what `wrangler deploy` would upload, prints its size and ends with an error if it is over the budget. */
const out = mkdtempSync(join(tmpdir(), "agentauth-size-"));
try {
  const built = spawnSync("wrangler", ["deploy", "--dry-run", "--outdir", out], {
    cwd: ROOT,
    encoding: "utf8",
    env: { ...process.env, WRANGLER_SEND_METRICS: "false", WRANGLER_HIDE_BANNER: "true" },
  });
  if (built.status !== 0) fail(`wrangler deploy --dry-run failed:\n${built.stdout}\n${built.stderr}`);
  const script = readFileSync(join(out, readdirSync(out).find((name) => name.endsWith(".js")) ?? "index.js"));
  const size = gzipSync(script, { level: 9 }).length;
  console.log(
    `Worker bundle: ${(script.length / 1024).toFixed(1)} KB minified, ${(size / 1024).toFixed(1)} KB gzipped (budget ${BUDGET / 1024} KB)`,
  );
  if (size > BUDGET) fail("The Worker is over its size budget.");
  if (/["']node:/.test(script.toString())) fail("The Worker imports Node built-ins: it must run without polyfills.");
} finally {
  rmSync(out, { recursive: true });
}
