import { existsSync, readFileSync } from "node:fs";
import { demoWebhooks } from "./demo-webhooks.ts";
import { BASE_URL, readDevVars, SAMPLE_URL_FILE } from "./local.ts";
import { call, check, end, say, step, until, type Answer } from "./transcript.ts";

/**
 * The main job as a transcript against the gateway that `npm start` runs. Ends with an error if any step is not as it says.
 */
const vars = readDevVars();
const bootstrap = vars.ADMIN_BOOTSTRAP_TOKEN;
if (!bootstrap) end(".dev.vars has no ADMIN_BOOTSTRAP_TOKEN. Run `npm start` first: it makes one.");
const health = await call("GET", "/health").catch(() => undefined);
if (health?.status !== 200) {
  end(`No gateway answers at ${BASE_URL}. Run \`npm start\` in another terminal first (with the same PORT).`);
}

step("The platform engineer opens the house with the bootstrap token and becomes its administrator");
const admin = await call("POST", "/agents/register", {
  token: bootstrap,
  body: { name: "Platform team", owner_email: "platform@example.com", permissions: ["*:*:*"] },
});
check("an administrator is registered", admin.status === 201);
const adminToken = (await verify(admin)).access_token;

step("An owner registers an agent that may read orders, and nothing else");
const registered = await call("POST", "/agents/register", {
  token: adminToken,
  body: { name: "Support assistant", owner_email: "owner@example.com", permissions: ["sample:orders:read"] },
});
const agentId: string = registered.body.agent?.agent_id;
check("the agent is registered, and its API key is shown this once", registered.status === 201 && !!agentId);

step("The agent proves itself with its API key");
const tokens = await verify(registered);
check("it gets a signed access token and a refresh token", tokens.access_token.split(".").length === 3);

step("It reads an order through the gateway");
const read = await call("GET", "/proxy/sample/orders/1", { token: tokens.access_token });
check("the real API's answer comes back", read.status === 200 && read.body.item === "lamp");
if (!existsSync(SAMPLE_URL_FILE))
  end("The sample upstream is not there. Start the gateway with `npm start` (and the same STATE_DIR).");
const sampleUrl = readFileSync(SAMPLE_URL_FILE, "utf8");
const seen = await lastRequest();
const credential = vars.UPSTREAM_SAMPLE_TOKEN ?? "";
check("the upstream was sent the real credential", seen.authorization === `Bearer ${credential}`);
say(`the upstream saw: Authorization: Bearer ${credential.slice(0, 10)}…`);
check("the agent was not", credential !== "" && !read.text.includes(credential));

step("It tries to delete the order");
const denied = await call("DELETE", "/proxy/sample/orders/1", { token: tokens.access_token });
check("the gateway refuses", denied.status === 403);
check("nothing reached the upstream: the last that it saw is the reading", (await lastRequest()).method === "GET");
check("the refusal says what would be needed", denied.body.required === "sample:orders:write");
check("and what is granted", JSON.stringify(denied.body.granted) === '["sample:orders:read"]');

step("The owner asks what the agent did");
const activity = await until("the activity has come through the queue", async () => {
  const page = await call("GET", `/agents/${agentId}/activity`, { token: adminToken });
  return page.body.pagination?.total >= 4 ? page : undefined;
});
for (const row of activity.body.activity) say(`${row.timestamp}  ${row.status.padEnd(7)}  ${row.message}`);

await demoWebhooks(tokens.access_token, agentId, adminToken);

step("The agent's session is renewed, and its refresh token with it");
const refreshed = await call("POST", "/agents/refresh", { body: { refresh_token: tokens.refresh_token } });
check("it gets new tokens", refreshed.status === 200 && refreshed.body.token.refresh_token !== tokens.refresh_token);

step("The owner revokes the agent");
const revoked = await call("POST", `/agents/${agentId}/revoke`, { token: adminToken });
check("it is revoked", revoked.status === 200 && revoked.body.agent.status === "revoked");
const write = await call("POST", "/proxy/sample/orders", { token: tokens.access_token, body: { item: "chair" } });
check("its next write is refused at once", write.status === 401);
const again = await call("POST", "/agents/refresh", { body: { refresh_token: refreshed.body.token?.refresh_token } });
check("it cannot renew its session", again.status === 401);
await until("its reads have ended, within STANDING_TTL_SECONDS", async () => {
  const answer = await call("GET", "/proxy/sample/orders/1", { token: tokens.access_token, quiet: true });
  return answer.status === 401 ? answer : undefined;
});

step("The owner reads the audit log of all this");
const audit = await until("the revocation is in the audit log, by whom it was done", async () => {
  const page = await call("GET", `/audit?agent_id=${agentId}&limit=100`, { token: adminToken, quiet: true });
  const records: AuditLine[] = page.body.records ?? [];
  const isThere = records.some(({ action, after }) => action === "agent.status_updated" && after?.status === "revoked");
  return isThere ? records : undefined;
});
for (const { at, action, outcome, actor, method, path, status, message } of audit.toReversed()) {
  const what = method ? `${method} ${path} → ${status}` : message;
  say(
    `${at}  ${action.padEnd(21)}  ${outcome.padEnd(7)}  ${(actor?.name ?? actor?.type ?? "a stranger").padEnd(12)}  ${what}`,
  );
}

step("The platform engineer removes what this demo has made");
const gone = await call("DELETE", `/agents/${agentId}`, { token: adminToken });
const last = await call("DELETE", `/agents/${admin.body.agent?.agent_id}`, { token: adminToken });
check("both agents are deleted, with their webhooks; the audit log stays", gone.status === 200 && last.status === 200);

end();

/** What the demo shows of a record. */
interface AuditLine {
  readonly at: string;
  readonly action: string;
  readonly outcome: string;
  readonly actor: { readonly type: string; readonly name: string | null } | null;
  readonly method: string | null;
  readonly path: string | null;
  readonly status: number | null;
  readonly message: string | null;
  readonly after: Readonly<Record<string, unknown>> | null;
}

/** What the upstream itself was sent last. */
async function lastRequest() {
  const response = await fetch(`${sampleUrl}/_last-request`);
  return (await response.json()) as { method: string; authorization: string | null };
}

async function verify(registration: Answer): Promise<{ access_token: string; refresh_token: string }> {
  const verified = await call("POST", "/agents/verify", {
    body: { agent_id: registration.body.agent?.agent_id, api_key: registration.body.credentials?.api_key },
  });
  if (verified.status !== 200) end(`Verification failed: ${verified.text}`);
  return verified.body.token;
}
