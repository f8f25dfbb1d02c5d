import { execFile } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SAMPLE_RULES, startSampleUpstream } from "../../scripts/sample-upstream.ts";
import { startWorker, type Worker } from "./support/worker.ts";

/** README says what is: its commands run, its tables are the code's. */
const ROOT = join(import.meta.dirname, "../..");
const read = (name: string) => readFileSync(join(ROOT, name), "utf8");
const readme = read("README.md");
const run = promisify(execFile);

const section = (title: string) => readme.split(`\n## ${title}\n`)[1]!.split("\n## ")[0]!;
const block = (text: string, language: string) => text.split(`\`\`\`${language}\n`)[1]!.split("```")[0]!;
/** The first cell of each row of the tables in a text. */
const firstCells = (text: string) =>
  [...text.matchAll(/^\| (.+?) \|/gm)].map(([, cell]) => cell!).filter((cell) => !/^-+$/.test(cell));

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
    const script = block(section("Five minutes"), "sh").replace("http://127.0.0.1:8787", worker.url);
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
    expect(block(section("Five minutes"), "ts")).toBe(read("examples/quick-start.ts"));
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
    const listed = firstCells(section("API")).filter((cell) => cell.includes(" /"));
    expect(listed.toSorted()).toEqual(described.toSorted());
  });

  it("have every setting", () => {
    const settings = /const settings = z\.object\(\{(.*?)\n\}\);/s.exec(read("src/config/config.ts"))![1]!;
    const names = [...settings.matchAll(/^ {2}([A-Z_]+):/gm)].map(([, name]) => name!);
    expect(names.length).toBeGreaterThan(15);
    const listed = firstCells(section("Configure")).map((cell) => cell.replaceAll("`", ""));
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
    [...read(document).matchAll(/\]\((?!https?:|#)([^)#]+)/g)]
      .map(([, link]) => join(ROOT, document, "..", link!))
      .filter((path) => !existsSync(path))
      .map((path) => `${document}: ${path.slice(ROOT.length + 1)}`),
  );
  expect(missing).toEqual([]);
});
