import { join } from "node:path";
import { containsSecret, secretEncodings, secretScanner } from "../src/gateway/upstream/secret-leak.ts";
import { startLoad } from "./load.ts";
import { median, summary } from "./measure.ts";
import { cpuOf, start } from "./processes.ts";
import { accessTokens, startBare, UPSTREAM_TOKEN } from "./product.ts";

/**
 * What looking for the credential in answers costs: `node bench/secret-leak.ts [repeats]`.
 *
 * First the search alone, in this process, over a megabyte in pieces of 64 KB and over a kilobyte at once. Then the deploy bundle twice under a bare workerd, in turns: with the credential that it injects and looks for, and set up to inject
 * none, so that nothing is looked for. JSON of 1 KB (read whole) and of 1 MB (in pieces).
 */
const repeats = Number(process.argv[2] ?? 7);
const port = Number(process.env.BENCH_PORT ?? 9700) + 84;
const SIZES = [
  ["1 KB", "/repos/octo/hello/issues/5", 2000],
  ["1 MB", "/repos/octo/hello/contents/large.bin", 100],
] as const;

searchAlone();

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

function searchAlone(): void {
  const encodings = secretEncodings([UPSTREAM_TOKEN]);
  for (const [name, text] of Object.entries(texts())) {
    const body = new TextEncoder().encode(text.repeat(Math.ceil((1 << 20) / text.length)).slice(0, 1 << 20));
    const large = cpuOfRepeats(20, () => {
      const scan = secretScanner(encodings);
      for (let at = 0; at < body.length; at += 1 << 16) scan(body.subarray(at, at + (1 << 16)));
    });
    const small = body.slice(0, 1024);
    const short = cpuOfRepeats(5000, () => containsSecret(small, encodings));
    console.log(`${name}: ${large.toFixed(0)} µs CPU on 1 MB, ${short.toFixed(1)} on 1 KB`);
  }
}

/** Bodies that have no escape, a few, and nothing else. */
function texts(): Record<string, string> {
  const issue = {
    number: 5,
    title: "Found a bug",
    url: "https://api.github.com/repos/octo/hello/issues/5?state=open&page=2",
    body: 'Line one\r\nline "two" with <b>HTML</b> & C:\\path',
  };
  const ascii = (text: string) =>
    text.replace(/[^]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
  const noise = Array.from({ length: 57_000 }, (_, at) => String.fromCharCode((at * 7919 + (at >> 3)) & 0xff)).join("");
  return {
    "JSON without escapes": JSON.stringify({ number: 5, title: "Found a bug", user: { login: "octo", id: 1 } }),
    "JSON with escapes": JSON.stringify(issue),
    "JSON with escaped slashes": JSON.stringify(issue).replaceAll("/", "\\/"),
    "JSON for pages": JSON.stringify(issue).replace(/[<>&='+]/g, ascii),
    "JSON in lines": `${JSON.stringify(issue, null, 2)}\n`,
    "JSON, all escaped": `"${ascii("съешь ещё этих мягких французских булок")}"`,
    "JSON of base64 in lines of 60": JSON.stringify(btoa(noise).replace(/.{60}/g, "$&\n")),
  };
}

/** The CPU time of one call of many, in µs, once the compiler has seen it. */
function cpuOfRepeats(count: number, run: () => void): number {
  for (let time = 0; time < count; time++) run();
  const samples = Array.from({ length: 5 }, () => {
    const before = process.cpuUsage();
    for (let time = 0; time < count; time++) run();
    const { user, system } = process.cpuUsage(before);
    return (user + system) / count;
  });
  return median(samples);
}
