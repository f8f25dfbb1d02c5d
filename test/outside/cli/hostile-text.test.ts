import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { COMMANDS } from "../../../src/cli/commands.ts";
import { keepCredential } from "../../../src/cli/credentials.ts";
import { run } from "../../../src/cli/run.ts";
import type { Terminal } from "../../../src/cli/terminal.ts";
import { SLOW } from "../../support/extents.ts";

/** The command against a deployment in which every text of every answer was written by somebody who means harm. */
const LINK = "\u001b]8;;https://evil.example.com\u0007click\u001b]8;;\u0007";
const HOSTILE = `a\u001b[2J${LINK}\u009b31m\r\nb\u202edcba\u2066\u200b\u{e0041}\u2028`;
/** What a terminal acts on, or a reader does not see; lines of a table end in \n. */
const ACTS = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069]|\u{e0041}/u; // oxlint-disable-line no-control-regex

interface Schema {
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly const?: unknown;
}

/** A value of a schema, with the hostile text for each text; lists have one entry, and end with the first page. */
function sample(schema: Schema, name = ""): unknown {
  if (name === "next_cursor") return null;
  if (name === "has_more") return false;
  const { type, properties = {}, additionalProperties, items, anyOf, oneOf } = schema;
  const alternatives = anyOf ?? oneOf;
  if (alternatives) return sample(alternatives.find((one) => one.type !== "null") ?? {}, name);
  const [kind] = [type ?? (schema.properties ? "object" : "string")].flat();
  if (kind === "object") {
    const more = typeof additionalProperties === "object" ? [[HOSTILE, sample(additionalProperties)]] : [];
    return Object.fromEntries([
      ...Object.entries(properties).map(([key, one]) => [key, sample(one, key)]),
      ...(Object.keys(properties).length === 0 && more.length === 0 ? [[HOSTILE, HOSTILE]] : more),
    ]);
  }
  if (kind === "array") return [sample(items ?? {})];
  if (kind === "boolean") return schema.const ?? true;
  return kind === "integer" || kind === "number" ? 1 : HOSTILE;
}

type Answers = Readonly<
  Record<string, { readonly content?: Readonly<Record<string, { readonly schema?: Schema }>> } | undefined>
>;
const { paths } = JSON.parse(readFileSync(join(import.meta.dirname, "../../../public/openapi.json"), "utf8")) as {
  paths: Readonly<Record<string, Readonly<Record<string, { readonly responses: Answers }>>>>;
};

/** What the API says that it answers, by the pattern of the path. */
function answerOf(method: string, path: string): unknown {
  const candidates = Object.entries(paths).filter(([pattern, operations]) => {
    const expression = `^${pattern.replace(/\{[^}]+\}/g, "[^/]+")}$`;
    return operations[method] && new RegExp(expression).test(path);
  });
  // An exact path goes before one with parameters.
  const [, operations] =
    candidates.toSorted(([one], [other]) => one.split("{").length - other.split("{").length)[0] ?? [];
  const { responses = {} } = operations?.[method] ?? {};
  const content = (responses["200"] ?? responses["201"])?.content?.["application/json"];
  return sample(content?.schema ?? {});
}

let home: string;
let server: Server;
let url: string;
let isFailing = false;

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), "agentauth-hostile-text-"));
  server = createServer((request, response) => {
    const path = new URL(request.url!, "http://localhost").pathname;
    response.writeHead(isFailing && !path.startsWith("/.well-known/") ? 403 : 200, {
      "content-type": "application/json",
    });
    const failure = {
      error: HOSTILE,
      message: HOSTILE,
      code: HOSTILE,
      request_id: HOSTILE,
      details: [{ field: HOSTILE, message: HOSTILE }],
    };
    const metadata = { issuer: `https://auth.example.com/${HOSTILE}` };
    const answer = path.startsWith("/.well-known/")
      ? metadata
      : isFailing
        ? failure
        : answerOf(request.method!.toLowerCase(), path);
    response.end(JSON.stringify(answer));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await keepCredential({ HOME: home }, url, {
    kind: "person",
    access_token: "pcl_of-a-test",
    expires_at: Date.now() + 3_600_000,
  });
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
  rmSync(home, { recursive: true, force: true });
});

/** Each command that speaks to a deployment and ends, with what it needs. */
const LINES: Readonly<Record<string, readonly string[]>> = {
  whoami: [],
  "agents list": [],
  "agents show": ["agt_1"],
  "agents register": ["--name", "Triage", "--owner", "ada@example.com", "--permission", "github:issues:read"],
  "agents approve": ["agt_1", "--yes"],
  "agents suspend": ["agt_1"],
  "agents revoke": ["agt_1", "--yes"],
  "agents grant": ["agt_1", "github:issues:write", "--where", '{"path.owner":"octo"}', "--dry-run"],
  "agents rotate": ["agt_1"],
  "keys list": ["agt_1"],
  "keys create": ["agt_1"],
  "keys delete": ["agt_1", "key_1", "--yes"],
  "sessions list": ["agt_1"],
  "sessions end": ["agt_1", "ses_1"],
  activity: ["agt_1"],
  "webhooks list": ["--all"],
  "webhooks show": ["whk_1"],
  "webhooks create": ["https://hooks.example.com/agentauth", "agent.revoked"],
  "webhooks events": [],
  "webhooks enable": ["whk_1"],
  "webhooks disable": ["whk_1"],
  "webhooks test": ["whk_1"],
  "webhooks rotate-secret": ["whk_1"],
  "webhooks delete": ["whk_1", "--yes"],
  "deliveries list": ["--failed"],
  "deliveries show": ["whk_1", "dlv_1"],
  "deliveries redeliver": ["whk_1", "dlv_1"],
  explain: ["github", "GET", "/repos/octo/hello/issues/5"],
  doctor: ["--check"],
};
/** They speak to no deployment, or keep what it says. */
const OTHERS = ["login", "logout", "import", "completion"];
/** They say what was done in words of their own. */
const SAY_NOTHING_OF_OTHERS = new Set(["agents grant", "webhooks enable", "webhooks disable"]);

async function agentauth(args: readonly string[], columns?: number) {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const env = { HOME: home, AGENTAUTH_URL: url };
  const terminal = { stdin: Readable.from([""]), stdout: Object.assign(stdout, { columns }), stderr, env };
  const options = { signal: new AbortController().signal, version: "0.0.0" };
  const code = await run(args, terminal as unknown as Terminal, options);
  return { code, stdout: String(stdout.read() ?? ""), stderr: String(stderr.read() ?? "") };
}

it("is tried with every command", () => {
  const names = COMMANDS.map(({ path }) => path.join(" "));
  expect([...Object.keys(LINES), ...OTHERS].toSorted()).toEqual(names.toSorted());
});

/** The commands that `npm test` tries: of one thing, of a list, and one that changes something. */
const FAST = new Set(["agents show", "activity", "webhooks enable"]);

describe.each(Object.entries(LINES))("%s", (name, rest) => {
  const words = [...name.split(" "), ...rest];
  const options = FAST.has(name) ? {} : SLOW;

  it("prints what others wrote as text, on any terminal and for programs", options, async () => {
    isFailing = false;
    for (const columns of [undefined, 200, 20]) {
      const { stdout, stderr } = await agentauth(words, columns);
      expect(stderr).not.toContain("agentauth: ");
      expect(stdout).not.toMatch(ACTS);
      expect(stderr).not.toMatch(ACTS);
      if (columns === undefined && !SAY_NOTHING_OF_OTHERS.has(name)) expect(stdout).toContain("\\u{202e}");
    }
    const { stdout, stderr } = await agentauth([...words, "--json"]);
    expect([stderr, stdout.match(ACTS)]).toEqual(["", null]);
    // The same value, for a program.
    expect(JSON.stringify(JSON.parse(stdout))).toContain(JSON.stringify(HOSTILE).slice(1, -1));
  });

  it("says what failed as text, and for programs as JSON on standard error", options, async () => {
    isFailing = true;
    const { code, stdout, stderr } = await agentauth(words);
    expect([stdout.match(ACTS), stderr.match(ACTS)]).toEqual([null, null]);
    if (name === "doctor") return;
    expect([code, stdout, stderr.startsWith("agentauth: a\\u{1b}[2J")]).toEqual([4, "", true]);
    const failed = await agentauth([...words, "--json"]);
    expect([failed.code, failed.stdout, failed.stderr.match(ACTS)]).toEqual([4, "", null]);
    expect(JSON.parse(failed.stderr)).toMatchObject({ error: HOSTILE, exit: 4, status: 403, request_id: HOSTILE });
  });
});
