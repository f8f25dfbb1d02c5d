import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { importJWK, SignJWT, type JWTPayload } from "jose";
import workerdPackage from "workerd";
import { newSecrets } from "../scripts/secrets.ts";
import { withLowS } from "../src/tokens/signature.ts";
import { sleep } from "./measure.ts";
import { start, type Running } from "./processes.ts";

// The package is CommonJS with a default export of its own: the path of its binary.
const workerd = workerdPackage.default;

export const ROOT = join(import.meta.dirname, "..");
const WORK = mkdtempSync(join(tmpdir(), "agentauth-bench-"));
process.once("exit", () => rmSync(WORK, { recursive: true, force: true }));

export const temporary = (name: string): string => join(WORK, name);

/** The credential that the gateway injects; every proxy that is compared injects the same. */
export const UPSTREAM_TOKEN = "ghp_bench_0123456789abcdefghijklmnopqrst";
export const AGENT_ID = "agt_benchbenchbenchbenchbench";
/** The agent that acts for the other one with a delegated token. */
export const DELEGATE_ID = "agt_actoractoractoractoractor";
export const SESSION_ID = "fam_benchbenchbenchbenchbench";
export const PERMISSIONS = ["github:issues:read", "github:issues:write", "github:repos:read", "github:repos:write"];
export const ISSUER = "https://auth.example.com";

const secrets = newSecrets();
export const signingKey = JSON.parse(secrets.SIGNING_KEYS!).keys[0] as Record<string, string> & { kid: string };

/** What a deployment would be configured with, the upstream being the local one. */
export function settings(upstreamPort: number, extra: Record<string, string> = {}): Record<string, string> {
  return {
    ...secrets,
    REGISTRATION: "open",
    WEBHOOK_ALLOW_LOOPBACK: "true",
    ISSUER,
    UPSTREAM_GITHUB_TOKEN: UPSTREAM_TOKEN,
    "UPSTREAMS.github.base_url": `http://127.0.0.1:${upstreamPort}`,
    ...extra,
  };
}

let built: string | undefined;

/** The one module that `wrangler deploy` would upload. */
export function bundle(): string {
  if (built) return built;
  mkdirSync(join(ROOT, "dist/public"), { recursive: true });
  const out = temporary("bundle");
  const done = spawnSync("wrangler", ["deploy", "--dry-run", "--env=production", "--outdir", out], {
    cwd: ROOT,
    encoding: "utf8",
    env: { ...process.env, WRANGLER_SEND_METRICS: "false", WRANGLER_HIDE_BANNER: "true" },
  });
  if (done.status !== 0) throw new Error(`wrangler deploy --dry-run failed:\n${done.stdout}\n${done.stderr}`);
  built = readFileSync(
    join(
      out,
      readdirSync(out).find((name) => name.endsWith(".js"))!,
    ),
    "utf8",
  );
  return built;
}

/** The module that counts operations, to stand before the bundle. */
export const counting = (): string => readFileSync(join(import.meta.dirname, "counting.js"), "utf8");

const COMPATIBILITY = {
  date: /^compatibility_date = "(.*)"/m.exec(readFileSync(join(ROOT, "wrangler.toml"), "utf8"))![1]!,
  flags: ["global_fetch_strictly_public"],
};

/** Modules and text bindings under a bare workerd: no Miniflare, no simulator, nothing but the runtime. */
export async function startWorkerd(
  name: string,
  port: number,
  modules: Readonly<Record<string, string>>,
  bindings: Readonly<Record<string, string>>,
  flags: readonly string[] = [],
): Promise<Running> {
  const directory = temporary(name);
  mkdirSync(directory, { recursive: true });
  for (const [file, text] of Object.entries(modules)) writeFileSync(join(directory, file), text);
  const list = (items: string[]) => `[${items.join(", ")}]`;
  writeFileSync(
    join(directory, "config.capnp"),
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [ (name = "main", worker = .main), (name = "internet", network = (allow = ["public", "private", "local"])) ],
  sockets = [ (name = "http", address = "127.0.0.1:${port}", http = (), service = "main") ]
);
const main :Workerd.Worker = (
  modules = ${list(Object.keys(modules).map((file) => `(name = "${file}", esModule = embed "${file}")`))},
  bindings = ${list(Object.entries(bindings).map(([key, text]) => `(name = ${JSON.stringify(key)}, text = ${JSON.stringify(text)})`))},
  compatibilityDate = "${COMPATIBILITY.date}",
  compatibilityFlags = ${list(COMPATIBILITY.flags.map((flag) => JSON.stringify(flag)))}
);
`,
  );
  return start(workerd, ["serve", join(directory, "config.capnp"), ...flags], port);
}

/** The deploy bundle with storage that answers at once: what the product's own code costs, and nothing else. */
export function startBare(
  port: number,
  upstreamPort: number,
  flags: readonly string[] = [],
  script = bundle(),
  extra: Record<string, string> = {},
): Promise<Running> {
  const row = {
    id: AGENT_ID,
    name: "bench",
    owner_email: "bench@example.com",
    grants: JSON.stringify(PERMISSIONS.map((permission, n) => ({ id: `gra_${n}`, permission, created_at: 0 }))),
    grants_version: 1,
    read_at: 0,
    status: "active",
    tier: "enterprise",
    not_before: 0,
    rate_limit: null,
    allowed_ips: null,
    token_version: 1,
    last_verified_at: null,
    created_at: 0,
    updated_at: 0,
    link_stands: 1,
    basis_allowed_ips: null,
    basis_key_id: null,
  };
  const main = `import worker from "./index.js";
const answering = (row) => {
  const result = { results: [row], success: true, meta: {} };
  return { result, first: async () => row, all: async () => result, run: async () => result };
};
const row = ${JSON.stringify(row)};
const delegate = answering({ ...row, id: "${DELEGATE_ID}" });
const statement = answering(row);
statement.bind = (...values) => values.includes("${DELEGATE_ID}") ? delegate : statement;
const queue = { send: async () => {}, sendBatch: async () => {} };
const rate = { limit: async () => ({ success: true }) };
const DB = { prepare: () => statement, batch: async (all) => all.map(({ result }) => result), withSession: () => DB };
const REVOCATIONS = { get: async () => null, put: async () => {}, delete: async () => {} };
let env;
export default {
  fetch(request, bound, context) {
    env ??= { DB, AUDIT_DB: DB, AUDIT_ARCHIVE: {}, REVOCATIONS, ACTIVITY: queue, DELIVERIES: queue, UPSTREAM_TOKENS: {}, RATE_FREE: rate, RATE_PRO: rate,
      RATE_ENTERPRISE: rate, RATE_ADDRESS: rate, RATE_VERIFY: rate, RATE_10: rate,
      RATE_30: rate, RATE_120: rate, RATE_600: rate, RATE_3000: rate, ...bound };
    return worker.fetch(request, env, context);
  },
};
`;
  const modules = { "main.js": main, "index.js": script };
  return startWorkerd(`bare-${port}`, port, modules, settings(upstreamPort, extra), flags);
}

/** The deploy bundle with Miniflare's D1, KV, queues and rate limits, in a process of its own. */
export async function startMiniflare(
  port: number,
  options: {
    upstreamPort: number;
    persist?: string;
    settings?: Record<string, string>;
    wrap?: string;
    sql?: readonly string[];
  },
): Promise<Running> {
  const directory = options.persist ?? mkdtempSync(temporary("miniflare-"));
  const job = temporary(`miniflare-${port}.json`);
  const ready = `${job}.ready`;
  rmSync(ready, { force: true });
  writeFileSync(
    job,
    JSON.stringify({
      port,
      persist: directory,
      script: bundle(),
      wrap: options.wrap,
      sql: options.sql ?? [],
      ready,
      bindings: settings(options.upstreamPort, options.settings),
    }),
  );
  const running = await start(process.execPath, [join(import.meta.dirname, "miniflare.ts"), job], port);
  for (let i = 0; i < 2400 && !existsSync(ready); i++) await sleep(50);
  if (!existsSync(ready)) throw new Error("Miniflare did not become ready within two minutes");
  return running;
}

/** The deploy bundle on Node with better-sqlite3 in the place of D1: the same storage as the Node peers have. */
export function startOnNode(port: number, hmacAtOnce = false): Promise<Running> {
  const file = temporary(`ours-on-node-${port}.mjs`);
  writeFileSync(file, bundle());
  const database = join(mkdtempSync(temporary("ours-on-node-")), "database.sqlite");
  const ours = { bundle: file, database, settings: settings(0), hmacAtOnce };
  const script = join(import.meta.dirname, "peers/ours-on-node.ts");
  return start(process.execPath, [script, String(port)], port, {
    BENCH_OURS: JSON.stringify(ours),
    NODE_ENV: "production",
  });
}

/** Access tokens as the service signs them, for agents and sessions that exist where they are used. */
export async function accessTokens(
  count: number,
  alg: "ES256" | "RS256" = "ES256",
  jwk = signingKey,
): Promise<string[]> {
  const key = await importJWK({ ...jwk }, alg);
  return Promise.all(Array.from({ length: count }, (_, index) => sign({}, `bench-${index}`, key, alg, jwk.kid)));
}

/** One access token with these claims, in place of those that {@link accessTokens} have. Its signature has the lower s, as the service's have. */
export async function accessToken(claims: JWTPayload = {}): Promise<string> {
  const key = await importJWK({ ...signingKey }, "ES256");
  return withLowS(await sign(claims, `bench-${crypto.randomUUID()}`, key, "ES256", signingKey.kid));
}

function sign(claims: JWTPayload, id: string, key: CryptoKey | Uint8Array, alg: string, kid: string): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  const all = { client_id: AGENT_ID, scope: PERMISSIONS.join(" "), tier: "enterprise", sid: SESSION_ID, ...claims };
  return new SignJWT(all)
    .setProtectedHeader({ alg, typ: "at+jwt", kid })
    .setIssuer(ISSUER)
    .setSubject(AGENT_ID)
    .setAudience(ISSUER)
    .setIssuedAt(now - 10)
    .setExpirationTime(now + 3600)
    .setJti(`${id}-${now}`)
    .sign(key);
}

/** Rows that make {@link accessTokens} good in a real D1. */
export const STANDING_SQL = [
  `INSERT INTO agents (id, name, owner_email, permissions, status, tier, created_at, updated_at) VALUES ('${AGENT_ID}', 'bench', 'bench@example.com', '${JSON.stringify(PERMISSIONS)}', 'active', 'enterprise', 0, 0)`,
  `INSERT INTO refresh_families (id, agent_id, issued_at, expires_at) VALUES ('${SESSION_ID}', '${AGENT_ID}', 0, 9000000000000)`,
];
