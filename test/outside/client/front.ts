import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";

/** One answer of a front: what it does instead of passing the request on. */
export type Answer =
  | "pass"
  /** Passes the request on and breaks the connection instead of answering. */
  | "lost"
  | "reset"
  | "hang"
  | { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string };

export interface Front {
  readonly url: string;
  /** `METHOD /path` of everything that came, oldest first. */
  readonly seen: string[];
  /** What the next requests get; then everything passes. */
  next(...answers: Answer[]): void;
  close(): void;
}

/** A real HTTP server between a client and a Worker that fails as the test sets it. */
export async function startFront(target: string): Promise<Front> {
  const seen: string[] = [];
  let answers: Answer[] = [];
  const server: Server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    seen.push(`${request.method} ${request.url?.split("?")[0]}`);
    const answer = answers.shift() ?? "pass";
    if (answer === "hang") return;
    if (answer === "reset") return void request.socket.destroy();
    if (answer !== "pass" && answer !== "lost") {
      const headers = { "content-type": "application/json", ...answer.headers };
      return void response.writeHead(answer.status, headers).end(answer.body ?? errorBody(answer.status));
    }
    const { host: _, connection: __, "content-length": ___, "transfer-encoding": ____, ...headers } = request.headers;
    const passed = await fetch(target + request.url, {
      method: request.method!,
      headers: headers as Record<string, string>,
      redirect: "manual",
      ...(chunks.length > 0 && { body: Buffer.concat(chunks) }),
    });
    if (answer === "lost") return void request.socket.destroy();
    const body = Buffer.from(await passed.arrayBuffer());
    const kept = [...passed.headers].filter(
      ([name]) => !/^(?:content-(?:encoding|length)|transfer-encoding)$/.test(name),
    );
    response.writeHead(passed.status, Object.fromEntries(kept)).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    next: (...given) => {
      answers = given;
      seen.length = 0;
    },
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

const errorBody = (status: number): string =>
  JSON.stringify({ error: "Refused", message: "as told", status, code: "as_told", request_id: "r-1" });
