import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { fail, ROOT } from "./local.ts";
import { newSecrets } from "./secrets.ts";
import { deploy } from "./setup/deploy.ts";
import { addSecrets, BOOTSTRAP_TOKEN, planSecrets, readSecrets } from "./setup/secrets-file.ts";
import { readEnvironment, withIssuer, withNamespace, type Environment } from "./setup/wrangler-toml.ts";
import { Wrangler } from "./setup/wrangler.ts";

/**
 * Makes a deployment on Cloudflare, step by step, and brings one that exists up to date. Each step asks first what is there, so that the
 * command can be repeated: after a failure it goes on where it was. docs/deploy.md describes the steps.
 */
const USAGE = `
  npm run setup -- production --url https://agentauth.example.com --email you@example.com
  npm run setup -- production                  the same again: goes on, or brings it up to date
  npm run setup -- production --dry-run        prints the commands, and runs none

  --url URL           the public origin. Needed once; it is written to wrangler.toml
  --email ADDRESS     of the first administrator, for whom a sign-in link is made
  --secrets FILE      your own copy of the secrets; ENVIRONMENT.secrets unless it is named
  --config FILE       another wrangler.toml
  --no-conformance    does not check the deployment against the wire contract`;

/** What a dry run shows where the operator has not said yet what the public origin is. */
const EXAMPLE_ORIGIN = "https://agentauth.example.com";

/** How long a new address may take until it leads to the Worker, in milliseconds. */
const MAX_WAIT_MS = 180_000;

const { values: options, positionals } = readArguments();
const [name] = positionals;
if (name === undefined || positionals.length > 1) fail(`Say which environment of wrangler.toml.\n${USAGE}`);
const config = resolve(options.config ?? join(ROOT, "wrangler.toml"));
const secretsFile = resolve(options.secrets ?? join(ROOT, `${name}.secrets`));
const isDryRun = options["dry-run"] ?? false;
const wrangler = new Wrangler({ environment: name, isDryRun, config: options.config && config });
const environment = readConfig();
// Before anything is made, and not at the last step.
if (options.email !== undefined && !/^[^\s@]+@[^\s@]+$/.test(options.email))
  fail(`${options.email} is not an email address.`);

step("The public origin");
const issuer = writeIssuer();

step("The account");
checkAccount();

step("Two D1 databases, an R2 bucket, a KV namespace and the queues");
makeDatabases();
makeBuckets();
makeNamespaces();
makeQueues();
say("The Durable Object and the rate limits are made by the deployment itself.");

step("The secrets");
const deployedSecrets = listDeployedSecrets();
// A Worker that has no secrets is new, and so has no people; its database may have no tables yet.
let people = isDryRun || !deployedSecrets.has("SIGNING_KEYS") ? 0 : countPeople();
setSecrets();

step("The migrations, and then the Worker");
deploy(wrangler);

step("Whether it answers");
await waitUntilHealthy();

step("Whether it keeps the wire contract");
if (!isDryRun) people = countPeople();
checkConformance();

step("The first administrator");
await makeFirstAdministrator();

console.log(isDryRun ? "\nNothing was done." : `\n${name} is set up: ${issuer}`);

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        url: { type: "string" },
        email: { type: "string" },
        secrets: { type: "string" },
        config: { type: "string" },
        "dry-run": { type: "boolean" },
        "no-conformance": { type: "boolean" },
        help: { type: "boolean" },
      },
    });
  } catch (error) {
    return fail(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`);
  }
}

function readConfig(): Environment {
  if (options.help) fail(USAGE);
  if (!existsSync(config)) fail(`${config} does not exist.`);
  const found = readEnvironment(readFileSync(config, "utf8"), name!);
  return (
    found ??
    fail(
      `${relative(ROOT, config)} has no [env.${name}]. Copy [env.production] and its tables, and give them the name.`,
    )
  );
}

function step(title: string): void {
  console.log(`\n== ${title}`);
}

function say(sentence: string): void {
  console.log(`  ${sentence}`);
}

/** Returns the origin that wrangler.toml has, after writing there what the command line says. */
function writeIssuer(): string {
  const { url } = options;
  if (url === undefined) {
    if (environment.issuer === "") {
      if (!isDryRun) fail(`Say the public origin once: --url ${EXAMPLE_ORIGIN}\n${USAGE}`);
      say(`ISSUER of ${name} is not set yet. --url names it; ${EXAMPLE_ORIGIN} stands for it here.`);
      return EXAMPLE_ORIGIN;
    }
    say(`ISSUER is ${environment.issuer}.`);
    return environment.issuer;
  }
  const origin = toOrigin(url);
  if (environment.issuer === origin) {
    say(`ISSUER is ${origin} already.`);
  } else if (environment.issuer !== "") {
    fail(
      `ISSUER of ${name} is ${environment.issuer}. Another one ends every token, and clients would have to follow: change it in wrangler.toml by hand if you mean it.`,
    );
  } else {
    edit((text) => withIssuer(text, name!, origin), `ISSUER = "${origin}" to [env.${name}.vars]`);
  }
  return origin;
}

function toOrigin(url: string): string {
  const parsed = URL.parse(url);
  const isLoopback = parsed?.hostname === "127.0.0.1" || parsed?.hostname === "localhost";
  if (!parsed || !(parsed.protocol === "https:" || (parsed.protocol === "http:" && isLoopback))) {
    fail(`${url} is not an https URL.`);
  }
  if (parsed.origin !== url.replace(/\/$/, "")) fail(`${url} is not an origin: leave out everything after the host.`);
  return parsed.origin;
}

/** Changes wrangler.toml. @param what is written, for the operator who has to do it by hand if the file is written otherwise. */
function edit(change: (text: string) => string | undefined, what: string): void {
  say(`${isDryRun ? "Would write" : "Writes"} ${what} in ${relative(ROOT, config)}: commit the file.`);
  if (isDryRun) return;
  const text = change(readFileSync(config, "utf8"));
  if (text === undefined)
    fail(`${config} is not written as this command expects. Write ${what} yourself, and run it again.`);
  writeFileSync(config, text);
}

function checkAccount(): void {
  const asked = wrangler.ask(["whoami", "--json"], {
    dry: '{"accounts":[{"name":"(dry run)","id":""}]}',
    otherwise: { ifPrinted: /"loggedIn":\s*false|not logged in|not authenticated/i, value: '{"accounts":[]}' },
  });
  const { accounts } = JSON.parse(asked) as { accounts: { name: string; id: string }[] };
  const wanted = process.env.CLOUDFLARE_ACCOUNT_ID;
  const found = wanted === undefined ? accounts : accounts.filter(({ id }) => id === wanted);
  if (accounts.length === 0) fail("You are not logged in. Run `npx wrangler login`, or set CLOUDFLARE_API_TOKEN.");
  const [account] = found;
  if (!account) fail(`CLOUDFLARE_ACCOUNT_ID is none of your accounts:\n${listed(accounts)}`);
  if (found.length > 1)
    fail(`You have several accounts. Set CLOUDFLARE_ACCOUNT_ID to the id of one:\n${listed(accounts)}`);
  say(isDryRun ? "Would name the account." : `The account is ${account.name}.`);
}

const listed = (accounts: readonly { name: string; id: string }[]): string =>
  accounts.map((account) => `  ${account.id}  ${account.name}`).join("\n");

function makeDatabases(): void {
  const asked = wrangler.ask(["d1", "list", "--json"], { dry: "[]" });
  const there = (JSON.parse(asked) as { name: string }[]).map((database) => database.name);
  makeMissing(environment.databases, there, (database) => ["d1", "create", database]);
}

function makeBuckets(): void {
  const asked = wrangler.ask(["r2", "bucket", "list"], { dry: "" });
  const there = [...asked.matchAll(/^name:\s+(\S+)$/gm)].map(([, bucket]) => bucket!);
  makeMissing(environment.buckets, there, (bucket) => ["r2", "bucket", "create", bucket]);
}

function makeQueues(): void {
  const there = environment.queues.filter((queue) => {
    const missing = { ifPrinted: /does not exist/, value: "" };
    return wrangler.ask(["queues", "info", queue], { dry: "", otherwise: missing }) !== "";
  });
  makeMissing(environment.queues, there, (queue) => ["queues", "create", queue]);
}

function makeNamespaces(): void {
  const list = () =>
    JSON.parse(wrangler.ask(["kv", "namespace", "list"], { dry: "[]" })) as { id: string; title: string }[];
  for (const { binding, id } of environment.namespaces) {
    const before = list();
    if (id !== undefined && id !== "") {
      if (!isDryRun && !before.some((namespace) => namespace.id === id)) {
        fail(`The KV namespace ${id} of wrangler.toml is not in this account. Is it the right account?`);
      }
      say(`${binding} is there.`);
      continue;
    }
    // The name that `wrangler deploy` gives to one that it makes itself.
    const title = `${environment.worker}-${binding.toLowerCase().replaceAll("_", "-")}`;
    if (before.some((namespace) => namespace.title === title)) say(`${title} is there.`);
    else wrangler.change(["kv", "namespace", "create", title]);
    const made = list().find((namespace) => namespace.title === title);
    if (!made && !isDryRun) fail(`The KV namespace ${title} was made and is not listed. Run the same command again.`);
    const found = made?.id ?? "(its id)";
    edit((text) => withNamespace(text, name!, { binding, id: found }), `the id of ${binding} to [env.${name}]`);
  }
}

function makeMissing(needed: readonly string[], there: readonly string[], command: (name: string) => string[]): void {
  for (const one of needed) {
    if (there.includes(one)) say(`${one} is there.`);
    else wrangler.change(command(one));
  }
}

function listDeployedSecrets(): ReadonlySet<string> {
  const asked = wrangler.ask(["secret", "list", "--format=json"], {
    dry: "[]",
    otherwise: { ifPrinted: /Worker "[^"]*"(?: \(env: [^)]*\))? not found/, value: "[]" },
  });
  return new Set((JSON.parse(asked) as { name: string }[]).map((secret) => secret.name));
}

/** Makes what is missing, writes it to the operator's file first, and then sets it: no secret is set that the file does not have. */
function setSecrets(): void {
  const file = relative(process.cwd(), secretsFile);
  const fresh = newSecrets();
  const kept = readSecrets(secretsFile);
  const plan = planSecrets(Object.keys(fresh), deployedSecrets, new Set(Object.keys(kept)), people > 0);
  if (plan.make.length > 0) {
    say(`${isDryRun ? "Would make" : "Makes"} ${plan.make.join(", ")} in ${file}.`);
    say("Keep this file where you keep passwords: Cloudflare shows no secret again, and rotation needs it.");
    if (!isDryRun) addSecrets(secretsFile, Object.fromEntries(plan.make.map((secret) => [secret, fresh[secret]!])));
  }
  const now = isDryRun ? { ...fresh, ...kept } : readSecrets(secretsFile);
  const toSet = [...plan.make, ...plan.set];
  if (toSet.length > 0) {
    const text = JSON.stringify(Object.fromEntries(toSet.map((secret) => [secret, now[secret]])));
    wrangler.change(["secret", "bulk"], { text, name: toSet.join(", ") });
  } else {
    say("All are set.");
  }
  if (plan.onlyDeployed.length > 0) {
    say(`${plan.onlyDeployed.join(", ")}: set, and not in ${file}. Whoever set them has the copy that rotation needs.`);
  }
}

function countPeople(): number {
  const command = "SELECT count(*) AS people FROM people";
  const asked = wrangler.ask(["d1", "execute", "DB", "--remote", "--json", "--command", command], {
    dry: "[]",
    // A database that an earlier run has made and not migrated.
    otherwise: { ifPrinted: /no such table/, value: '[{"results":[{"people":0}]}]' },
  });
  const [answer] = JSON.parse(asked) as { results: { people: number }[] }[];
  return answer?.results[0]?.people ?? 0;
}

async function waitUntilHealthy(): Promise<void> {
  say(`GET ${issuer}/health`);
  if (isDryRun) return;
  let last = "nothing answers";
  for (const until = Date.now() + MAX_WAIT_MS; Date.now() < until;) {
    try {
      const response = await fetch(`${issuer}/health`, { signal: AbortSignal.timeout(10_000), redirect: "manual" });
      if (response.ok) return say("It is healthy.");
      last = `${response.status} ${(await response.text()).slice(0, 500)}`;
    } catch (error) {
      last = error instanceof Error ? `${error.message} ${String(error.cause ?? "")}` : String(error);
    }
    await new Promise((done) => setTimeout(done, 2000));
  }
  fail(
    `${issuer}/health is not healthy after ${MAX_WAIT_MS / 1000} s: ${last}\nRun the same command again when it is.`,
  );
}

/** Runs the conformance suite, which registers agents, and for this needs the bootstrap token or an administrator's key. */
function checkConformance(): void {
  if (options["no-conformance"]) return say("Left out: --no-conformance.");
  const { AGENTAUTH_AGENT_ID, AGENTAUTH_API_KEY } = process.env;
  const hasKey = Boolean(AGENTAUTH_AGENT_ID && AGENTAUTH_API_KEY);
  const token = readSecrets(secretsFile)[BOOTSTRAP_TOKEN];
  const tokenWorks = people === 0 || environment.keepsBootstrapToken;
  if (!hasKey && !(tokenWorks && token) && !isDryRun) {
    return say(
      "Left out: people administer the deployment, so that the bootstrap token registers no agents. Set AGENTAUTH_AGENT_ID and AGENTAUTH_API_KEY of an administrator agent whose tier is enterprise, and run this again.",
    );
  }
  console.log(`  $ npm run conformance -- ${issuer}`);
  if (isDryRun) return;
  const { status } = spawnSync(process.execPath, [join(ROOT, "scripts/conformance.ts"), issuer], {
    cwd: ROOT,
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, ...(!hasKey && { ADMIN_BOOTSTRAP_TOKEN: token }) },
  });
  if (status !== 0)
    fail("The deployment does not keep the wire contract. `npx wrangler rollback` leads back to the former version.");
}

async function makeFirstAdministrator(): Promise<void> {
  if (people > 0) {
    say("There is one.");
    removeBootstrapToken();
    return;
  }
  const { email } = options;
  if (email === undefined) {
    say("Nobody administers the deployment yet. Run the same command with --email you@example.com for a sign-in link.");
    return;
  }
  say(`POST ${issuer}/people/bootstrap`);
  if (isDryRun) return;
  const token = readSecrets(secretsFile)[BOOTSTRAP_TOKEN];
  if (!token) fail(`${secretsFile} has no ${BOOTSTRAP_TOKEN}, which makes the first person.`);
  const response = await fetch(`${issuer}/people/bootstrap`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({ email }),
    redirect: "manual",
  });
  const body = (await response.json()) as { message?: string; link?: { url: string } };
  if (response.status !== 201 || !body.link) fail(`The first person was not made: ${response.status} ${body.message}`);
  say(`${body.message}`);
  console.log(`\n    ${body.link.url}\n`);
  people = 1;
  removeBootstrapToken();
}

/** Once there is a person, the bootstrap token does nothing, unless BOOTSTRAP is "keep": a secret that does nothing is not kept. */
function removeBootstrapToken(): void {
  if (environment.keepsBootstrapToken) return;
  if (!listDeployedSecrets().has(BOOTSTRAP_TOKEN)) return;
  wrangler.change(["secret", "delete", BOOTSTRAP_TOKEN]);
}
