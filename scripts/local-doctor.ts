import { spawn } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { parse, TomlError } from "smol-toml";
import type { Finding } from "../src/cli/finding.ts";
import { contradictions } from "../src/cli/contradictions.ts";
import { ConfigError, loadConfig, unknownSettings } from "../src/config/config.ts";
import { upstreamSettings } from "../src/config/upstream-settings.ts";
import { BUILT_IN_SERVICES } from "../src/policy/services.ts";
import { BASE_URL, DEV_VARS, localIssuer, PORT, readDevVars, ROOT, STATE_DIR } from "./local.ts";
import { newSecrets } from "./secrets.ts";
import { compileUpstreams, variableFaults } from "./upstreams.ts";

/**
 * Looks for faults of this clone, and prints them as JSON on one line: what `agentauth doctor --local` shows. Changes nothing.
 *
 * `node scripts/local-doctor.ts`
 */
const CONFIG = join(ROOT, "wrangler.toml");
const ok = (name: string, message: string): Finding => ({ name, state: "ok", message });
const fault = (name: string, message: string): Finding => ({ name, state: "fault", message });
const warning = (name: string, message: string): Finding => ({ name, state: "warning", message });

type Table = Readonly<Record<string, unknown>>;
const tableOf = (value: unknown): Table => (typeof value === "object" && value !== null ? (value as Table) : {});

function upstreams(): Finding[] {
  const { files, faults } = compileUpstreams();
  const all = faults.length > 0 ? faults : variableFaults(CONFIG, files);
  const count = Object.keys(files).length;
  return all.length > 0
    ? all.map((one) => fault("upstreams", one))
    : [ok("upstreams", `${count} ${count === 1 ? "file" : "files"} in upstreams/, without a fault.`)];
}

/** The settings of local development, as `npm start` would run with them, and the names in the environments that are deployed. */
function settings(): Finding[] {
  let document: Table;
  try {
    document = parse(readFileSync(CONFIG, "utf8"));
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [reason = ""] = error.message.replace(/^Invalid TOML document: /, "").split("\n");
    return [
      fault("wrangler.toml", `wrangler.toml:${error.line}: is not valid TOML (column ${error.column}): ${reason}.`),
    ];
  }
  const own = readDevVars();
  const declared: Record<string, unknown> = { ...tableOf(document.vars), ...own };
  const { files } = compileUpstreams();
  const services = new Set([...BUILT_IN_SERVICES.map(({ name }) => name), ...Object.keys(files), "sample"]);
  for (const name of upstreamSettings(declared).upstreams.keys()) services.add(name);
  const findings: Finding[] = [];
  // What is missing in .dev.vars, `npm start` makes.
  const env = { ...newSecrets(), ENVIRONMENT: "development", ...declared, ISSUER: localIssuer(own) };
  try {
    const { accessTokenTtl, refreshTokenTtl, refreshFamilyTtl } = loadConfig(env);
    const inForce = {
      ENVIRONMENT: "development",
      ACCESS_TOKEN_TTL_SECONDS: accessTokenTtl,
      REFRESH_TOKEN_TTL_SECONDS: refreshTokenTtl,
      REFRESH_FAMILY_TTL_SECONDS: refreshFamilyTtl,
    };
    findings.push(...contradictions(inForce, {}).map((one) => warning("settings", one)));
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    findings.push(...error.faults.map((one) => fault("settings", `${one} Correct it in .dev.vars or wrangler.toml.`)));
  }
  const places: [string, Table][] = [["[vars] of wrangler.toml, or .dev.vars", declared]];
  for (const [name, scope] of Object.entries(tableOf(document.env))) {
    places.push([`[env.${name}.vars] of wrangler.toml`, tableOf(tableOf(scope).vars)]);
  }
  for (const [place, vars] of places) {
    for (const name of upstreamSettings(vars).upstreams.keys()) services.add(name);
    for (const one of unknownSettings(vars, services)) {
      findings.push(warning("settings", `${one} Rename it or remove it in ${place}.`));
    }
  }
  return findings.length > 0
    ? findings
    : [ok("settings", "Every variable of wrangler.toml and .dev.vars is a setting, and none contradicts another.")];
}

function devVars(): Finding {
  if (!existsSync(DEV_VARS))
    return ok(".dev.vars", "It is not there yet: `npm start` makes it, with secrets of its own.");
  return (statSync(DEV_VARS).mode & 0o077) === 0
    ? ok(".dev.vars", "Only you may read it.")
    : warning(".dev.vars", "Others on this machine may read its secrets. Run `chmod 600 .dev.vars`.");
}

/** What wrangler prints. It is asked for both databases at once, because it takes a second to start. */
function wrangler(args: readonly string[]): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve) => {
    const env = { ...process.env, WRANGLER_SEND_METRICS: "false", WRANGLER_HIDE_BANNER: "true", NO_COLOR: "1" };
    const child = spawn(join(ROOT, "node_modules/.bin/wrangler"), args, {
      cwd: ROOT,
      env,
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (text: Buffer) => (output += text.toString()));
    child.once("error", ({ message }) => resolve({ code: null, output: message }));
    child.once("close", (code) => resolve({ code, output }));
  });
}

async function migrations(): Promise<Finding[]> {
  if (!existsSync(join(STATE_DIR, "v3/d1"))) {
    return [ok("state", `There is none in ${STATE_DIR} yet: \`npm start\` makes it.`)];
  }
  return Promise.all(
    ["DB", "AUDIT_DB"].map(async (database) => {
      const name = `migrations ${database}`;
      const place = ["--local", "--persist-to", STATE_DIR];
      const { code, output } = await wrangler(["d1", "migrations", "list", database, ...place]);
      if (code !== 0) {
        const reason =
          output
            .trim()
            .split("\n")
            .find((line) => line.includes("ERROR")) ?? output.trim().split("\n").at(-1);
        return fault(
          name,
          `wrangler could not read ${STATE_DIR}: ${reason}. If it is broken, delete the folder: \`npm start\` makes it anew, empty.`,
        );
      }
      const waiting = [...new Set(output.match(/\b\d{4}_\w+\.sql\b/g) ?? [])];
      return waiting.length === 0
        ? ok(name, "All are applied.")
        : warning(name, `Not applied yet: ${waiting.join(", ")}. \`npm start\` applies them.`);
    }),
  );
}

async function port(): Promise<Finding> {
  if (!Number.isInteger(PORT) || PORT < 1 || PORT > 65_534)
    return fault("port", "PORT must be a number from 1 to 65534.");
  const isFree = await new Promise<boolean>((resolve) => {
    const probe = createServer()
      .once("error", () => resolve(false))
      .once("listening", () => probe.close(() => resolve(true)))
      .listen(PORT, "127.0.0.1");
  });
  if (isFree) return ok("port", `${PORT} is free: \`npm start\` can use it.`);
  const options = { signal: AbortSignal.timeout(5000), redirect: "manual" } as const;
  const answer = await fetch(`${BASE_URL}/.well-known/oauth-authorization-server`, options)
    .then((response) => response.json() as Promise<{ issuer?: unknown }>)
    .catch(() => undefined);
  return typeof answer?.issuer === "string"
    ? ok("port", `AgentAuth runs at ${BASE_URL}. \`agentauth doctor --url ${BASE_URL}\` looks at it.`)
    : fault(
        "port",
        `Port ${PORT} is in use by another program. Stop what listens there, or choose another: PORT=8790 npm start.`,
      );
}

const findings = [
  ok("node", `Node ${process.versions.node} runs the scripts.`),
  devVars(),
  ...settings(),
  ...upstreams(),
];
findings.push(...(await migrations()), await port());
process.stdout.write(`\n${JSON.stringify(findings)}\n`);
