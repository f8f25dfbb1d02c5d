import { readFileSync } from "node:fs";
import { createHmac, timingSafeEqual } from "node:crypto";
import { registerHooks } from "node:module";
import { setTimeout as wait } from "node:timers/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { serve } from "@hono/node-server";
import type Database from "better-sqlite3";
import { openDatabase } from "./sqlite.ts";

/**
 * AgentAuth's deploy bundle on Node, D1 being better-sqlite3 in the same process, as the peers have it: what is left of a
 * comparison when workerd and the local simulators are taken out of it.
 *
 * `node bench/peers/ours-on-node.ts PORT`, with `BENCH_OURS` = `{bundle, database, settings, hmacAtOnce}`. With `hmacAtOnce`,
 * HMACs are made on the spot, as workerd makes them: Node's WebCrypto sends each through its thread pool.
 */
const { bundle, database, settings, hmacAtOnce } = JSON.parse(process.env.BENCH_OURS!) as {
  bundle: string;
  database: string;
  settings: Record<string, string>;
  hmacAtOnce: boolean;
};

// The class of Durable Objects comes from a module of workerd's own. No object is made here.
registerHooks({
  resolve: (specifier, context, next) =>
    specifier === "cloudflare:workers"
      ? { url: "data:text/javascript,export class DurableObject {}", shortCircuit: true }
      : next(specifier, context),
});

// Of workerd's own, and what Node has under another name.
Object.assign(globalThis, { scheduler: { wait: (ms: number) => wait(ms, undefined, { ref: false }) } });
Object.assign(crypto.subtle, {
  timingSafeEqual: (one: ArrayBuffer, other: ArrayBuffer) =>
    timingSafeEqual(new Uint8Array(one), new Uint8Array(other)),
});

if (hmacAtOnce) {
  const secrets = new WeakMap<CryptoKey, Uint8Array>();
  const { importKey, sign } = crypto.subtle;
  Object.assign(crypto.subtle, {
    async importKey(...args: Parameters<SubtleCrypto["importKey"]>) {
      const key = await importKey.apply(crypto.subtle, args);
      if (args[0] === "raw") secrets.set(key, args[1] as Uint8Array);
      return key;
    },
    async sign(...args: Parameters<SubtleCrypto["sign"]>) {
      const secret = args[0] === "HMAC" && secrets.get(args[1]);
      if (!secret) return sign.apply(crypto.subtle, args);
      return createHmac("sha256", secret)
        .update(args[2] as Uint8Array)
        .digest();
    },
  });
}

const sqlite = openDatabase(database);
sqlite.pragma("foreign_keys = ON");
sqlite.exec(readFileSync(join(import.meta.dirname, "../../schema.sql"), "utf8"));
const prepared = new Map<string, Database.Statement>();

function execute(sql: string, values: readonly unknown[]) {
  let statement = prepared.get(sql);
  if (!statement) prepared.set(sql, (statement = sqlite.prepare(sql)));
  const named = Object.fromEntries(values.map((value, index) => [index + 1, value]));
  const arguments_ = values.length > 0 ? [named] : [];
  const meta = { changes: 0, rows_read: 0, rows_written: 0 };
  if (statement.reader) return { success: true, results: statement.all(...arguments_), meta };
  meta.changes = statement.run(...arguments_).changes;
  return { success: true, results: [], meta };
}

interface Statement {
  readonly sql: string;
  readonly values: readonly unknown[];
}

const statement = (sql: string, values: readonly unknown[] = []) => ({
  sql,
  values,
  bind: (...bound: unknown[]) => statement(sql, bound),
  all: async () => execute(sql, values),
  run: async () => execute(sql, values),
  first: async () => execute(sql, values).results[0] ?? null,
});

const batch = sqlite.transaction((list: readonly Statement[]) => list.map(({ sql, values }) => execute(sql, values)));
const queue = { send: async () => {}, sendBatch: async () => {} };
const rate = { limit: async () => ({ success: true }) };
/** The log, its archive and the objects of bought tokens are not asked for anything by what is measured, but have to be there. */
const unused = {};
const env = {
  ...settings,
  AUDIT_DB: unused,
  AUDIT_ARCHIVE: unused,
  UPSTREAM_TOKENS: unused,
  DB: { prepare: (sql: string) => statement(sql), batch: async (list: readonly Statement[]) => batch(list) },
  REVOCATIONS: { get: async () => null, put: async () => {}, delete: async () => {} },
  ACTIVITY: queue,
  DELIVERIES: queue,
  RATE_FREE: rate,
  RATE_PRO: rate,
  RATE_ENTERPRISE: rate,
  RATE_ADDRESS: rate,
  RATE_VERIFY: rate,
  RATE_10: rate,
  RATE_30: rate,
  RATE_120: rate,
  RATE_600: rate,
  RATE_3000: rate,
};
const context = { waitUntil: () => {}, passThroughOnException: () => {}, props: {} };
const { default: worker } = await import(pathToFileURL(bundle).href);
serve({
  fetch: (request) => worker.fetch(request, env, context),
  port: Number(process.argv[2]),
  hostname: "127.0.0.1",
});
