import Database from "better-sqlite3";

/** The database that every Node process here has: the same engine with the same settings. `:memory:` would spare the disk's work. */
export function openDatabase(file: string): Database.Database {
  const db = new Database(file);
  db.pragma("journal_mode = WAL");
  db.pragma("synchronous = NORMAL");
  return db;
}
