import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { basename, relative, resolve } from "node:path";
import { parseEnv } from "node:util";
import { KeyStepError, promote, publish, retire, type KeySet } from "./key-set.ts";
import { DEV_VARS, fail } from "./local.ts";
import { ONLY_PEPPER_ID } from "../src/crypto/pepper.ts";
import { envLine, newEncryptionKey, newPepper, newSecrets, newSigningKey } from "./secrets.ts";

/**
 * Makes a deployment's secrets, and rotates its keys in the file that keeps them (`NAME='value'` lines, as
 * `wrangler secret bulk` reads them). Cloudflare never shows a secret again: the file is the operator's own copy.
 */
const USAGE = `
  npm run --silent keys -- new production.secrets       make a deployment's secrets
  npm run --silent keys -- show [FILE]                  which keys there are, and what each does
  npm run --silent keys -- publish KIND [FILE]          1. add a fresh key, in use by none
  npm run --silent keys -- promote KIND [FILE]          2. use it; the old one stays good
  npm run --silent keys -- retire KIND [FILE]           3. drop the old one

KIND is "signing", "webhook", "data" or "pepper", FILE is .dev.vars unless it is named.
docs/operations.md says how long to wait between the steps.`;

const KINDS = {
  signing: { setting: "SIGNING_KEYS", fresh: newSigningKey, id: "kid", use: "signs" },
  webhook: { setting: "WEBHOOK_KEYS", fresh: newEncryptionKey, id: "kid", use: "encrypts" },
  data: { setting: "DATA_KEYS", fresh: newEncryptionKey, id: "kid", use: "encrypts" },
  pepper: { setting: "SECRET_PEPPER", fresh: newPepper, id: "id", use: "derives" },
} as const;

type Kind = (typeof KINDS)[keyof typeof KINDS];
type AnyKey = Partial<Record<"kid" | "id", string>> & { readonly superseded?: true };

const [command = "", ...rest] = process.argv.slice(2);

if (command === "new") make(rest[0]);
else if (command === "show") show(fileOf(rest[0]));
else if (command === "publish" || command === "promote" || command === "retire")
  step(command, rest[0], fileOf(rest[1]));
else fail(USAGE);

function make(path: string | undefined): void {
  if (path === undefined) fail(`Say where to write them.\n${USAGE}`);
  const file = resolve(path);
  if (existsSync(file)) fail(`${path} exists. Its secrets may be in use: choose another name, or rotate its keys.`);
  const secrets = newSecrets();
  write(
    file,
    Object.entries(secrets)
      .map(([name, value]) => envLine(name, value))
      .join(""),
  );
  console.log(`Made ${Object.keys(secrets).join(", ")} in ${path}.
Set them:                  npx wrangler secret bulk ${path} --env ${environmentOf(file)}
Then keep the file where you keep passwords: Cloudflare does not show a secret again, and rotation needs it.`);
}

function show(file: string): void {
  const vars = read(file);
  for (const [name, kind] of Object.entries(KINDS)) {
    const { setting, use, id } = kind;
    if (vars[setting] === undefined) {
      console.log(
        `${setting}  is missing: \`npm run keys -- publish ${name} ${relative(process.cwd(), file)}\` makes it`,
      );
      continue;
    }
    keySet(vars, kind, file).keys.forEach((key, index) => {
      const role =
        index === 0 ? use : key.superseded ? "was in use, still good: to be retired" : "published, not in use yet";
      console.log(`${setting}  ${key[id]}  ${role}`);
    });
  }
}

function step(name: "publish" | "promote" | "retire", kind: string | undefined, file: string): void {
  if (kind !== "signing" && kind !== "webhook" && kind !== "data" && kind !== "pepper") {
    fail(`KIND is missing.\n${USAGE}`);
  }
  const { setting, fresh } = KINDS[kind];
  const vars = read(file);
  try {
    if (name === "publish" && vars[setting] === undefined) {
      // A file that was made before this kind existed. The first key of a kind is in use at once.
      append(file, setting, JSON.stringify({ keys: [fresh()] }));
    } else {
      const before = keySet(vars, KINDS[kind], file);
      const after = name === "publish" ? publish<AnyKey>(before, fresh()) : { promote, retire }[name](before);
      replace(file, setting, JSON.stringify(after));
    }
  } catch (error) {
    if (error instanceof KeyStepError) fail(error.message);
    throw error;
  }
  show(file);
  console.log(
    `\nNext: ${file === DEV_VARS ? "restart `npm start`" : `npx wrangler secret bulk ${relative(process.cwd(), file)} --env ${environmentOf(file)}`}`,
  );
}

/** `staging.secrets` is the file of staging. */
const environmentOf = (file: string): string => /^(\w+)\.secrets$/.exec(basename(file))?.[1] ?? "production";

function fileOf(path: string | undefined): string {
  return path === undefined ? DEV_VARS : resolve(path);
}

function read(file: string): Record<string, string | undefined> {
  if (!existsSync(file))
    fail(`${basename(file)} is not there. \`npm start\` makes .dev.vars; \`keys -- new FILE\` any other.`);
  return parseEnv(readFileSync(file, "utf8"));
}

function keySet(vars: Record<string, string | undefined>, { setting, id }: Kind, file: string): KeySet<AnyKey> {
  const value = vars[setting] ?? "";
  // One string is a set of one key, which the Worker calls by this id.
  if (id === "id" && value !== "" && !value.startsWith("{")) {
    return { keys: [{ id: ONLY_PEPPER_ID, secret: value } as AnyKey] };
  }
  try {
    const set = JSON.parse(value) as KeySet<AnyKey>;
    if (Array.isArray(set.keys) && set.keys.every((key) => typeof key[id] === "string")) return set;
  } catch {
    // Reported below: the text itself is a secret.
  }
  return fail(`${basename(file)} has no ${setting} that can be read.`);
}

/** Every other line stays as it is. */
function replace(file: string, setting: string, value: string): void {
  const lines = readFileSync(file, "utf8").split("\n");
  const at = lines.findIndex((line) => line.startsWith(`${setting}=`));
  if (at < 0) fail(`${basename(file)} has no line that begins with ${setting}= : nothing was changed.`);
  lines[at] = envLine(setting, value).trimEnd();
  write(file, lines.join("\n"));
}

function append(file: string, setting: string, value: string): void {
  const text = readFileSync(file, "utf8");
  write(file, `${text}${text.endsWith("\n") || text === "" ? "" : "\n"}${envLine(setting, value)}`);
}

function write(file: string, text: string): void {
  try {
    writeFileSync(file, text, { mode: 0o600 });
  } catch (error) {
    fail(`${file} cannot be written: ${error instanceof Error ? error.message : String(error)}`);
  }
}
