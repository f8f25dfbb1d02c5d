import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { unstable_getMiniflareWorkerOptions, unstable_readConfig, unstable_splitSqlQuery } from "wrangler";

/**
 * Runs the deploy bundle in Miniflare with the bindings of wrangler.toml; the rate limits are raised out of the way.
 *
 * `node bench/miniflare.ts JOB.json`, where the job says port, state directory, script and bindings. A `wrap` is a module
 * that stands before the bundle (`./worker.js`), for instance to count what it asks of its bindings.
 */
const ROOT = join(import.meta.dirname, "..");
const job = JSON.parse(readFileSync(process.argv[2]!, "utf8"));
const { workerOptions } = unstable_getMiniflareWorkerOptions(join(ROOT, "wrangler.toml"));
// Not those of the options, which hold `.dev.vars` too: `npm start` writes it, and the benchmark runs as in a fresh clone.
const { vars } = unstable_readConfig({ config: join(ROOT, "wrangler.toml") });
const { assets: _assets, modulesRules: _rules, rootPath: _root, ...options } = workerOptions as Record<string, unknown>;

const ratelimits = Object.fromEntries(
  Object.entries(options.ratelimits as Record<string, object>).map(([name, limit]) => [
    name,
    { ...limit, simple: { limit: 1_000_000_000, period: 60 } },
  ]),
);

const worker = { type: "ESModule", path: join(ROOT, job.wrap ? "worker.js" : "index.js"), contents: job.script };
const main = job.wrap && { type: "ESModule", path: join(ROOT, "index.js"), contents: job.wrap };

const server = new Miniflare(
  convertV4MiniflareOptions({
    ...options,
    name: "agentauth",
    host: "127.0.0.1",
    port: job.port,
    resourcePersistencePath: job.persist,
    cf: false,
    modulesRoot: ROOT,
    modules: main ? [main, worker] : [worker],
    bindings: { ...vars, ...job.bindings },
    ratelimits,
  } as Parameters<typeof convertV4MiniflareOptions>[0]),
);
await server.ready;

interface D1 {
  prepare(sql: string): { first(): Promise<unknown>; run(): Promise<unknown> };
}
async function databaseOf(binding: string, schema: string): Promise<D1> {
  const db = (await server.getD1Database(binding)) as unknown as D1;
  if (!(await db.prepare("SELECT 1 FROM sqlite_master WHERE name IN ('agents', 'records')").first())) {
    const text = readFileSync(join(ROOT, schema), "utf8");
    for (const statement of unstable_splitSqlQuery(text)) await db.prepare(statement).run();
  }
  return db;
}
const db = await databaseOf("DB", "schema.sql");
await databaseOf("AUDIT_DB", "audit.sql");
for (const statement of job.sql) await db.prepare(statement).run();
writeFileSync(job.ready, "");
process.once("SIGTERM", () => void server.dispose().then(() => process.exit(0)));
