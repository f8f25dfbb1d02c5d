// @module-tag slow
import { spawn, spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { transformSync } from "esbuild";
import { parse } from "smol-toml";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { newSecrets } from "../../scripts/secrets.ts";
import { addSecrets, planSecrets } from "../../scripts/setup/secrets-file.ts";
import { withIssuer, withNamespace } from "../../scripts/setup/wrangler-toml.ts";
import { testSecrets } from "../support/secrets.ts";
import { startWorker, type Worker } from "./support/worker.ts";
import { SLOW } from "../support/extents.ts";

/** `npm run setup` as an operator runs it, with a program in place of wrangler, and a Worker of this machine in place of Cloudflare's. */
const ROOT = join(import.meta.dirname, "../..");
const folder = mkdtempSync(join(tmpdir(), "agentauth-setup-"));
const config = join(folder, "wrangler.toml");
const secrets = join(folder, "production.secrets");
let worker: Worker;

beforeAll(async () => {
  worker = await startWorker();
  mkdirSync(join(folder, "bin"));
  for (const name of ["wrangler", "vitest"]) {
    // Without its types: a run of the command starts it twenty times.
    const script = join(folder, `${name}.mjs`);
    const source = readFileSync(join(ROOT, `test/outside/support/fake-${name}.ts`), "utf8");
    writeFileSync(script, transformSync(source, { loader: "ts" }).code);
    writeFileSync(join(folder, "bin", name), `#!/bin/sh\nexec "${process.execPath}" "${script}" "$@"\n`);
    chmodSync(join(folder, "bin", name), 0o755);
  }
});
afterAll(async () => {
  await worker?.stop();
  rmSync(folder, { recursive: true });
});

const EMPTY = {
  loggedIn: true,
  databases: [] as string[],
  buckets: [] as string[],
  namespaces: [] as { id: string; title: string }[],
  queues: [] as string[],
  secrets: undefined as Record<string, string> | undefined,
  migrated: [] as string[],
  deployments: 0,
  people: 0,
};
const account = () => JSON.parse(readFileSync(join(folder, "account.json"), "utf8")) as typeof EMPTY;
const setAccount = (state: object) => writeFileSync(join(folder, "account.json"), JSON.stringify(state));
const log = () =>
  readFileSync(join(folder, "log.jsonl"), "utf8")
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as { args: string[]; input: string });
const commands = () => log().map(({ args }) => args.filter((arg) => !/^--(?:env|config)=/.test(arg)).join(" "));

/** An account that has nothing yet, and a configuration that nothing has been written to. */
function beginAnew(): void {
  setAccount(EMPTY);
  writeFileSync(join(folder, "log.jsonl"), "");
  writeFileSync(config, readFileSync(join(ROOT, "wrangler.toml"), "utf8"));
  rmSync(secrets, { force: true });
}
beforeEach(beginAnew);

/** Runs the command. The bootstrap token of the file is that of the Worker that answers. */
async function setup(
  args: string[],
  env: Record<string, string> = {},
): Promise<{ code: number | null; output: string }> {
  const child = spawn(
    process.execPath,
    [join(ROOT, "scripts/setup.ts"), "production", `--config=${config}`, `--secrets=${secrets}`, ...args],
    {
      cwd: folder,
      env: {
        ...process.env,
        PATH: `${folder}/bin:${process.env.PATH}`,
        FAKE_WRANGLER: folder,
        CLOUDFLARE_ACCOUNT_ID: undefined,
        ...env,
      },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  let output = "";
  child.stdout.on("data", (chunk) => (output += chunk));
  child.stderr.on("data", (chunk) => (output += chunk));
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { code, output };
}

const withKnownToken = () => addSecrets(secrets, { ADMIN_BOOTSTRAP_TOKEN: testSecrets.ADMIN_BOOTSTRAP_TOKEN });
const names = Object.keys(newSecrets());

describe("npm run setup", () => {
  it("makes everything that wrangler.toml names, migrates, deploys, checks, and hands out the first administrator's link", async () => {
    withKnownToken();
    const { code, output } = await setup([`--url=${worker.url}`, "--email=first@example.com"]);
    expect([code, output]).toEqual([0, expect.stringContaining("production is set up")]);
    expect(account()).toMatchObject({
      databases: ["agentauth", "agentauth-audit"],
      buckets: ["agentauth-audit"],
      namespaces: [{ title: "agentauth-revocations" }],
      migrated: ["DB", "AUDIT_DB"],
      deployments: 1,
    });
    expect(account().queues.toSorted()).toEqual([
      "agentauth-activity",
      "agentauth-activity-dead",
      "agentauth-deliveries",
      "agentauth-deliveries-dead",
    ]);
    // The Worker is deployed onto migrated databases and with its secrets, and checked before anybody administers it.
    const ran = commands();
    const order = [
      "secret bulk",
      "d1 migrations apply DB --remote",
      "d1 migrations apply AUDIT_DB --remote",
      "deploy",
      "vitest run --project conformance",
      "secret delete ADMIN_BOOTSTRAP_TOKEN",
    ];
    expect(ran.filter((command) => order.includes(command))).toEqual(order);
    for (const { args } of log().filter(({ args: [first] }) => first !== "vitest")) {
      expect(args).toContain(args[0] === "kv" ? "--env=" : "--env=production");
    }

    const written = parse(readFileSync(config, "utf8")) as {
      env: { production: { vars: object; kv_namespaces: object[] } };
    };
    expect(written.env.production.vars).toMatchObject({ ISSUER: worker.url });
    expect(written.env.production.kv_namespaces).toEqual([{ binding: "REVOCATIONS", id: account().namespaces[0]!.id }]);

    const [, link] = /(http:\S+\/sign-in#link=\S+)/.exec(output)!;
    expect(new URL(link!).port).toBe(String(worker.port));
    expect(await worker.sql("SELECT email, role FROM people")).toEqual([{ email: "first@example.com", role: "admin" }]);
    await worker.sql("DELETE FROM people");
  });

  it("goes on where it failed, with the secrets that it made, and the second time makes nothing", async () => {
    const failed = await setup([`--url=${worker.url}`, "--no-conformance"], {
      FAKE_WRANGLER_FAILS: "d1 migrations apply AUDIT_DB",
    });
    expect(failed.code).toBe(1);
    expect(failed.output).toContain("wrangler d1 migrations apply failed. What was done before stands.");
    expect(account()).toMatchObject({ deployments: 0, migrated: ["DB"] });
    const made = account().secrets!;
    // No secret is shown, or an argument of a command. The operator's copy is for its owner only.
    expect(Object.keys(made).toSorted()).toEqual(names.toSorted());
    const shown = failed.output + JSON.stringify(log().map(({ args }) => args));
    for (const value of Object.values(made)) expect(shown).not.toContain(value);
    expect(statSync(secrets).mode & 0o777).toBe(0o600);
    const file = readFileSync(secrets, "utf8");
    for (const [name, value] of Object.entries(made)) expect(file).toContain(`${name}='${value}'\n`);

    expect((await setup(["--no-conformance"])).code).toBe(0);
    expect(account()).toMatchObject({ deployments: 1, secrets: made });

    writeFileSync(join(folder, "log.jsonl"), "");
    const again = await setup(["--no-conformance"]);
    expect(again.code).toBe(0);
    expect(account().secrets).toEqual(made);
    const changes = commands().filter((command) => /create|bulk|delete/.test(command));
    expect(changes).toEqual([]);
    expect(account().deployments).toBe(2);
  });

  it("fails in every other step as well, and says which", SLOW, async () => {
    for (const step of [
      "whoami",
      "r2 bucket list",
      "d1 create",
      "kv namespace create",
      "queues info",
      "secret list",
      "secret bulk",
      "deploy",
    ]) {
      beginAnew();
      const { code, output } = await setup([`--url=${worker.url}`, "--no-conformance"], { FAKE_WRANGLER_FAILS: step });
      expect([step, code]).toEqual([step, 1]);
      expect(output).toContain(`wrangler ${step.split(" ").slice(0, 3).join(" ")}`);
      expect(account().deployments).toBe(0);
    }
    expect((await setup(["--no-conformance"])).code).toBe(0);
  });

  it("prints the commands of a dry run, and runs none", async () => {
    const { code, output } = await setup(["--url=https://auth.example.com", "--email=first@example.com", "--dry-run"]);
    expect(code).toBe(0);
    expect(log()).toEqual([]);
    for (const command of [
      "d1 create agentauth-audit",
      "queues create agentauth-deliveries-dead",
      "secret bulk",
      "d1 migrations apply AUDIT_DB --remote",
      "deploy",
    ]) {
      expect(output).toContain(`$ npx wrangler ${command} --env=production`);
    }
    expect(output).toContain("$ npm run conformance -- https://auth.example.com");
    expect(readFileSync(config, "utf8")).toBe(readFileSync(join(ROOT, "wrangler.toml"), "utf8"));
    // The origin need not be known yet.
    const before = await setup(["--dry-run"]);
    expect([before.code, before.output]).toEqual([0, expect.stringContaining("--url names it")]);
  });

  it("makes no bootstrap token where people administer the deployment, and takes an old one away", SLOW, async () => {
    const { ADMIN_BOOTSTRAP_TOKEN: _, ...others } = newSecrets();
    setAccount({ ...EMPTY, secrets: others, migrated: ["DB"], people: 2 });
    const { code, output } = await setup([`--url=${worker.url}`]);
    expect(code).toBe(0);
    expect(account().secrets).toEqual(others);
    expect(output).toContain("Set AGENTAUTH_AGENT_ID and AGENTAUTH_API_KEY of an administrator agent");
    expect(output).toContain("SIGNING_KEYS, WEBHOOK_KEYS");

    setAccount({ ...account(), secrets: { ...others, ADMIN_BOOTSTRAP_TOKEN: "boot_old" } });
    const checked = await setup([], { AGENTAUTH_AGENT_ID: "agt_1", AGENTAUTH_API_KEY: "ak_1" });
    expect(account().secrets).toEqual(others);
    expect([checked.code, commands().at(-3)]).toEqual([0, "vitest run --project conformance"]);
  });

  it.each([
    [["--email=first@example.com"], EMPTY, "--url https://agentauth.example.com"],
    [["--url=http://auth.example.com"], EMPTY, "is not an https URL"],
    [["--url=https://auth.example.com/login"], EMPTY, "leave out everything after the host"],
    [["--url=https://auth.example.com"], { ...EMPTY, loggedIn: false }, "npx wrangler login"],
    [["--url=https://auth.example.com", "--email=first"], EMPTY, "first is not an email address"],
    [["--urls=https://auth.example.com"], EMPTY, "Unknown option '--urls'"],
  ])("with %j says what to do", async (args, state, sentence) => {
    setAccount(state);
    const { code, output } = await setup(args);
    expect([code, output]).toEqual([1, expect.stringContaining(sentence)]);
    expect(commands().filter((command) => command !== "whoami --json")).toEqual([]);
  });
});

describe("what it writes to wrangler.toml", () => {
  const toml = readFileSync(join(ROOT, "wrangler.toml"), "utf8");

  it("is of one environment, and an address of one's own becomes its route", () => {
    const written = withIssuer(toml, "staging", "https://staging.auth.example.com")!;
    const { env, vars } = parse(written) as { env: Record<string, Record<string, unknown>>; vars: object };
    expect(env.staging).toMatchObject({
      workers_dev: false,
      routes: [{ pattern: "staging.auth.example.com", custom_domain: true }],
      vars: { ISSUER: "https://staging.auth.example.com" },
    });
    expect([env.production, vars]).toEqual([
      (parse(toml) as { env: typeof env }).env.production,
      { ISSUER: "", REGISTRATION: "approval" },
    ]);
    const below = parse(withIssuer(toml, "staging", "https://agentauth-staging.acme.workers.dev")!) as {
      env: typeof env;
    };
    expect(below.env.staging).toMatchObject({ workers_dev: true });
    expect(below.env.staging).not.toHaveProperty("routes");
    const again = withNamespace(withNamespace(toml, "production", { binding: "REVOCATIONS", id: "a" })!, "production", {
      binding: "REVOCATIONS",
      id: "b",
    })!;
    expect((parse(again) as { env: typeof env }).env.production!.kv_namespaces).toEqual([
      { binding: "REVOCATIONS", id: "b" },
    ]);
  });

  it("is nothing if the file is written otherwise", () => {
    expect(withIssuer('[env.production]\nname = "x"\n', "production", "https://a.example.com")).toBeUndefined();
    expect(withNamespace(toml, "elsewhere", { binding: "REVOCATIONS", id: "a" })).toBeUndefined();
  });
});

it("a secret that is deployed is never made again", () => {
  const plan = planSecrets(["A", "B", "C", "ADMIN_BOOTSTRAP_TOKEN"], new Set(["A", "B"]), new Set(["A", "C"]), false);
  expect(plan).toEqual({ make: ["ADMIN_BOOTSTRAP_TOKEN"], set: ["C"], onlyDeployed: ["B"] });
});

it("npm run deploy applies the migrations first", () => {
  const { stdout, status } = spawnSync(process.execPath, [join(ROOT, "scripts/deploy.ts"), "production", "--dry-run"], {
    encoding: "utf8",
  });
  expect(status).toBe(0);
  expect(stdout.match(/wrangler .*/g)).toEqual([
    "wrangler d1 migrations apply DB --remote --env=production",
    "wrangler d1 migrations apply AUDIT_DB --remote --env=production",
    "wrangler deploy --env=production",
  ]);
});
