import { join } from "node:path";
import { buildSync } from "esbuild";
import { startLoad } from "./load.ts";
import { cpuOf, start } from "./processes.ts";
import { accessTokens, ROOT, startBare } from "./product.ts";
import { CALL_BODY, CALL_HEAD } from "./tool-call.ts";

/**
 * Where a proxied request's time goes: `node bench/profile.ts [/repos/octo/hello/issues/5] [count]`. With
 * `/mcp` in the place of the path it is a call of a tool.
 *
 * Runs the bundle, not minified, under a bare workerd with V8's sampling profiler and prints functions by their own time.
 */
const [path = "/repos/octo/hello/issues/5", count = "20000"] = process.argv.slice(2);
const port = Number(process.env.BENCH_PORT ?? 9700) + 80;
const inspector = port + 2;

interface Profile {
  readonly nodes: readonly {
    id: number;
    callFrame: { functionName: string; url: string; lineNumber: number };
    children?: number[];
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

const readable = buildSync({
  entryPoints: [join(ROOT, "src/index.ts")],
  bundle: true,
  format: "esm",
  target: "es2024",
  conditions: ["workerd", "worker", "browser"],
  external: ["cloudflare:*"],
  // Without the operator's own upstreams, which wrangler compiles into dist/ when it builds the Worker.
  alias: { "#upstreams": join(ROOT, "src/config/upstream-files.ts") },
  write: false,
}).outputFiles[0]!.text;

const upstream = await start(process.execPath, [join(import.meta.dirname, "upstream.ts"), String(port)], port);
const server = await startBare(port + 1, port, [`--inspector-addr=127.0.0.1:${inspector}`], readable);
const load = startLoad();
try {
  const [target] = (await (await fetch(`http://127.0.0.1:${inspector}/json`)).json()) as {
    webSocketDebuggerUrl: string;
  }[];
  const socket = new WebSocket(target!.webSocketDebuggerUrl);
  await new Promise((resolve) => socket.addEventListener("open", resolve, { once: true }));
  let last = 0;
  const send = <T>(method: string, params = {}) =>
    new Promise<T>((resolve) => {
      const id = ++last;
      socket.addEventListener("message", function answered({ data }) {
        const message = JSON.parse(String(data));
        if (message.id !== id) return;
        socket.removeEventListener("message", answered);
        resolve(message.result);
      });
      socket.send(JSON.stringify({ id, method, params }));
    });

  const [token] = await accessTokens(1);
  const head = [
    ...(path === "/mcp" ? CALL_HEAD : [`GET /proxy/github${path} HTTP/1.1`]),
    `Host: 127.0.0.1:${port + 1}`,
    `Authorization: Bearer ${token}`,
    path === "/mcp" ? "Accept: application/json" : "Accept: application/vnd.github+json",
  ].join("\r\n");
  const bodies = path === "/mcp" ? [CALL_BODY] : [];
  const job = { port: port + 1, concurrency: 16, heads: [head], bodies, expect: 200 };
  await load.run({ ...job, count: Math.ceil(Number(count) / 4) });
  await send("Profiler.enable");
  await send("Profiler.setSamplingInterval", { interval: 100 });
  await send("Profiler.start");
  const before = cpuOf(server.pid);
  const { elapsedMs } = await load.run({ ...job, count: Number(count) });
  const cpu = cpuOf(server.pid) - before;
  const { profile } = await send<{ profile: Profile }>("Profiler.stop");
  const own = new Map<string, number>();
  const byId = new Map(profile.nodes.map((node) => [node.id, node.callFrame]));
  let total = 0;
  profile.samples.forEach((id, index) => {
    const { functionName, lineNumber } = byId.get(id)!;
    const name = `${functionName || "(anonymous)"}:${lineNumber + 1}`;
    own.set(name, (own.get(name) ?? 0) + profile.timeDeltas[index]!);
    total += profile.timeDeltas[index]!;
  });
  console.log(
    `${((cpu * 1000) / Number(count)).toFixed(0)} µs CPU a request, ${((elapsedMs * 1000) / Number(count)).toFixed(0)} µs elapsed`,
  );
  for (const [name, time] of [...own].toSorted(([, one], [, other]) => other - one).slice(0, 45)) {
    console.log(
      `${((time / total) * 100).toFixed(1).padStart(5)} %  ${(time / Number(count)).toFixed(1).padStart(6)} µs  ${name}`,
    );
  }
  socket.close();
} finally {
  load.stop();
  await server.stop();
  await upstream.stop();
}
process.exit();
