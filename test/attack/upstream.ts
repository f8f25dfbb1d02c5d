import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A request as it came over the wire. */
export interface Arrival {
  readonly tag: string;
  readonly method: string;
  readonly target: string;
  /** Lower-case names, every occurrence. */
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>;
  body: Buffer;
  /** False until the last byte has come. */
  whole: boolean;
}

export type Answerer = (request: IncomingMessage, response: ServerResponse) => void;

/** Every upstream and every webhook receiver of the attack: it writes down what arrives, and answers as the attack says. */
export interface HostileUpstream {
  readonly url: string;
  readonly arrivals: Arrival[];
  /** How requests with a tag are answered; others get 200 `{}`. */
  readonly answers: Map<string, Answerer>;
  /** What arrived for an input, oldest first. */
  tagged(tag: string): Arrival[];
  forget(): void;
  close(): void;
}

/** The header that carries the tag of an input through the gateway: `Accept` is forwarded as it is. */
export const tagHeader = (tag: string): string => `application/json;tag=${tag}`;

/** Listens on 127.0.0.1. @param port 0 for any that is free. */
export async function startUpstream(port: number): Promise<HostileUpstream> {
  const arrivals: Arrival[] = [];
  const byTag = new Map<string, Arrival[]>();
  const answers = new Map<string, Answerer>();
  const server = createServer({ maxHeaderSize: 64 * 1024 }, (request, response) => {
    const { rawHeaders, method = "", url: target = "" } = request;
    const headers = Array.from(
      { length: rawHeaders.length / 2 },
      (_, index) => [rawHeaders[2 * index]!.toLowerCase(), rawHeaders[2 * index + 1]!] as const,
    );
    const tag = /;tag=([\w-]+)/.exec(request.headers.accept ?? "")?.[1] ?? /^\/hooks\/([\w-]+)/.exec(target)?.[1] ?? "";
    const arrival: Arrival = { tag, method, target, headers, body: Buffer.alloc(0), whole: false };
    arrivals.push(arrival);
    byTag.set(tag, [...(byTag.get(tag) ?? []), arrival]);
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("error", () => undefined);
    request.on("end", () => {
      arrival.body = Buffer.concat(chunks);
      arrival.whole = request.complete;
      const answer = answers.get(tag);
      if (answer) return answer(request, response);
      response.writeHead(200, { "content-type": "application/json", "content-length": "2" }).end("{}");
    });
  });
  server.on("upgrade", (request, socket) => {
    arrivals.push({
      tag: "",
      method: "UPGRADE",
      target: request.url ?? "",
      headers: [],
      body: Buffer.alloc(0),
      whole: true,
    });
    socket.destroy();
  });
  server.keepAliveTimeout = 60_000;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    arrivals,
    answers,
    tagged: (tag) => byTag.get(tag) ?? [],
    forget() {
      arrivals.length = 0;
      byTag.clear();
      answers.clear();
    },
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}
