import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { expect, it } from "vitest";
import { SLOW } from "../support/extents.ts";
import { freePorts } from "./support/free-port.ts";

const ROOT = join(import.meta.dirname, "../..");

/** The parts that need no package beyond the product's own. The others are alike, and `npm run bench -- --smoke` runs them all. */
const PARTS = ["mcp", "calls", "distance", "decide", "cost"];
/** How many ports the benchmark takes, from its first on. */
const PORTS = 100;

it("runs the parts of the benchmark that need no peers", SLOW, async () => {
  const child = spawn(process.execPath, ["bench/run.ts", "--smoke", ...PARTS], {
    cwd: ROOT,
    env: { ...process.env, BENCH_PORT: String(await freePorts(PORTS)) },
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += String(chunk)));
  const [status] = await once(child, "close");
  expect(status, output).toBe(0);
  for (const part of PARTS) expect(output).toContain(`dist/bench/smoke/${part}.json`);
});
