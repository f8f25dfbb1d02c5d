// @module-tag slow
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

/** `npm run new -- service`, in a copy of the repository. */
const ROOT = join(import.meta.dirname, "../..");
const copy = mkdtempSync(join(tmpdir(), "agentauth-new-"));
/** What is not needed, or is large. `node_modules` is linked. */
const LEFT_OUT = new Set([".git", ".wrangler", ".dev.vars", "bench", "coverage", "dist", "node_modules", "python"]);

const run = (...args: string[]) => spawnSync("node", args, { cwd: copy, encoding: "utf8" });
const read = (name: string) => readFileSync(join(copy, name), "utf8");
const replaceIn = (name: string, from: string, to: string) => {
  expect(read(name)).toContain(from);
  writeFileSync(join(copy, name), read(name).replace(from, to));
};

/** The failures of the tests that hold the built-in services, as their messages say them. */
function failures(): string[] {
  const report = join(copy, "report.json");
  run(
    "node_modules/vitest/vitest.mjs",
    "run",
    "--project=outside",
    "--reporter=json",
    `--outputFile.json=${report}`,
    "test/outside/built-in-services.test.ts",
    "test/outside/operations.test.ts",
  );
  const { testResults } = JSON.parse(readFileSync(report, "utf8")) as {
    testResults: { assertionResults: { status: string; failureMessages?: string[] }[] }[];
  };
  const results = testResults.flatMap(({ assertionResults }) => assertionResults);
  expect(results.length).toBeGreaterThan(40);
  return results.filter(({ status }) => status === "failed").map(({ failureMessages }) => failureMessages![0]!);
}

beforeAll(() => {
  for (const name of readdirSync(ROOT).filter((one) => !LEFT_OUT.has(one))) {
    const filter = (path: string) => !relative(ROOT, path).includes("node_modules");
    cpSync(join(ROOT, name), join(copy, name), { recursive: true, filter });
  }
  symlinkSync(join(ROOT, "node_modules"), join(copy, "node_modules"));
});
afterAll(() => rmSync(copy, { recursive: true, force: true }));

describe("npm run new -- service", () => {
  const service = ["scripts/new.ts", "service"];

  const FAULTS: [what: string, args: string[], reason: string][] = [
    ["without a resource", ["acme"], "npm run new -- service NAME RESOURCE:ACTIONS…"],
    ["with a name that no permission can have", ["Acme", "orders:read"], '"Acme" cannot be the name of a service'],
    ["with an action that no catalogue has", ["acme", "orders:delete"], '"orders:delete" is not a resource'],
    ["with a base URL without TLS", ["acme", "orders:read", "--base-url", "http://acme.example"], "--base-url must be"],
    ["that is there already", ["slack", "messages:read"], "src/policy/services/slack.ts is there already"],
  ];
  it.each(FAULTS)("%s writes nothing and says why", (_, args, reason) => {
    const { status, stderr } = run(...service, ...args);
    expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringContaining(reason) });
    expect(read("src/policy/services.ts")).toBe(readFileSync(join(ROOT, "src/policy/services.ts"), "utf8"));
  });

  it("writes a skeleton, and each part that is missing is one failure that names its file", () => {
    const resources = ["orders:read,write", "line_items:read"];
    const options = ["--base-url", "https://api.acme.example", "--title", "ACme"];
    const { status, stderr } = run(...service, "acme", ...resources, ...options);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(read("src/client/permissions.ts")).toContain("ACme: { Orders: rw, LineItems: r },");
    const missing = failures();
    const files = ["vendor/README.md", "scripts/vendor-groups.ts", "vendor/operations/acme.txt"];
    expect(missing).toHaveLength(files.length);
    for (const file of files) expect(missing.filter((message) => message.includes(file))).toHaveLength(1);
  });

  it("is complete when these are written", () => {
    replaceIn("src/policy/services/acme.ts", "rules: []", 'rules: ["* /orders orders", "GET /items line_items"]');
    replaceIn("vendor/README.md", "| acme | |", "| acme | its reference |");
    replaceIn("scripts/vendor-groups.ts", "acme: {}", 'acme: { order: "orders", item: "line_items" }');
    const operations = ["GET /orders | order", "POST /orders | order", "GET /items | item", "GET /users | user"];
    writeFileSync(join(copy, "vendor/operations/acme.txt"), `${operations.join("\n")}\n`);
    const { status, stdout } = run("scripts/coverage.ts", "--classify", "acme", "--write");
    expect({ status, row: stdout.includes("| acme | 4 | 2 | 1 | 1 | 0 | 0 |") }).toEqual({ status: 0, row: true });
    expect(read("vendor/operations/acme.txt")).toContain("POST /orders | order | acme:orders:write\n");
    expect(failures()).toEqual([]);
  });
});
