import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { gzipSync } from "node:zlib";
import type { TestProject } from "vitest/node";
import type { OidcServers } from "./oidc-server.ts";

/** The server's report of a request: the raw target and headers as they came over the wire. */
export interface Echo {
  method: string;
  url: string;
  headers: Record<string, string>;
  body: string;
}

type Behaviour = (request: IncomingMessage, response: ServerResponse, argument: string) => void;

/** What `/lab/{behaviour}/{argument}` does. Every other path echoes. */
const BEHAVIOURS: Record<string, Behaviour> = {
  status: (_, response, code) =>
    void response.writeHead(Number(code), { "content-type": "text/plain" }).end(`status ${code}`),
  slow: (_, response, ms) => void setTimeout(() => response.end("late"), Number(ms)).unref(),
  reset: (_, response) => {
    response.writeHead(200, { "content-length": "1000" });
    response.write("only this");
    setTimeout(() => response.destroy(), 20);
  },
  /** The target of the request, backwards: the gateway would withhold an echo of a credential in the query. */
  target: ({ url = "" }, response) => void response.end(mask(url)),
  /** A page of a list, whose link to the next page repeats the query of the request, and of which another host has a copy. */
  pages: ({ url = "" }, response, argument) =>
    void response
      .writeHead(argument === "moved" ? 302 : 200, {
        link: `<${url}&page=2>; rel="next"`,
        location: `${url}&moved=1`,
        "x-copy": `https://other.example${url}`,
      })
      .end("[]"),
  hangup: (request) => void request.socket.destroy(),
  redirect: (_, response, to) => void response.writeHead(302, { location: decodeURIComponent(to) }).end(),
  /** What Django does with a path without its slash (APPEND_SLASH). */
  slash: ({ url = "", method = "" }, response) => {
    const [path = "", query] = url.split("?");
    if (path.endsWith("/")) return void response.writeHead(200, { "x-got": `${method} ${url}` }).end();
    response.writeHead(301, { location: `${path}/${query === undefined ? "" : `?${query}`}` }).end();
  },
  gzip: (_, response) =>
    void response
      .writeHead(200, { "content-encoding": "gzip", "content-type": "text/plain" })
      .end(gzipSync("zipped text")),
  /** A page that would take over the origin that it is shown on. */
  page: (_, response) =>
    void response
      .writeHead(200, {
        "content-type": "text/html",
        "content-security-policy": "default-src *; script-src 'unsafe-inline'",
        "content-security-policy-report-only": "default-src 'self'; report-uri https://evil.example",
        "x-content-type-options": "sniff",
        "set-cookie": "session=fixed; Path=/",
        "strict-transport-security": "max-age=0",
        "access-control-allow-origin": "https://evil.example",
        "access-control-allow-credentials": "true",
        "access-control-expose-headers": "*",
        "clear-site-data": '"*"',
        "alt-svc": 'h3="evil.example:443"',
        "service-worker-allowed": "/",
        "report-to": "{}",
        "reporting-endpoints": 'default="https://evil.example"',
        nel: "{}",
        refresh: "0; url=https://evil.example",
        "accept-ch": "Sec-CH-UA-Model",
        "speculation-rules": '"/rules.json"',
        "x-oauth-scopes": "repo",
        "x-kept": "yes",
      })
      .end("<script>fetch('/agents')</script>"),
  /** The JSON of the argument (base64url), in which UPSTREAM is this server. Its query: `times`, `gzip`, `chunked` and `type`. */
  json: ({ url = "", headers: { host } }, response, argument) => {
    const query = new URL(url, "http://upstream").searchParams;
    const one = Buffer.from(argument, "base64url").toString().replaceAll("UPSTREAM", `http://${host}`);
    const times = Number(query.get("times"));
    const text = times ? `[${Array(times).fill(one).join()}]` : one;
    const body = query.has("gzip") ? gzipSync(text) : Buffer.from(text);
    response.writeHead(200, {
      "content-type": query.get("type") ?? "application/json",
      digest: "sha-256=of-these-bytes",
      ...(query.has("gzip") && { "content-encoding": "gzip" }),
      ...(!query.has("chunked") && { "content-length": body.length }),
    });
    response.end(body);
  },
  credential: ({ headers: { authorization = "" } }, response) => {
    response.writeHead(200, { "content-type": "text/plain", "content-length": authorization.length });
    response.end(authorization);
  },
  headers: (_, response) =>
    void response
      .writeHead(200, {
        "content-type": "application/json",
        "set-cookie": "session=1",
        "x-oauth-scopes": "repo",
        "access-control-allow-origin": "*",
        "x-ratelimit-remaining": "42",
        etag: '"abc"',
        "cache-control": "public, max-age=60",
      })
      .end("{}"),
};

/** What `/issuer/{name}/…` answers: by the path below it, a status, a text in which SELF is the issuer's URL, and how late it is. */
export type IssuerPages = Record<string, { status?: number; text?: string; location?: string; late?: number }>;

const issuers = new Map<string, { pages: IssuerPages; asked: string[] }>();

/** An issuer of tokens: POST sets what it answers, GET of `/issuer/{name}` says what was asked for. */
async function serveIssuer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const [, , name = "", ...rest] = (request.url ?? "").split("/");
  let issuer = issuers.get(name);
  if (!issuer) issuers.set(name, (issuer = { pages: {}, asked: [] }));
  if (request.method === "POST") {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    issuer.pages = JSON.parse(Buffer.concat(chunks).toString()) as IssuerPages;
    return void response.end("{}");
  }
  const path = rest.join("/");
  if (path === "") return void response.end(JSON.stringify(issuer.asked));
  issuer.asked.push(path);
  const { status = 200, text = "", location, late = 0 } = issuer.pages[path] ?? { status: 404 };
  const answer = (): void => {
    response.writeHead(status, { "content-type": "application/json", ...(location && { location }) });
    response.end(text.replaceAll("SELF", `http://${request.headers.host}/issuer/${name}`));
  };
  if (late > 0) setTimeout(answer, late).unref();
  else answer();
}

/** A delivery as it arrived at `/hooks/{name}/…`. */
export interface Arrived {
  path: string;
  headers: Record<string, string>;
  body: string;
}

const arrived = new Map<string, Arrived[]>();

const HEAD = "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n";

/** Answers that do not come to an end, whatever is left of them written to the socket. */
const SLOW: Record<string, (socket: Socket) => void> = {
  hang: () => {},
  "no-body": (socket) => void socket.write(`${HEAD}\r\n`),
  "drip-headers": (socket) => drip(socket, HEAD, "x-drop: 1\r\n"),
  "drip-body": (socket) => drip(socket, `${HEAD}\r\n`, "x"),
  endless: (socket) => {
    socket.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    const more = () => {
      while (!socket.destroyed && socket.write(`ffff\r\n${"x".repeat(0xffff)}\r\n`));
    };
    socket.on("drain", more).on("error", () => {});
    more();
  },
};

function drip(socket: Socket, beginning: string, drop: string): void {
  socket.write(beginning);
  const dripping = setInterval(() => socket.write(drop), 30);
  socket.on("close", () => clearInterval(dripping)).on("error", () => {});
}

/**
 * A receiver of webhooks: `POST /hooks/{name}/{answer,answer,…}` answers with one after the other, the last for ever: a status,
 * a status and its `Retry-After` (`503~7`), `reset`, `long`, `partial` (OTLP's partial success) or one of `SLOW`. `GET /hooks/{name}`
 * returns what arrived there.
 */
async function receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const [, , name = "", script = "200"] = (request.url ?? "").split("?")[0]!.split("/");
  const before = arrived.get(name) ?? [];
  if (request.method === "GET") {
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(before));
    return;
  }
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const { url: path = "", headers } = request;
  arrived.set(name, [
    ...before,
    { path, headers: headers as Record<string, string>, body: Buffer.concat(chunks).toString() },
  ]);
  const answers = script.split(",");
  const answer = answers[Math.min(before.length, answers.length - 1)]!;
  if (answer === "reset") return void request.socket.destroy();
  if (answer === "partial") {
    const partialSuccess = { rejectedLogRecords: "1", errorMessage: "too old" };
    return void response.writeHead(200).end(JSON.stringify({ partialSuccess }));
  }
  if (answer === "long") return void response.writeHead(200).end("x".repeat(1_000_000));
  if (answer in SLOW) return SLOW[answer]!(request.socket);
  const [status, wait] = answer.split("~");
  const location = Number(status) >= 300 && Number(status) < 400 ? { location: `/hooks/${name}-elsewhere/200` } : {};
  response.writeHead(Number(status), { ...location, ...(wait && { "retry-after": wait }) }).end(`answer ${answer}`);
}

export default async function setup(project: TestProject): Promise<() => void> {
  let oidc: Promise<OidcServers> | undefined;
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const [, lab, name = "", argument = ""] = (request.url ?? "").split("?")[0]!.split("/");
    if (lab === "hooks") return receive(request, response);
    if (lab === "oidc") {
      // Only tests that need them load them.
      oidc ??= import("./oidc-server.ts").then(({ startOidcServers }) => startOidcServers(["http://localhost:8787"]));
      return void response.end(JSON.stringify(await oidc));
    }
    if (lab === "issuer") return serveIssuer(request, response);
    const behaviour = lab === "lab" ? BEHAVIOURS[name] : undefined;
    if (behaviour) return behaviour(request, response, argument);
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const echo: Echo = {
      method: request.method ?? "",
      url: request.url ?? "",
      headers: request.headers as Record<string, string>,
      body: Buffer.concat(chunks).toString(),
    };
    // The gateway would cut off an echo of the credential, so the request is reported in another form.
    const text = JSON.stringify({
      ...echo,
      headers: { ...echo.headers, authorization: mask(request.headers.authorization) },
    });
    response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
    response.end(request.method === "HEAD" ? undefined : text);
  };
  // A request whose body breaks off is none.
  const server = createServer((request, response) => void answer(request, response).catch(() => response.destroy()));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  project.provide("upstream", `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  return () => {
    void oidc?.then((servers) => servers.close());
    server.closeAllConnections();
    server.close();
  };
}

const mask = (text: string | undefined): string => (text ? [...text].toReversed().join("") : "");
