import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { parse } from "smol-toml";
import { ROOT } from "./local.ts";

/** What wrangler names a local database by, and its migrations: the entries of `[[d1_databases]]`. */
interface DatabaseEntry {
  readonly binding: string;
  readonly database_id?: string;
  readonly preview_database_id?: string;
  readonly migrations_dir: string;
}

/**
 * Applies the migrations that the local databases of wrangler.toml do not have yet, all in one process, where
 * `wrangler d1 migrations apply --local` would start one for each migration. The list of what has been applied is wrangler's, in the same
 * table, so that wrangler's own command continues from it and this continues from wrangler's.
 *
 * @param stateDir the folder that `wrangler dev` is given as `--persist-to`.
 * @throws {Error} with the name of the migration that could not be applied. Those before it stay applied.
 */
export async function migrateLocally(stateDir: string): Promise<void> {
  const { d1_databases: databases } = parse(readFileSync(join(ROOT, "wrangler.toml"), "utf8")) as unknown as {
    d1_databases: readonly DatabaseEntry[];
  };
  const server = new Miniflare(
    convertV4MiniflareOptions({
      host: "127.0.0.1",
      port: 0,
      cf: false,
      // wrangler's own folder below that of `--persist-to`.
      resourcePersistencePath: join(stateDir, "v3"),
      modules: [{ type: "ESModule", path: "index.js", contents: "export default {}" }],
      d1Databases: Object.fromEntries(
        databases.map((entry) => [
          entry.binding,
          { id: entry.preview_database_id ?? entry.database_id ?? entry.binding },
        ]),
      ),
    } as Parameters<typeof convertV4MiniflareOptions>[0]),
  );
  try {
    for (const { binding, migrations_dir: folder } of databases) {
      await migrate(await server.getD1Database(binding), folder);
    }
  } finally {
    await server.dispose();
  }
}

type Database = Awaited<ReturnType<Miniflare["getD1Database"]>>;

/** Applies the migrations of a folder to a database. Each is one transaction with its entry in the list. */
async function migrate(database: Database, folder: string): Promise<void> {
  await database
    .prepare(
      "CREATE TABLE IF NOT EXISTS d1_migrations (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL)",
    )
    .run();
  const { results } = await database.prepare("SELECT name FROM d1_migrations").all<{ name: string }>();
  const applied = new Set(results.map(({ name }) => name));
  const names = readdirSync(join(ROOT, folder)).filter((name) => name.endsWith(".sql") && !applied.has(name));
  for (const name of names.toSorted()) {
    try {
      await database.batch([
        // The local database runs all statements of a text, which D1 itself would refuse.
        database.prepare(readFileSync(join(ROOT, folder, name), "utf8")),
        database.prepare("INSERT INTO d1_migrations (name) VALUES (?)").bind(name),
      ]);
    } catch (error) {
      throw new Error(`${folder}/${name}: ${(error as Error).message}`, { cause: error });
    }
  }
}
