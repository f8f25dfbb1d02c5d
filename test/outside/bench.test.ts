import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";
import { expect, it } from "vitest";
import { SLOW } from "../support/extents.ts";

const ROOT = join(import.meta.dirname, "../..");

/** The parts that need no package beyond the product's own. The others are alike, and `npm run bench -- --smoke` runs them all. */
const PARTS = ["mcp", "calls", "distance", "decide", "cost"];
/** How many ports the benchmark takes, from its first on. */
const PORTS = 100;

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, "127.0.0.1");
  const free = await once(server, "listening").then(
    () => true,
    () => false,
  );
  if (free) await new Promise((resolve) => server.close(resolve));
  return free;
}

/** The first of so many ports that nothing listens on, below those that the system gives away. */
async function freePorts(): Promise<number> {
  for (let first = 9600; first < 32_000; first += PORTS) {
    const found = await Promise.all(Array.from({ length: PORTS }, (_, at) => isFree(first + at)));
    if (found.every(Boolean)) return first;
  }
  throw new Error(`no ${PORTS} ports are free`);
}

it("runs the parts of the benchmark that need no peers", SLOW, async () => {
  const child = spawn(process.execPath, ["bench/run.ts", "--smoke", ...PARTS], {
    cwd: ROOT,
    env: { ...process.env, BENCH_PORT: String(await freePorts()) },
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += String(chunk)));
  const [status] = await once(child, "close");
  expect(status, output).toBe(0);
  for (const part of PARTS) expect(output).toContain(`dist/bench/smoke/${part}.json`);
});
