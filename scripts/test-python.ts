import { spawn, spawnSync } from "node:child_process";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { testSecrets } from "../test/support/secrets.ts";
import { startWorker } from "../test/outside/support/worker.ts";
import { ROOT } from "./local.ts";
import { SAMPLE_RULES, startSampleUpstream } from "./sample-upstream.ts";

/**
 * Tests the Python SDK against a gateway of its own, with a sample upstream behind it. Without Python's httpx it says so and
 * succeeds: Debian's packages are python3-httpx, python3-jwt, python3-fastapi, python3-django and python3-mypy.
 */
const succeeds = (command: string, ...args: string[]) =>
  spawnSync(command, args, { stdio: "ignore", cwd: join(ROOT, "python") }).status === 0;
const candidates = process.env.PYTHON ? [process.env.PYTHON] : ["python3", "/usr/bin/python3"];
const python = candidates.find((one) => succeeds(one, "-c", "import httpx"));
if (python === undefined) {
  console.log("The Python SDK is not tested: python3 with httpx is missing (apt-get install python3-httpx).");
  process.exit(0);
}

/** Runs Python in its room and resolves with its exit status. */
const run = (env: Record<string, string>, ...args: string[]) =>
  new Promise<number>((resolve) => {
    const options = { cwd: join(ROOT, "python"), env: { ...process.env, ...env, PYTHONDONTWRITEBYTECODE: "1" } };
    spawn(python, args, { ...options, stdio: "inherit" }).once("close", (status) => resolve(status ?? 1));
  });

let status = 0;
if (succeeds(python, "-c", "import mypy, jwt")) status = await run({}, "-m", "mypy", "--cache-dir=/dev/null");
else console.log("Its types are not checked: mypy or jwt is missing.");

const CREDENTIAL = "sample-credential";
const sample = await startSampleUpstream(CREDENTIAL);
/** An upstream whose answers are redirects to where the query says. */
const redirecting = createServer((request, response) => {
  const to = new URL(request.url!, "http://localhost").searchParams.get("to");
  response.writeHead(to ? 302 : 200, to ? { location: to } : {}).end(to ? "" : "here");
});
/** Receives webhooks, and gives the last delivery to the test that asks. */
let delivery: unknown = null;
const receiver = createServer(async (request, response) => {
  if (request.method === "GET") return response.end(JSON.stringify(delivery));
  let body = "";
  for await (const chunk of request) body += chunk;
  delivery = { headers: request.headers, body };
  return response.end();
});
const listen = (server: ReturnType<typeof createServer>) =>
  new Promise<string>((resolve) =>
    server.listen(0, "127.0.0.1", () => resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)),
  );
const redirectingUrl = await listen(redirecting);
const receiverUrl = await listen(receiver);
const worker = await startWorker({
  "UPSTREAMS.sample": JSON.stringify({ base_url: sample.url, ...SAMPLE_RULES }),
  UPSTREAM_SAMPLE_TOKEN: CREDENTIAL,
  WEBHOOK_ALLOW_LOOPBACK: "true",
  "UPSTREAMS.redirecting": JSON.stringify({
    base_url: redirectingUrl,
    credential: { scheme: "none" },
    resources: { things: ["read"] },
    rules: ["GET /{path...} things:read"],
  }),
});
try {
  const env = {
    AGENTAUTH_TEST_URL: worker.url,
    AGENTAUTH_TEST_BOOTSTRAP_TOKEN: testSecrets.ADMIN_BOOTSTRAP_TOKEN,
    AGENTAUTH_TEST_SAMPLE_URL: sample.url,
    AGENTAUTH_TEST_REDIRECTING_URL: redirectingUrl,
    AGENTAUTH_TEST_RECEIVER_URL: receiverUrl,
  };
  const tests = await run(env, "-m", "tests");
  status ||= tests;
} finally {
  await worker.stop();
  for (const server of [sample.server, redirecting, receiver]) server.close();
}
process.exitCode = status;
