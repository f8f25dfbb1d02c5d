import { Agent as Connections, request as httpRequest } from "node:http";
import { connect } from "node:net";
import type { Readers } from "./readers.ts";
import { tagHeader, type HostileUpstream } from "./upstream.ts";

/** Requests that are under way at once, at the most. */
const MAX_AT_ONCE = 50;

/** The requests that one agent makes at the most where the gateway's own limits hold: those of its tier are 1,000 a minute. */
const MAX_REQUESTS_OF_AGENT = 800;

/** The company's credential for every upstream of the attack. Its characters are those that encoders write differently. */
export const CREDENTIAL = 'k3y/Q+8=&"<zT~w%9x.Vb0-Jm5';

export interface AttackAgent {
  readonly id: string;
  readonly apiKey: string;
  readonly token: string;
  readonly refreshToken: string;
}

export interface Answer {
  readonly status: number;
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>;
  readonly body: Buffer;
  /** Whether the connection broke before the body's end. */
  readonly broken: boolean;
}

export interface Outgoing {
  readonly method?: string;
  /** The request target, byte for byte. */
  readonly target: string;
  /** More headers, each `Name: value`. */
  readonly headers?: readonly string[];
  readonly body?: string | Buffer;
  readonly token?: string;
  /** Marks the request for the upstream. */
  readonly tag?: string;
}

export interface Target {
  readonly origin: string;
  readonly bootstrapToken: string;
  readonly upstream: HostileUpstream;
  readonly readers: Readers;
  /** The Worker that the attack started itself; undefined behind `--url`. */
  readonly own?: { readonly pid: number; runJobs(): Promise<void> };
  /** Whether the gateway's own rate limits hold. */
  readonly isLimited: boolean;
  /** How long reads may go on after a revocation, in milliseconds. */
  readonly standingTtlMs: number;
  /** How long a refresh token may be used again, in milliseconds. */
  readonly refreshGraceMs: number;
}

/** What an attack has to work with. */
export interface Lab extends Target {
  readonly port: number;
  readonly admin: AttackAgent;
  agent(permissions: readonly string[]): Promise<AttackAgent>;
  /** Agents enough for this many requests. */
  crowd(permissions: readonly string[], requests: number): Promise<(index: number) => AttackAgent>;
  /** Sends one request over a kept connection. */
  send(outgoing: Outgoing): Promise<Answer>;
  /** A JSON request to the API; its answer parsed, or the text where it is not JSON. */
  call(
    method: string,
    path: string,
    more?: { token?: string | undefined; json?: unknown; headers?: readonly string[] },
  ): Promise<{ status: number; body: any }>; // oxlint-disable-line typescript/no-explicit-any
  /** Sends bytes as they are, on a connection of their own. */
  raw(bytes: string | Buffer, silenceMs?: number): Promise<RawAnswer>;
  /** Works through all inputs, a bounded number at once. */
  each<T>(inputs: readonly T[], work: (input: T, index: number) => Promise<void>, atOnce?: number): Promise<void>;
  /** An address that nobody has used before: limits by address do not bind what is no attack on them. */
  address(): string;
}

export interface RawAnswer {
  readonly status: number;
  readonly text: string;
  readonly body: string;
}

/** Builds the laboratory for a gateway, with an administrator of its own. */
export async function labOf(target: Target): Promise<Lab> {
  const { port } = new URL(target.origin);
  const connections = new Connections({ keepAlive: true, maxSockets: MAX_AT_ONCE });
  let addresses = 0;

  const lab: Lab = {
    ...target,
    port: Number(port),
    admin: { id: "", apiKey: "", token: "", refreshToken: "" },
    address: () => `10.${(++addresses >> 16) & 255}.${(addresses >> 8) & 255}.${addresses & 255}`,
    async agent(permissions) {
      const isAdmin = permissions.includes("*:*:*");
      const headers = [`CF-Connecting-IP: ${lab.address()}`];
      const json = { name: "Attack", owner_email: "attack@example.com", permissions };
      const token = isAdmin ? target.bootstrapToken : lab.admin.token;
      const made = await lab.call("POST", "/agents/register", { json, token, headers });
      if (made.status !== 201) throw new Error(`registration: ${made.status} ${JSON.stringify(made.body)}`);
      const { agent, credentials } = made.body;
      const proof = { agent_id: agent.agent_id, api_key: credentials.api_key };
      const verified = await lab.call("POST", "/agents/verify", { json: proof, headers });
      if (verified.status !== 200) throw new Error(`verification: ${verified.status} ${JSON.stringify(verified.body)}`);
      const { access_token, refresh_token } = verified.body.token;
      const self = { id: proof.agent_id, apiKey: proof.api_key, token: access_token, refreshToken: refresh_token };
      const by = isAdmin ? self : lab.admin;
      const raised = await lab.call("PUT", `/agents/${self.id}/tier`, {
        token: by.token,
        json: { tier: "enterprise" },
      });
      if (raised.status !== 200) throw new Error(`tier: ${raised.status} ${JSON.stringify(raised.body)}`);
      return self;
    },
    async crowd(permissions, requests) {
      const count = target.isLimited ? Math.ceil(requests / MAX_REQUESTS_OF_AGENT) : 1;
      const agents = await Promise.all(Array.from({ length: count }, () => lab.agent(permissions)));
      return (index) => agents[index % count]!;
    },
    async send(outgoing) {
      // Node refuses to send these itself.
      if (/[\0-\x20]/.test(outgoing.target)) return sendOnce(outgoing);
      const { method = "GET", target: path, body } = outgoing;
      return new Promise((resolve, reject) => {
        const headers = headersOf(outgoing, lab.port).flatMap((line) => {
          const end = line.indexOf(":");
          return [line.slice(0, end), line.slice(end + 1).trim()];
        });
        const options = {
          host: "127.0.0.1",
          port,
          method,
          path: latin1(path),
          headers,
          agent: connections,
          setHost: false,
        };
        const request = httpRequest(options as never, (response) => {
          const chunks: Buffer[] = [];
          const finish = (broken: boolean) => {
            const { rawHeaders, statusCode = 0 } = response;
            const pairs = Array.from(
              { length: rawHeaders.length / 2 },
              (_, index) => [rawHeaders[2 * index]!.toLowerCase(), rawHeaders[2 * index + 1]!] as const,
            );
            resolve({ status: statusCode, headers: pairs, body: Buffer.concat(chunks), broken });
          };
          response.on("data", (chunk: Buffer) => chunks.push(chunk));
          response.on("end", () => finish(false));
          response.on("error", () => finish(true));
        });
        request.on("error", reject);
        request.end(body);
      });
    },
    async call(method, path, { token, json, headers = [] } = {}) {
      const answer = await lab.send({
        method,
        target: path,
        headers: [...headers, ...(json === undefined ? [] : ["Content-Type: application/json"])],
        ...(token !== undefined && { token }),
        ...(json !== undefined && { body: JSON.stringify(json) }),
      });
      const text = answer.body.toString();
      try {
        return { status: answer.status, body: JSON.parse(text) };
      } catch {
        return { status: answer.status, body: text };
      }
    },
    raw: (bytes, silenceMs = 5000) =>
      new Promise((resolve) => {
        const received: Buffer[] = [];
        const socket = connect(lab.port, "127.0.0.1", () => socket.write(bytes));
        const finish = () => {
          socket.destroy();
          const text = Buffer.concat(received).toString("latin1");
          resolve({
            status: Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0),
            text,
            body: text.slice(text.indexOf("\r\n\r\n") + 4),
          });
        };
        // A busy machine may take its time before it answers. Silence counts from the first byte on.
        socket.setTimeout(30_000, finish);
        socket.on("data", (data: Buffer) => {
          received.push(data);
          socket.setTimeout(silenceMs);
        });
        socket.on("error", () => undefined);
        socket.on("close", finish);
      }),
    async each(inputs, work, atOnce = MAX_AT_ONCE) {
      let next = 0;
      const worker = async () => {
        for (let index = next++; index < inputs.length; index = next++) await work(inputs[index]!, index);
      };
      await Promise.all(Array.from({ length: Math.min(atOnce, MAX_AT_ONCE, inputs.length) }, worker));
    },
  };

  async function sendOnce(outgoing: Outgoing): Promise<Answer> {
    const { method = "GET", target: path, body = "" } = outgoing;
    const lines = [`${method} ${path} HTTP/1.1`, ...headersOf(outgoing, lab.port), "Connection: close", "", ""];
    const { status, body: text } = await lab.raw(Buffer.concat([Buffer.from(lines.join("\r\n")), Buffer.from(body)]));
    return { status, headers: [], body: Buffer.from(text, "latin1"), broken: false };
  }

  return Object.assign(lab, { admin: await lab.agent(["*:*:*"]) });
}

function headersOf({ headers = [], body, token, tag }: Outgoing, port: number): string[] {
  const isFramed = headers.some((line) => /^(?:content-length|transfer-encoding):/i.test(line));
  return [
    ...(headers.some((line) => /^host:/i.test(line)) ? [] : [`Host: 127.0.0.1:${port}`]),
    ...(token === undefined ? [] : [`Authorization: Bearer ${token}`]),
    ...(tag === undefined ? [] : [`Accept: ${tagHeader(tag)}`]),
    ...(body === undefined || isFramed ? [] : [`Content-Length: ${Buffer.byteLength(body)}`]),
    ...headers,
  ];
}

/** UTF-8 as Node writes a request target: one character for each byte. */
const latin1 = (text: string): string => Buffer.from(text).toString("latin1");

/** Every value of a header. */
export const valuesOf = (headers: Answer["headers"], name: string): string[] =>
  headers.filter(([key]) => key === name).map(([, value]) => value);

/** @throws if a request that the attack relies on is not answered as it must be. */
export function mustBe(what: string, found: unknown, expected: unknown): void {
  if (found !== expected) throw new Error(`${what}: ${String(found)} instead of ${String(expected)}`);
}
