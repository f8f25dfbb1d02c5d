// @module-tag slow
import { execFile, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SAMPLE_RULES, startSampleUpstream } from "../../scripts/sample-upstream.ts";
import { readPage } from "./support/markdown.ts";
import { startWorker, type Worker } from "./support/worker.ts";

/** What README and the pages let people paste is the same in the shells that people use. */
const ROOT = join(import.meta.dirname, "../..");
const SHELLS = ["bash", "zsh", "fish"].filter((shell) => {
  const isThere = spawnSync(shell, ["-c", "true"]).status === 0;
  if (!isThere) console.warn(`SKIPPED: ${shell} is not installed. What README shows is not tried in it.`);
  return isThere;
});
const PAGES = [
  "README.md",
  "CONTRIBUTING.md",
  ...readdirSync(join(ROOT, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
];
const run = promisify(execFile);

describe.each(SHELLS)("in %s", (shell) => {
  it("every block `sh` of every page is a script", () => {
    const blocks = PAGES.flatMap((page) =>
      readPage(page)
        .codes("sh")
        .map((text) => ({ page, text })),
    );
    expect(blocks.length).toBeGreaterThan(30);
    const folder = mkdtempSync(join(tmpdir(), "agentauth-shells-"));
    try {
      const faults = blocks.flatMap(({ page, text }, index) => {
        const file = join(folder, String(index));
        writeFileSync(file, `${text}\n`);
        const { status, stderr } = spawnSync(shell, ["-n", file], { encoding: "utf8" });
        return status === 0 ? [] : [`${page}: ${text}\n${stderr}`];
      });
      expect(faults).toEqual([]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("README's command that deploys is the dry run of a deployment", async () => {
    const command = readPage("README.md").codes("sh").at(-1)!;
    expect(command).toMatch(/^npm run setup -- production .*\S$/);
    const { stdout } = await run(shell, ["-c", `${command} --dry-run`], { cwd: ROOT });
    expect(stdout).toContain("POST https://agentauth.example.com/people/bootstrap");
    expect(stdout).toContain("Nothing was done.");
  });
});

describe("the quick start", () => {
  let worker: Worker;
  let sample: Awaited<ReturnType<typeof startSampleUpstream>>;

  beforeAll(async () => {
    sample = await startSampleUpstream("sample-credential");
    worker = await startWorker({
      "UPSTREAMS.sample": JSON.stringify({ base_url: sample.url, ...SAMPLE_RULES }),
      UPSTREAM_SAMPLE_TOKEN: "sample-credential",
    });
  });
  afterAll(async () => {
    await worker?.stop();
    sample?.server.close();
  });

  it.each(SHELLS)("ends as it says in %s", async (shell) => {
    const script = readPage("docs/quick-start.md").code("sh").replaceAll("http://127.0.0.1:8787", worker.url);
    const cwd = mkdtempSync(join(tmpdir(), "agentauth-shells-"));
    try {
      const { stdout, stderr } = await run(shell, ["-c", script], { cwd });
      const answers = stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line));
      expect(answers).toMatchObject([
        { id: 1, item: "lamp" },
        { status: 403, required: "sample:orders:write" },
        { records: [{}, {}] },
        { success: true },
        { status: 401, code: "token_revoked" },
      ]);
      expect(stderr).toBe("");
    } finally {
      rmSync(cwd, { recursive: true });
    }
  });
});
