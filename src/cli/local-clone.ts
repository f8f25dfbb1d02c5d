import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { basename, delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Finding } from "./finding.ts";

/**
 * The folder of the clone that this program lies in, or undefined if it was installed from elsewhere. The package that a clone builds in
 * itself, `dist/npm`, is a part of it.
 */
export function cloneOf(program: string = fileURLToPath(import.meta.url)): string | undefined {
  for (let folder = dirname(program); ; folder = dirname(folder)) {
    const file = join(folder, "package.json");
    if (existsSync(file) && existsSync(join(folder, "scripts/local-doctor.ts"))) {
      const { name } = JSON.parse(readFileSync(file, "utf8")) as { name?: unknown };
      return name === "agentauth" ? folder : undefined;
    }
    if (basename(folder) === "node_modules" || folder === dirname(folder)) return undefined;
  }
}

/** Looks for faults of a clone, by its own scripts. */
export async function lookAtClone(clone: string, signal: AbortSignal): Promise<Finding[]> {
  const installed = await runScript(clone, "scripts/installed.js", signal);
  if (installed.code !== 0) return [{ name: "packages", state: "fault", message: installed.stderr.trim() }];
  const { code, stdout, stderr } = await runScript(clone, "scripts/local-doctor.ts", signal);
  if (code !== 0) {
    const reason = /^\w*Error: .*$/m.exec(stderr)?.[0] ?? stderr.trim().split("\n").at(-1) ?? "";
    const message = `scripts/local-doctor.ts of ${clone} ended with: ${reason}`;
    return [{ name: "clone", state: "fault", message }];
  }
  const findings = JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as Finding[];
  return [{ name: "packages", state: "ok", message: "Those that package.json names are installed." }, ...findings];
}

/** Runs a script with the Node that the clone has installed, and before that with the one that runs this program. */
function runScript(clone: string, script: string, signal: AbortSignal) {
  const bin = join(clone, "node_modules/.bin");
  const own = join(bin, "node");
  const child = spawn(existsSync(own) ? own : process.execPath, [script], {
    cwd: clone,
    env: { ...process.env, PATH: [bin, process.env.PATH].filter(Boolean).join(delimiter) } as NodeJS.ProcessEnv,
    stdio: ["ignore", "pipe", "pipe"],
    signal,
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  return new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, stdout, stderr }));
  });
}
