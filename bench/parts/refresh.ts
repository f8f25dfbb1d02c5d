import { join } from "node:path";
import { client } from "../client.ts";
import { absolute, comparison, contest, type Contestant } from "../contest.ts";
import { by, type Claim, type Part } from "../part.ts";
import { start, type Running } from "../processes.ts";
import { signingKey, startMiniflare, startOnNode, temporary } from "../product.ts";
import { postJob } from "./verify.ts";

const AT_ONCE = 50;
const HMAC_AT_ONCE = "AgentAuth on Node, HMACs on the spot";

/** Refreshing, and many refreshes of one token at once: AgentAuth beside oidc-provider. */
export const refresh: Part = async ({ effort, port, log }) => {
  const repeats = by(effort, 1, 5, 15);
  const count = by(effort, 20, 100, 200);
  const servers: Running[] = [];
  const add = async (starting: Promise<Running>) => {
    const server = await starting;
    servers.push(server);
    return server;
  };
  try {
    const onNode = await add(startOnNode(port + 1));
    const atOnceOnNode = await add(startOnNode(port + 4, true));
    const inMiniflare = await add(startMiniflare(port + 2, { upstreamPort: port }));
    const oidc = await add(
      start(process.execPath, [join(import.meta.dirname, "../peers/oidc.ts"), String(port + 3)], port + 3, {
        BENCH_OIDC: JSON.stringify({ database: temporary("oidc.sqlite"), jwk: signingKey }),
        NODE_ENV: "production",
      }),
    );
    const theirTokens = async (wanted: number) =>
      (await (
        await fetch(`http://127.0.0.1:${oidc.port}/seed?count=${wanted}`, { method: "POST" })
      ).json()) as string[];
    const needed = count * (repeats + 1) * 2;
    const bodiesOf = async (server: Running) =>
      (await sessions(server.port, needed)).map((token) => JSON.stringify({ refresh_token: token }));
    const form = (token: string) => `grant_type=refresh_token&client_id=bench&refresh_token=${token}`;
    const bodies = {
      onNode: await bodiesOf(onNode),
      atOnceOnNode: await bodiesOf(atOnceOnNode),
      inMiniflare: await bodiesOf(inMiniflare),
      oidc: (await theirTokens(needed)).map(form),
    };

    // A token is refreshed once: every repeat has its own.
    const contestants = (concurrency: number, round: number): Contestant[] => {
      const share = (all: readonly string[], repeat: number) => {
        const from = (round * (repeats + 1) + repeat + 1) * count;
        return all.slice(from, from + count);
      };
      const one = (name: string, server: Running, all: readonly string[], path: string, type: string): Contestant => ({
        name,
        server,
        job: (repeat) => postJob(server.port, path, share(all, repeat), { count, concurrency, type }),
      });
      const json = "application/json";
      return [
        one("AgentAuth on Node with better-sqlite3", onNode, bodies.onNode, "/agents/refresh", json),
        one(HMAC_AT_ONCE, atOnceOnNode, bodies.atOnceOnNode, "/agents/refresh", json),
        one("AgentAuth in Miniflare", inMiniflare, bodies.inMiniflare, "/agents/refresh", json),
        one("oidc-provider", oidc, bodies.oidc, "/token", "application/x-www-form-urlencoded"),
      ];
    };
    const alone = await contest(contestants(1, 0), repeats, (line) => log(`1 at a time: ${line}`));
    const together = await contest(contestants(16, 1), repeats, (line) => log(`16 at a time: ${line}`));

    const [token] = await sessions(inMiniflare.port, 1);
    const [theirToken] = await theirTokens(1);
    const ours = await atOnce(`http://127.0.0.1:${inMiniflare.port}/agents/refresh`, "application/json", {
      body: JSON.stringify({ refresh_token: token }),
      successor: ({ token: pair }) => pair?.refresh_token,
    });
    const theirs = await atOnce(`http://127.0.0.1:${oidc.port}/token`, "application/x-www-form-urlencoded", {
      body: form(theirToken!),
      successor: ({ refresh_token: successor }) => successor,
    });
    log(`${AT_ONCE} at once: ours ${JSON.stringify(ours)}, oidc-provider ${JSON.stringify(theirs)}`);
    const [node, simulated, peer] = [
      "AgentAuth on Node with better-sqlite3",
      "AgentAuth in Miniflare",
      "oidc-provider",
    ] as const;
    const claims: Claim[] = [];
    for (const [how, samples] of Object.entries({ "1 at a time": alone, "16 at a time": together })) {
      claims.push(
        ...comparison(samples, [node, peer], {
          work: `refresh, both on Node and better-sqlite3, ${how}`,
          judged: true,
          why: "Node sends each of the two HMACs through its thread pool (in workerd they are made on the spot), the token's owner is read and rate-limited before anything is written, and each refresh writes its record of the audit log with the change, which oidc-provider does not have: SQL is a fifth of the profile, jobs of WebCrypto an eighth",
        }),
        ...comparison(samples, [HMAC_AT_ONCE, peer], {
          work: `the same, our HMACs on the spot as in workerd, ${how}`,
          judged: false,
        }),
        ...comparison(samples, [simulated, peer], { work: `refresh, ours in Miniflare, ${how}`, judged: false }),
      );
    }
    const number = (median: number) => ({ median, low: median, high: median });
    return {
      claims: [
        ...claims,
        {
          work: `${AT_ONCE} refreshes of one token at once`,
          beside: "",
          figure: "different successors",
          measured: number(ours.successors),
          goal: "1",
          met: ours.successors === 1 && ours.answered === AT_ONCE && ours.successorIsGood,
        },
      ],
      tables: [
        {
          title: `${AT_ONCE} refreshes of one token at once`,
          head: ["", "answered 200", "different successors", "session goes on"],
          rows: [
            ["AgentAuth", ours.answered, ours.successors, ours.successorIsGood ? "yes" : "no"],
            ["oidc-provider", theirs.answered, theirs.successors, theirs.successorIsGood ? "yes" : "no"],
          ],
        },
      ],
      notes: [
        "Both rotate: the token is spent, a successor is written, an ES256 access token is signed. AgentAuth in Miniflare has its activity queue and its rate limits as well.",
        `${repeats} interleaved repeats of ${count} refreshes, every token refreshed once. oidc-provider keeps its models in better-sqlite3 with the same settings, through an adapter of forty lines.`,
      ],
      data: { "1 at a time": absolute(alone), "16 at a time": absolute(together), atOnce: { ours, theirs } },
    };
  } finally {
    for (const server of servers) await server.stop();
  }
};

/** How many sessions an agent has here: of more than `SESSIONS_PER_AGENT` (100), the eldest could not be refreshed. */
const SESSIONS_OF_AN_AGENT = 96;

/** Refresh tokens of so many sessions. */
async function sessions(port: number, wanted: number): Promise<string[]> {
  const { call, agent } = client(port);
  const tokens: string[] = [];
  let proof: { agent_id: string; api_key: string } | undefined;
  while (tokens.length < wanted) {
    if (!proof || tokens.length % SESSIONS_OF_AN_AGENT === 0) {
      const { id, apiKey } = await agent(["github:issues:read"]);
      proof = { agent_id: id, api_key: apiKey };
    }
    const json = proof;
    const verified = await Promise.all(
      Array.from({ length: Math.min(8, wanted - tokens.length) }, () =>
        call("/agents/verify", { method: "POST", json }),
      ),
    );
    for (const { body } of verified) tokens.push(body.token.refresh_token);
  }
  return tokens;
}

interface AtOnce {
  readonly answered: number;
  readonly successors: number;
  /** Whether the one that came back can be refreshed in its turn. */
  readonly successorIsGood: boolean;
}

/** Sends one refresh many times at once. */
async function atOnce(
  url: string,
  type: string,
  // oxlint-disable-next-line typescript/no-explicit-any
  { body, successor }: { body: string; successor: (answer: any) => string | undefined },
): Promise<AtOnce> {
  const send = (text: string) => fetch(url, { method: "POST", headers: { "content-type": type }, body: text });
  const answers = await Promise.all(Array.from({ length: AT_ONCE }, () => send(body)));
  const found = new Set<string>();
  for (const answer of answers) {
    const one = successor(await answer.json());
    if (answer.status === 200 && one) found.add(one);
  }
  const [first] = found;
  const old = /refresh_token(?:":"|=)([^"&]+)/.exec(body)![1]!;
  const again = first ? await send(body.replace(old, first)) : undefined;
  return {
    answered: answers.filter(({ status }) => status === 200).length,
    successors: found.size,
    successorIsGood: again?.status === 200,
  };
}
