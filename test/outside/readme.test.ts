import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { promisify } from "node:util";
import { afterAll, describe, expect, it } from "vitest";
import { MAX_COLUMNS, narrowMarkdown } from "../../scripts/narrow-markdown.ts";
import { SAMPLE_RULES, startSampleUpstream } from "../../scripts/sample-upstream.ts";
import { SLOW } from "../support/extents.ts";
import { readPage } from "./support/markdown.ts";
import { keysOfObject, nodesOf } from "./support/source.ts";
import { startWorker, type Worker } from "./support/worker.ts";

/** README and the pages that it leads to say what is: their commands run, their lists are the code's. */
const ROOT = join(import.meta.dirname, "../..");
const read = (name: string) => readFileSync(join(ROOT, name), "utf8");
const readme = readPage("README.md");
const quickStart = readPage("docs/quick-start.md");
const run = promisify(execFile);

describe("the five minutes", () => {
  let worker: Worker | undefined;
  let sample: Awaited<ReturnType<typeof startSampleUpstream>> | undefined;
  afterAll(async () => {
    await worker?.stop();
    sample?.server.close();
  });

  it("are what they show", SLOW, async () => {
    sample = await startSampleUpstream("sample-credential");
    worker = await startWorker({
      "UPSTREAMS.sample": JSON.stringify({ base_url: sample.url, ...SAMPLE_RULES }),
      UPSTREAM_SAMPLE_TOKEN: "sample-credential",
    });
    const script = quickStart.code("sh").replaceAll("http://127.0.0.1:8787", worker.url);
    const cwd = mkdtempSync(join(tmpdir(), "agentauth-five-"));
    try {
      const { stdout } = await run("bash", ["-euo", "pipefail", "-c", script], { cwd });
      const [order, denied, audit, ended, after] = stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line));
      expect(order).toEqual({ id: 1, item: "lamp" });
      expect(denied).toMatchObject({ status: 403, required: "sample:orders:write", granted: ["sample:orders:read"] });
      expect(audit.records.map(({ outcome }: { outcome: string }) => outcome).toSorted()).toEqual([
        "denied",
        "success",
      ]);
      expect(ended.success).toBe(true);
      expect(after).toMatchObject({ status: 401, code: "token_revoked" });
    } finally {
      rmSync(cwd, { recursive: true });
    }
  });

  it("mean the same in bash, zsh and fish: no variables, no functions, nothing between double quotes that a shell reads", () => {
    const commands = quickStart.code("sh").replaceAll(/'[^']*'/g, "''");
    expect(commands.match(/[$`!{}]|^\w+=/gm)).toBeNull();
  });

  it("in TypeScript are files, which test/outside/client/package.test.ts runs", () => {
    expect(`${quickStart.code("ts")}\n`).toBe(read("examples/quick-start.ts"));
    expect(`${readme.code("ts")}\n`).toBe(read("examples/first-call.ts"));
  });
});

describe("the lists", () => {
  it("have every setting", () => {
    const names = keysOfObject(nodesOf("src/config/config.ts"), "settings");
    expect(names.length).toBeGreaterThan(15);
    const listed = [...read("docs/configuration.md").matchAll(/^- `([\w.<>]+)` \(/gm)].map(([, name]) => name);
    expect(listed).toEqual(expect.arrayContaining([...names, "UPSTREAMS.<name>", "UPSTREAM_<NAME>_TOKEN"]));
  });
});

const documents = ["", "docs/", "bench/", "vendor/"].flatMap((folder) =>
  readdirSync(join(ROOT, folder))
    .filter((name) => name.endsWith(".md"))
    .map((name) => folder + name),
);

describe("README and the other documents", () => {
  it("link to files and to headings that exist", () => {
    expect(documents).toEqual(expect.arrayContaining(["README.md", "CONTRIBUTING.md", "docs/gateway.md"]));
    const missing = documents.flatMap((document) =>
      readPage(document)
        .links.filter((link) => !/^(?:https?:|mailto:)/.test(link))
        .filter((link) => {
          const [path = "", heading] = link.split("#");
          const file = path === "" ? document : relative(ROOT, join(ROOT, document, "..", path));
          if (!existsSync(join(ROOT, file))) return true;
          return (
            heading !== undefined && file.endsWith(".md") && !readPage(file).headings.map(anchorOf).includes(heading)
          );
        })
        .map((link) => `${document}: ${link}`),
    );
    expect(missing).toEqual([]);
  });

  it("link to other sites by https, and to the RFC that the text names", () => {
    const links = documents.flatMap((document) =>
      [...read(document).matchAll(/\[([^\]]+)\]\((http[^)\s]+)\)/g)].map(([, text, url]) => ({
        document,
        url: url!,
        named: /\bRFC\s+(\d+)/.exec(text!)?.[1],
        linked: /\brfc(\d+)/.exec(url!)?.[1],
      })),
    );
    expect(links.length).toBeGreaterThan(10);
    expect(links.filter(({ url }) => !url.startsWith("https://"))).toEqual([]);
    expect(links.filter(({ named }) => named !== undefined).length).toBeGreaterThan(3);
    expect(links.filter(({ named, linked }) => named !== linked)).toEqual([]);
  });

  it("install the SDK from a clone: in a registry its name is nobody's, or somebody else's", () => {
    const installing = /npm:agentauth|(?:npm (?:install|i)|npx|pnpm add|yarn add) (?:-\S+ )*agentauth\b(?!-\d)/g;
    const from = documents.flatMap((document) => read(document).match(installing) ?? []);
    // It runs what `npm ci` has linked in the clone, and never asks a registry.
    expect(from.filter((one) => one !== "npx --no-install agentauth")).toEqual([]);
    expect(read("docs/sdk.md")).toContain("npm pack ./dist/npm ");
  });

  it("name commands that exist", () => {
    const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
    const unknown = documents.flatMap((document) =>
      [...read(document).matchAll(/npm run (?:--silent )?([\w:-]+)/g)]
        .filter(([, name]) => !Object.hasOwn(scripts, name!))
        .map(([command]) => `${document}: ${command}`),
    );
    expect(unknown).toEqual([]);
    const workflow = read("examples/github-deploy.yml");
    for (const [, name] of workflow.matchAll(/npm run ([\w:-]+)/g)) expect(scripts).toHaveProperty(name!);
  });
});

it.each(documents.filter((name) => name === "README.md" || name.startsWith("docs/")))(
  "%s is at most 100 columns wide: `npm run narrow` wraps it, tables included",
  async (document) => {
    expect(
      read(document)
        .split("\n")
        .filter((line) => [...line].length > MAX_COLUMNS),
    ).toEqual([]);
    // It is as it writes it: a second run changes nothing.
    expect(await narrowMarkdown(read(document))).toBe(read(document));
  },
);

it("README is one screen: what it is, how to start it, five lines, seven points, where to go", () => {
  expect(read("README.md").split("\n").length).toBeLessThan(90);
  expect(read("README.md").match(/^- \*\*\w+\.\*\*/gm)).toHaveLength(7);
});

it("README shows the console, in a picture of at most 150 KB that says what it shows", () => {
  const [, alt, path] = /^!\[(.*)\]\((.*)\)$/m.exec(read("README.md"))!;
  expect(alt!.length).toBeGreaterThan(40);
  const picture = readFileSync(join(ROOT, path!));
  expect(picture.subarray(1, 4).toString()).toBe("PNG");
  // Its width, in the header of the file.
  expect(picture.readUInt32BE(16)).toBe(1440);
  expect(picture.length).toBeLessThanOrEqual(150_000);
});

it("docs/transcript.md, which README links to, shows README's commands and those of the quick start, and nothing of a machine", () => {
  const transcript = readPage("docs/transcript.md");
  const shown = transcript.codes("console").join("\n");
  const [start, setup] = readme.codes("sh");
  const commands = [...start!.split(" && "), quickStart.code("sh"), "npm run demo", `${setup} --dry-run`];
  expect(commands.filter((command) => !`${shown}\n`.includes(`$ ${command}\n`))).toEqual([]);
  expect(shown).toContain('{"id":1,"item":"lamp"}');
  expect(shown).toContain("Everything was as it says.");
  expect(shown).toContain("Nothing was done.");
  expect(shown).not.toMatch(/\/tmp\/|\/root\/|eyJ|registry|\b(?:sk|psl|boot)_\w{8}/);
  expect(readme.links).toContain("docs/transcript.md");
  expect(quickStart.links).toContain("transcript.md");
});

/** The anchor that GitHub gives to a heading. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");
}
