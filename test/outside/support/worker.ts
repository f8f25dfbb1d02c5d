import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { unstable_getMiniflareWorkerOptions, unstable_readConfig, unstable_splitSqlQuery } from "wrangler";
import { gatherAssets } from "../../../scripts/assets.ts";
import { toActivity } from "../../../src/audit/activity.ts";
import { rowToRecord, type RecordRow } from "../../../src/audit/store/records.ts";
import { testSecrets } from "../../support/secrets.ts";

const ROOT = join(import.meta.dirname, "../../..");

export interface Agent {
  readonly id: string;
  readonly apiKey: string;
  readonly token: string;
  readonly refreshToken: string;
}

/** The Worker in workerd, as it would be deployed, with D1, KV, queues and rate limits embedded. */
export interface Worker {
  /** Origin of the Worker's own socket: nothing stands before it. */
  readonly url: string;
  readonly port: number;
  /** The process of workerd. */
  readonly pid: number;
  call(
    path: string,
    init?: RequestInit & { token?: string; json?: unknown },
  ): Promise<{ status: number; headers: Headers; body: any }>; // oxlint-disable-line typescript/no-explicit-any
  agent(permissions: string[], token?: string): Promise<Agent>;
  admin(): Promise<Agent>;
  /** Waits until the queue has written the row that `found` accepts. */
  activity(agent: Agent, found: (message: string) => boolean): Promise<string>;
  /** One statement in the database of the audit log. */
  auditSql(statement: string, ...bindings: unknown[]): Promise<Record<string, unknown>[]>;
  /** One statement in its database. */
  sql(statement: string, ...bindings: unknown[]): Promise<Record<string, unknown>[]>;
  /** The minute's cron trigger. */
  runJobs(): Promise<void>;
  /** Ends workerd as a power failure does. `stop` it all the same. */
  kill(): void;
  /** What the Worker logged. */
  readonly log: string[];
  stop(): Promise<void>;
}

export interface Surroundings {
  /** Where the stores are kept, to be found again by another start; without it they are gone with `stop`. */
  readonly stateDir?: string;
  /** With static assets, and so behind the asset server's front, which folds paths before the Worker sees them. */
  readonly assets?: boolean;
  /** Whether the rate limits are those of wrangler.toml; of themselves tests are not limited. */
  readonly limits?: "real" | "none";
}

/** Starts a Worker of its own on a free port, with these settings over those of all tests. */
export async function startWorker(
  settings: Record<string, string> = {},
  surroundings: Surroundings = {},
): Promise<Worker> {
  return (await startWorkers(1, settings, surroundings))[0]!;
}

/**
 * Starts several Workers, each an isolate with a memory and a port of its own, over the same stores. One `stop` stops all.
 */
export async function startWorkers(
  count: number,
  settings: Record<string, string> = {},
  { stateDir, assets: withAssets = false, limits = "none" }: Surroundings = {},
): Promise<Worker[]> {
  const { workerOptions } = unstable_getMiniflareWorkerOptions(join(ROOT, "wrangler.toml"));
  // Not those of the options, which hold `.dev.vars` too: `npm start` writes it, and the tests run as in a fresh clone.
  const { vars } = unstable_readConfig({ config: join(ROOT, "wrangler.toml") });
  const { assets, modulesRules: _rules, rootPath: _root, ...options } = workerOptions as Record<string, unknown>;
  const ratelimits = Object.fromEntries(
    Object.entries(options.ratelimits as Record<string, object>).map(([name, limit]) => [
      name,
      limits === "real" ? limit : { ...limit, simple: { limit: 1_000_000, period: 60 } },
    ]),
  );
  // Batches are sent off at once: a test that waits for a record does not wait for the batch to fill.
  const queueConsumers = Object.fromEntries(
    Object.entries(options.queueConsumers as Record<string, object>).map(([queue, consumer]) => [
      queue,
      { ...consumer, maxBatchTimeout: 0 },
    ]),
  );
  // Those of this tree, and not those that the last build has left, in a folder of its own: another process may gather them meanwhile.
  const gathered = withAssets ? mkdtempSync(join(tmpdir(), "agentauth-assets-")) : undefined;
  if (gathered) gatherAssets(gathered);
  const log: string[] = [];
  const contents = await bundle();
  const names = Array.from({ length: count }, (_, index) => `agentauth-${index}`);
  const server = new Miniflare(
    convertV4MiniflareOptions({
      host: "127.0.0.1",
      port: 0,
      cf: false,
      ...(stateDir && { resourcePersistencePath: stateDir }),
      handleStructuredLogs: ({ message }: { message: string }) => log.push(message),
      workers: names.map((name, index) => ({
        ...options,
        ...(gathered && { assets: { ...(assets as object), directory: gathered } }),
        name,
        modules: [{ type: "ESModule", path: "index.js", contents }],
        bindings: {
          ...vars,
          ...testSecrets,
          // Development answers this machine only: a Worker with an issuer of its own runs as a deployment does.
          ...(!settings.ISSUER && { ENVIRONMENT: "development" }),
          REGISTRATION: "open",
          ...settings,
        },
        ratelimits,
        // The objects of the first are those of all.
        durableObjects: Object.fromEntries(
          Object.entries(options.durableObjects as Record<string, object>).map(([binding, object]) => [
            binding,
            index === 0 ? object : { ...object, scriptName: names[0] },
          ]),
        ),
        // A queue has one consumer.
        queueConsumers: index === 0 ? queueConsumers : {},
        unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
      })),
    } as unknown as Parameters<typeof convertV4MiniflareOptions>[0]),
  );
  await server.ready;
  const [db, auditDb] = [await server.getD1Database("DB"), await server.getD1Database("AUDIT_DB")];
  await makeTables(db, "schema.sql");
  await makeTables(auditDb, "audit.sql");

  const stop = async () => {
    await server.dispose();
    if (gathered) rmSync(gathered, { recursive: true, force: true });
  };
  return Promise.all(
    names.map(async (name) =>
      workerAt(await server.unsafeGetDirectURL(name), { name, server, db, auditDb, log, stop }),
    ),
  );
}

type Database = Awaited<ReturnType<Miniflare["getD1Database"]>>;

/** Runs a schema on a database that is new. */
async function makeTables(db: Database, file: string): Promise<void> {
  const isMade = await db.prepare("SELECT 1 FROM sqlite_master WHERE name IN ('agents', 'records')").first();
  if (isMade) return;
  for (const statement of unstable_splitSqlQuery(readFileSync(join(ROOT, file), "utf8")))
    await db.prepare(statement).run();
}

function workerAt(
  direct: URL,
  {
    name,
    server,
    db,
    auditDb,
    log,
    stop,
  }: { name: string; server: Miniflare; db: Database; auditDb: Database; log: string[]; stop: () => Promise<void> },
): Worker {
  const self: Worker = {
    url: direct.origin,
    port: Number(direct.port),
    pid: workerdOn(Number(direct.port)),
    log,
    async call(path, { token, json, ...init } = {}) {
      const headers = new Headers(init.headers);
      if (token) headers.set("authorization", `Bearer ${token}`);
      if (json !== undefined) headers.set("content-type", "application/json");
      const response = await fetch(direct.origin + path, {
        redirect: "manual",
        ...init,
        headers,
        ...(json !== undefined && { body: JSON.stringify(json) }),
      });
      const text = await response.text();
      return { status: response.status, headers: response.headers, body: parsed(text) };
    },
    async agent(permissions, token) {
      const json = { name: "outside", owner_email: "owner@example.com", permissions };
      const registered = await self.call("/agents/register", { method: "POST", json, ...(token && { token }) });
      const { agent, credentials } = registered.body;
      const proof = { agent_id: agent.agent_id, api_key: credentials.api_key };
      const { token: issued } = (await self.call("/agents/verify", { method: "POST", json: proof })).body;
      const { access_token, refresh_token } = issued;
      return { id: agent.agent_id, apiKey: proof.api_key, token: access_token, refreshToken: refresh_token };
    },
    admin: () => self.agent(["*:*:*"], testSecrets.ADMIN_BOOTSTRAP_TOKEN),
    async sql(statement, ...bindings) {
      return (
        await db
          .prepare(statement)
          .bind(...bindings)
          .all()
      ).results;
    },
    async auditSql(statement, ...bindings) {
      return (
        await auditDb
          .prepare(statement)
          .bind(...bindings)
          .all()
      ).results;
    },
    async runJobs() {
      await (await server.getWorker(name)).scheduled({ cron: "* * * * *" });
    },
    kill: () => void process.kill(self.pid, "SIGKILL"),
    async activity({ id }, found) {
      let messages: string[] = [];
      for (const until = Date.now() + 120_000; Date.now() < until;) {
        const { results } = await auditDb.prepare("SELECT * FROM records WHERE agent_id = ?").bind(id).all<RecordRow>();
        messages = results.map((row) => String(toActivity(rowToRecord(row)).message));
        const message = messages.find(found);
        if (message !== undefined) return message;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      throw new Error(`no such activity of ${id}, but:\n${messages.join("\n")}`);
    },
    stop,
  };
  return self;
}

let bundled: Promise<string> | undefined;

function bundle(): Promise<string> {
  bundled ??= build({
    entryPoints: [join(ROOT, "src/index.ts")],
    bundle: true,
    format: "esm",
    target: "es2024",
    conditions: ["workerd", "worker", "browser"],
    // Without the operator's own upstreams, which wrangler compiles into dist/ when it builds the Worker.
    alias: { "#upstreams": join(ROOT, "src/config/upstream-files.ts") },
    external: ["cloudflare:workers"],
    write: false,
  }).then(({ outputFiles }) => outputFiles[0]!.text);
  return bundled;
}

/** The process that listens on a port, found among this one's children: a test may have started several. */
function workerdOn(port: number): number {
  const own = String(process.pid);
  const listening = readFileSync("/proc/net/tcp", "utf8")
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .find(([, local, , state]) => state === "0A" && Number.parseInt(local!.split(":")[1]!, 16) === port);
  const socket = `socket:[${listening?.[9]}]`;
  for (const task of readFileSync(`/proc/${own}/task/${own}/children`, "utf8").trim().split(" ")) {
    if (descriptorsOf(task).includes(socket)) return Number(task);
  }
  throw new Error(`no workerd listens on ${port}`);
}

/** What a process has open: nothing if it has ended meanwhile. */
const descriptorsOf = (pid: string): string[] =>
  ifThere(() => readdirSync(`/proc/${pid}/fd`), []).flatMap((name) =>
    ifThere(() => [readlinkSync(`/proc/${pid}/fd/${name}`)], []),
  );

function ifThere<T>(look: () => T, otherwise: T): T {
  try {
    return look();
  } catch {
    return otherwise;
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
