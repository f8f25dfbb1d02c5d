import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { connect, type AddressInfo } from "node:net";

/** A request as it came over the wire. */
export interface Seen {
  readonly method: string;
  readonly target: string;
  /** Lower-case names, every occurrence. */
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>;
  readonly body: string;
}

export interface Recorder {
  readonly url: string;
  readonly seen: Seen[];
  close(): void;
}

/** A local upstream that writes down every request and answers as `answer` says; 200 `{}` where it says nothing. */
export async function startRecorder(
  answer: (request: IncomingMessage, response: ServerResponse) => void = (_, response) =>
    void response.writeHead(200, { "content-type": "application/json" }).end("{}"),
): Promise<Recorder> {
  const seen: Seen[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const headers = Array.from(
      { length: request.rawHeaders.length / 2 },
      (_, i) => [request.rawHeaders[2 * i]!.toLowerCase(), request.rawHeaders[2 * i + 1]!] as const,
    );
    const body = Buffer.concat(chunks).toString();
    seen.push({ method: request.method ?? "", target: request.url ?? "", headers, body });
    answer(request, response);
  });
  server.on("upgrade", (request, socket) => {
    seen.push({ method: "UPGRADE", target: request.url ?? "", headers: [], body: "" });
    socket.destroy();
  });
  server.keepAliveTimeout = 60_000;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    seen,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

export interface RawAnswer {
  readonly status: number;
  readonly head: string;
  readonly body: string;
  /** Every status line that came back: more than one where the bytes were read as several requests. */
  readonly statuses: readonly number[];
}

/** Sends bytes as they are, and reads until the other side closes, or falls silent for longer than a busy machine needs for an answer. */
export function sendRaw(port: number, bytes: string | Buffer, silenceMs = 20_000): Promise<RawAnswer> {
  return new Promise((resolve) => {
    const received: Buffer[] = [];
    const socket = connect(port, "127.0.0.1", () => socket.write(bytes));
    const finish = () => {
      socket.destroy();
      const text = Buffer.concat(received).toString("latin1");
      const [head = "", ...rest] = text.split("\r\n\r\n");
      const statuses = [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
      resolve({ status: statuses[0] ?? 0, head, body: rest.join("\r\n\r\n"), statuses });
    };
    socket.setTimeout(silenceMs, finish);
    socket.on("data", (data) => received.push(data));
    socket.on("error", () => undefined);
    socket.on("close", finish);
  });
}
