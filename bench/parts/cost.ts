import { join } from "node:path";
import { ROUTES } from "../../src/app.ts";
import { sleep, significant, summary } from "../measure.ts";
import { by, claim, type Part } from "../part.ts";
import { PRICES } from "../prices.ts";
import { start } from "../processes.ts";
import { counting, ROOT, startMiniflare } from "../product.ts";
import { client, type Operations, type Totals } from "../client.ts";

/** Agents that take turns, and how many calls they make together in a second. */
const TURNS = { agents: 50, calls: 10 };

interface Line {
  readonly endpoint: string;
  readonly operations: Operations;
}

/** What each endpoint asks of D1, KV and the queues, and what a million calls cost. */
export const cost: Part = async ({ effort, port, log }) => {
  // Messages that are sent to learn what one costs behind the answer, and how long agents take turns, in seconds: what is counted
  // once a minute shows only over several of them.
  const messages = by(effort, 100, 1000, 1000);
  const seconds = by(effort, 5, 180, 180);
  const upstream = await start(process.execPath, [join(ROOT, "bench/upstream.ts"), String(port)], port);
  const server = await startMiniflare(port + 1, { upstreamPort: port, wrap: counting() }).catch(
    async (error: Error) => {
      await upstream.stop();
      throw error;
    },
  );
  try {
    const lines = await measure(server.port, port);
    const perMessage = await recordCost(server.port, messages, (n) => ({
      path: `/proxy/github/repos/octo/hello/issues/${n}`,
    }));
    const perWrite = await recordCost(server.port, messages, (n) => ({
      path: `/proxy/github/repos/octo/hello/issues/${n}/comments`,
      method: "POST",
      json: { body: "Found it" },
    }));
    const inTurns = await recordCostInTurns(server.port, seconds);
    const read = PRICES.request + PRICES.message + perMessage.dollars;
    const readInTurns = PRICES.request + PRICES.message + inTurns.dollars;
    // The intent is a row in the batch before the call.
    const write = PRICES.request + PRICES.rowWritten + PRICES.message + perWrite.dollars;
    log(
      `of ${TURNS.agents} agents in turns, ${TURNS.calls} a second: $${readInTurns.toFixed(2)}, ${significant(inTurns.rowsWritten)} rows in batches of ${significant(inTurns.messagesPerBatch)}`,
    );
    log(
      `a remembered read with its record: $${read.toFixed(2)} a million (goal 3.50); a write: $${write.toFixed(2)} (goal 6.00)`,
    );
    const unmeasured = ROUTES.filter(
      ({ method, path }) => !lines.some(({ endpoint }) => endpoint.split(",")[0] === `${method} ${path}`),
    );
    const rows = lines.map(({ endpoint, operations }) => row(endpoint, operations, perMessage));
    for (const [endpoint, , , , , , , , dollars] of rows) log(`${endpoint}: $${dollars} a million`);
    return {
      claims: (
        [
          ["a remembered read with its record", read, 3.5],
          [`the same, of ${TURNS.agents} agents in turns, ${TURNS.calls} a second`, readInTurns, 3.5],
          ["a write with its intent and its record", write, 6],
        ] as const
      ).map(([work, dollars, goal]) =>
        claim({ work, beside: "", figure: "$ a million calls", measured: summary([dollars]) }, goal),
      ),
      tables: [
        {
          title: "Operations a call, and dollars a million calls",
          head: [
            "endpoint",
            "D1 round trips awaited",
            "rows read",
            "rows written",
            "KV reads awaited",
            "KV writes behind the answer",
            "messages behind the answer",
            "$ of the call",
            "$ with its record",
          ],
          rows,
        },
      ],
      notes: [
        `The record of a read costs $${significant(perMessage.dollars)} a million in its consumer, which writes ${significant(perMessage.rowsWritten)} rows for it in batches of ${significant(perMessage.messagesPerBatch)}: a remembered read with its record costs $${read.toFixed(2)}. That of a write costs $${significant(perWrite.dollars)}, with ${significant(perWrite.rowsWritten)} rows, of which one is the deletion of its intent: a write with its intent and its record costs $${write.toFixed(2)}.`,
        `Prices: $${PRICES.request} a million requests, $${PRICES.rowRead} rows read, $${PRICES.rowWritten} rows written, $${PRICES.kvRead} KV reads, $${PRICES.kvWrite} KV writes, $0.40 queue operations (three a message). CPU is not in it: at $0.02 a million ms, half a millisecond is $0.01 a million calls. Nor is what the plan includes.`,
        `Where ${TURNS.agents} agents take turns at ${TURNS.calls} calls a second, batches have ${significant(inTurns.messagesPerBatch)} records of as many agents, and a record is ${significant(inTurns.rowsWritten)} rows: a remembered read with its record costs $${readInTurns.toFixed(2)}. Few agents that call often cost less, and so does more traffic.`,
        `Not measured: ${unmeasured.map(({ method, path }) => `${method} ${path}`).join(", ")}.`,
        "Rows are those of a nearly empty database; the part `scale` shows that they do not grow with it.",
      ],
      data: { lines, perMessage, inTurns, perWrite, prices: PRICES },
    };
  } finally {
    await server.stop();
    await upstream.stop();
  }
};

async function measure(port: number, upstreamPort: number): Promise<Line[]> {
  const { call, counted, admin, agent } = client(port);
  const root = await admin();
  const own = await agent(["github:issues:read", "github:issues:write"], root.token);
  const other = await agent(["github:issues:read"], root.token);
  const lines: Line[] = [];
  const line = async (endpoint: string, path: string, init: Parameters<typeof counted>[1] = {}) => {
    const answer = await counted(path, { method: endpoint.slice(0, endpoint.indexOf(" ")), ...init });
    if (answer.status >= 400 && !endpoint.includes("refused"))
      throw new Error(`${endpoint}: ${answer.status} ${JSON.stringify(answer.body)}`);
    lines.push({ endpoint, operations: answer.operations });
    return answer.body;
  };
  const { token } = own;
  const asAdmin = { token: root.token };
  const issue = "/proxy/github/repos/octo/hello/issues/5";

  await line("GET /proxy/{service}/…, not remembered", issue, { token });
  await line("GET /proxy/{service}/…, remembered", issue, { token });
  await line("POST /proxy/{service}/…", "/proxy/github/repos/octo/hello/issues", {
    token,
    json: { title: "Found a bug" },
  });
  await line("GET /proxy/{service}/…, refused for want of permission", "/proxy/github/user/keys", { token });

  const registration = { name: "priced", owner_email: "owner@example.com", permissions: ["github:issues:read"] };
  await line("POST /agents/register", "/agents/register", { json: registration });
  const verified = await line("POST /agents/verify", "/agents/verify", {
    json: { agent_id: own.id, api_key: own.apiKey },
  });
  await line("POST /agents/verify, refused", "/agents/verify", { json: { agent_id: own.id, api_key: other.apiKey } });
  await line("POST /agents/refresh", "/agents/refresh", {
    json: { refresh_token: verified.token.refresh_token },
  });
  await line("GET /.well-known/jwks.json", "/.well-known/jwks.json");
  await line("GET /permissions/list", "/permissions/list");
  await line("GET /health", "/health");
  await line("GET /webhooks/events", "/webhooks/events");
  const question = { service: "github", method: "GET", path: "/user" };
  await line("POST /proxy/_explain", "/proxy/_explain", { ...asAdmin, json: question });

  await line("GET /agents/{id}", `/agents/${own.id}`, { token });
  await line("GET /agents/{id}/activity", `/agents/${own.id}/activity`, { token });
  await line("GET /audit, an agent's own", "/audit", { token });
  const log = await line("GET /audit", "/audit", asAdmin);
  await line("GET /audit/{id}", `/audit/${log.records[0].id}`, asAdmin);
  await line("GET /health/details", "/health/details", asAdmin);
  await line("GET /agents/{id}/keys", `/agents/${own.id}/keys`, { token });
  await line("GET /agents/{id}/sessions", `/agents/${own.id}/sessions`, { token });
  await line("GET /agents/{id}/grants", `/agents/${own.id}/grants`, asAdmin);
  await line("PATCH /agents/{id}", `/agents/${own.id}`, { token, json: { description: "priced" } });
  await line("GET /agents", "/agents", asAdmin);
  await line("GET /agents, searched", "/agents?q=pri", asAdmin);
  await line("GET /activity", "/activity", asAdmin);
  await line("POST /agents/{id}/rotate-key", `/agents/${own.id}/rotate-key`, { token, json: { overlap_seconds: 60 } });

  const webhook = { url: `http://127.0.0.1:${upstreamPort}/hook`, events: ["agent.deleted"] };
  const created = await line("POST /webhooks", "/webhooks", { token, json: webhook });
  const at = `/webhooks/${created.webhook.id}`;
  await line("GET /webhooks", "/webhooks", { token });
  await line("GET /webhooks/{id}", at, { token });
  await line("PUT /webhooks/{id}", at, { token, json: { description: "told" } });
  await line("POST /webhooks/{id}/regenerate-secret", `${at}/regenerate-secret`, { token });
  await line("POST /webhooks/{id}/test", `${at}/test`, { token });
  const delivery = await until(async () => {
    const { body } = await call(`${at}/deliveries`, { token });
    return body.deliveries?.find((one: { status: string }) => one.status !== "pending");
  });
  await line("GET /webhooks/{id}/deliveries", `${at}/deliveries`, { token });
  const again = `${at}/deliveries/${delivery.id ?? delivery.delivery_id}/redeliver`;
  await line("POST /webhooks/{id}/deliveries/{delivery_id}/redeliver", again, { token });
  await line("DELETE /webhooks/{id}", at, { token });

  await line("POST /agents/revoke-tokens", "/agents/revoke-tokens", { token: other.token, json: {} });
  const put = (what: string, json: object) =>
    line(`PUT /agents/{id}/${what}`, `/agents/${own.id}/${what}`, { ...asAdmin, json });
  await put("tier", { tier: "pro" });
  await put("permissions", { permissions: ["github:issues:read"] });
  await put("status", { status: "suspended" });
  await line("POST /agents/{id}/revoke", `/agents/${own.id}/revoke`, asAdmin);
  await line("DELETE /agents/{id}", `/agents/${own.id}`, asAdmin);
  return lines;
}

interface PerMessage {
  readonly dollars: number;
  readonly rowsRead: number;
  readonly rowsWritten: number;
  readonly messagesPerBatch: number;
}

/** What the consumer does for the record of a call, from many of them: with a write, it deletes the intent too. */
async function recordCost(
  port: number,
  count: number,
  request: (n: number) => { path: string; method?: string; json?: object },
): Promise<PerMessage> {
  const { call, totals, agent } = client(port);
  const { token } = await agent(["github:issues:read", "github:issues:write"]);
  await sleep(2500);
  await totals();
  for (let sent = 0; sent < count; sent += 50) {
    const calls = Array.from({ length: 50 }, (_, n) => {
      const { path, ...init } = request(n);
      return call(path, { token, ...init });
    });
    await Promise.all(calls);
  }
  return perMessageOf(totals, count);
}

/** The same of the reads of many agents in turns, at a steady pace: batches are those of a second. */
async function recordCostInTurns(port: number, seconds: number): Promise<PerMessage> {
  const { call, totals, agent } = client(port);
  const tokens: string[] = [];
  for (let n = 0; n < TURNS.agents; n++) tokens.push((await agent(["github:issues:read"])).token);
  await sleep(2500);
  await totals();
  const calls: Promise<unknown>[] = [];
  const began = performance.now();
  for (let n = 0; n < TURNS.calls * seconds; n++) {
    const wait = began + (n * 1000) / TURNS.calls - performance.now();
    if (wait > 0) await sleep(wait);
    calls.push(call(`/proxy/github/repos/octo/hello/issues/${n}`, { token: tokens[n % tokens.length]! }));
  }
  await Promise.all(calls);
  return perMessageOf(totals, TURNS.calls * seconds);
}

/** What the queue's consumer has done for so many messages, once it has. */
async function perMessageOf(totals: () => Promise<Totals>, count: number): Promise<PerMessage> {
  let all: Totals[string] | undefined;
  await until(async () => {
    const more = (await totals())["agentauth-activity"];
    if (more && all) {
      for (const key of ["batches", "messages", "rowsRead", "rowsWritten"] as const) all[key] += more[key];
    } else all ??= more;
    return (all?.messages ?? 0) >= count;
  });
  const { messages, batches, rowsRead, rowsWritten } = all!;
  return {
    rowsRead: rowsRead / messages,
    rowsWritten: rowsWritten / messages,
    messagesPerBatch: messages / batches,
    dollars: (rowsRead * PRICES.rowRead + rowsWritten * PRICES.rowWritten + batches * PRICES.request) / messages,
  };
}

async function until<T>(read: () => Promise<T>): Promise<NonNullable<T>> {
  for (let tries = 0; tries < 300; tries++) {
    const found = await read();
    if (found) return found;
    await sleep(200);
  }
  throw new Error("what was waited for did not happen within a minute");
}

function row(endpoint: string, { awaited, later }: Operations, perMessage: PerMessage): (string | number)[] {
  const rowsRead = awaited.rowsRead + later.rowsRead;
  const rowsWritten = awaited.rowsWritten + later.rowsWritten;
  const messages = awaited.queueMessages + later.queueMessages;
  const call =
    PRICES.request +
    rowsRead * PRICES.rowRead +
    rowsWritten * PRICES.rowWritten +
    (awaited.kvReads + later.kvReads) * PRICES.kvRead +
    (awaited.kvWrites + later.kvWrites) * PRICES.kvWrite +
    messages * PRICES.message;
  return [
    endpoint,
    awaited.d1,
    rowsRead,
    rowsWritten,
    awaited.kvReads,
    awaited.kvWrites + later.kvWrites,
    messages,
    call.toFixed(2),
    (call + messages * perMessage.dollars).toFixed(2),
  ];
}
