// @module-tag slow
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SLOW } from "../../support/extents.ts";
import { AgentAuthClient, Permissions } from "../../../src/client/index.ts";
import { BUILT_IN_SERVICES } from "../../../src/policy/services.ts";
import { SAMPLE_RULES, startSampleUpstream } from "../../../scripts/sample-upstream.ts";
import { freePort } from "../support/free-port.ts";
import { startRecorder, type Recorder } from "../support/recorder.ts";
import { startWorker, type Agent, type Worker } from "../support/worker.ts";

const ROOT = join(import.meta.dirname, "../../..");
const BIN = join(ROOT, "node_modules/.bin");
const env = { ...process.env, PATH: `${BIN}:${process.env.PATH}`, NODE_NO_WARNINGS: "1" };
const run = async (cwd: string, command: string, args: readonly string[], more: Record<string, string> = {}) => {
  const outcome = promisify(execFile)(command, args, { cwd, env: { ...env, ...more } });
  // What a compiler has to say stands in its output.
  const { stdout } = await outcome.catch((error: Error & { stdout: string }) => {
    throw new Error(`${error.message}\n${error.stdout}`);
  });
  return stdout;
};

let fresh: string;
let worker: Worker;
let agent: Agent;
let github: Recorder;
let stripe: Recorder;
let sample: Awaited<ReturnType<typeof startSampleUpstream>>;

beforeAll(async () => {
  const size = await run(ROOT, "node", ["scripts/build-client.ts"]);
  expect(size).toMatch(/^SDK \.\/client: \d+\.\d+ KB minified, \d\.\d+ KB gzipped/);
  fresh = mkdtempSync(join(tmpdir(), "agentauth-package-"));
  const packed = await run(ROOT, "npm", ["pack", "./dist/npm", "--pack-destination", fresh, "--json"]);
  const tarball = (JSON.parse(packed) as [{ filename: string }])[0].filename;
  await run(fresh, "tar", ["-xzf", tarball]);
  mkdirSync(join(fresh, "node_modules"));
  symlinkSync(join(fresh, "package"), join(fresh, "node_modules/agentauth"));
  for (const name of ["jose", "hono"]) symlinkSync(join(ROOT, "node_modules", name), join(fresh, "node_modules", name));
  sample = await startSampleUpstream("sample-credential");
  const json = { "content-type": "application/json" };
  github = await startRecorder((_, response) => void response.writeHead(200, json).end('{"title":"From GitHub"}'));
  const customers = '{"data":[{"id":"cus_1"}],"has_more":false}';
  stripe = await startRecorder((_, response) => void response.writeHead(200, json).end(customers));
  worker = await startWorker({
    WEBHOOK_ALLOW_LOOPBACK: "true",
    "UPSTREAMS.sample": JSON.stringify({ base_url: sample.url, ...SAMPLE_RULES }),
    UPSTREAM_SAMPLE_TOKEN: "sample-credential",
    "UPSTREAMS.github.base_url": github.url,
    UPSTREAM_GITHUB_TOKEN: "ghp_of-the-company",
    "UPSTREAMS.stripe.base_url": stripe.url,
    UPSTREAM_STRIPE_TOKEN: "rk_of-the-company",
  });
  agent = await worker.agent(["sample:orders:read", "github:issues:read", "stripe:customers:read"]);
});
afterAll(async () => {
  rmSync(fresh, { recursive: true, force: true });
  for (const one of [github, stripe]) one?.close();
  sample?.server.close();
  await worker?.stop();
});

describe("the package", () => {
  it("is clean to publint and to are-the-types-wrong", SLOW, async () => {
    expect(await run(ROOT, "publint", ["dist/npm", "--strict"])).toContain("All good!");
    const found = JSON.parse(await run(fresh, "attw", ["--pack", join(ROOT, "dist/npm"), "--format", "json"]));
    expect([found.problems ?? {}, Object.keys(found.analysis.entrypoints)]).toEqual([
      {},
      [".", "./client", "./webhook", "./verify", "./hono", "./express", "./next"],
    ]);
  });

  it("has the types that the API's description says", async () => {
    expect(await run(ROOT, "node", ["scripts/wire.ts", "--check"])).toContain("src/client/wire.ts is up to date.");
  });

  it("is what packing the repository gives, too", SLOW, async () => {
    const files = async (...folder: string[]) => {
      const packed = await run(ROOT, "npm", ["pack", ...folder, "--dry-run", "--json", "--ignore-scripts"]);
      const [{ files: listed }] = JSON.parse(packed) as [{ files: { path: string }[] }];
      return listed.map(({ path }) => path.replace("dist/npm/", "")).sort();
    };
    // The command of a clone, which in this package starts the built one.
    expect(await files()).toEqual([...(await files("./dist/npm")), "scripts/agentauth.js"].sort());
    const { scripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
    expect(scripts.prepack).toContain("build:client");
  });

  it("depends on nothing but jose, which its main entry does not import", () => {
    const manifest = JSON.parse(readFileSync(join(fresh, "package/package.json"), "utf8"));
    expect(Object.keys(manifest.dependencies)).toEqual(["jose"]);
    const reached = new Set<string>();
    const outside: string[] = [];
    const visit = (file: string): void => {
      if (reached.has(file)) return;
      reached.add(file);
      const text = readFileSync(join(fresh, "package/client", file), "utf8");
      for (const [, one] of text.matchAll(/(?:from |import |(?:require|import)\()"([^"]+)"/g)) {
        if (one!.startsWith("./")) visit(one!.slice(2));
        else outside.push(one!);
      }
    };
    for (const file of ["index.js", "index.cjs", "webhook.js", "webhook.cjs"]) visit(file);
    expect([outside, reached.size > 16]).toEqual([[], true]);
  });

  const use = `const client = new AgentAuthClient({ baseUrl: process.env.URL, agentId: process.env.ID, apiKey: process.env.KEY });
client.proxy("sample")("/orders/1").then((answer) => answer.json()).then(({ item }) => console.log(item, typeof verifyWebhook));`;

  it.each([
    [
      "esm.mjs",
      `import { AgentAuthClient } from "agentauth/client";\nimport { verifyWebhook } from "agentauth/webhook";`,
    ],
    [
      "cjs.cjs",
      `const { AgentAuthClient } = require("agentauth/client");\nconst { verifyWebhook } = require("agentauth/webhook");`,
    ],
  ])("works from a fresh folder as %s", async (file, imports) => {
    writeFileSync(join(fresh, file), `${imports}\n${use}`);
    const output = await run(fresh, "node", [file], { URL: worker.url, ID: agent.id, KEY: agent.apiKey });
    expect(output.trim()).toBe("lamp function");
  });

  it.concurrent.each([
    ["node16", "node16", ["app.ts", "app.cts"]],
    ["esnext", "bundler", ["app.ts"]],
  ])("has its types under module %s, moduleResolution %s, in %s", SLOW, async (module, moduleResolution, files) => {
    const text = `import { AgentAuthClient, Permissions, type Permission, type WebhookEvent } from "agentauth/client";
import { verifyWebhook } from "agentauth/webhook";
import { isGranted } from "agentauth/verify";
import { requirePermission } from "agentauth/next";
import { requirePermission as forExpress } from "agentauth/express";
declare module "agentauth" {
  interface Services { orders: { orders: "read" | "write" } }
}
export const good: Permission[] = [
  Permissions.Zendesk.Tickets.Read, "orders:orders:read", "orders:orders:*", "orders:*:*", "github:*:*", "*:*:*",
];
// @ts-expect-error not a permission
export const bad: Permission = "invalid:permission";
// @ts-expect-error a misspelt resource of a built-in service
export const resource: Permission = "github:isues:read";
// @ts-expect-error a misspelt action
export const action: Permission = "github:issues:wirte";
// @ts-expect-error an action that the resource does not have
export const unknown: Permission = "stripe:payments:write";
// @ts-expect-error a misspelt resource of a declared service
export const declared: Permission = "orders:ordres:read";
// @ts-expect-error a service that nobody has declared
export const undeclared: Permission = "bills:bills:read";
export const asserted: Permission = "bills:bills:read" as Permission;
export const client = new AgentAuthClient({ baseUrl: "https://agentauth.example.com" });
export const id: Promise<string> = client.getAgent("agt_x").then(({ agent }) => agent.agent_id);
export async function received(): Promise<string> {
  const event = await verifyWebhook({ body: "", headers: {} }, "whsec_");
  // @ts-expect-error only agent.revoked has it
  event.data.revoked_by;
  if (event.event === "agent.revoked") return event.data.revoked_by;
  if (event.event === "agent.permissions_updated") return event.data.permissions[0] ?? event.data.updated_by;
  // @ts-expect-error no such event
  if (event.event === "agent.born") return "";
  const denied: WebhookEvent<"gateway.denied"> | undefined = event.event === "gateway.denied" ? event : undefined;
  return denied?.data.required ?? event.data.agent_id;
}
export const GET = requirePermission("orders:orders:read")((request) => Response.json(request.agent.claims.exp));
export const guard: Function = forExpress("orders:*:*");
export const allowed: boolean = isGranted(["github:*:*"], "github:issues:read");
export async function dropIn(key: string | undefined): Promise<string[]> {
  const auth = new AgentAuthClient({ baseURL: "https://agentauth.example.com", apiKey: key });
  const { agent, credentials } = await auth.registerAgent({
    name: "Bot", owner_email: "a@example.com", permissions: ["zendesk:tickets:read", "slack:*:*"],
  });
  const { token } = await auth.verifyAgent({ agent_id: agent.agent_id, api_key: credentials.api_key });
  auth.setAccessToken(token.access_token);
  await auth.refreshToken({ refresh_token: token.refresh_token });
  const { agents, total } = await auth.listAgents({ limit: 10, offset: 0 });
  const { activity } = await auth.getActivity(agent.agent_id, { limit: 10, offset: 0 });
  const { webhook } = await auth.registerWebhook({ url: "https://hooks.example.com", events: ["agent.verified"] });
  await auth.updateAgentPermissions(agent.agent_id, [...agent.permissions, "github:issues:read"]);
  // @ts-expect-error no such tier
  await auth.updateAgentTier(agent.agent_id, "gold");
  // @ts-expect-error no such event
  await auth.registerWebhook({ url: webhook.url, events: ["agent.born"] });
  await auth.close();
  return [...agents, ...activity].map((one) => one.agent_id).slice(0, total);
}
`;
    for (const file of files) writeFileSync(join(fresh, file), text);
    writeFileSync(join(fresh, "package.json"), JSON.stringify({ type: "module" }));
    const lib = ["es2022", "dom"];
    const exact = { skipDefaultLibCheck: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true };
    const compilerOptions = {
      noEmit: true,
      strict: true,
      ...exact,
      target: "es2022",
      lib,
      types: [],
      module,
      moduleResolution,
    };
    const config = `tsconfig.${moduleResolution}.json`;
    writeFileSync(join(fresh, config), JSON.stringify({ compilerOptions, files }));
    expect(await run(fresh, "tsc", ["-p", config])).toBe("");
  });
});

describe("an editor", () => {
  it("completes every permission of the built-in and of the declared services", SLOW, () => {
    const file = join(fresh, "editor.ts");
    const text = `import { AgentAuthClient } from "agentauth/client";
declare module "agentauth" {
  interface Services { orders: { orders: "read" | "write" } }
}
new AgentAuthClient({ baseUrl: "" }).registerAgent({ name: "Bot", owner_email: "a@example.com", permissions: [""] });`;
    const { ModuleKind: kinds, ModuleResolutionKind: resolutions, ScriptTarget: targets } = ts;
    const options = {
      module: kinds.Node16,
      moduleResolution: resolutions.Node16,
      target: targets.ES2022,
      strict: true,
    };
    writeFileSync(join(fresh, "package.json"), JSON.stringify({ type: "module" }));
    writeFileSync(file, text);
    const service = ts.createLanguageService({
      getScriptFileNames: () => [file],
      getScriptVersion: () => "1",
      getScriptSnapshot: (name) => {
        const source = ts.sys.readFile(name);
        return source === undefined ? undefined : ts.ScriptSnapshot.fromString(source);
      },
      getCurrentDirectory: () => fresh,
      getCompilationSettings: () => ({ ...options, types: [] }),
      getDefaultLibFileName: (settings) => ts.getDefaultLibFilePath(settings),
      fileExists: (name) => ts.sys.fileExists(name),
      readFile: (name) => ts.sys.readFile(name),
    });
    const offered = service.getCompletionsAtPosition(file, text.indexOf('[""]') + 2, undefined)?.entries ?? [];
    const leaves = (tree: object): string[] =>
      Object.values(tree).flatMap((value) => (typeof value === "string" ? [value] : leaves(value as object)));
    const declared = ["orders:*:*", "orders:orders:*", "orders:orders:read", "orders:orders:write"];
    const ofPresets = BUILT_IN_SERVICES.flatMap(({ name, presets = {} }) =>
      Object.values(presets).flatMap(({ resources }) =>
        Object.entries(resources).flatMap(([resource, actions]) =>
          actions.map((action) => `${name}:${resource}:${action}`),
        ),
      ),
    );
    const known = new Set([...leaves(Permissions), ...ofPresets, ...declared]);
    expect(offered.map(({ name }) => name).toSorted()).toEqual([...known].toSorted());
  });
});

describe("the examples", () => {
  const example = (name: string, more: Record<string, string> = {}) =>
    run(ROOT, "node", [`examples/${name}.ts`], {
      AGENTAUTH_URL: worker.url,
      AGENT_ID: agent.id,
      API_KEY: agent.apiKey,
      ...more,
    });

  it("first-call.ts calls", async () => {
    expect(await example("first-call")).toContain("200 { id: 1, item: 'lamp' }");
  });

  it("quick-start.ts registers, calls, is denied and reads its activity", async () => {
    const output = await example("quick-start");
    expect(output).toContain("{ id: 1, item: 'lamp' }");
    expect(output).toContain("403");
    expect(output).toContain("required: 'sample:orders:write'");
    expect(output).toContain("success sample GET /orders/1");
  });

  it("octokit.ts, stripe.ts and any-sdk.ts call through the gateway", SLOW, async () => {
    expect(await example("octokit")).toBe("From GitHub\n");
    expect(await example("stripe")).toBe("[ 'cus_1' ]\n");
    expect(await example("any-sdk")).toContain("lamp");
    expect(github.seen[0]!.headers).toContainEqual(["authorization", "Bearer ghp_of-the-company"]);
    expect(stripe.seen[0]!.headers).toContainEqual(["authorization", "Bearer rk_of-the-company"]);
  });

  it("middleware.ts guards a Hono, an Express and a Next.js route", SLOW, async () => {
    const check = `const { hono, GET } = await import("./examples/middleware.ts");
      console.log((await hono.request("/tickets")).status, (await GET(new Request("http://x/"), {})).status);`;
    const output = await run(ROOT, "node", ["--input-type=module", "-e", check], { AGENTAUTH_URL: worker.url });
    expect(output.trim()).toBe("401 401");
  });

  it("webhook-receiver.ts verifies a delivery", async () => {
    await using client = new AgentAuthClient({ baseUrl: worker.url, agentId: agent.id, apiKey: agent.apiKey });
    const port = await freePort();
    const url = `http://127.0.0.1:${port}/hook`;
    const { webhook } = await client.registerWebhook({ url, events: ["agent.verified"] });
    const receiver = execFile("node", ["examples/webhook-receiver.ts"], {
      cwd: ROOT,
      env: { ...env, PORT: String(port), WEBHOOK_SECRET: webhook.secret },
    });
    let output = "";
    receiver.stdout!.on("data", (chunk: string) => (output += chunk));
    try {
      await expect.poll(() => fetch(url, { method: "POST" }).catch(() => undefined)).toBeDefined();
      await client.testWebhook(webhook.id);
      await expect.poll(() => output).toContain("webhook.test");
    } finally {
      receiver.kill();
    }
  });
});
