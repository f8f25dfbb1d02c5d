import { spawn, type ChildProcess } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { sleep } from "./measure.ts";

export interface Running {
  readonly port: number;
  readonly pid: number;
  stop(): Promise<void>;
}

/** What still runs when this process ends, however it ends, ends with it. */
const children = new Set<ChildProcess>();
process.once("exit", () => children.forEach((child) => child.kill("SIGTERM")));
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));

/** Starts a server and waits until it listens on its port of 127.0.0.1. */
export async function start(
  command: string,
  args: readonly string[],
  port: number,
  env: Record<string, string> = {},
): Promise<Running> {
  if (await listens(port)) throw new Error(`port ${port} is in use`);
  const child = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, ...env } });
  children.add(child);
  child.once("exit", () => children.delete(child));
  let complaint = "";
  child.stderr!.on("data", (chunk) => (complaint = (complaint + chunk).slice(-4000)));
  child.once("error", (error) => (complaint += error.message));
  // Two minutes: other work may share the machine.
  for (let i = 0; i < 2400; i++) {
    if (await listens(port)) return { port, pid: child.pid!, stop: () => stop(child) };
    if (child.exitCode !== null || child.pid === undefined) break;
    await sleep(50);
  }
  await stop(child);
  throw new Error(`${command} ${args.join(" ")} does not listen on port ${port}: ${complaint}`);
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), 3000);
  await gone;
  clearTimeout(timer);
}

const listens = (port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });

/**
 * Processor time that a process and its descendants have used, in milliseconds, from the kernel's own books.
 *
 * `schedstat` counts nanoseconds on the processor for each thread; `stat` counts in ticks of 10 ms and stands in where the
 * kernel keeps no `schedstat`.
 */
export function cpuOf(pid: number): number {
  return [pid, ...descendants(pid)].reduce((total, one) => total + cpuOfOne(one), 0);
}

function cpuOfOne(pid: number): number {
  try {
    let nanoseconds = 0;
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      nanoseconds += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]);
    }
    if (nanoseconds > 0) return nanoseconds / 1e6;
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
    return (Number(fields[11]) + Number(fields[12])) * 10;
  } catch {
    return 0;
  }
}

function descendants(root: number): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      parents.set(Number(name), Number(readFileSync(`/proc/${name}/stat`, "utf8").split(") ")[1]!.split(" ")[1]));
    } catch {
      // It ended meanwhile.
    }
  }
  const under = (pid: number): boolean => {
    const parent = parents.get(pid);
    return parent !== undefined && (parent === root || under(parent));
  };
  return [...parents.keys()].filter(under);
}
