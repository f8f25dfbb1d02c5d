import { join } from "node:path";
import { client } from "../client.ts";
import { absolute, comparison, contest, type Contestant } from "../contest.ts";
import type { Job } from "../load.ts";
import { by, type Claim, type Part } from "../part.ts";
import { start, type Running } from "../processes.ts";
import { startMiniflare, startOnNode, temporary } from "../product.ts";

const KEYS = 100;

/** An API key for tokens: AgentAuth beside Better Auth. */
export const verify: Part = async ({ effort, port, log }) => {
  const repeats = by(effort, 1, 5, 15);
  const count = by(effort, 20, 200, 400);
  const servers: Running[] = [];
  const add = async (starting: Promise<Running>) => {
    const server = await starting;
    servers.push(server);
    return server;
  };
  try {
    const onNode = await add(startOnNode(port + 1));
    const inMiniflare = await add(startMiniflare(port + 2, { upstreamPort: port }));
    const script = join(import.meta.dirname, "../peers/better-auth.ts");
    const betterAuth = await add(
      start(process.execPath, [script, String(port + 3)], port + 3, {
        BENCH_DATABASE: temporary("better-auth.sqlite"),
        NODE_ENV: "production",
      }),
    );
    const theirs = (await (
      await fetch(`http://127.0.0.1:${betterAuth.port}/seed?count=${KEYS}`, { method: "POST" })
    ).json()) as string[];
    const ours = async ({ port: at }: Running) => {
      const { call } = client(at);
      const bodies: string[] = [];
      for (let i = 0; i < KEYS; i++) {
        const json = { name: `bench ${i}`, owner_email: "bench@example.com", permissions: ["github:issues:read"] };
        const { body } = await call("/agents/register", { method: "POST", json });
        bodies.push(JSON.stringify({ agent_id: body.agent.agent_id, api_key: body.credentials.api_key }));
      }
      return bodies;
    };
    const [onNodeBodies, miniflareBodies] = [await ours(onNode), await ours(inMiniflare)];
    const theirBodies = theirs.map((key) => JSON.stringify({ api_key: key }));
    const contestants = (concurrency: number): Contestant[] => {
      const one = (name: string, server: Running, path: string, bodies: readonly string[]): Contestant => ({
        name,
        server,
        job: () => postJob(server.port, path, bodies, { count, concurrency }),
      });
      return [
        one("AgentAuth on Node with better-sqlite3", onNode, "/agents/verify", onNodeBodies),
        one("AgentAuth in Miniflare", inMiniflare, "/agents/verify", miniflareBodies),
        one("Better Auth", betterAuth, "/verify", theirBodies),
      ];
    };
    const alone = await contest(contestants(1), repeats, (line) => log(`1 at a time: ${line}`));
    const together = await contest(contestants(16), repeats, (line) => log(`16 at a time: ${line}`));
    const [node, simulated, peer] = [
      "AgentAuth on Node with better-sqlite3",
      "AgentAuth in Miniflare",
      "Better Auth",
    ] as const;
    const claims: Claim[] = [];
    for (const [how, samples] of Object.entries({ "1 at a time": alone, "16 at a time": together })) {
      claims.push(
        ...comparison(samples, [node, peer], {
          work: `verify, both on Node and better-sqlite3, ${how}`,
          judged: true,
          why: "SQL is half of the profile: each verification opens a session, and its event and its record of the audit log are written with it, in one batch that also keeps the limit of sessions and would record a refusal; Better Auth updates the key's use",
        }),
        ...comparison(samples, [simulated, peer], { work: `verify, ours in Miniflare, ${how}`, judged: false }),
        ...comparison(samples, [simulated, node], {
          work: `verify in Miniflare, ${how}`,
          beside: "the same on Node",
          judged: false,
          figures: 1,
        }),
      );
    }
    return {
      claims,
      notes: [
        "Both hash the key once or more, look it up, write, and sign one ES256 token; AgentAuth also opens a session with a refresh token, in one transaction of two rows, and queues a line of activity; Better Auth updates the key's use.",
        `${repeats} interleaved repeats of ${count} requests over ${KEYS} keys, all databases in WAL with synchronous = NORMAL. The difference between Miniflare and Node is the share of the local simulators of D1, queues and rate limits, which are not Cloudflare's.`,
      ],
      data: { "1 at a time": absolute(alone), "16 at a time": absolute(together) },
    };
  } finally {
    for (const server of servers) await server.stop();
  }
};

/** POSTs these bodies in turn. */
export function postJob(
  port: number,
  path: string,
  bodies: readonly string[],
  { count, concurrency, type = "application/json" }: Pick<Job, "count" | "concurrency"> & { type?: string },
): Job {
  const head = [`POST ${path} HTTP/1.1`, `Host: 127.0.0.1:${port}`, `Content-Type: ${type}`].join("\r\n");
  return { port, count, concurrency, heads: bodies.map(() => head), bodies, expect: 200 };
}
