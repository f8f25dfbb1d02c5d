import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { BackupError, openBackup, readDataKeys, sealBackup } from "./backup-file.ts";
import { fail, ROOT } from "./local.ts";
import { readSecrets } from "./setup/secrets-file.ts";
import { readEnvironment } from "./setup/wrangler-toml.ts";
import { Wrangler } from "./setup/wrangler.ts";

/**
 * Backs a deployment up: exports its databases with wrangler, encrypts the export with the first of `DATA_KEYS`, and stores it in the R2
 * bucket `WORKER-backup`. And the way back: fetches a backup, decrypts it, and puts it into databases that are empty.
 * docs/operations.md says when to do what.
 */
const USAGE = `
  npm run backup -- production                  export, encrypt, store in R2
  npm run backup -- production --restore NAME   fetch NAME from R2, decrypt, put it into the databases, which have to be empty

  --only DB        restores the identity database alone, because AUDIT_DB was not lost
  --secrets FILE   the file with DATA_KEYS; ENVIRONMENT.secrets unless it is named
  --config FILE    another wrangler.toml
  --local          the databases and the bucket of this machine, for a drill`;

/**
 * What is exported. Of the audit log, its list of the archive and the archive's keys: the records are in the archive, which is in R2
 * already.
 */
const EXPORTS = { DB: [], AUDIT_DB: ["day_keys", "archive_objects"] } as const;

/** Stands for what wrangler prints where there is no such backup. */
const ABSENT = "absent";

const { values: options, positionals } = readArguments();
const [name] = positionals;
if (options.help) {
  console.log(USAGE);
  process.exit(0);
}
if (name === undefined || positionals.length > 1) fail(`Say which environment of wrangler.toml.\n${USAGE}`);
if (options.only !== undefined && (options.only !== "DB" || options.restore === undefined))
  fail(`--only DB belongs to --restore, and no other database is restored alone.\n${USAGE}`);
const config = resolve(options.config ?? join(ROOT, "wrangler.toml"));
const where = options.local ? "--local" : "--remote";
const wrangler = new Wrangler({ environment: name, config: options.config && config, isDryRun: false });
const environment = readEnvironment(readFileSync(config, "utf8"), name);
if (!environment) fail(`${basename(config)} has no [env.${name}].`);
const bucket = `${environment.worker}-backup`;
const folder = mkdtempSync(join(tmpdir(), "agentauth-backup-"));
process.once("exit", () => rmSync(folder, { recursive: true, force: true }));

try {
  const secrets = resolve(options.secrets ?? join(ROOT, `${name}.secrets`));
  if (!existsSync(secrets)) {
    const advice = options.local
      ? "For what `npm start` has stored: --secrets .dev.vars"
      : "Name your copy: --secrets FILE";
    fail(`${secrets} does not exist. It has DATA_KEYS, without which a backup cannot be encrypted or read. ${advice}`);
  }
  const keys = readDataKeys(readSecrets(secrets).DATA_KEYS);
  if (options.restore === undefined) backUp(keys);
  else restore(options.restore, keys);
} catch (error) {
  if (!(error instanceof BackupError)) throw error;
  fail(error.message);
}

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        restore: { type: "string" },
        only: { type: "string" },
        secrets: { type: "string" },
        config: { type: "string" },
        local: { type: "boolean" },
        help: { type: "boolean" },
      },
    });
  } catch (error) {
    return fail(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`);
  }
}

function backUp(keys: ReturnType<typeof readDataKeys>): void {
  const createdAt = new Date();
  const dumps: Record<string, string> = {};
  for (const [database, tables] of Object.entries(EXPORTS)) {
    const file = join(folder, `${database}.sql`);
    const only = tables.flatMap((table) => ["--table", table]);
    // Of the audit log only rows: its tables are made by the migrations.
    const rows = tables.length > 0 ? ["--no-schema"] : [];
    wrangler.change(["d1", "export", database, where, "--output", file, "--skip-confirmation", ...only, ...rows]);
    dumps[database] = readFileSync(file, "utf8");
  }
  const object = `${createdAt.toISOString().replaceAll(":", "-")}.backup`;
  const sealed = join(folder, object);
  writeFileSync(sealed, sealBackup(dumps, { environment: name!, createdAt }, keys[0]!), { mode: 0o600 });
  if (!options.local) {
    const there = wrangler.ask(["r2", "bucket", "list"], { dry: "" });
    const isThere = [...there.matchAll(/^name:\s+(\S+)$/gm)].some(([, found]) => found === bucket);
    if (!isThere) wrangler.change(["r2", "bucket", "create", bucket]);
  }
  wrangler.change(["r2", "object", "put", `${bucket}/${object}`, where, "--file", sealed, "--force"]);
  console.log(`\nStored ${object} in ${bucket}, encrypted with the data key ${keys[0]!.kid}.`);
}

function restore(object: string, keys: ReturnType<typeof readDataKeys>): void {
  const sealed = join(folder, "fetched");
  const fetched = wrangler.ask(["r2", "object", "get", `${bucket}/${object}`, where, "--file", sealed], {
    dry: "",
    otherwise: { ifPrinted: /The specified (?:key|bucket) does not exist/, value: ABSENT },
  });
  if (fetched === ABSENT) {
    const place = options.local ? "on this machine, where --local looks" : "in R2";
    const advice = options.local ? "" : " Cloudflare's dashboard lists what is in the bucket.";
    fail(
      `${bucket} has no backup named ${JSON.stringify(object)} ${place}. Give the whole name that was printed when the backup was stored, such as 2026-11-26T02-00-00.000Z.backup.${advice}`,
    );
  }
  const { header, dumps } = openBackup(readFileSync(sealed), keys);
  if (header.environment !== name) fail(`The backup is of ${header.environment}, and not of ${name}.`);
  const databases = Object.keys(EXPORTS).filter((database) => (options.only ?? database) === database);
  requireEmpty(databases);
  for (const database of databases) {
    const file = join(folder, `${database}.sql`);
    writeFileSync(file, dumps[database] ?? "", { mode: 0o600 });
    // The dump of DB has its tables and the list of its migrations; of AUDIT_DB it has rows.
    if (database === "AUDIT_DB") wrangler.change(["d1", "migrations", "apply", database, where]);
    wrangler.change(["d1", "execute", database, where, "--file", file, "--yes"]);
  }
  // Versions of tokens that were in use after the backup must not come back: every session ends, and agents verify again.
  // So must no session of a person that has ended since, and no link that was used.
  const ofPeople = ["person_sessions", "sign_in_links", "device_codes"].map((table) => `DELETE FROM ${table}`);
  const endSessions = ["UPDATE agents SET token_version = token_version + 1000000", ...ofPeople].join("; ");
  wrangler.change(["d1", "execute", "DB", where, "--command", endSessions, "--yes"]);
  console.log(
    `\nRestored what was there at ${header.created_at}, and ended every session. Revoke again what was revoked since; \`npm run deploy -- ${name}\` applies migrations that are newer than the backup.`,
  );
}

/** Looks before anything is written: what is half restored would have to be deleted by hand. */
function requireEmpty(databases: readonly string[]): void {
  // D1 has tables of its own, whose names begin so.
  const count =
    "SELECT count(*) AS tables FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB '_cf_*' AND name NOT GLOB 'sqlite_*'";
  for (const database of databases) {
    const asked = wrangler.ask(["d1", "execute", database, where, "--json", "--command", count], { dry: "[]" });
    const [answer] = JSON.parse(asked) as { results: { tables: number }[] }[];
    const tables = answer?.results[0]?.tables ?? 0;
    if (tables === 0) continue;
    const advice = options.local
      ? "Move the folder .wrangler/state/v3/d1 away."
      : "If nobody needs what is in it, delete it (`npx wrangler d1 delete`) and make it anew (`npx wrangler d1 create`).";
    const other = database === "AUDIT_DB" ? " If only DB was lost: --only DB" : "";
    fail(`${database} of ${name} has ${tables} tables, and is restored only if it is empty. ${advice}${other}`);
  }
}
