import { fork, type ChildProcess } from "node:child_process";
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";
import { createVitest, type TestSpecification, type Vitest } from "vitest/node";
import { fail, ROOT } from "./local.ts";
import { mutate, mutationsOf, switched, type Mutation } from "./mutations.ts";

/**
 * `npm run mutate -- [path…] [--max N] [--list] [--without-literals] [--tests PATH]… [--slow]`: makes one small change after the other in a
 * copy of the tree, runs the tests that reach it, and prints every change that no test notices. A path may end with `:` and a line. Without
 * paths it goes through the rooms that decide about access.
 *
 * `--max` tries only that many mutations, spread evenly; `--list` prints them and runs nothing; `--without-literals` leaves out those that
 * only put another number or another text in a place; `--tests` names the tests that are run, instead of those of the room and of the rooms
 * that use it; `--slow` runs those with the tag `slow` too.
 *
 * Each source contains all of its mutations, and a switch says which of them is made, so that one process of the tests tries many. A first
 * run, with none, notes which test reaches which mutation. What code does only once, when its module is loaded, cannot be switched: such a
 * mutation is written into the source, and costs a process of its own (`--constants` tries these too).
 *
 * It is a script of its own because Stryker's vitest runner runs tests in threads of Node, and these run in workerd.
 */
const DEFAULT_PATHS = ["src/tokens", "src/access", "src/policy", "src/permissions"];

/** The tests that may notice a change in a room. */
const TESTS: Readonly<Record<string, readonly string[]>> = {
  tokens: [
    "tokens/",
    "access/",
    "oauth/",
    "agents/",
    "security/",
    "gateway/proxy",
    "mcp/authorization",
    "mcp/endpoint",
  ],
  access: [
    "access/",
    "tokens/",
    "oauth/",
    "people/",
    "agents/",
    "security/",
    "gateway/",
    "mcp/authorization",
    "mcp/endpoint",
  ],
  oauth: ["oauth/", "security/", "people/device-grant"],
  people: ["people/", "security/people-walk", "security/routes"],
  policy: ["policy/", "gateway/"],
  permissions: ["permissions/", "policy/", "agents/", "grants/"],
};
const testsOf = (file: string): readonly string[] => {
  const room = file.split("/")[1]!;
  return (TESTS[room] ?? [`${room}/`]).map((path) => `test/${path}`);
};

/** How many runs of test files one process is given. */
const RUNS_IN_A_PROCESS = 480;
/** How many of them are one message, so that not much is run again where one of them takes the process down. */
const RUNS_AT_ONCE = 120;
/** How many mutations are judged before the next are begun, so that what they came to is printed early. */
const MUTANTS_AT_ONCE = 60;
/** A file of tests that has not ended after this time is taken for one that never will, in milliseconds. */
const PATIENCE_MS = 120_000;

/** A run of one file of tests. */
interface Run {
  /** Relative to the root. */
  readonly test: string;
  /** The mutation that is switched on; -1 for none. */
  readonly id: number;
  /** The tests that are run, by their names. Null: all. */
  readonly only: readonly string[] | null;
}

interface Outcome {
  readonly milliseconds: number;
  readonly passed: readonly string[];
  /** The first test that failed, and how: where it ran out of time, the machine may have been busy. */
  readonly failed: string | null;
  /** The mutations that each test has reached. Under the empty name, those that were reached before the first one. */
  readonly reached: Readonly<Record<string, readonly number[]>>;
}

/** What every file of tests begins with in the copy. It knows the switch of the mutations. */
const SETUP = `
import { beforeEach as beforeEachMutated } from "vitest";
const nameOf = (task) => (task.suite && task.suite.name ? nameOf(task.suite) + " > " : "") + task.name;
const mutation = (globalThis.mutation ??= { id: -1, only: null, failed: false, reached: new Set() });
Object.assign(mutation, { id: -1, failed: false, only: null });
mutation.reached.clear();
globalThis.mutates = (id) => (mutation.reached.add(id), id === mutation.id);
beforeEachMutated((context) => {
  const { task } = context;
  task.meta.before = [...mutation.reached];
  mutation.reached.clear();
  if (mutation.failed || (mutation.only && !mutation.only.has(nameOf(task)))) return context.skip();
  context.onTestFailed(() => void (mutation.failed = true));
  context.onTestFinished(() => void (task.meta.reached = [...mutation.reached]));
});
`;
const MUTATES = "globalThis.mutates?.";

/** The process that runs tests in the copy. It is ended where a mutation never comes to an end. */
async function serve(copy: string, isSlow: boolean): Promise<void> {
  process.chdir(copy);
  const vitest: Vitest = await createVitest("test", {
    root: copy,
    project: ["worker"],
    watch: false,
    reporters: [{}],
    silent: true,
    tagsFilter: isSlow ? [] : ["!slow"],
  });
  const project = vitest.projects.find(({ name }) => name === "worker")!;
  let round = 0;
  process.on("message", (runs: readonly Run[]) => {
    void (async () => {
      round++;
      const folder = join(copy, "test/mutated");
      rmSync(folder, { recursive: true, force: true });
      mkdirSync(folder, { recursive: true });
      const specifications: TestSpecification[] = runs.map(({ test, id, only }, at) => {
        const path = join(folder, `${round}-${String(at).padStart(3, "0")}.test.ts`);
        const names = only === null ? "null" : `new Set(${JSON.stringify(only)})`;
        writeFileSync(
          path,
          `Object.assign(globalThis.mutation, { id: ${id}, only: ${names} });\nawait import("../../${test}?run=${round}-${at}");\n`,
        );
        return project.createSpecification(path);
      });
      vitest.state.filesMap.clear();
      const { testModules } = await vitest.runTestSpecifications(specifications);
      const outcomes = specifications.map(({ moduleId }): Outcome => {
        const one = testModules.find((module) => module.moduleId === moduleId);
        if (!one) return { milliseconds: 0, passed: [], failed: "the file of tests was not run", reached: {} };
        const tests = [...one.children.allTests()];
        const failed = tests.find((test) => test.result().state === "failed");
        const metas = tests.map((test) => ({
          name: test.fullName,
          meta: test.meta() as { before?: number[]; reached?: number[] },
        }));
        const { duration, collectDuration } = one.diagnostic();
        return {
          milliseconds: duration + collectDuration,
          passed: tests.filter((test) => test.result().state === "passed").map(({ fullName }) => fullName),
          failed: failed
            ? `${failed.fullName}: ${firstLine(failed.result().errors?.[0]?.message)}`
            : one.errors().length > 0
              ? `${one.relativeModuleId}: ${firstLine(one.errors()[0]!.message)}`
              : null,
          reached: {
            "": metas[0]?.meta.before ?? [],
            ...Object.fromEntries(metas.map(({ name, meta }) => [name, meta.reached ?? []])),
          },
        };
      });
      process.send!(outcomes);
    })();
  });
  // It is the leader of a group of its own, and would outlive whoever has started it.
  process.once("disconnect", () => process.kill(-process.pid, "SIGKILL"));
  process.send!("ready");
}

interface Mutant {
  readonly id: number;
  readonly file: string;
  readonly mutation: Mutation;
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      max: { type: "string" },
      list: { type: "boolean" },
      constants: { type: "boolean" },
      "without-literals": { type: "boolean" },
      tests: { type: "string", multiple: true },
      slow: { type: "boolean" },
    },
  });
  const places = positionals.map((text) => /^(.*?)(?::(\d+))?$/.exec(text)!.slice(1) as [string, string?]);
  const lines = new Set(places.flatMap(([path, line]) => (line === undefined ? [] : `${path}:${line}`)));
  const hasLines = (file: string): boolean => places.some(([path, line]) => path === file && line !== undefined);
  const files = [...new Set((places.length > 0 ? places.map(([path]) => path) : DEFAULT_PATHS).flatMap(sourcesIn))];
  if (files.length === 0) fail(`There is no TypeScript source below ${positionals.join(", ")}.`);
  const texts = new Map(files.map((file) => [file, readFileSync(join(ROOT, file), "utf8")]));
  const all = [...texts].flatMap(([file, text]) =>
    mutationsOf(file, text)
      .filter(({ isLiteral }) => !(isLiteral && values["without-literals"]))
      .filter(({ line }) => !hasLines(file) || lines.has(`${file}:${line}`))
      .map((mutation) => ({ file, mutation })),
  );
  const step = Math.max(1, all.length / Number(values.max ?? all.length));
  const mutants: Mutant[] = all
    .filter((_, index) => Math.floor(index / step) !== Math.floor((index - 1) / step))
    .map(({ file, mutation }, id) => ({ id, file, mutation }));
  if (values.list) {
    for (const mutant of mutants) console.log(describe(mutant));
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
  // A test that a busy machine holds up has not noticed anything.
  const config = readFileSync(join(copy, "vitest.config.ts"), "utf8");
  writeFileSync(join(copy, "vitest.config.ts"), config.replaceAll("Timeout: 30_000", "Timeout: 90_000"));
  symlinkSync(join(ROOT, "node_modules"), join(copy, "node_modules"));
  appendFileSync(join(copy, "test/support/migrate.ts"), SETUP);

  const constants: Mutant[] = [];
  for (const [file, own] of Map.groupBy(mutants, ({ file }) => file)) {
    const text = texts.get(file)!;
    const list = own.map(({ mutation }) => mutation);
    const made = switched(file, text, list, { idOf: (at) => own[at]!.id, mutates: MUTATES });
    writeFileSync(join(copy, file), made.text);
    constants.push(...own.filter((_, at) => !made.contained.has(at)));
  }
  try {
    await run(copy, mutants, constants, texts, { withConstants: values.constants === true, tests: values.tests });
  } finally {
    await endRunner();
    rmSync(copy, { recursive: true, force: true });
  }
}

async function run(
  copy: string,
  mutants: readonly Mutant[],
  constants: readonly Mutant[],
  texts: ReadonlyMap<string, string>,
  { withConstants, tests: given }: { withConstants: boolean; tests: readonly string[] | undefined },
): Promise<void> {
  const began = Date.now();
  const paths = given ?? [...new Set(mutants.flatMap(({ file }) => testsOf(file)))];
  const found = sourcesIn("test").filter(
    (file) => file.endsWith(".test.ts") && paths.some((path) => file.startsWith(path)),
  );
  const first = await runAll(
    copy,
    found.map((test) => ({ test, id: -1, only: null })),
  );
  // On a busy machine that may be an accident, and what the other files notice counts nevertheless.
  const broken = found.flatMap((test, at) => first[at]?.failed ?? (first[at] ? [] : [`${test} does not end`]));
  if (broken.length > 0) console.log(`Left out, because they fail without a mutation: ${broken.join("; ")}`);
  const isSound = (at: number): boolean => first[at]?.failed === null;
  const tests = found.filter((_, at) => isSound(at));
  const whole = first.filter((_, at) => isSound(at));
  // A test that needs what an earlier one of its file has left behind fails without it: such a file is run from its beginning.
  const halves = tests.flatMap((test, at) =>
    [0, 1].map((half): Run => ({ test, id: -1, only: whole[at]!.passed.filter((_, index) => index % 2 === half) })),
  );
  const halved = await runAll(copy, halves);
  const ordered = new Set(halves.filter((_, at) => halved[at]?.failed !== null).map(({ test }) => test));
  console.log(`${tests.length} files of tests, ${ordered.size} of them in order only, ${since(began)}`);

  /** The runs that may notice a mutation, the shortest first. */
  const runsOf = ({ id }: Mutant): Run[] =>
    tests
      .map((test, at) => ({ test, outcome: whole[at]! }))
      .toSorted((a, b) => a.outcome.milliseconds - b.outcome.milliseconds)
      .flatMap(({ test, outcome: { passed, reached } }): Run[] => {
        if (reached[""]!.includes(id)) return [{ test, id, only: null }];
        const last = passed.findLastIndex((name) => reached[name]?.includes(id));
        if (last < 0) return [];
        const only = ordered.has(test)
          ? passed.slice(0, last + 1)
          : passed.filter((name) => reached[name]?.includes(id));
        return [{ test, id, only }];
      });

  const isConstant = new Set(constants.map(({ id }) => id));
  const survivors: Mutant[] = [];
  const unreached: Mutant[] = [];
  let killed = 0;
  const report = (mutant: Mutant, end: string) => console.log(`${since(began)}  ${describe(mutant)}  ${end}`);
  const reached = mutants
    .filter(({ id }) => !isConstant.has(id))
    .map((mutant) => ({ mutant, runs: runsOf(mutant) }))
    .filter(({ mutant, runs }) => {
      if (runs.length === 0) unreached.push(mutant);
      return runs.length > 0;
    });
  for (let from = 0; from < reached.length; from += MUTANTS_AT_ONCE) {
    let open = reached.slice(from, from + MUTANTS_AT_ONCE);
    // Starting a process takes long: first one run of each, which most mutations do not outlive, then two, then four.
    for (let count = 1; open.length > 0; count *= 2) {
      const taken = open.map(({ mutant, runs }) => ({ mutant, now: runs.slice(0, count), later: runs.slice(count) }));
      const outcomes = await runAll(
        copy,
        taken.flatMap(({ now }) => now),
      );
      let next = 0;
      open = taken.flatMap(({ mutant, now, later }) => {
        const own = outcomes.slice(next, (next += now.length));
        const at = own.findIndex((outcome) => !outcome || outcome.failed !== null);
        if (at >= 0) {
          killed++;
          report(mutant, `killed by ${own[at]?.failed ?? "time"}`);
          return [];
        }
        if (later.length > 0) return [{ mutant, runs: later }];
        survivors.push(mutant);
        report(mutant, "SURVIVED");
        return [];
      });
    }
  }
  for (const mutant of withConstants ? constants : []) {
    const path = join(copy, mutant.file);
    const instrumented = readFileSync(path, "utf8");
    writeFileSync(path, mutate(texts.get(mutant.file)!, mutant.mutation));
    await endRunner();
    const ids = new Set(mutants.filter(({ file }) => file === mutant.file).map(({ id }) => id));
    const reaching = tests
      .map((test, at) => ({ test, outcome: whole[at]! }))
      .filter(({ outcome }) => Object.values(outcome.reached).some((reached) => reached.some((id) => ids.has(id))))
      .toSorted((a, b) => a.outcome.milliseconds - b.outcome.milliseconds);
    const outcomes = await runAll(
      copy,
      reaching.map(({ test }) => ({ test, id: -1, only: null })),
      true,
    );
    writeFileSync(path, instrumented);
    await endRunner();
    const by = outcomes.find((outcome) => !outcome || outcome.failed !== null);
    const isKilled = outcomes.some((outcome) => !outcome || outcome.failed !== null);
    if (isKilled) killed++;
    else survivors.push(mutant);
    report(mutant, isKilled ? `killed by ${by?.failed ?? "time"}` : "SURVIVED");
  }

  const tried = killed + survivors.length + unreached.length;
  console.log(`\n${killed} of ${tried} killed in ${since(began)}; ${survivors.length} survived:`);
  for (const mutant of survivors) console.log(`  ${describe(mutant)}`);
  console.log(`${unreached.length} that no test reaches:`);
  for (const mutant of unreached) console.log(`  ${describe(mutant)}`);
  if (!withConstants) console.log(`${constants.length} constants were not tried: see --constants.`);
}

const firstLine = (message = ""): string => message.split("\n")[0]!.slice(0, 100);

const since = (began: number): string => `${Math.round((Date.now() - began) / 1000)} s`;

const describe = ({ file, mutation: { line, description } }: Mutant): string => `${file}:${line}  ${description}`;

/**
 * Runs files of tests, in a few processes one after another.
 *
 * @param untilOneFails whether the rest is left out once a process has had a failure. What is left out passes.
 * @returns of each what it came to, or undefined if it did not end within its time, or took its process down.
 */
async function runAll(copy: string, runs: readonly Run[], untilOneFails = false): Promise<(Outcome | undefined)[]> {
  const outcomes: (Outcome | undefined)[] = [];
  for (let from = 0; from < runs.length; from += RUNS_AT_ONCE) {
    const some = runs.slice(from, from + RUNS_AT_ONCE);
    const found = await inProcess(copy, some);
    // One of them has taken the process down: which, is found by halves.
    if (found) outcomes.push(...found);
    else if (some.length === 1) outcomes.push(undefined);
    else {
      const half = Math.ceil(some.length / 2);
      outcomes.push(...(await runAll(copy, some.slice(0, half))), ...(await runAll(copy, some.slice(half))));
    }
    if (untilOneFails && outcomes.some((outcome) => !outcome || outcome.failed !== null)) break;
  }
  return outcomes;
}

/** The process that runs tests, which takes long to start, and how many runs it was given. */
let runner: { readonly process: ChildProcess; runs: number } | undefined;

async function inProcess(copy: string, runs: readonly Run[]): Promise<Outcome[] | undefined> {
  runner ??= { process: await startRunner(copy), runs: 0 };
  const { process: own } = runner;
  const outcomes = await new Promise<Outcome[] | undefined>((resolve) => {
    const timer = setTimeout(() => resolve(undefined), PATIENCE_MS + runs.length * 15_000);
    const done = (found: Outcome[] | undefined) => {
      clearTimeout(timer);
      own.off("message", done).off("exit", gone);
      resolve(found);
    };
    const gone = () => done(undefined);
    own.once("message", done).once("exit", gone);
    own.send(runs);
  });
  runner.runs += runs.length;
  if (!outcomes || runner.runs >= RUNS_IN_A_PROCESS) await endRunner();
  return outcomes;
}

async function endRunner(): Promise<void> {
  const ended = runner?.process;
  runner = undefined;
  if (ended) await stopRunner(ended);
}

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
  const runner = fork(
    import.meta.filename,
    ["--runner", copy, ...(process.argv.includes("--slow") ? ["--slow"] : [])],
    {
      // A group of its own, so that workerd ends with it.
      detached: true,
      stdio: ["ignore", "ignore", "inherit", "ipc"],
      env: { ...process.env, NO_COLOR: "1", WRANGLER_SEND_METRICS: "false" },
    },
  );
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

if (process.argv[2] === "--runner") await serve(process.argv[3]!, process.argv[4] === "--slow");
else await main();
