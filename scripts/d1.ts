import { spawnSync } from "node:child_process";
import { fail, ROOT, STATE_DIR } from "./local.ts";

/** Which database: that of `npm start`, or the deployment's. */
export type Place = "local" | "remote";

/**
 * The identity database as a command of the operator reaches it: by `wrangler d1 execute`, which sends the statements of a batch as one
 * transaction. It has what the stores of `src/` use of D1 but `meta`, which wrangler does not report, so that a
 * command runs their own statements.
 */
export function databaseOf(place: Place): D1Database {
  const statement = (text: string, values: readonly unknown[]) => ({
    text: () => text.replace(/\?(\d+)/g, (_, number: string) => literal(values[Number(number) - 1])),
    bind: (...bound: unknown[]) => statement(text, bound),
    first: async () => execute(place, statement(text, values).text())[0]?.results[0] ?? null,
  });
  const database = {
    prepare: (text: string) => statement(text, []),
    batch: async (statements: readonly { text(): string }[]) =>
      execute(place, statements.map((one) => one.text()).join(";\n")),
  };
  return database as unknown as D1Database;
}

/** A value as SQL. @throws {TypeError} for one that D1 does not bind either. */
function literal(value: unknown): string {
  if (value === null) return "NULL";
  if (typeof value === "number") return String(value);
  if (typeof value !== "string" || value.includes("\0")) throw new TypeError(`not a value of SQL: ${typeof value}`);
  return `'${value.replaceAll("'", "''")}'`;
}

interface Executed {
  readonly results: Record<string, unknown>[];
}

function execute(place: Place, command: string): Executed[] {
  const where = place === "remote" ? ["--remote"] : ["--local", "--persist-to", STATE_DIR];
  const run = spawnSync("wrangler", ["d1", "execute", "DB", ...where, "--json", "--command", command], {
    cwd: ROOT,
    env: { ...process.env, WRANGLER_SEND_METRICS: "false", WRANGLER_HIDE_BANNER: "true" },
    stdio: ["ignore", "pipe", "pipe"],
    encoding: "utf8",
  });
  if (run.error) fail("wrangler is not installed. Run `npm ci` first, and this command with npm.");
  if (run.stdout.includes("no such table")) {
    fail(
      place === "remote"
        ? "The database has no tables yet. `npm run deploy` applies the migrations."
        : `There is no deployment in ${STATE_DIR}. Start one with \`npm start\` first, or name its folder in STATE_DIR.`,
    );
  }
  if (run.status !== 0) fail(`wrangler could not reach the database DB:\n${run.stdout}\n${run.stderr}`);
  return JSON.parse(run.stdout) as Executed[];
}
