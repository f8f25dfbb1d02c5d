import { once } from "node:events";
import { createServer } from "node:net";

/**
 * Where this process begins to look: others, which look at the same time, begin elsewhere. The ports lie below those that the system
 * gives away by itself (from 32768 on), so that one which is free now still is when a program that the test starts takes it.
 */
const [FIRST, END] = [10_000, 32_000];
let next = FIRST + ((process.pid * 100) % (END - FIRST));

/** The first of so many ports, one behind the other, that nothing listens on. Each call returns others. */
export async function freePorts(count: number): Promise<number> {
  for (let tries = 0; tries < 200; tries++) {
    if (next + count > END) next = FIRST;
    const first = next;
    next += count;
    const found = await Promise.all(Array.from({ length: count }, (_, at) => isFree(first + at)));
    if (found.every(Boolean)) return first;
  }
  throw new Error(`no ${count} ports are free`);
}

/** A port that nothing listens on. Each call returns another. */
export const freePort = (): Promise<number> => freePorts(1);

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, "127.0.0.1");
  const free = await once(server, "listening").then(
    () => true,
    () => false,
  );
  if (free) await new Promise((resolve) => server.close(resolve));
  return free;
}
