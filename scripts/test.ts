import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "./local.ts";

/**
 * Runs every check that must pass before a change is merged: types, lint, format, dead code, the API's description, the tests, and the
 * size of the Worker. With `--slow` it runs instead the tests that are tagged as slow, and the conformance suite against a gateway of
 * its own: they take minutes, and `.ci/run` runs them after these. All checks run, whichever fails; the last line counts them, and
 * every single test among them.
 */
interface Check {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Writes vitest's JSON report here: its tests are counted one by one. */
  readonly report?: string;
}

/** Everything that the checks write for themselves, removed at the end. */
const scratch = mkdtempSync(join(scratchParent(), "agentauth-test-"));
const env = {
  NODE_COMPILE_CACHE: join(ROOT, "node_modules/.cache/compile"),
  ...process.env,
  NO_COLOR: "1",
  WRANGLER_SEND_METRICS: "false",
  TMPDIR: scratch,
};

/** A folder in memory, if there is one with room: on a disk, every commit of a test's database waits for it. */
function scratchParent(): string {
  const memory = "/dev/shm";
  if (process.env.TMPDIR || !existsSync(memory)) return tmpdir();
  const { bavail, bsize } = statfsSync(memory);
  return bavail * bsize > 2 ** 31 ? memory : tmpdir();
}

const check = (name: string, command: string, ...args: string[]): Check => ({ name, command, args });
const isSlow = process.argv.includes("--slow");
const vitest = (name: string, project: string, ...options: string[]): Check => {
  const report = join(scratch, `${project}.json`);
  const reporters = ["--reporter=dot", "--reporter=json", `--outputFile.json=${report}`];
  return { name, command: "vitest", args: ["run", "--project", project, ...options, ...reporters], report };
};
const fast = (project: string): Check => vitest(`tests: ${project}`, project, "--tags-filter=!slow");
const slow = (project: string): Check => vitest(`slow tests: ${project}`, project, "--tags-filter=slow");

const began = performance.now();

/** The longest first: a lane that is free runs the next. */
const CHECKS: readonly Check[] = isSlow
  ? [
      slow("outside"),
      slow("worker"),
      vitest("conformance", "conformance"),
      check("size", "npm", "run", "--silent", "size"),
    ]
  : [
      fast("outside"),
      fast("worker"),
      check("types", "npm", "run", "--silent", "check:types"),
      check("dead code", "npm", "run", "--silent", "check:dead"),
      check("lint", "npm", "run", "--silent", "check:lint"),
      check("binding types", "npm", "run", "--silent", "types", "--", "--check"),
      check("format", "npm", "run", "--silent", "check:format"),
      check("OpenAPI", "npm", "run", "--silent", "openapi", "--", "--check"),
      check("SDK types", "npm", "run", "--silent", "wire", "--", "--check"),
      check("picture of the rooms", "npm", "run", "--silent", "rooms", "--", "--check"),
      check("size", "npm", "run", "--silent", "size", "--", "--quick"),
    ];
/** Two cores are what a small machine has. */
const LANES = 2;

let passed = 0;
let failed = 0;

async function run({ name, command, args, report }: Check): Promise<void> {
  const started = performance.now();
  const child = spawn(command, args, { cwd: ROOT, env, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  child.stdout.on("data", (chunk) => (output += chunk));
  child.stderr.on("data", (chunk) => (output += chunk));
  const code = await new Promise<number>((resolve) => {
    child.once("error", (error) => {
      output += `${error.message}\nRun \`npm ci\` first.`;
      resolve(1);
    });
    child.once("close", (exit) => resolve(exit ?? 1));
  });
  const counted = report === undefined ? undefined : countsIn(report);
  passed += counted?.passed ?? (code === 0 ? 1 : 0);
  failed += code === 0 ? 0 : Math.max(counted?.failed ?? 1, 1);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`${code === 0 ? "ok    " : "FAILED"}  ${name}  (${seconds} s)`);
  if (code !== 0 || name === "size") console.log(output.trim());
}

function countsIn(report: string): { passed: number; failed: number } | undefined {
  try {
    const { numPassedTests, numFailedTests } = JSON.parse(readFileSync(report, "utf8")) as Record<string, number>;
    return { passed: numPassedTests ?? 0, failed: numFailedTests ?? 0 };
  } catch {
    return undefined;
  }
}

const waiting = [...CHECKS];
async function lane(): Promise<void> {
  for (let next = waiting.shift(); next; next = waiting.shift()) await run(next);
}
await Promise.all(Array.from({ length: LANES }, lane));
rmSync(scratch, { recursive: true, force: true });
const minutes = ((performance.now() - began) / 60_000).toFixed(1);
console.log(`\n${passed} passed, ${failed} failed  (${minutes} min)`);
if (!isSlow) console.log("`npm run test:slow` runs the tests that are tagged as slow, and the conformance suite.");
process.exit(failed === 0 ? 0 : 1);
