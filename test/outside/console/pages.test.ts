// @module-tag slow
import { afterAll, beforeAll, expect, it } from "vitest";
import { startWorker, type Worker } from "../support/worker.ts";

/** How the console and what is below it are served, by a Worker as it would be deployed. */
let worker: Worker;
let origin: string;

beforeAll(async () => {
  worker = await startWorker({}, { assets: true });
  origin = `http://localhost:${worker.port}`;
});
afterAll(() => worker?.stop());

const get = (path: string, headers: Record<string, string> = {}) =>
  fetch(origin + path, { redirect: "manual", headers });

it("leads a browser to the console, and describes itself to every other client", async () => {
  const browser = await get("/", { accept: "text/html,application/xhtml+xml,*/*;q=0.8" });
  expect([browser.status, browser.headers.get("location"), browser.headers.get("vary")]).toEqual([
    302,
    "/console",
    expect.stringContaining("Accept"),
  ]);
  for (const accept of ["*/*", "application/json"]) {
    const described = await get("/", { accept });
    expect(described.status).toBe(200);
    const { name, links } = (await described.json()) as { name: string; links: Record<string, string> };
    expect(name).toBe("AgentAuth");
    // What it names is there.
    for (const path of Object.values(links)) {
      const there = await get(path, { accept: "text/html" });
      expect(there.status, path).toBe(200);
      await there.body?.cancel();
    }
  }
  expect((await fetch(`${origin}/`, { method: "POST" })).status).toBe(405);
});

it.each([
  "/console",
  "/console/",
  "/console/agents",
  "/console/agents/agt_1",
  "/console/activity/aud_1?outcome=denied",
])("serves the one page at %s, which nobody can frame and nothing else runs in", async (path) => {
  const response = await get(path);
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toMatch(/^text\/html/);
  expect(response.headers.get("cache-control")).toBe("no-store");
  expect(response.headers.get("x-content-type-options")).toBe("nosniff");
  const policy = response.headers.get("content-security-policy")!;
  expect(policy).toContain("default-src 'none'");
  expect(policy).toContain(`script-src ${origin}/console/;`);
  expect(policy).toContain("frame-ancestors 'none'");
  expect(policy).not.toContain("unsafe");
  const page = await response.text();
  expect(page).toContain('src="/console/console.js"');
  expect(page).not.toMatch(/<script(?![^>]* src=)|\son\w+=|\sstyle=/);
});

it("serves scripts and styles as what they are, and no page in the place of one that is not there", async () => {
  expect((await get("/console/console.js")).headers.get("content-type")).toMatch(/javascript/);
  expect((await get("/console/styles.css")).headers.get("content-type")).toMatch(/^text\/css/);
  for (const missing of ["/console/other.js", "/console/other.css"]) {
    const response = await get(missing);
    expect([response.status, response.headers.get("content-type")]).toEqual([
      404,
      expect.stringContaining("application/json"),
    ]);
  }
});

it("leads 127.0.0.1 to localhost, where a passkey can be used, to the same screen", async () => {
  const response = await fetch(`http://127.0.0.1:${worker.port}/console/agents?status=active`, { redirect: "manual" });
  expect([response.status, response.headers.get("location")]).toEqual([302, `${origin}/console/agents?status=active`]);
});
