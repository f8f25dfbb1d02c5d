import { appendFileSync, readFileSync, writeFileSync } from "node:fs";

/**
 * Stands in for `wrangler` in the test of `npm run setup`: a program of its own that keeps an account in a file, and answers with the
 * texts and exit codes of wrangler 4.155.0. Each command is written to a log, with what it read from its standard input.
 *
 * `FAKE_WRANGLER` names the folder of `account.json` and `log.jsonl`. `FAKE_WRANGLER_FAILS` is the beginning of a command that fails.
 */
interface Account {
  loggedIn: boolean;
  databases: string[];
  buckets: string[];
  namespaces: { id: string; title: string }[];
  queues: string[];
  /** Undefined until there is a Worker. */
  secrets?: Record<string, string>;
  migrated: string[];
  deployments: number;
  people: number;
}

const folder = process.env.FAKE_WRANGLER!;
const account = JSON.parse(readFileSync(`${folder}/account.json`, "utf8")) as Account;
const args = process.argv.slice(2).filter((arg) => !/^--(?:env|config)=/.test(arg));
const environment = process.argv.find((arg) => arg.startsWith("--env="))?.slice("--env=".length);
const command = args.filter((arg) => !arg.startsWith("--")).join(" ");
// Only this command reads it; for others, reading would wait for whoever holds it open.
const input = command === "secret bulk" ? readFileSync(0, "utf8") : "";
appendFileSync(`${folder}/log.jsonl`, `${JSON.stringify({ args: process.argv.slice(2), input })}\n`);

const fails = process.env.FAKE_WRANGLER_FAILS;
if (fails && command.startsWith(fails)) {
  console.error("✘ [ERROR] A request to the Cloudflare API failed.\n\n  Internal error [code: 10013]");
  process.exit(1);
}

const [one, two, three, four] = command.split(" ");
const create = (list: string[], name: string): void => {
  if (list.includes(name)) error(`${name} already exists [code: 10004]`);
  list.push(name);
  console.log(`✅ Created ${name}`);
};

switch (true) {
  case command === "whoami": {
    const accounts = [{ name: "Example", id: "0123456789abcdef0123456789abcdef" }];
    console.log(JSON.stringify(account.loggedIn ? { loggedIn: true, accounts } : { loggedIn: false }, null, 2));
    if (!account.loggedIn) process.exit(1);
    break;
  }
  case command === "d1 list":
    console.log(JSON.stringify(account.databases.map((name) => ({ uuid: crypto.randomUUID(), name }))));
    break;
  case command.startsWith("d1 create "):
    create(account.databases, three!);
    break;
  case command === "r2 bucket list":
    console.log("Listing buckets...");
    console.log(account.buckets.map((name) => `name:           ${name}\ncreation_date:  2026-11-26`).join("\n\n"));
    break;
  case command.startsWith("r2 bucket create "):
    create(account.buckets, four!);
    break;
  case command === "kv namespace list":
    console.log(JSON.stringify(account.namespaces));
    break;
  case command.startsWith("kv namespace create "):
    account.namespaces.push({
      id: crypto.randomUUID().replaceAll("-", ""),
      title: `${environment ? `${environment}-` : ""}${four}`,
    });
    break;
  case command.startsWith("queues info "):
    if (!account.queues.includes(three!))
      error(`Queue "${three}" does not exist. To create it, run: wrangler queues create ${three}`);
    console.log(`Queue Name: ${three}\nNumber of Consumers: 0`);
    break;
  case command.startsWith("queues create "):
    create(account.queues, three!);
    break;
  case command === "secret list":
    if (!account.secrets)
      error(
        `Worker "agentauth" (env: production) not found.\n\nIf this is a new Worker, run \`wrangler deploy\` first to create it.`,
      );
    console.log(JSON.stringify(Object.keys(account.secrets).map((name) => ({ name, type: "secret_text" }))));
    break;
  case command === "secret bulk":
    account.secrets = { ...account.secrets, ...(JSON.parse(input) as Record<string, string>) };
    break;
  case command.startsWith("secret delete "):
    delete account.secrets?.[three!];
    break;
  case command.startsWith("d1 migrations apply "):
    account.migrated.push(four!);
    break;
  case command.startsWith("d1 execute DB "):
    if (!account.migrated.includes("DB")) error("no such table: people: SQLITE_ERROR");
    console.log(JSON.stringify([{ results: [{ people: account.people }], success: true }]));
    break;
  case command === "deploy":
    account.deployments += 1;
    break;
  default:
    error(`Unknown arguments: ${one} ${two}`);
}
writeFileSync(`${folder}/account.json`, JSON.stringify(account));

function error(message: string): never {
  console.error(`✘ [ERROR] ${message}`);
  process.exit(1);
}
