import { applyD1Migrations, reset } from "cloudflare:test";
import { env } from "cloudflare:workers";

// One isolate runs all files, one after the other, because starting one costs more than most files do: each begins with empty stores.
await reset();
await applyD1Migrations(env.DB, env.TEST_MIGRATIONS);
await applyD1Migrations(env.AUDIT_DB, env.TEST_AUDIT_MIGRATIONS);
