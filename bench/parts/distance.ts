import { readFileSync } from "node:fs";
import { join } from "node:path";
import { client } from "../client.ts";
import { median, summary } from "../measure.ts";
import { by, claim, type Claim, type Part } from "../part.ts";
import { start } from "../processes.ts";
import { ROOT, startMiniflare } from "../product.ts";
import { CALL_BODY, CALL_HEAD } from "../tool-call.ts";

/** What a round trip to D1 costs beside what it costs here, in milliseconds. */
const DELAY_MS = 100;
/** What else an answer may take on this machine, in milliseconds. */
const MARGIN_MS = 60;

/** More new tokens than there are repeats. */
const FRESH = 12;

/** One path, and how many round trips to D1 it may wait for; null where no goal says it. */
interface Path {
  readonly name: string;
  readonly trips: number | null;
  /** Called for each request. */
  readonly send: () => Promise<Answer>;
}

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: unknown;
}

/** How long each path takes if D1 is a tenth of a second away. */
export const distance: Part = async ({ effort, port, log }) => {
  const upstream = await start(process.execPath, [join(ROOT, "bench/upstream.ts"), String(port)], port);
  const wrap = readFileSync(join(ROOT, "bench/distant.js"), "utf8");
  const server = await startMiniflare(port + 1, { upstreamPort: port, wrap }).catch(async (error: Error) => {
    await upstream.stop();
    throw error;
  });
  try {
    const claims: Claim[] = [];
    const data: Record<string, unknown> = {};
    for (const { name, trips, send } of await paths(server.port)) {
      const times: number[] = [];
      const counted: number[] = [];
      // The first is not counted: it may find nothing remembered.
      for (let repeat = -1; repeat < by(effort, 2, 5, 11); repeat++) {
        const began = performance.now();
        const { status, headers, body } = await send();
        const took = performance.now() - began;
        if (status >= 400) throw new Error(`${name}: ${status} ${JSON.stringify(body)}`);
        if (repeat < 0) continue;
        times.push(took);
        counted.push(Number(headers.get("x-bench-trips")));
      }
      data[name] = { ms: summary(times), trips: counted };
      log(`${name}: ${Math.round(median(times))} ms, ${Math.max(...counted)} round trips`);
      const plain = { work: name, beside: "" };
      claims.push(
        claim({ ...plain, figure: "round trips to D1", measured: summary(counted) }, trips),
        claim(
          { ...plain, figure: "ms", measured: summary(times) },
          trips === null ? null : trips * DELAY_MS + MARGIN_MS,
        ),
      );
    }
    return {
      claims,
      notes: [
        `The whole Worker in Miniflare, one request at a time, with each round trip to D1 made ${DELAY_MS} ms longer. A call through the gateway may wait for none where the token's status is remembered, for two if it is a write, and otherwise for one, and so may what gives tokens; ${MARGIN_MS} ms are left for everything that is not D1.`,
      ],
      data,
    };
  } finally {
    await server.stop();
    await upstream.stop();
  }
};

async function paths(port: number): Promise<Path[]> {
  const { call, agent, admin } = client(port);
  const issue = "/proxy/github/repos/octo/hello/issues";
  const root = await admin();
  const own = await agent(["github:issues:read", "github:issues:write"], root.token);
  const proof = { agent_id: own.id, api_key: own.apiKey };
  const verify = () => call("/agents/verify", { method: "POST", json: proof });
  const newToken = async (): Promise<string> => (await verify()).body.token.access_token;
  // Made before, so that only the call itself is timed.
  const fresh: string[] = [];
  for (let n = 0; n < FRESH; n++) fresh.push(await newToken());
  let refreshToken = own.refreshToken;

  const mcpHeaders = Object.fromEntries(CALL_HEAD.slice(1).map((line) => line.split(": ") as [string, string]));
  const tool = () =>
    call("/mcp", {
      method: "POST",
      token: own.token,
      headers: { ...mcpHeaders, accept: "application/json" },
      json: JSON.parse(CALL_BODY),
    });
  return [
    {
      name: "GET /proxy/{service}/…, status remembered",
      trips: 0,
      send: () => call(`${issue}/5`, { token: own.token }),
    },
    { name: "GET /proxy/{service}/…, a new token", trips: 1, send: () => call(`${issue}/5`, { token: fresh.pop()! }) },
    {
      name: "POST /proxy/{service}/…",
      trips: 2,
      send: () => call(issue, { method: "POST", token: own.token, json: { title: "Found a bug" } }),
    },
    { name: "POST /mcp, a tool that reads", trips: 0, send: tool },
    { name: "POST /agents/verify", trips: 1, send: verify },
    {
      name: "POST /agents/refresh",
      trips: 1,
      send: async () => {
        const answer = await call("/agents/refresh", { method: "POST", json: { refresh_token: refreshToken } });
        refreshToken = answer.body.token?.refresh_token ?? answer.body.refresh_token ?? refreshToken;
        return answer;
      },
    },
    {
      name: "POST /agents/register",
      trips: 1,
      send: () =>
        call("/agents/register", {
          method: "POST",
          json: { name: "far", owner_email: "far@example.com", permissions: ["github:issues:read"] },
        }),
    },
    { name: "GET /agents/{id}", trips: null, send: () => call(`/agents/${own.id}`, { token: own.token }) },
    {
      name: "PATCH /agents/{id}",
      trips: null,
      send: () =>
        call(`/agents/${own.id}`, {
          method: "PATCH",
          token: own.token,
          json: { description: `priced ${performance.now()}` },
        }),
    },
    { name: "GET /agents", trips: null, send: () => call("/agents?limit=50", { token: root.token }) },
    { name: "GET /audit", trips: null, send: () => call("/audit?limit=50", { token: root.token }) },
    { name: "GET /.well-known/jwks.json", trips: 0, send: () => call("/.well-known/jwks.json") },
  ];
}
