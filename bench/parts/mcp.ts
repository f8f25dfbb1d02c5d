import { join } from "node:path";
import { absolute, contest } from "../contest.ts";
import type { Job } from "../load.ts";
import { ratio } from "../measure.ts";
import { by, claim, type Part } from "../part.ts";
import { start } from "../processes.ts";
import { accessTokens, startBare } from "../product.ts";
import { CALL_BODY, CALL_HEAD } from "../tool-call.ts";

const WHY =
  "What a call adds is reading its body (7 % of the time in JavaScript), its message (3 %), the request to the gateway (3 %), the arguments " +
  "(2 %), the result (2 %) and the response (2 %). The least Worker that does this to the floor costs 1.1 × the floor";

/** What a call costs as a tool of the MCP server, beside the same request to `/proxy`. Both go to one process in turns. */
export const mcp: Part = async ({ effort, port, log }) => {
  const upstream = await start(process.execPath, [join(import.meta.dirname, "../upstream.ts"), String(port)], port);
  const server = await startBare(port + 1, port);
  const [token] = await accessTokens(1);
  const count = by(effort, 20, 500, 1500);
  const common = [
    `Host: 127.0.0.1:${port + 1}`,
    `Authorization: Bearer ${token}`,
    "Accept: application/json",
    "User-Agent: octokit-rest.js/22.0.1",
  ];
  const proxied = ["GET /proxy/github/repos/octo/hello/issues/5 HTTP/1.1", ...common];
  const called = [...CALL_HEAD, ...common];
  try {
    const claims = [];
    const data: Record<string, unknown> = {};
    for (const concurrency of [1, 16]) {
      const job = (head: readonly string[], bodies: readonly string[]) => (): Job => ({
        port: port + 1,
        count,
        concurrency,
        heads: [head.join("\r\n")],
        bodies,
        expect: 200,
      });
      const samples = await contest(
        [
          { name: "/proxy", server, job: job(proxied, []) },
          { name: "/mcp", server, job: job(called, [CALL_BODY]) },
        ],
        by(effort, 1, 7, 11),
        log,
      );
      const work = `a call of a tool that reads 1 KB, ${concurrency} at a time`;
      data[work] = absolute(samples);
      const cpu = (way: string) => samples[way]!.map((one) => one.cpu);
      const measured = ratio(cpu("/mcp"), cpu("/proxy"));
      claims.push(claim({ work, beside: "the same to /proxy", figure: "CPU", measured, why: WHY }, 1.3));
    }
    return {
      claims,
      notes: ["The deploy bundle under bare workerd, with storage that answers at once. The answer is JSON of 1 KB."],
      data,
    };
  } finally {
    await server.stop();
    await upstream.stop();
  }
};
