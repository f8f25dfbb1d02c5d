// @module-tag slow
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { narrowMarkdown } from "../../scripts/narrow-markdown.ts";
import { limitsList } from "../../scripts/limitable-fields.ts";
import { readPage } from "./support/markdown.ts";
import { startWorker, type Agent, type Worker } from "./support/worker.ts";

const page = readPage("docs/grants.md");
const example = page.section("This repository, until Friday");

const github = createServer((_, response) => response.writeHead(200, { "content-type": "application/json" }).end("{}"));
let worker: Worker;
let admin: Agent;
beforeAll(async () => {
  await new Promise<void>((resolve) => github.listen(0, "127.0.0.1", resolve));
  const base_url = `http://127.0.0.1:${(github.address() as AddressInfo).port}`;
  worker = await startWorker({
    "UPSTREAMS.github": JSON.stringify({ base_url }),
    UPSTREAM_GITHUB_TOKEN: "a-credential",
  });
  admin = await worker.admin();
});
afterAll(async () => {
  await worker?.stop();
  github.close();
});

it("docs/grants.md has an example that does what the page says", async () => {
  const agent = await worker.agent(["github:issues:read"]);
  const [, method = "", body = ""] = /-X (\w+) [^]*-d '([^']*)'/.exec(example.code("sh")) ?? [];
  const put = (json: unknown) => worker.call(`/agents/${agent.id}/grants`, { method, token: admin.token, json });
  expect((await put(JSON.parse(body))).status).toBe(200);
  const proof = { agent_id: agent.id, api_key: agent.apiKey };
  const verified = await worker.call("/agents/verify", { method: "POST", json: proof });
  const token: string = verified.body.token.access_token;
  const claims = JSON.parse(Buffer.from(token.split(".")[1]!, "base64url").toString());
  expect(claims.authorization_details).toEqual(JSON.parse(page.section("In tokens").code("json")));
  const rows = example.rows.slice(0, 3).map(([request = "", answer = ""]) => {
    const [, verb = "", path = ""] = /`(\w+) (\S+)`/.exec(request) ?? [];
    return { verb, path, answer };
  });
  expect(rows.map(({ path }) => path.startsWith("/proxy/github/"))).toEqual([true, true, true]);
  for (const { verb, path, answer } of rows) {
    const [, status = "200", code] = /^(\d+) `(\w+)`/.exec(answer) ?? [];
    const json = verb === "POST" ? { title: "A title" } : undefined;
    const response = await worker.call(path, { method: verb, token, json });
    expect([response.status, response.body.code], `${verb} ${path}`).toEqual([Number(status), code]);
  }
});

it("docs/grants.md has the fields that the services let grants limit: npm run coverage -- --write", async () => {
  expect(readFileSync(join(import.meta.dirname, "../../docs/grants.md"), "utf8")).toContain(
    `\n${await narrowMarkdown(limitsList())}`,
  );
});
