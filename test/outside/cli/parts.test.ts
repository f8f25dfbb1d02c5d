import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { describe, expect, it, onTestFinished } from "vitest";
import { parseArguments, readTime, refuseSecrets } from "../../../src/cli/arguments.ts";
import { COMMANDS } from "../../../src/cli/commands.ts";
import { contradictions } from "../../../src/cli/contradictions.ts";
import { parseCsv } from "../../../src/cli/csv.ts";
import { EXAMPLES } from "../../../src/cli/examples.ts";
import { readExport } from "../../../src/cli/export-file.ts";
import { helpOf } from "../../../src/cli/help.ts";
import { COMMON, OPTIONS } from "../../../src/cli/options.ts";
import { run } from "../../../src/cli/run.ts";
import { table } from "../../../src/cli/table.ts";
import type { Terminal } from "../../../src/cli/terminal.ts";
import { visible, visibleJson, widthOf } from "../../../src/cli/visible.ts";
import { SLOW } from "../../support/extents.ts";
import { readPage } from "../support/markdown.ts";

describe("hostile text", () => {
  const hostile = "a\u001b[2J\u001b]0;owned\u0007\u009b31m\r\nb\u202edcba\u2066\u200b\u{e0041}\u2028";

  it("does nothing to a terminal: what acts or is not seen is escaped", () => {
    expect(visible(hostile)).toBe(
      "a\\u{1b}[2J\\u{1b}]0;owned\\u{7}\\u{9b}31m\\r\\nb\\u{202e}dcba\\u{2066}\\u{200b}\\u{e0041}\\u{2028}",
    );
    expect(visible("Zoë 李 🙂 naïve")).toBe("Zoë 李 🙂 naïve");
  });

  it("stays the same value in JSON, and is escaped there as well", () => {
    const printed = visibleJson({ name: hostile }, 2);
    expect(JSON.parse(printed)).toEqual({ name: hostile });
    // oxlint-disable-next-line no-control-regex
    expect(printed).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b\u2028\u202e\u2066]/);
  });

  it("does not move the columns of a table", () => {
    const lines = table(
      ["ID", "NAME"],
      [
        ["李李", hostile],
        ["x", null],
      ],
    ).split("\n");
    expect(lines).toHaveLength(3);
    expect(lines[2]).toBe("x     -");
    expect(lines.map((line) => widthOf(line.slice(0, line.search(/NAME|a\\u|-/))))).toEqual([6, 6, 6]);
  });

  it("is cut where the terminal ends", () => {
    const [, line = ""] = table(["ID", "NAME"], [["1", "n".repeat(200)]], 40).split("\n");
    expect(widthOf(line)).toBe(40);
    expect(line.endsWith("…")).toBe(true);
  });

  it("is cut in the widest columns of a narrow terminal, and an id never", () => {
    const id = "agt_0123456789abcdefghijkl";
    const row = [id, "n".repeat(60), "o".repeat(80), "active"];
    for (const columns of [120, 80, 60]) {
      const [head = "", line = ""] = table(["ID", "NAME", "OWNER", "STATUS"], [row], columns).split("\n");
      expect([widthOf(line), line.startsWith(`${id}  n`), line.endsWith("  active")]).toEqual([columns, true, true]);
      expect(widthOf(head)).toBeLessThanOrEqual(columns);
    }
    // Too narrow for that: the terminal breaks the line.
    const [, line = ""] = table(["ID", "NAME", "OWNER", "STATUS"], [row], 20).split("\n");
    expect(line).toBe(`${id}  ${"n".repeat(9)}…  ${"o".repeat(9)}…  active`);
  });
});

describe("arguments", () => {
  it("take options before, between and after the words", () => {
    const { words, values } = parseArguments(["--failed", "deliveries", "--limit", "5", "redeliver"], OPTIONS);
    expect([words, values.has("failed"), values.text("limit")]).toEqual([["deliveries", "redeliver"], true, "5"]);
  });

  it.each([
    ["an unknown option", ["agents", "--nope"]],
    ["a value that is missing", ["agents", "--limit"]],
    ["a value of a switch", ["agents", "--json=yes"]],
  ])("refuse %s", (_, argv) => {
    expect(() => parseArguments(argv, OPTIONS)).toThrow(/agentauth help/);
  });

  it.each([
    `ak_${"a".repeat(49)}`,
    `--id=ak_${"a".repeat(49)}`,
    `pcl_${"a".repeat(43)}`,
    `rt_${"a".repeat(43)}`,
    `whsec_${"a".repeat(43)}`,
    "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln",
  ])("hold no secret: %s", (secret) => {
    let message = "";
    try {
      refuseSecrets(["login", secret]);
    } catch (error) {
      ({ message } = error as Error);
    }
    expect(message).toContain("Rotate it");
    expect(message).not.toContain(secret);
  });

  it("take times from now, and RFC 3339", () => {
    const now = Date.parse("2026-11-23T10:00:00Z");
    expect(readTime("15m", "since", now)).toBe("2026-11-23T09:45:00.000Z");
    expect(readTime("2026-11-22T10:00:00+02:00", "since", now)).toBe("2026-11-22T08:00:00.000Z");
    for (const wrong of ["15", "m15", "yesterday", "2026-13-45", "1e3s"]) {
      expect(() => readTime(wrong, "since", now)).toThrow(/--since/);
    }
  });
});

describe("an export", () => {
  it("is read as JSON lines, JSON and CSV, with lists as each writes them", () => {
    const agent = {
      source: "7",
      name: "Reader",
      owner_email: "a@example.com",
      permissions: ["github:repos:read", "github:issues:read"],
      description: undefined,
      tier: "pro",
      status: "active",
    };
    const entry = { id: 7, name: "Reader", email: "a@example.com", api_key_hash: "x", plan: "pro" };
    const list = agent.permissions;
    const lines = readExport(`${JSON.stringify({ ...entry, permissions: list })}\n\n`, "jsonl");
    expect(lines).toEqual({ agents: [{ place: "line 1", ...agent }], faults: [], revoked: 0 });
    const whole = readExport(JSON.stringify({ agents: [{ ...entry, permissions: JSON.stringify(list) }] }), "json");
    expect(whole.agents).toEqual([{ place: "entry 1", ...agent }]);
    const csv = `\ufeffid,name,owner_email,permissions,tier\r\n7,Reader,a@example.com,"{github:repos:read,""github:issues:read""}",pro\r\n`;
    expect(readExport(csv, "csv").agents).toEqual([{ place: "row 1", ...agent }]);
  });

  it("names what cannot be imported, and leaves out what was revoked", () => {
    const base = { name: "Reader", owner_email: "a@example.com" };
    const entries = [
      { ...base, id: "1" },
      { ...base, id: "1" },
      { ...base, id: "2", status: "revoked" },
      { ...base, id: "3", name: "x" },
      { ...base, id: "4", owner_email: "nobody" },
      { ...base, id: "5", permissions: 5 },
      { ...base, id: "6", tier: "gold" },
      "text",
    ];
    const { agents, faults, revoked } = readExport(JSON.stringify(entries), "json");
    expect([agents.map(({ source }) => source), revoked]).toEqual([["1"], 1]);
    expect(faults.map(({ place, message }) => `${place} ${message}`)).toEqual([
      "entry 2 has the same agent as entry 1",
      "entry 4 name must be a text of 3 to 100 characters",
      "entry 5 owner_email must be an address",
      "entry 6 permissions must be a list, or a text with commas between",
      "entry 7 tier must be free, pro, enterprise",
      "entry 8 is not a JSON object",
    ]);
  });

  it("of CSV may have commas, quotes and line breaks in its fields", () => {
    expect(parseCsv('a,b\n"1,\n""2""",3\n\n')).toEqual([
      ["a", "b"],
      ['1,\n"2"', "3"],
    ]);
    expect(() => parseCsv('a\n"open')).toThrow(SyntaxError);
    expect(() => parseCsv('a\nx"y')).toThrow(SyntaxError);
  });
});

describe("settings that contradict each other", () => {
  const sound = { ENVIRONMENT: "production", REGISTRATION: "approval", CORS_ORIGINS: ["https://a.example.com"] };

  it.each([
    [{ REFRESH_TOKEN_TTL_SECONDS: 10, REFRESH_FAMILY_TTL_SECONDS: 5 }, /^REFRESH_TOKEN_TTL_SECONDS is longer/, true],
    [{ ACCESS_TOKEN_TTL_SECONDS: 10, REFRESH_TOKEN_TTL_SECONDS: 5, REFRESH_FAMILY_TTL_SECONDS: 5 }, /^ACCESS_/, true],
    [{ REGISTRATION: "open" }, /^REGISTRATION is open/, false],
    [{ CORS_ORIGINS: ["*"] }, /^CORS_ORIGINS has \*/, false],
    [{ BOOTSTRAP: "keep" }, /^BOOTSTRAP is keep/, false],
  ] as const)("are named with what to do: %j", (settings, sentence, isForDevelopment) => {
    const secrets = { ADMIN_BOOTSTRAP_TOKEN: 1 };
    expect(contradictions({ ...sound, ...settings }, secrets)).toEqual([expect.stringMatching(sentence)]);
    const here = { ...sound, ...settings, ENVIRONMENT: "development" };
    expect(contradictions(here, secrets)).toHaveLength(isForDevelopment ? 1 : 0);
    expect(contradictions(sound, secrets)).toEqual([]);
  });
});

/** Python makes the pseudo terminal: Node cannot. */
const ON_TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
const hasTerminal = spawnSync("python3", ["-c", "import pty"]).status === 0;
const hasZsh = spawnSync("zsh", ["--version"]).status === 0;
if (!hasZsh) console.warn("SKIPPED: completion in zsh. There is no zsh here.");

it.skipIf(!hasZsh)(
  "completion loads in a zsh that has not begun completion by itself, and Tab completes",
  SLOW,
  async () => {
    const stdout = new PassThrough();
    const terminal = { stdout, stderr: stdout, env: {} } as unknown as Terminal;
    await run(["completion", "zsh"], terminal, { signal: new AbortController().signal, version: "0.0.0" });
    const home = mkdtempSync(join(tmpdir(), "agentauth-zsh-"));
    onTestFinished(() => rmSync(home, { recursive: true, force: true }));
    const file = join(home, "completion.zsh");
    // In the place of the command, a function that says what it was called with.
    writeFileSync(file, `${String(stdout.read())}\nagentauth() { print -r -- "called with <$*>" }\n`);
    const loaded = spawnSync("zsh", ["-f", "-c", `source ${file}\nprint -r -- $_comps[agentauth]`], {
      encoding: "utf8",
      timeout: 300_000,
    });
    expect([loaded.stdout, loaded.stderr]).toEqual([expect.stringMatching(/_bash_complete .*_agentauth\n$/), ""]);
    if (!hasTerminal) return;
    // The shell reads its keys in their order: nothing has to be waited for.
    const keys = [
      `source ${file}`,
      "agentauth age\t lis\t --sta\t ina\t",
      "agentauth deliveries list --fai\t",
      "agentauth comp\t z\t",
      "exit",
    ];
    const typed = spawnSync("python3", ["-c", ON_TERMINAL, "zsh", "-f", "-i"], {
      encoding: "utf8",
      timeout: 300_000,
      input: `${keys.join("\n")}\n`,
      env: { PATH: process.env.PATH, HOME: home, TERM: "dumb" } as unknown as NodeJS.ProcessEnv,
    });
    expect([...typed.stdout.matchAll(/^called with <(.*)>/gm)].map(([, words]) => words!.trim())).toEqual([
      "agents list --status inactive",
      "deliveries list --failed",
      "completion zsh",
    ]);
  },
);

describe("the help", () => {
  it.each(COMMANDS.map((command) => [command.path.join(" "), command] as const))(
    "of %s has an example, which is used as it says",
    (name, command) => {
      expect(EXAMPLES).toHaveProperty([name]);
      const example = `${name} ${EXAMPLES[name]}`.trim();
      expect(helpOf(command)).toContain(`\n  agentauth ${example}\n`);
      const argv = example.match(/'[^']*'|\S+/g)!.map((word) => word.replace(/^'|'$/g, ""));
      const { words, given } = parseArguments(argv, OPTIONS);
      const rest = words.slice(command.path.length);
      expect([words.slice(0, command.path.length), [...command.options, ...COMMON]]).toEqual([
        command.path,
        expect.arrayContaining([...given]),
      ]);
      expect(rest.length).toBeGreaterThanOrEqual(command.words.min);
      expect(rest.length).toBeLessThanOrEqual(command.words.max);
    },
  );
});

describe("the page of the command", () => {
  it("has every command and every exit code", () => {
    const spans = readPage("docs/cli.md").rows.flat();
    for (const { path, takes } of COMMANDS)
      expect(spans).toContain(`\`${[...path, takes].filter(Boolean).join(" ")}\``);
  });

  it("has every option, and every option belongs to a command", () => {
    const used = new Set([...COMMON, ...COMMANDS.flatMap(({ options }) => options), "version"]);
    expect(new Set(Object.keys(OPTIONS))).toEqual(used);
  });
});
