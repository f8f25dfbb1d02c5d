import { fork, type ChildProcess } from "node:child_process";
import { connect } from "node:net";
import { messageReader } from "./wire.ts";

/** One bounded run: `count` requests over `concurrency` connections, each sending its next when the answer to its last is whole. */
export interface Job {
  readonly port: number;
  readonly count: number;
  readonly concurrency: number;
  /** Heads without `Content-Length`, sent in turn; each ends without the empty line. */
  readonly heads: readonly string[];
  /** Sent behind every head, in turn like them. Empty for GET. */
  readonly bodies: readonly string[];
  /** Which status an answer must have. */
  readonly expect: number;
}

export interface Run {
  /** Milliseconds, one for each request. */
  readonly latencies: Float64Array;
  readonly elapsedMs: number;
}

const TIMEOUT_MS = 60_000;

/** Runs jobs in one process of its own, so that what drives the load is not what keeps the books. */
export function startLoad(): { run(job: Job): Promise<Run>; stop(): void } {
  const child: ChildProcess = fork(import.meta.filename, ["worker"], { serialization: "advanced" });
  return {
    run: (job) =>
      new Promise((resolve, reject) => {
        child.once("message", (answer: Run | { failed: string }) =>
          "failed" in answer ? reject(new Error(answer.failed)) : resolve(answer),
        );
        child.send(job);
      }),
    stop: () => void child.kill(),
  };
}

async function drive({ port, count, concurrency, heads, bodies, expect }: Job): Promise<Run> {
  const messages = heads.map((head, index) => {
    const body = bodies.length > 0 ? bodies[index % bodies.length]! : "";
    return Buffer.from(
      body ? `${head}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}` : `${head}\r\n\r\n`,
    );
  });
  const latencies = new Float64Array(count);
  let next = 0;
  const connection = () =>
    new Promise<void>((resolve, reject) => {
      const socket = connect(port, "127.0.0.1");
      socket.setNoDelay(true);
      socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error("no answer in time")));
      let sentAt = 0;
      let index = 0;
      const send = () => {
        index = next++;
        if (index >= count) return void socket.end();
        sentAt = performance.now();
        socket.write(messages[index % messages.length]!);
      };
      socket.once("connect", send);
      socket.on("error", reject);
      socket.on("close", () => (next >= count ? resolve() : reject(new Error("the connection was closed"))));
      socket.on(
        "data",
        messageReader((head) => {
          latencies[index] = performance.now() - sentAt;
          const status = Number(head.slice(9, 12));
          if (status !== expect)
            return void socket.destroy(new Error(`${status} instead of ${expect}: ${head.slice(0, 300)}`));
          send();
        }),
      );
    });
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: Math.min(concurrency, count) }, connection));
  return { latencies, elapsedMs: performance.now() - startedAt };
}

if (process.argv[2] === "worker") {
  process.on("message", (job: Job) => {
    drive(job).then(
      (run) => process.send!(run),
      (error: Error) => process.send!({ failed: error.message }),
    );
  });
  process.on("disconnect", () => process.exit());
}
