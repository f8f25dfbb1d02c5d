import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { machine } from "./machine.ts";
import type { Bench, Effort, Part } from "./part.ts";
import { report, withGoals } from "./report.ts";

/**
 * `npm run bench -- [--quick | --smoke] [--full] [--records=NUMBER] [--only=PATTERN] [part …]`. Without a part, all of them; `--full` adds the
 * largest database to `scale`, and `--records` gives it one of 100,000 records of the audit log and one of so many.
 *
 * Results stand in `bench/results` and are committed, those of quick runs in `dist/bench`. The table and the chart are made again
 * from all the parts' results there.
 */
const PARTS: Record<string, () => Promise<Part>> = {
  proxy: async () => (await import("./parts/proxy.ts")).proxy,
  mcp: async () => (await import("./parts/mcp.ts")).mcp,
  calls: async () => (await import("./parts/calls.ts")).calls,
  distance: async () => (await import("./parts/distance.ts")).distance,
  verify: async () => (await import("./parts/verify.ts")).verify,
  refresh: async () => (await import("./parts/refresh.ts")).refresh,
  decide: async () => (await import("./parts/decide.ts")).decide,
  webhooks: async () => (await import("./parts/webhooks.ts")).webhooks,
  cost: async () => (await import("./parts/cost.ts")).cost,
  capacity: async () => (await import("./parts/capacity.ts")).capacity,
  scale: async () => (await import("./parts/scale.ts")).scale,
  startup: async () => (await import("./parts/startup.ts")).startup,
};

/** Those that need no package of this directory's own. */
const WITHOUT_PEERS = new Set(["mcp", "calls", "distance", "decide", "cost", "startup"]);

const HERE = import.meta.dirname;
const args = process.argv.slice(2);
const effort: Effort = args.includes("--smoke") ? "smoke" : args.includes("--quick") ? "quick" : "normal";
const named = args.filter((arg) => !arg.startsWith("--"));
const names = named.length > 0 ? named : Object.keys(PARTS);
const unknown = names.filter((name) => !PARTS[name]);
if (unknown.length > 0) {
  console.error(`There is no part ${unknown.join(", ")}. Parts: ${Object.keys(PARTS).join(", ")}.`);
  process.exit(2);
}

if (!names.every((name) => WITHOUT_PEERS.has(name))) installPeers();
const results = effort === "normal" ? join(HERE, "results") : join(HERE, "../dist/bench", effort);
mkdirSync(results, { recursive: true });
const only = args.find((arg) => arg.startsWith("--only="))?.slice("--only=".length);
const records = args.find((arg) => arg.startsWith("--records="))?.slice("--records=".length);
const bench: Bench = {
  effort,
  full: args.includes("--full"),
  ...(records && { records: Number(records) }),
  ...(only && { only: new RegExp(only) }),
  port: Number(process.env.BENCH_PORT ?? 9700),
  log: (line) => console.log(`  ${line}`),
};
// What is measured is what stood here when the run began.
const { commit } = machine();
let failed = false;
for (const name of names) {
  console.log(name);
  const startedAt = Date.now();
  try {
    const part = await PARTS[name]!();
    const result = await part(bench);
    const seconds = Math.round((Date.now() - startedAt) / 1000);
    const file = join(results, `${name}.json`);
    const saved = { part: name, effort, machine: { ...machine(), commit }, seconds, ...result };
    writeFileSync(file, `${JSON.stringify(saved, null, 1)}\n`);
    console.log(`  → ${file} (${seconds} s)`);
  } catch (error) {
    failed = true;
    console.error(`  ${name} failed:`, error);
  }
}
if (effort === "normal") {
  const readme = join(HERE, "README.md");
  writeFileSync(readme, withGoals(readFileSync(readme, "utf8"), results, Object.keys(PARTS)));
}
for (const file of report(results, Object.keys(PARTS))) console.log(`→ ${file}`);
process.exit(failed ? 1 : 0);

/** The peers are no dependencies of the product: they are installed here, and only where the lock has changed. */
function installPeers(): void {
  const installed = join(HERE, "node_modules/.package-lock.json");
  const lock = join(HERE, "package-lock.json");
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(lock).mtimeMs) return;
  console.log("npm ci in bench/");
  const { status } = spawnSync("npm", ["ci"], { cwd: HERE, stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
}
