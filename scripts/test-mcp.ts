import { spawn } from "node:child_process";
import { createServer, request, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startRecorder } from "../test/outside/support/recorder.ts";
import { startWorker } from "../test/outside/support/worker.ts";
import { ROOT } from "./local.ts";

/**
 * Runs the official conformance suite of the Model Context Protocol (mcp-suite/) against a Worker of its own, once for each revision that
 * has requirements, and then the command line of the official inspector. The suite sends no token, so it calls a front on this machine that adds one. The tools that it wants are operations of
 * a service of the test's own. The files `expected-….yaml` list what cannot pass, with the reasons: the suite fails if anything else
 * fails, and if something of these passes.
 */
const SUITE = join(ROOT, "mcp-suite");
const REVISIONS = ["2026-07-28", "2025-11-25"];

/** What the suite's tools return. */
const ANSWERS: Readonly<Record<string, readonly [status: number, type: string, body: Buffer | string]>> = {
  "/simple_text": [200, "text/plain", "This is a simple text response for testing."],
  "/logging_tool": [200, "text/plain", "done"],
  "/streaming_elicitation": [200, "text/plain", "done"],
  "/error_handling": [500, "text/plain", "This tool intentionally returns an error for testing"],
  "/image_content": [200, "image/png", Buffer.from("89504e470d0a1a0a", "hex")],
  "/audio_content": [200, "audio/wav", Buffer.from("5249464600000000", "hex")],
  "/embedded_resource": [200, "application/pdf", "%PDF-1.7"],
};

// npm writes this last: an installation that was broken off has none.
if (!existsSync(join(SUITE, "node_modules/.package-lock.json")))
  await run("npm", ["ci", "--no-audit", "--no-fund"], SUITE);

const upstream = await startRecorder((incoming, response) => {
  const [status, type, body] = ANSWERS[incoming.url ?? ""] ?? [404, "text/plain", "no such tool"];
  response.writeHead(status, { "content-type": type }).end(body);
});
const paths = Object.keys(ANSWERS);
const worker = await startWorker({
  UPSTREAM_TEST_TOKEN: "of-the-company",
  "UPSTREAMS.test": JSON.stringify({
    base_url: upstream.url,
    resources: { tools: ["read"] },
    rules: paths.map((path) => `GET ${path} tools`),
    operations: Object.fromEntries(paths.map((path) => [`GET ${path}`, { name: path.slice(1) }])),
  }),
});
const { id, apiKey } = await worker.agent(["test:tools:read"]);
let authorization: string | undefined;
const front = createServer((incoming: IncomingMessage, response: ServerResponse) => {
  const { method, url, headers } = incoming;
  // The host and the origin as they were sent: a scenario forges both.
  const { port } = worker;
  const sent = request({
    host: "127.0.0.1",
    port,
    method,
    path: url,
    headers: { ...(authorization && { authorization }), ...headers },
  });
  sent.on("response", (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(response);
  });
  sent.on("error", () => response.destroy());
  incoming.pipe(sent);
});
await new Promise<void>((resolve) => void front.listen(0, "127.0.0.1", resolve));
const origin = `http://127.0.0.1:${(front.address() as AddressInfo).port}`;
const url = `${origin}/mcp`;
// Through the front, because in development the issuer of a token is the origin that it was asked of.
const verified = await fetch(`${origin}/agents/verify`, {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ agent_id: id, api_key: apiKey }),
});
const { token } = (await verified.json()) as { token: { access_token: string } };
authorization = `Bearer ${token.access_token}`;

const results = mkdtempSync(join(tmpdir(), "agentauth-mcp-"));
let code = 0;
try {
  for (const revision of REVISIONS) {
    console.log(`\n# Revision ${revision}`);
    const expected = join(SUITE, `expected-${revision}.yaml`);
    const args = [
      "server",
      "--url",
      url,
      "--requirements",
      revision,
      "--expected-failures",
      expected,
      "--output-dir",
      results,
    ];
    const suite = join(SUITE, "node_modules/@modelcontextprotocol/conformance/dist/index.js");
    code = (await run("node", [suite, ...args], SUITE, false)) || code;
  }
  console.log("\n# The command line of the inspector");
  const found = await tryInspector();
  console.log(found.length === 0 ? "It lists the tools, calls one, and is told of a failed one." : found.join("\n"));
  if (found.length > 0) code ||= 1;
} finally {
  front.closeAllConnections();
  front.close();
  await worker.stop();
  upstream.close();
  rmSync(results, { recursive: true, force: true });
}
process.exitCode = code;

/**
 * Uses the official inspector as a person does at a terminal, with a token in a header, and returns what was not as expected. With a
 * token that is not good it has to find out that it needs one.
 */
async function tryInspector(): Promise<string[]> {
  const header = ["--header", `Authorization: ${authorization}`];
  const call = (tool: string) => ["--method", "tools/call", "--tool-name", tool, ...header];
  const cases: [args: string[], code: number, expected: RegExp][] = [
    [["--method", "tools/list", ...header], 0, /"name": ?"test_simple_text"/],
    [call("test_simple_text"), 0, /This is a simple text response for testing\./],
    [call("test_error_handling"), 5, /"isError": ?true/],
    [["--method", "tools/list", "--header", "Authorization: Bearer nothing"], 3, /"auth_required"/],
  ];
  const faults: string[] = [];
  for (const [args, status, expected] of cases) {
    const inspector = join(SUITE, "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js");
    const child = spawn("node", [inspector, "--cli", url, "--transport", "http", ...args], {
      cwd: SUITE,
      // It keeps a catalog of servers, which is not to be the one of whoever runs this.
      env: { ...process.env, MCP_CATALOG_PATH: join(results, "catalog.json"), HOME: results },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += String(chunk)));
    const ended = await new Promise<number | null>((resolve) => void child.on("close", resolve));
    if (ended === status && expected.test(output)) continue;
    faults.push(`${args[1]} ended with ${ended} instead of ${status}, and said:\n${output.slice(0, 2000)}`);
  }
  return faults;
}

/** Runs a command with its output shown, and returns its exit code. @throws {Error} if it fails and `isNeeded`. */
async function run(command: string, args: readonly string[], cwd: string, isNeeded = true): Promise<number> {
  const child = spawn(command, args, { cwd, stdio: "inherit" });
  const ended = await new Promise<number>((resolve) => void child.on("close", (status) => resolve(status ?? 1)));
  if (isNeeded && ended !== 0) throw new Error(`${command} ${args.join(" ")} failed`);
  return ended;
}
