// @module-tag slow
import {
  Client,
  ClientCredentialsProvider,
  PrivateKeyJwtProvider,
  StreamableHTTPClientTransport,
  type StreamableHTTPClientTransportOptions,
} from "@modelcontextprotocol/client";
import { exportJWK, generateKeyPair } from "jose";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { startRecorder, type Recorder } from "./support/recorder.ts";
import { startWorker, type Agent, type Worker } from "./support/worker.ts";

/** The official client against a whole Worker, as an agent's program uses it. */
let upstream: Recorder;
let worker: Worker;
let agent: Agent;
beforeAll(async () => {
  upstream = await startRecorder(({ method, url }, response) => {
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ method, url }));
  });
  worker = await startWorker({
    UPSTREAM_ORDERS_TOKEN: "of-the-company",
    "UPSTREAMS.orders": JSON.stringify({
      base_url: upstream.url,
      resources: { orders: ["read", "write"] },
      rules: ["GET,POST /orders orders", "* /orders/{id:int} orders"],
    }),
  });
  agent = await worker.agent(["orders:orders:read", "orders:orders:write"]);
});
afterAll(async () => {
  await worker?.stop();
  await upstream?.close();
});

const open: Client[] = [];
afterEach(async () => {
  for (const client of open.splice(0)) await client.close();
});

type Mode = "legacy" | "auto" | { pin: string };

async function connect(options: StreamableHTTPClientTransportOptions, mode: Mode = "auto"): Promise<Client> {
  const client = new Client({ name: "test", version: "1" }, { versionNegotiation: { mode } });
  open.push(client);
  await client.connect(new StreamableHTTPClientTransport(new URL(`${worker.url}/mcp`), options));
  return client;
}

/** What every client does: it lists the tools, and calls one. */
async function use(client: Client) {
  const { tools } = await client.listTools();
  expect(tools.map(({ name }) => name)).toEqual([
    "explain",
    "my_activity",
    "orders_create_order",
    "orders_delete_order",
    "orders_get_order",
    "orders_list_orders",
    "orders_post_order",
    "orders_put_order",
    "orders_update_order",
  ]);
  const result = await client.callTool({ name: "orders_get_order", arguments: { id: 7, query: { expand: "lines" } } });
  expect(result).toMatchObject({ structuredContent: { method: "GET", url: "/orders/7?expand=lines" } });
  const refused = await client.callTool({ name: "orders_get_order", arguments: { id: "../8" } });
  expect(refused.isError).toBe(true);
}

describe("the official client", () => {
  const withHeader = (): StreamableHTTPClientTransportOptions => ({
    requestInit: { headers: { authorization: `Bearer ${agent.token}` } },
  });

  it.each<[string, Mode, string]>([
    ["chooses the newest revision", "auto", "2026-07-28"],
    ["is pinned to the newest revision", { pin: "2026-07-28" }, "2026-07-28"],
    ["initializes", "legacy", "2025-11-25"],
  ])("%s, with a token in a header", async (_, mode, version) => {
    const client = await connect(withHeader(), mode);
    expect(client.getNegotiatedProtocolVersion()).toBe(version);
    expect(client.getServerCapabilities()).toEqual({ tools: {}, prompts: {}, resources: {} });
    await use(client);
    expect((await client.listPrompts()).prompts).toEqual([]);
    expect((await client.listResources()).resources).toEqual([]);
  });

  it("finds the token endpoint, and gets a token for the MCP server by client credentials", async () => {
    const authProvider = new ClientCredentialsProvider({
      clientId: agent.id,
      clientSecret: agent.apiKey,
      expectedIssuer: worker.url.replace(/\/$/, ""),
    });
    await use(await connect({ authProvider }));
    const { access_token: token = "" } = (await authProvider.tokens()) ?? {};
    const { status } = await worker.call("/proxy/orders/orders/7", { token });
    expect(status).toBe(401);
  });

  it("signs an assertion with its private key", async () => {
    const { publicKey, privateKey } = await generateKeyPair("ES256", { extractable: true });
    const jwk = { ...(await exportJWK(publicKey)), alg: "ES256" };
    const init = { method: "POST", token: agent.token, json: { jwk } };
    const { status } = await worker.call(`/agents/${agent.id}/keys`, init);
    expect(status).toBe(201);
    const authProvider = new PrivateKeyJwtProvider({
      clientId: agent.id,
      privateKey: { ...(await exportJWK(privateKey)), alg: "ES256" },
      algorithm: "ES256",
      expectedIssuer: worker.url.replace(/\/$/, ""),
    });
    await use(await connect({ authProvider }));
  });

  it("is refused with a token that was revoked", async () => {
    const ended = await worker.agent(["orders:orders:read"]);
    await worker.call("/agents/revoke-tokens", { method: "POST", token: ended.token });
    const requestInit = { headers: { authorization: `Bearer ${ended.token}` } };
    await expect(connect({ requestInit })).rejects.toThrow();
  });
});
