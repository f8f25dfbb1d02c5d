import { applyD1Migrations, reset } from "cloudflare:test";
import { env } from "cloudflare:workers";

const isEmpty = async (database: D1Database): Promise<boolean> =>
  (await database.prepare("SELECT 1 FROM sqlite_master WHERE name = 'd1_migrations'").first()) === null;

// One isolate runs all files, one after the other, because starting one costs more than most files do: each begins with empty stores.
// What a file has left open, such as an answer that nobody reads, can keep a store from being emptied until it has ended.
await reset();
for (let tries = 1; tries < 50 && !((await isEmpty(env.DB)) && (await isEmpty(env.AUDIT_DB))); tries++) {
  await scheduler.wait(20);
  await reset();
}
await applyD1Migrations(env.DB, env.TEST_MIGRATIONS);
await applyD1Migrations(env.AUDIT_DB, env.TEST_AUDIT_MIGRATIONS);
