import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "./local.ts";

/**
 * Runs every check that must pass before a change is merged: types, lint, format, dead code, the API's description, the tests, and the
 * size of the Worker. With `--slow` it runs the tests that are tagged as slow instead: they take minutes, and `.ci/run` runs them
 * after these. All checks run, whichever fails; the last line counts them, and every single test among them.
 */
interface Check {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Writes vitest's JSON report here: its tests are counted one by one. */
  readonly report?: string;
}

const env = { ...process.env, NO_COLOR: "1", WRANGLER_SEND_METRICS: "false" };
const reports = mkdtempSync(join(tmpdir(), "agentauth-test-"));
const check = (name: string, command: string, ...args: string[]): Check => ({ name, command, args });
const isSlow = process.argv.includes("--slow");
const vitest = (project: string): Check => {
  const report = join(reports, `${project}.json`);
  const reporters = ["--reporter=dot", "--reporter=json", `--outputFile.json=${report}`];
  const args = ["run", "--project", project, `--tags-filter=${isSlow ? "slow" : "!slow"}`, ...reporters];
  return { name: `${isSlow ? "slow tests" : "tests"}: ${project}`, command: "vitest", args, report };
};

/** The longest first: a lane that is free runs the next. */
const CHECKS: readonly Check[] = isSlow
  ? [vitest("outside"), vitest("worker")]
  : [
      vitest("outside"),
      vitest("worker"),
      vitest("conformance"),
      check("types", "npm", "run", "--silent", "check:types"),
      check("dead code", "npm", "run", "--silent", "check:dead"),
      check("lint", "npm", "run", "--silent", "check:lint"),
      check("binding types", "npm", "run", "--silent", "types", "--", "--check"),
      check("format", "npm", "run", "--silent", "check:format"),
      check("OpenAPI", "npm", "run", "--silent", "openapi", "--", "--check"),
      check("SDK types", "npm", "run", "--silent", "wire", "--", "--check"),
      check("picture of the rooms", "npm", "run", "--silent", "rooms", "--", "--check"),
      check("size", "npm", "run", "--silent", "size"),
    ];
/** Two cores are what a small machine has. */
const LANES = 2;

let passed = 0;
let failed = 0;

async function run({ name, command, args, report }: Check): Promise<void> {
  const began = performance.now();
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
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
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
rmSync(reports, { recursive: true });
console.log(`\n${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
