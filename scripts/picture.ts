import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { startRecorder } from "../test/outside/support/recorder.ts";
import { startWorker } from "../test/outside/support/worker.ts";
import { testSecrets } from "../test/support/secrets.ts";
import { join as signIn, startBrowser, visitor } from "../test/browser/support/browser.ts";
import { ROOT } from "./local.ts";

/**
 * Takes the picture of the console that README shows: a gateway of its own, with invented agents that really call through it, in Chromium.
 * `npm run picture` writes docs/images/console.png; `npm run picture -- FOLDER` writes there.
 */
const folder = process.argv[2] ?? join(ROOT, "docs/images");

/** Wide as a screen, and no higher than README has room for. */
const SIZE = { width: 1440, height: 690 };
const MAX_BYTES = 150_000;
const DAY_MS = 86_400_000;
const HELLO = "github/repos/octo/hello/issues";

/** What the agent of the picture does, the newest last. */
const CALLS: readonly (readonly [method: string, path: string, body?: object])[] = [
  ["GET", "hubspot/crm/v3/objects/contacts/51"],
  ["GET", `${HELLO}?state=open`],
  ["GET", "github/repos/octo/website/issues/87"],
  ["DELETE", "hubspot/crm/v3/objects/contacts/51"],
  ["POST", HELLO, { title: "The export ends after 500 rows" }],
  ["POST", "github/repos/octo/billing/issues", { title: "The export ends after 500 rows" }],
  ["GET", `${HELLO}/5/comments`],
  ["POST", `${HELLO}/5/comments`, { body: "Reported by two customers." }],
  ["POST", "slack/chat.postMessage", { channel: "C0SUPPORT1", text: "Issue 5 is confirmed." }],
];

const upstream = await startRecorder((request, response) =>
  response
    .writeHead(request.method === "POST" ? 201 : 200, { "content-type": "application/json" })
    .end(JSON.stringify({ ok: true })),
);
const to = (name: string) => ({
  [`UPSTREAMS.${name}.base_url`]: upstream.url,
  [`UPSTREAM_${name.toUpperCase()}_TOKEN`]: "of-the-company",
});
const worker = await startWorker(
  { REGISTRATION: "approval", ...to("github"), ...to("slack"), ...to("hubspot") },
  { assets: true },
);
const browser = await startBrowser();
const admin = await send("POST", "/agents/register", testSecrets.ADMIN_BOOTSTRAP_TOKEN, {
  name: "Platform team",
  owner_email: "platform@example.com",
  permissions: ["*:*:*"],
}).then(session);
try {
  const person = await visitor(browser, SIZE);
  const invited = await send("POST", "/people/bootstrap", testSecrets.ADMIN_BOOTSTRAP_TOKEN, {
    email: "ada@example.com",
    name: "Ada Lovelace",
  });
  await signIn(person, invited.link.url);
  await register("Release bot", ["github:repos:read", "slack:messages:write"], true);
  await register("Sales research", ["hubspot:contacts:read", "hubspot:deals:read"], true);
  await register("Invoice reader", ["hubspot:deals:read"]);
  await register("Ticket triage", ["github:issues:read", "github:issues:write", "slack:messages:write"]);
  const assistant = await register("Support assistant", ["github:issues:read"], true);
  await send("PUT", `/agents/${assistant.agent.agent_id}/grants`, admin, {
    grants: [
      { permission: "hubspot:contacts:read" },
      { permission: "github:issues:read" },
      {
        permission: "github:issues:write",
        where: { "path.owner": "octo", "path.repo": "hello" },
        expires_at: new Date(Date.now() + 3 * DAY_MS).toISOString(),
      },
      { permission: "slack:messages:write", where: { "body.channel": "C0SUPPORT1" } },
    ],
  });
  const token = await session(assistant);
  for (const [method, path, json] of CALLS) {
    const { status } = await worker.call(`/proxy/${path}`, { method, token, ...(json && { json }) });
    console.log(`${method} /proxy/${path} → ${status}`);
    // So that the records are in the order of the calls, with times that differ.
    await new Promise((resolve) => setTimeout(resolve, 700));
  }

  const { page } = person;
  await page.emulateMedia({ colorScheme: "light" });
  await page.goto(`http://localhost:${worker.port}/console/agents/${assistant.agent.agent_id}`);
  for (const outcome of ["201 success", "403 denied"]) await page.getByText(outcome).first().waitFor();
  mkdirSync(folder, { recursive: true });
  const file = join(folder, "console.png");
  await page.screenshot({ path: file });
  if (statSync(file).size > MAX_BYTES) throw new Error(`${file} has more than ${MAX_BYTES} bytes.`);
  console.log(`${file}: ${statSync(file).size} bytes. Look at it before you commit it.`);
} finally {
  await browser.close();
  await worker.stop();
  upstream.close();
}

interface Registered {
  readonly agent: { readonly agent_id: string };
  readonly credentials: { readonly api_key: string };
}

/** A request that has to succeed. */
async function send(method: string, path: string, token: string | undefined, json: object) {
  const { status, body } = await worker.call(path, { method, json, ...(token !== undefined && { token }) });
  if (status >= 300) throw new Error(`${method} ${path}: ${status} ${JSON.stringify(body)}`);
  return body;
}

/** The access token of an agent that has just been registered. */
async function session({ agent, credentials }: Registered): Promise<string> {
  const proof = { agent_id: agent.agent_id, api_key: credentials.api_key };
  return (await send("POST", "/agents/verify", undefined, proof)).token.access_token;
}

/** An agent of an administrator, or one that a stranger registers and that waits for approval. */
function register(name: string, permissions: string[], isOurs = false): Promise<Registered> {
  const wanted = { name, owner_email: "support@example.com", permissions };
  return send("POST", "/agents/register", isOurs ? admin : undefined, wanted);
}
