import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, it } from "vitest";
import { SLOW } from "../support/extents.ts";

const ROOT = join(import.meta.dirname, "../..");

/** The parts that need no package beyond the product's own. The others are alike, and `npm run bench -- --smoke` runs them all. */
const PARTS = ["mcp", "calls", "distance", "decide", "cost"];

it("runs the parts of the benchmark that need no peers", SLOW, () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, ["bench/run.ts", "--smoke", ...PARTS], {
    cwd: ROOT,
    encoding: "utf8",
    env: { ...process.env, BENCH_PORT: "9600" },
  });
  expect(status, stdout + stderr).toBe(0);
  for (const part of PARTS) expect(stdout).toContain(`dist/bench/smoke/${part}.json`);
});
