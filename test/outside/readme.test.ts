import { execFile } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SAMPLE_RULES, startSampleUpstream } from "../../scripts/sample-upstream.ts";
import { readPage } from "./support/markdown.ts";
import { keysOfArgument, nodesOf } from "./support/source.ts";
import { startWorker, type Worker } from "./support/worker.ts";

/** README says what is: its commands run, its tables are the code's. */
const ROOT = join(import.meta.dirname, "../..");
const read = (name: string) => readFileSync(join(ROOT, name), "utf8");
const readme = readPage("README.md");
const run = promisify(execFile);

const firstCells = (heading: string) => readme.section(heading).rows.map(([cell]) => cell!);

describe("the five minutes", () => {
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

  it("are what they show", async () => {
    const script = readme.section("Five minutes").code("sh").replace("http://127.0.0.1:8787", worker.url);
    const { stdout } = await run("bash", ["-euo", "pipefail", "-c", script]);
    const [order, denied, activity, revoked, after] = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(order).toEqual({ id: 1, item: "lamp" });
    expect(denied).toMatchObject({ status: 403, required: "sample:orders:write", granted: ["sample:orders:read"] });
    expect(activity.activity.map(({ status }: { status: string }) => status)).toContain("failure");
    expect(revoked.agent.status).toBe("revoked");
    expect(after).toMatchObject({ status: 401, code: "token_revoked" });
  });

  it("in TypeScript are a file that is run", () => {
    expect(`${readme.section("Five minutes").code("ts")}\n`).toBe(read("examples/quick-start.ts"));
  });
});

describe("its tables", () => {
  it("have every endpoint, and no other", () => {
    const { paths } = JSON.parse(read("public/openapi.json")) as { paths: Record<string, object> };
    const described = Object.entries(paths).flatMap(([path, operations]) =>
      path === "/proxy/{service}/{path}"
        ? ["any method /proxy/{service}/…"]
        : Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
    );
    const listed = firstCells("API").filter((cell) => cell.includes(" /"));
    expect(listed.toSorted()).toEqual(described.toSorted());
  });

  it("have every setting", () => {
    const names = keysOfArgument(nodesOf("src/config/config.ts"), "settings");
    expect(names.length).toBeGreaterThan(15);
    const listed = firstCells("Configure").map((cell) => cell.replaceAll("`", ""));
    expect(listed).toEqual(expect.arrayContaining([...names, "UPSTREAMS.<name>", "UPSTREAM_<NAME>_TOKEN"]));
  });
});

it("README and the other documents link to files that exist", () => {
  const documents = ["", "docs/", "bench/", "vendor/"].flatMap((folder) =>
    readdirSync(join(ROOT, folder))
      .filter((name) => name.endsWith(".md"))
      .map((name) => folder + name),
  );
  expect(documents).toEqual(expect.arrayContaining(["README.md", "CONTRIBUTING.md", "docs/gateway.md"]));
  const missing = documents.flatMap((document) =>
    readPage(document)
      .links.filter((link) => !/^(?:https?:|mailto:|#)/.test(link))
      .map((link) => join(ROOT, document, "..", link.split("#")[0]!))
      .filter((path) => !existsSync(path))
      .map((path) => `${document}: ${path.slice(ROOT.length + 1)}`),
  );
  expect(missing).toEqual([]);
});
