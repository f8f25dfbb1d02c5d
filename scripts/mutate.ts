import { fork, type ChildProcess } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";
import { createVitest, type TestSpecification, type Vitest } from "vitest/node";
import { fail, ROOT } from "./local.ts";
import { mutate, mutationsOf, type Mutation } from "./mutations.ts";

/**
 * `npm run mutate -- [path…] [--max N] [--list]`: makes one small change after the other in a copy of the tree, runs the tests of
 * the changed file's room, and prints every change that no test notices. Without paths it goes through the rooms that decide
 * about access. `--max` runs only that many mutations, spread evenly; `--list` prints them and runs nothing.
 *
 * It is a script of its own because Stryker's vitest runner runs tests in threads of Node, and these run in workerd.
 */
const DEFAULT_PATHS = ["src/tokens", "src/access", "src/policy", "src/permissions"];

/** The tests that a change in a room has to fail: first those of the room, then the ones that see it from further away. */
const TESTS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  tokens: [["test/tokens/"], ["test/access/authenticate", "test/agents/", "test/security/routes"]],
  access: [["test/access/"], ["test/tokens/", "test/security/routes", "test/gateway/proxy"]],
  policy: [["test/policy/"], ["test/gateway/"]],
  permissions: [["test/permissions/"], ["test/policy/", "test/agents/"]],
};
const testsOf = (file: string): readonly (readonly string[])[] => {
  const room = file.split("/")[1]!;
  return TESTS[room] ?? [[`test/${room}/`]];
};

/** What one run of some tests came to. */
interface Outcome {
  readonly passed: number;
  readonly failed: number;
  /** The first test that failed. */
  readonly by?: string;
}

interface Order {
  readonly file: string;
  readonly text: string;
  readonly filters: readonly string[];
}

/** The process that runs tests in the copy: it is ended where a mutation never comes to an end. */
async function serve(copy: string): Promise<void> {
  process.chdir(copy);
  const vitest: Vitest = await createVitest("test", {
    root: copy,
    project: ["worker"],
    tagsFilter: ["!slow"],
    watch: false,
    bail: 1,
    reporters: [{}],
    silent: true,
  });
  process.on("message", ({ file, text, filters }: Order) => {
    void (async () => {
      const path = join(copy, file);
      writeFileSync(path, text);
      vitest.invalidateFile(path);
      const specifications: TestSpecification[] = await vitest.globTestSpecifications([...filters]);
      vitest.state.filesMap.clear();
      const { testModules, unhandledErrors } = await vitest.runTestSpecifications(specifications);
      const tests = testModules.flatMap((one) => [...one.children.allTests()]);
      const failed = tests.filter((one) => one.result().state === "failed");
      const broken = testModules.filter((one) => one.errors().length > 0);
      const by =
        failed[0]?.fullName ??
        broken[0]?.relativeModuleId ??
        (unhandledErrors.length > 0 ? "an unhandled error" : undefined);
      const outcome: Outcome = {
        passed: tests.filter((one) => one.result().state === "passed").length,
        failed: failed.length + broken.length + unhandledErrors.length,
        ...(by !== undefined && { by }),
      };
      process.send!(outcome);
    })();
  });
  process.send!("ready");
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { max: { type: "string" }, list: { type: "boolean" } },
  });
  const files = (positionals.length > 0 ? positionals : DEFAULT_PATHS).flatMap(sourcesIn);
  if (files.length === 0) fail(`There is no TypeScript source below ${positionals.join(", ")}.`);
  const all = files.flatMap((file) => {
    const text = readFileSync(join(ROOT, file), "utf8");
    return mutationsOf(file, text).map((mutation) => ({ file, text, mutation }));
  });
  const step = Math.max(1, all.length / Number(values.max ?? all.length));
  const taken = all.filter((_, index) => Math.floor(index / step) !== Math.floor((index - 1) / step));
  if (values.list) {
    for (const { file, mutation } of taken) console.log(`${place(file, mutation)}  ${mutation.description}`);
    return;
  }

  const copy = mkdtempSync(join(tmpdir(), "agentauth-mutants-"));
  for (const name of [
    "src",
    "test",
    "scripts",
    "migrations",
    "migrations-audit",
    "vendor",
    "public",
    "package.json",
    "wrangler.toml",
    "vitest.config.ts",
    "schema.sql",
    "audit.sql",
  ])
    cpSync(join(ROOT, name), join(copy, name), { recursive: true });
  symlinkSync(join(ROOT, "node_modules"), join(copy, "node_modules"));
  let runner = await startRunner(copy);
  const survivors: string[] = [];
  try {
    for (const room of Map.groupBy(taken, ({ file }) => file.split("/")[1]).values()) {
      const { file, text } = room[0]!;
      for (const filters of testsOf(file)) {
        const { passed, failed, by } = (await order(runner, { file, text, filters }, 600_000)) ?? {
          passed: 0,
          failed: 0,
        };
        if (failed > 0 || passed === 0)
          throw new Error(`${filters.join(" ")} fail without a mutation: ${by ?? "no test ran"}`);
      }
    }
    for (const [index, { file, text, mutation }] of taken.entries()) {
      const began = Date.now();
      let end = "SURVIVED";
      for (const filters of testsOf(file)) {
        const outcome = await order(runner, { file, text: mutate(text, mutation), filters }, 180_000);
        if (!outcome) {
          await stopRunner(runner);
          runner = await startRunner(copy);
        }
        if (!outcome || outcome.failed > 0) {
          end = `killed by ${outcome?.by ?? "time"}`;
          break;
        }
      }
      writeFileSync(join(copy, file), text);
      const line = `${place(file, mutation)}  ${mutation.description}`;
      if (end === "SURVIVED") survivors.push(line);
      console.log(`${index + 1}/${taken.length} ${((Date.now() - began) / 1000).toFixed(1)} s  ${line}  ${end}`);
    }
  } finally {
    await stopRunner(runner);
    rmSync(copy, { recursive: true, force: true });
  }
  console.log(`\n${taken.length - survivors.length} of ${taken.length} killed; ${survivors.length} survived:`);
  for (const line of survivors) console.log(`  ${line}`);
}

const place = (file: string, { line }: Mutation): string => `${file}:${line}`;

/** The TypeScript files of a path below the root, relative to it. */
function sourcesIn(path: string): string[] {
  const whole = join(ROOT, path);
  const names = statSync(whole, { throwIfNoEntry: false })?.isDirectory()
    ? readdirSync(whole, { recursive: true, encoding: "utf8" }).map((name) => join(whole, name))
    : [whole];
  return names
    .filter((name) => /(?<!\.d)\.ts$/.test(name))
    .map((name) => relative(ROOT, name))
    .toSorted();
}

function startRunner(copy: string): Promise<ChildProcess> {
  const runner = fork(import.meta.filename, ["--runner", copy], {
    // A group of its own, so that workerd ends with it.
    detached: true,
    stdio: ["ignore", "ignore", "inherit", "ipc"],
    env: { ...process.env, NO_COLOR: "1", WRANGLER_SEND_METRICS: "false" },
  });
  return new Promise((resolve, reject) => {
    runner.once("message", () => resolve(runner));
    runner.once("exit", () => reject(new Error("the runner ended before it began")));
  });
}

function stopRunner(runner: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    runner.once("exit", () => resolve());
    if (runner.exitCode !== null || runner.signalCode !== null) return resolve();
    process.kill(-runner.pid!, "SIGKILL");
  });
}

/** @returns what the tests came to, or undefined if they did not end within the time or took the runner down. */
function order(runner: ChildProcess, what: Order, timeoutMs: number): Promise<Outcome | undefined> {
  return new Promise((resolve) => {
    const done = (outcome: Outcome | undefined) => {
      clearTimeout(timer);
      runner.removeAllListeners("message").removeAllListeners("exit");
      resolve(outcome);
    };
    const timer = setTimeout(() => done(undefined), timeoutMs);
    runner.once("message", (outcome) => done(outcome as Outcome));
    runner.once("exit", () => done(undefined));
    runner.send(what);
  });
}

if (process.argv[2] === "--runner") await serve(process.argv[3]!);
else await main();
