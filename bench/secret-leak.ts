import { join } from "node:path";
import { startLoad } from "./load.ts";
import { median, summary } from "./measure.ts";
import { cpuOf, start } from "./processes.ts";
import { accessTokens, startBare } from "./product.ts";

/**
 * What looking for the credential in answers costs: `node bench/secret-leak.ts [repeats]`.
 *
 * The deploy bundle twice under a bare workerd, in turns: with the credential that it injects and looks for, and set up to inject
 * none, so that nothing is looked for. JSON of 1 KB (read whole) and of 1 MB (in pieces).
 */
const repeats = Number(process.argv[2] ?? 7);
const port = Number(process.env.BENCH_PORT ?? 9700) + 84;
const SIZES = [
  ["1 KB", "/repos/octo/hello/issues/5", 2000],
  ["1 MB", "/repos/octo/hello/contents/large.bin", 100],
] as const;

const upstream = await start(process.execPath, [join(import.meta.dirname, "upstream.ts"), String(port)], port);
const searching = await startBare(port + 1, port);
const none = { "UPSTREAMS.github.credential": '{"scheme":"none"}' };
const trusting = await startBare(port + 2, port, [], undefined, none);
const load = startLoad();
try {
  const [token] = await accessTokens(1);
  for (const [size, path, count] of SIZES) {
    const added: number[] = [];
    const whole: number[] = [];
    for (let round = -1; round < repeats; round++) {
      const cpu: { server: typeof searching; micros: number }[] = [];
      for (const server of round % 2 ? [trusting, searching] : [searching, trusting]) {
        const lines = [`GET /proxy/github${path} HTTP/1.1`, `Host: 127.0.0.1`, `Authorization: Bearer ${token}`];
        const before = cpuOf(server.pid);
        await load.run({
          port: server.port,
          count,
          concurrency: 4,
          heads: [lines.join("\r\n")],
          bodies: [],
          expect: 200,
        });
        cpu.push({ server, micros: ((cpuOf(server.pid) - before) * 1000) / count });
      }
      if (round < 0) continue;
      const of = (wanted: typeof searching) => cpu.find(({ server }) => server === wanted)!.micros;
      whole.push(of(searching));
      added.push(of(searching) - of(trusting));
    }
    const { median: cost, low, high } = summary(added);
    console.log(`${size}: ${cost} µs CPU (${low} to ${high}) of ${median(whole).toFixed(0)} are the search`);
  }
} finally {
  load.stop();
  for (const server of [searching, trusting, upstream]) await server.stop();
}
process.exit();
