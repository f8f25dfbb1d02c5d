import { spawn, type ChildProcess } from "node:child_process";
import { accessSync, constants, mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { unknownSettings } from "../src/config/config.ts";
import { upstreamSettings } from "../src/config/upstream-settings.ts";
import { BUILT_IN_SERVICES } from "../src/policy/services.ts";
import { declaredSettings } from "./declared-settings.ts";
import { BASE_URL, fail, localIssuer, PORT, readDevVars, ROOT, SAMPLE_URL_FILE, STATE_DIR } from "./local.ts";
import { migrateLocally } from "./local-migrations.ts";
import { SAMPLE_RULES, startSampleUpstream } from "./sample-upstream.ts";
import { completeDevVars } from "./secrets.ts";
import { compileUpstreams } from "./upstreams.ts";

const QUIET = { WRANGLER_SEND_METRICS: "false", WRANGLER_HIDE_BANNER: "true", CLOUDFLARE_CF_FETCH_ENABLED: "false" };
const env = { ...process.env, ...QUIET };

if (!Number.isInteger(PORT) || PORT < 1 || PORT > 65_534) fail("PORT must be a number from 1 to 65534.");
await assertFree(PORT);
for (const [folder, advice] of [
  [STATE_DIR, "Name a folder that you may write to: STATE_DIR=/tmp/agentauth npm start"],
  [ROOT, "Clone the repository to a folder that you may write to."],
] as const) {
  try {
    mkdirSync(folder, { recursive: true });
    accessSync(folder, constants.W_OK);
  } catch (error) {
    fail(`${folder} cannot be written to (${(error as Error).message}). ${advice}`);
  }
}

const made = completeDevVars();
if (made.length > 0) console.log(`Made local secrets and settings in .dev.vars: ${made.join(", ")}`);

await migrateLocally(STATE_DIR).catch((error: Error) =>
  fail(`The migrations could not be applied to the databases in ${STATE_DIR}: ${error.message}`),
);

const { files, faults } = compileUpstreams();
if (faults.length > 0) fail(faults.join("\n"));
const vars = readDevVars();
const issuer = localIssuer(vars);
const services = new Set([...BUILT_IN_SERVICES.map(({ name }) => name), ...Object.keys(files), "sample"]);
for (const name of upstreamSettings(declaredSettings()).upstreams.keys()) services.add(name);
for (const warning of unknownSettings(declaredSettings(), services)) console.warn(`Warning: ${warning}`);

const sample = await startSampleUpstream(vars.UPSTREAM_SAMPLE_TOKEN ?? "");
writeFileSync(SAMPLE_URL_FILE, sample.url);
const sampleUpstream = JSON.stringify({ base_url: sample.url, ...SAMPLE_RULES });

const worker: ChildProcess = spawn(
  "wrangler",
  [
    "dev",
    `--ip=127.0.0.1`,
    `--port=${PORT}`,
    "--inspector-port=0",
    // A route in wrangler.toml would otherwise become the host of every request, and development refuses other hosts.
    "--infer-origin-from-routes=false",
    `--persist-to=${STATE_DIR}`,
    "--show-interactive-dev-session=false",
    "--log-level=warn",
    "--var",
    `ISSUER:${issuer}`,
    "--var",
    `UPSTREAMS.sample:${sampleUpstream}`,
  ],
  { cwd: ROOT, env, stdio: ["ignore", "inherit", "inherit"] },
);

let stopping = false;
function stop(code: number): void {
  if (stopping) return;
  stopping = true;
  sample.server.close();
  worker.once("exit", () => process.exit(code));
  if (worker.exitCode !== null) process.exit(code);
  worker.kill("SIGTERM");
  setTimeout(() => process.exit(code), 5000).unref();
}
process.once("SIGINT", () => stop(0));
process.once("SIGTERM", () => stop(0));
// A signal to npm ends npm and its shell, which do not pass it on.
const shell = process.ppid;
if (process.env.npm_lifecycle_event === "start") setInterval(() => process.ppid !== shell && stop(0), 500).unref();
worker.once("exit", (code) => {
  if (!stopping) fail(`The gateway stopped (exit code ${code}). What it printed above says why.`);
});

if (await ready()) {
  // Cloudflare runs the cron triggers; here this process does, every minute as wrangler.toml says.
  setInterval(() => void fetch(`${BASE_URL}/cdn-cgi/local/scheduled`).catch(() => undefined), 60_000).unref();
  console.log(`
  AgentAuth is running at ${issuer} (ISSUER); ${BASE_URL} serves the same API
  The sample upstream behind it: ${issuer}/proxy/sample (directly: ${sample.url})

  The admin's way in: the bootstrap token in .dev.vars (ADMIN_BOOTSTRAP_TOKEN), as a Bearer on
    POST ${issuer}/agents/register  {"name", "owner_email", "permissions": ["*:*:*"]}

  The first administrator who is a person signs in with the link that this makes, once:
    ${inSameSurroundings("npm run --silent first-person -- you@example.com")}

  Next: run  ${inSameSurroundings("npm run demo")}  in another terminal. API reference: ${issuer}/docs
  Stop with Ctrl-C. State is kept in ${STATE_DIR}.
`);
}

/** A command for another terminal, with the settings that this one was started with. */
function inSameSurroundings(command: string): string {
  const { PORT: port, STATE_DIR: folder } = process.env;
  const settings = [port && `PORT=${port}`, folder && `STATE_DIR='${folder}'`].filter(Boolean);
  // `env` sets variables in every shell.
  return settings.length > 0 ? `env ${settings.join(" ")} ${command}` : command;
}

/** Waits until the gateway is healthy. Returns false, after printing the reason, if it cannot become healthy. */
async function ready(): Promise<boolean> {
  for (let i = 0; i < 1200; i++) {
    if (stopping) return false;
    if (i === 120) console.log("Still starting. A busy machine can need some minutes; Ctrl-C stops it.");
    const answer = await fetch(`${BASE_URL}/health`).catch(() => undefined);
    if (answer?.ok) return true;
    if (answer?.status === 503) {
      const body = (await answer.json()) as { details?: { message: string }[] };
      if (body.details) {
        console.error(`\n${body.details.map(({ message }) => message).join("\n")}\n`);
        stop(1);
        return false;
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  console.error(
    "\nThe gateway did not become healthy within five minutes. What it printed above, or a quieter machine, may help.\n",
  );
  stop(1);
  return false;
}

function assertFree(port: number): Promise<void> {
  return new Promise((resolve) => {
    const probe = createServer()
      .once("error", () =>
        fail(`Port ${port} is in use. Stop what listens there, or choose another: PORT=8790 npm start`),
      )
      .once("listening", () => probe.close(() => resolve()))
      .listen(port, "127.0.0.1");
  });
}
