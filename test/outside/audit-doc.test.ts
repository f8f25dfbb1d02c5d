import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SAMPLE_RULES, startSampleUpstream } from "../../scripts/sample-upstream.ts";
import { ACTIONS } from "../../src/outbox/record.ts";
import { SLOW } from "../support/extents.ts";
import { citations, missingTests } from "./support/citations.ts";
import { readPage } from "./support/markdown.ts";
import { startWorker, type Agent, type Worker } from "./support/worker.ts";

const page = readPage("docs/audit.md");
const run = promisify(execFile);
/** From where the agent calls. */
const ADDRESS = "203.0.113.7";

describe("the page for auditors", () => {
  it("says of each action when it is recorded, and names no other", () => {
    const listed = page.section("What is recorded").rows.flatMap(([cell]) => cell!.replaceAll("`", "").split(", "));
    expect(listed.toSorted()).toEqual([...ACTIONS].toSorted());
  });

  it("names a test that exists for each way in which a record could be lost", () => {
    const shown = page.section("How nothing is lost").rows.map(([, , tests]) => citations(tests!));
    expect(shown).toHaveLength(8);
    expect(shown.filter((cited) => cited.every(({ names }) => names.length === 0))).toEqual([]);
    expect(missingTests(shown.flat())).toEqual([]);
  });

  it("names every field of a record", () => {
    const described = page
      .section("What a record says")
      .rows.flatMap(([cell]) => cell!.replaceAll("`", "").split(", "));
    const openapi = readOpenApi();
    expect(described.toSorted()).toEqual(openapi.toSorted());
  });
});

/** The keys of a record, as the description of the API has them. */
function readOpenApi(): string[] {
  // oxlint-disable-next-line typescript/no-explicit-any
  const { paths } = JSON.parse(readFileSync(join(import.meta.dirname, "../../public/openapi.json"), "utf8")) as any;
  const { schema } = paths["/audit/{id}"].get.responses["200"].content["application/json"];
  return Object.keys(schema.properties.record.properties);
}

describe("its answers", SLOW, () => {
  let worker: Worker;
  let sample: Awaited<ReturnType<typeof startSampleUpstream>>;
  let admin: Agent;
  let agent: Agent;
  let requestId: string;
  const directory = mkdtempSync(join(tmpdir(), "audit-doc-"));

  beforeAll(async () => {
    sample = await startSampleUpstream("sample-credential");
    worker = await startWorker({
      "UPSTREAMS.sample": JSON.stringify({ base_url: sample.url, ...SAMPLE_RULES }),
      UPSTREAM_SAMPLE_TOKEN: "sample-credential",
    });
    admin = await worker.admin();
    agent = await worker.agent(["sample:orders:read"]);
    const from = { token: agent.token, headers: { "cf-connecting-ip": ADDRESS } };
    await worker.call("/proxy/sample/orders/1", from);
    const denied = await worker.call("/proxy/sample/orders", { ...from, method: "POST", json: { item: "x" } });
    requestId = denied.body.request_id;
    await worker.call(`/agents/${agent.id}/permissions`, {
      method: "PUT",
      token: admin.token,
      json: { permissions: ["sample:orders:read", "sample:orders:write"] },
    });
    await worker.activity(agent, (message) => message.includes("orders/1"));
    await worker.activity(agent, (message) => message.toLowerCase().includes("permissions"));
    await worker.activity(agent, (message) => message.includes("denied"));
  });
  afterAll(async () => {
    await worker?.stop();
    sample?.server.close();
    rmSync(directory, { recursive: true, force: true });
  });

  /** Runs the commands below a heading, and returns the lines that they print. */
  async function answer(heading: string, index = 0, others: Record<string, string> = {}): Promise<string[]> {
    const part = page.section(heading);
    const script = [...part.codes("sh"), ...part.codes("bash")][index]!;
    const token = page.section("Answers").code("sh");
    const env = {
      ...process.env,
      AGENTAUTH: worker.url,
      ADMIN_ID: admin.id,
      ADMIN_KEY: admin.apiKey,
      AGENT: agent.id,
      REQUEST: requestId,
      ADDRESS,
      FROM: new Date(Date.now() - 3_600_000).toISOString(),
      TO: new Date(Date.now() + 3_600_000).toISOString(),
      ...others,
    };
    const { stdout } = await run("bash", ["-euo", "pipefail", "-c", `${token}\n${script}`], { env, cwd: directory });
    return stdout.trim().split("\n");
  }

  it("say what the agent did", async () => {
    const lines = await answer("What did the agent do last Tuesday?");
    expect(lines.some((line) => /gateway\.call\tsuccess\tGET\t\/orders\/1\t200/.test(line))).toBe(true);
    expect(lines.some((line) => line.includes("agent.registered"))).toBe(true);
  });

  it("say what it was refused", async () => {
    const lines = await answer("What was it refused?");
    expect(lines.join("\n")).toMatch(/POST\t\/orders\t403\tsample:orders:write/);
  });

  it("say who gave it its permissions", async () => {
    const lines = await answer("Who approved it, and who gave it its permissions?");
    expect(lines.join("\n")).toMatch(/agent\.permissions_updated\tagent\t/);
    expect(lines.join("\n")).toMatch(/agent\.registered\t/);
  });

  it("say who changed what", async () => {
    const lines = (await answer("Who changed what, from what to what?")).map((line) => JSON.parse(line));
    expect(lines).toContainEqual(
      expect.objectContaining({
        action: "agent.permissions_updated",
        before: expect.objectContaining({ permissions: ["sample:orders:read"] }),
        after: expect.objectContaining({ permissions: ["sample:orders:read", "sample:orders:write"] }),
      }),
    );
  });

  it("say what came from an address", async () => {
    expect((await answer("What came from this address?")).join("\n")).toContain(agent.id);
  });

  it("say what happened in a request", async () => {
    expect((await answer("What happened in this request?")).join("\n")).toContain(`${agent.id}\tgateway.call\tdenied`);
  });

  it("say who has read the log", async () => {
    const lines = (await answer("Who has read the log?")).filter(Boolean).map((line) => JSON.parse(line));
    expect(lines.length).toBeGreaterThan(0);
  });

  it("export the log as JSON lines, in parts, and as CSV", async () => {
    const [end] = (await answer("Export")).map((line) => JSON.parse(line));
    expect(end.next_cursor).toBeNull();
    expect(end.records).toBeGreaterThan(4);
    expect(Number((await answer("Export", 2))[0])).toBeGreaterThanOrEqual(end.records);
    expect((await answer("Export", 1))[0]).toMatch(/^id,at,action,/);
    // A part that is refused or breaks off is never taken for the end of the log.
    const [said, lines] = await answer("Export", 2, { ADMIN_KEY: "ak_wrong" });
    expect([said, lines]).toEqual(["This part is not whole. Run the loop again from CURSOR=", "0"]);
  });
});
