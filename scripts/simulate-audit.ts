import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { unstable_splitSqlQuery } from "wrangler";
import { PRICES } from "../bench/prices.ts";
import { fail, ROOT } from "./local.ts";
import { newEncryptionKey } from "./secrets.ts";
import type { Evening, Lookup } from "./simulate-audit-worker.ts";

/**
 * `npm run simulate-audit [-- --part 1000 --days 365 --every 30]`: a year of the audit log of a deployment that gets 10 calls a second, at a
 * thousandth of that traffic, or another part, through the code of the product, on D1 and R2 of this machine. Prints what stands where,
 * and what it costs, every so many days.
 */
const CALLS_PER_SECOND = 10;
const HOT_DAYS = 90;
/** What D1 takes before the oldest records leave early, in bytes. */
const MAX_HOT_BYTES = 8e9;

function option(name: string, fallback: number): number {
  const at = process.argv.indexOf(`--${name}`);
  const value = at < 0 ? fallback : Number(process.argv[at + 1]);
  if (!Number.isInteger(value) || value < 1) fail(`--${name} must be a whole number above 0.`);
  return value;
}
const part = option("part", 1000);
const days = option("days", 365);
const every = option("every", 30);
const perDay = Math.max(1, Math.round((CALLS_PER_SECOND * 86_400) / part));
// The records of a day come in few hours, so that objects have the size that they have at full traffic.
const hours = Math.max(1, Math.min(24, Math.floor(perDay / 400)));
const perHour = Math.round(perDay / hours);

const directory = mkdtempSync(join(tmpdir(), "agentauth-simulation-"));
const bundled = await build({
  entryPoints: [join(ROOT, "scripts/simulate-audit-worker.ts")],
  bundle: true,
  format: "esm",
  target: "es2024",
  conditions: ["workerd"],
  write: false,
});
const server = new Miniflare(
  convertV4MiniflareOptions({
    modules: [{ type: "ESModule", path: "index.js", contents: bundled.outputFiles[0]!.text }],
    compatibilityDate: "2026-10-01",
    bindings: { DATA_KEY: JSON.stringify(newEncryptionKey()) },
    d1Databases: ["AUDIT_DB"],
    r2Buckets: ["AUDIT_ARCHIVE"],
    resourcePersistencePath: directory,
    cf: false,
  } as Parameters<typeof convertV4MiniflareOptions>[0]),
);

async function ask<T>(path: string): Promise<T> {
  const response = await server.dispatchFetch(`http://simulation${path}`);
  const text = await response.text();
  if (!response.ok) throw new Error(text);
  return JSON.parse(text) as T;
}

/** Dollars a month at full traffic, from what was used in so many days. */
function costs({ rowsRead, rowsWritten, puts, gets, bytes, archivedBytes }: Evening, done: number) {
  const monthly = (count: number, price: number) => ((count * part * 30.4) / done / 1e6) * price;
  const stored = (size: number, price: number) => ((size * part) / 1e9) * price;
  return {
    rows: monthly(rowsWritten, PRICES.rowWritten) + monthly(rowsRead, PRICES.rowRead),
    r2: monthly(puts, PRICES.r2Write) + monthly(gets, PRICES.r2Read),
    // Above 8 GB the oldest leave.
    hot: stored(Math.min(bytes, MAX_HOT_BYTES / part), PRICES.d1Stored),
    archive: stored(archivedBytes, PRICES.r2Stored),
  };
}

const dollars = (amount: number): string => `$${amount.toFixed(2)}`;

try {
  const db = await server.getD1Database("AUDIT_DB");
  const schema = readFileSync(join(ROOT, "audit.sql"), "utf8");
  for (const statement of unstable_splitSqlQuery(schema)) await db.prepare(statement).run();
  console.log(
    `A year of ${CALLS_PER_SECOND} calls a second at 1/${part} of its traffic: ${perHour} records in each of ${hours} hours of a day, for ${days} days.\n`,
  );
  console.log("  day   records   AUDIT_DB MB   days in it   archive MB   objects   $ a month at full traffic");
  let evening: Evening | undefined;
  for (let day = 0; day < days; day++) {
    evening = await ask<Evening>(`/day?day=${day}&hours=${hours}&perHour=${perHour}&hotDays=${HOT_DAYS}`);
    const done = day + 1;
    if (done % every !== 0 && done !== days) continue;
    const total = Object.values(costs(evening, done)).reduce((sum, one) => sum + one, 0);
    const columns = [
      [done, 5],
      [evening.records, 9],
      [(evening.bytes / 1e6).toFixed(1), 13],
      [evening.hotDays, 12],
      [(evening.archivedBytes / 1e6).toFixed(1), 12],
      [evening.objects, 9],
      [dollars(total), 10],
    ] as const;
    console.log(columns.map(([value, width]) => String(value).padStart(width)).join(" "));
  }
  const { records, bytes, archivedBytes, rowsRead, rowsWritten, puts, gets, hotDays } = evening!;
  const hotBytes = bytes / (records * Math.min(1, hotDays / days));
  const cost = costs(evening!, days);
  const found = await ask<Lookup>(`/lookup?day=${Math.floor(days / 8)}`);
  console.log(`
At full traffic, ${((CALLS_PER_SECOND * 86_400 * 30.4) / 1e6).toFixed(1)} million records a month:
  AUDIT_DB     ${hotBytes.toFixed(0)} bytes a record: 8 GB hold ${(MAX_HOT_BYTES / hotBytes / 1e6).toFixed(1)} million records, ${(MAX_HOT_BYTES / hotBytes / CALLS_PER_SECOND / 86_400).toFixed(0)} days
  the archive  ${(archivedBytes / records).toFixed(0)} bytes a record: ${((archivedBytes * part) / 1e9).toFixed(1)} GB after ${days} days
  a record     ${(rowsWritten / records).toFixed(2)} rows written and ${(rowsRead / records).toFixed(1)} read, its deletion included; of R2 ${((puts / records) * 1000).toFixed(1)} writes and ${((gets / records) * 1000).toFixed(1)} reads for a thousand
  a month      ${dollars(cost.rows)} for rows, ${dollars(cost.r2)} for R2's operations, ${dollars(cost.hot)} for 8 GB of D1, ${dollars(cost.archive)} for R2, and growing

The first ${found.records} records of one agent's day, ${days - Math.floor(days / 8)} days ago: ${found.gets} reads of R2, ${found.rowsRead} rows of D1, ${found.ms} ms on this machine.`);
} finally {
  await server.dispose();
  rmSync(directory, { recursive: true, force: true });
}
