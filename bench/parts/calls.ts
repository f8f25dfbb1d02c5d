import { exportJWK, generateKeyPair, SignJWT, calculateJwkThumbprint, type JWTPayload } from "jose";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { absolute, contest } from "../contest.ts";
import type { Job } from "../load.ts";
import { ratio } from "../measure.ts";
import { by, claim, type Claim, type Part } from "../part.ts";
import { start } from "../processes.ts";
import { accessToken, AGENT_ID, DELEGATE_ID, SESSION_ID, startBare } from "../product.ts";

const PATH = "/proxy/github/repos/octo/hello/issues/5";
/** Proofs that take turns. The storage of the bare Worker says of each that it is new. */
const PROOFS = 200;

/** What a call costs with a token of each kind, beside the same with a plain one. All go to one process in turns. */
export const calls: Part = async ({ effort, port, log }) => {
  const upstream = await start(process.execPath, [join(import.meta.dirname, "../upstream.ts"), String(port)], port);
  const server = await startBare(port + 1, port);
  const count = by(effort, 20, 300, 1000);
  const head = (authorization: string, ...more: string[]): string =>
    [
      `GET ${PATH} HTTP/1.1`,
      `Host: 127.0.0.1:${server.port}`,
      `Authorization: ${authorization}`,
      "Accept: application/vnd.github+json",
      "User-Agent: octokit-rest.js/22.0.1",
      ...more,
    ].join("\r\n");
  const contestant = (name: string, heads: readonly string[], concurrency: number) => ({
    name,
    server,
    job: (): Job => ({ port: server.port, count, concurrency, heads, bodies: [], expect: 200 }),
  });
  try {
    const claims: Claim[] = [];
    const data: Record<string, unknown> = {};
    for (const concurrency of [1, 16]) {
      const kinds: Readonly<Record<string, readonly string[]>> = {
        "a plain token": [head(`Bearer ${await accessToken()}`)],
        "a permission with limits": [head(`Bearer ${await accessToken(LIMITED)}`)],
        "a delegated token": [head(`Bearer ${await accessToken(DELEGATED)}`)],
        "a token bound to a key (DPoP)": await boundHeads(`http://127.0.0.1:${server.port}${PATH}`, head),
      };
      const [plain, ...others] = Object.keys(kinds) as [string, ...string[]];
      const samples = await contest(
        Object.entries(kinds).map(([name, heads]) => contestant(name, heads, concurrency)),
        by(effort, 1, 5, 9),
        log,
      );
      const work = `GET 1 KB, ${concurrency} at a time`;
      data[work] = absolute(samples);
      const cpu = (name: string) => samples[name]!.map((one) => one.cpu);
      for (const name of others) {
        const measured = ratio(cpu(name), cpu(plain));
        claims.push(claim({ work: `${work}, with ${name}`, beside: `with ${plain}`, figure: "CPU", measured }, null));
      }
    }
    return {
      claims,
      notes: [
        "The deploy bundle under bare workerd, with storage that answers at once. With DPoP, each request's proof is verified (ES256) and its use is written, which on D1 is a round trip. A delegated token has two agents, whose grants both have to allow the call, and two records. The limits are on the owner and the repository.",
      ],
      data,
    };
  } finally {
    await server.stop();
    await upstream.stop();
  }
};

const LIMITED: JWTPayload = {
  scope: "github:repos:read",
  authorization_details: [
    {
      type: "agentauth_grant",
      permission: "github:issues:read",
      where: { "path.owner": { in: ["octo"] }, "path.repo": { in: ["hello", "world"] } },
    },
  ],
};

const DELEGATED: JWTPayload = {
  sid: undefined,
  act: { sub: DELEGATE_ID },
  chain: [
    { sub: AGENT_ID, ver: 1, sid: SESSION_ID },
    { sub: DELEGATE_ID, ver: 1, sid: SESSION_ID },
  ],
};

/** Requests with one token that is bound to a key, each with a proof of its own (RFC 9449 §4.2). */
async function boundHeads(url: string, head: (...lines: [string, ...string[]]) => string): Promise<string[]> {
  const { publicKey, privateKey } = await generateKeyPair("ES256");
  const jwk = await exportJWK(publicKey);
  const token = await accessToken({ cnf: { jkt: await calculateJwkThumbprint(jwk) } });
  const ath = createHash("sha256").update(token).digest("base64url");
  const proof = (n: number): Promise<string> =>
    new SignJWT({ htm: "GET", htu: url, ath, jti: `proof-${n}-${crypto.randomUUID()}` })
      .setProtectedHeader({ typ: "dpop+jwt", alg: "ES256", jwk })
      .setIssuedAt()
      .sign(privateKey);
  const proofs = await Promise.all(Array.from({ length: PROOFS }, (_, n) => proof(n)));
  return proofs.map((one) => head(`DPoP ${token}`, `DPoP: ${one}`));
}
