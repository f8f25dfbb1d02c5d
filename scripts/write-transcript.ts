import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fail, ROOT } from "./local.ts";
import { MAX_COLUMNS, narrowMarkdown } from "./narrow-markdown.ts";

/**
 * Takes the path of somebody who has never seen this repository, for real: a clean clone of what is committed, README's commands, the quick
 * start, the demo, the console, and the dry run of a deployment. Writes what the terminals showed to docs/transcript.md, without what
 * is of this machine, and prints the seconds from the clone to the first proxied call. PORT is 8787 unless it is set.
 */
const PORT = process.env.PORT ?? "8787";
const GATEWAY = "http://127.0.0.1:8787";
const folder = mkdtempSync(join(tmpdir(), "agentauth-transcript-"));
const clone = join(folder, "agentauth");
const page = (name: string) => readFileSync(join(clone, name), "utf8");
/** The blocks of a page that are for a shell. */
const blocksOf = (name: string) => [...page(name).matchAll(/^```sh\n(.*?)\n```$/gms)].map(([, text]) => text!);
const seconds = (since: number) => Math.round((Date.now() - since) / 1000);

// Without npm's own settings: `npm run --silent` would silence what is shown.
const { npm_config_loglevel: _, ...surroundings } = process.env;
const env = { ...surroundings, PORT, WRANGLER_SEND_METRICS: "false" };
const written: string[] = [];
const began = Date.now();

const cloned = spawnSync("git", ["clone", "--quiet", ROOT, clone], { encoding: "utf8" });
if (cloned.status !== 0) fail(`The clone could not be made: ${cloned.stderr}`);
const [start, setup] = blocksOf("README.md");
const [install, run] = start!.split(" && ");
if (install !== "npm ci" || run !== "npm start" || !setup?.startsWith("npm run setup -- production ")) {
  fail("README does not begin with `npm ci && npm start`, and then the command that deploys.");
}
const installed = await shell(install);
const installedAfter = seconds(began);
const gateway = spawn("npm", ["start"], { cwd: clone, env, stdio: ["ignore", "pipe", "pipe"] });
try {
  let banner = "";
  await new Promise<void>((resolve, reject) => {
    gateway.stderr.on("data", (data: Buffer) => (banner += String(data)));
    gateway.stdout.on("data", (data: Buffer) => {
      banner += String(data);
      if (banner.includes("Stop with Ctrl-C")) resolve();
    });
    gateway.once("exit", () => reject(new Error(`npm start ended:\n${banner}`)));
  });
  const startedAfter = seconds(began);
  // What it logs later is not shown.
  const started = banner.slice(banner.indexOf("  AgentAuth is running"));

  const [steps] = blocksOf("docs/quick-start.md");
  let firstCallAfter: number | undefined;
  const quickStart = await shell(steps!.replaceAll("127.0.0.1:8787", `127.0.0.1:${PORT}`), (output) => {
    if (output.includes('"item":"lamp"')) firstCallAfter ??= seconds(began);
  });
  if (firstCallAfter === undefined) throw new Error(`The quick start made no proxied call:\n${quickStart}`);
  const demo = await shell("npm run demo");
  const ask = `curl -sL -o console.html -w '%{http_code} %{url_effective}\\n' ${GATEWAY}/console`;
  const answered = await shell(ask.replace("8787", PORT));
  if (!/^200 .*\/console\n/.test(answered)) throw new Error(`The console does not answer: ${answered}`);
  const dryRun = await shell(`${setup} --dry-run`);

  write("# A stranger's path", "");
  write(
    "Written by `npm run transcript`, which does all of this: it clones the repository, follows",
    "[README](../README.md) and the [quick start](quick-start.md) as they stand, and keeps what the",
    "terminals show. Long lines are cut.",
    "",
    `On the machine of this run, the first call through the gateway was answered ${firstCallAfter} seconds after the clone`,
    ` began: ${installedAfter} for the clone and \`npm ci\`, ${startedAfter - installedAfter} for \`npm start\`, the rest for the calls.`,
    "",
  );
  show("In one terminal", `git clone REPOSITORY agentauth; cd agentauth\n$ ${install}`, installed);
  show(undefined, run, started);
  show("In another: the quick start", steps!, quickStart);
  show("The whole job", "npm run demo", demo);
  show("The console answers", ask, answered);
  show("What a deployment would do", `${setup} --dry-run`, dryRun);
  writeFileSync(join(ROOT, "docs/transcript.md"), await narrowMarkdown(`${written.join("\n").trim()}\n`));
  console.log(`Clean clone to the first proxied call: ${firstCallAfter} seconds.`);
} catch (error) {
  console.error(error);
  process.exitCode = 1;
} finally {
  if (gateway.exitCode === null && gateway.kill("SIGTERM"))
    await new Promise((resolve) => gateway.once("exit", resolve));
  rmSync(folder, { recursive: true, force: true });
}

/** Runs commands as they would be pasted, and returns what they print. @throws {Error} if they fail. */
function shell(script: string, heard?: (output: string) => void): Promise<string> {
  const child = spawn("bash", ["-c", script], { cwd: clone, env, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (data: Buffer) => {
      output += String(data);
      heard?.(output);
    });
  }
  return new Promise((resolve, reject) =>
    child.once("close", (code) => {
      if (code === 0) resolve(output);
      else reject(new Error(`${script}\nended with ${code}:\n${output}`));
    }),
  );
}

function write(...lines: string[]): void {
  written.push(...lines);
}

/** A command with what it printed. */
function show(title: string | undefined, command: string, output: string): void {
  if (title !== undefined) write(`## ${title}`, "");
  const printed = withoutMachine(output).split("\n").map(cut);
  write("```console", ...`$ ${command}`.split("\n"), ...printed.filter((line) => line !== "" || printed.length > 1));
  write("```", "");
}

function cut(line: string): string {
  return line.length > MAX_COLUMNS ? `${line.slice(0, MAX_COLUMNS - 1)}…` : line;
}

/** Without what npm says of its scripts, folders, ports, and what is another with each run. */
function withoutMachine(output: string): string {
  return (
    output
      // oxlint-disable-next-line no-control-regex
      .replaceAll(/\u001b\[[\d;]*m/g, "")
      .replaceAll(/^> .*\n/gm, "")
      .replaceAll(clone, "/home/you/agentauth")
      .replaceAll(`:${PORT}`, ":8787")
      .replaceAll(`env PORT=${PORT} `, "")
      .replaceAll(/127\.0\.0\.1:(?!8787)\d+/g, "127.0.0.1:49152")
      .replaceAll(/\b(agt|aud|whk|dlv|evt|msg|key)_[\w-]{16,}/g, "$1_…")
      .replaceAll(/\b[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}\b/g, "…")
      .replaceAll(/(\d\d:\d\d:\d\d)\.\d+Z/g, "$1Z")
      .replaceAll(/ in (\d+)m\b/g, " in $1 min")
      .replaceAll(/\n{3,}/g, "\n\n")
      .replaceAll(/^\n+|\n+$/g, "")
  );
}
