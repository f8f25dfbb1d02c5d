import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";
import { join } from "node:path";

/** On what, with what and when: stands in every result. */
export function machine(): Record<string, unknown> {
  const processors = cpus();
  return {
    date: new Date().toISOString().slice(0, 10),
    commit: output("git", ["rev-parse", "--short", "HEAD"]),
    processor: `${processors.length} × ${processors[0]?.model ?? "unknown"}`,
    memory_gb: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    load_average: Number(loadavg()[0]!.toFixed(2)),
    node: process.version,
    haproxy: /version (\S+)/.exec(output("haproxy", ["-v"]))?.[1] ?? "not installed",
    ...Object.fromEntries(
      [
        "workerd",
        "miniflare",
        "hono",
        "better-auth",
        "better-sqlite3",
        "oidc-provider",
        "express",
        "http-proxy-middleware",
        "jose",
      ].map((name) => [name, versionOf(name)]),
    ),
  };
}

function versionOf(name: string): string {
  for (const directory of [import.meta.dirname, join(import.meta.dirname, "..")]) {
    try {
      return JSON.parse(readFileSync(join(directory, "node_modules", name, "package.json"), "utf8")).version;
    } catch {
      // Not there: perhaps in the other.
    }
  }
  return "not installed";
}

const output = (command: string, args: string[]) => spawnSync(command, args, { encoding: "utf8" }).stdout?.trim() ?? "";
