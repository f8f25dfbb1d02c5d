import { reset, type D1Migration } from "cloudflare:test";
import { env } from "cloudflare:workers";

const isEmpty = async (database: D1Database): Promise<boolean> =>
  (await database.prepare("SELECT 1 FROM sqlite_master WHERE name = 'd1_migrations'").first()) === null;

/**
 * Applies all migrations, in their order, as wrangler does, but all statements as one text: each by itself, and be it in one batch, they
 * would take a tenth of the time of all tests.
 */
async function migrate(database: D1Database, migrations: readonly D1Migration[]): Promise<void> {
  const texts = migrations.flatMap(({ queries }) => queries.map((query) => `${query.replace(/;\s*$/, "")}\n;`));
  const applied = database.prepare("INSERT INTO d1_migrations (name) SELECT value FROM json_each(?)");
  await database.batch([
    database.prepare("CREATE TABLE d1_migrations (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE)"),
    database.prepare(texts.join("\n")),
    applied.bind(JSON.stringify(migrations.map(({ name }) => name))),
  ]);
}

/** The statements that make the schema and the rows of a database anew: tables, then rows, then what would change or count rows. */
async function statementsOf(database: D1Database): Promise<string> {
  const { results } = await database
    .prepare(
      `SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT GLOB 'sqlite_*' AND name NOT GLOB '_cf_*'
       ORDER BY rowid`,
    )
    .all<Record<"type" | "name" | "sql", string>>();
  const of = (...types: string[]) => results.filter(({ type }) => types.includes(type)).map(({ sql }) => sql);
  const literal = (value: unknown) => (typeof value === "string" ? `'${value.replaceAll("'", "''")}'` : String(value));
  const rows: string[] = [];
  for (const { name } of results.filter(({ type }) => type === "table")) {
    for (const row of (await database.prepare(`SELECT * FROM "${name}"`).all()).results) {
      rows.push(`INSERT INTO "${name}" VALUES (${Object.values(row).map(literal).join(", ")})`);
    }
  }
  return [...of("table"), ...rows, ...of("index", "view", "trigger")].map((statement) => `${statement}\n;`).join("\n");
}

// One isolate runs all files, one after the other, because starting one costs more than most files do: each begins with empty stores.
// What a file has left open, such as an answer that nobody reads, can keep a store from being emptied until it has ended.
await reset();
const areEmpty = async (): Promise<boolean> =>
  (await Promise.all([isEmpty(env.DB), isEmpty(env.AUDIT_DB)])).every(Boolean);
for (let tries = 1; tries < 1500 && !(await areEmpty()); tries++) {
  await scheduler.wait(20);
  await reset();
}

// The first file applies the migrations, and each file after it what they have come to, which takes half of the time.
const shared = globalThis as typeof globalThis & { migrated?: readonly [database: string, audit: string] };
if (shared.migrated) {
  const [database, audit] = shared.migrated;
  await Promise.all([env.DB.prepare(database).run(), env.AUDIT_DB.prepare(audit).run()]);
} else {
  await Promise.all([migrate(env.DB, env.TEST_MIGRATIONS), migrate(env.AUDIT_DB, env.TEST_AUDIT_MIGRATIONS)]);
  shared.migrated = [await statementsOf(env.DB), await statementsOf(env.AUDIT_DB)];
}
