// @module-tag slow
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTcpServer, type AddressInfo, type Server } from "node:net";
import { Readable } from "node:stream";
import { brotliCompressSync, brotliDecompressSync, createGzip, deflateSync, gunzipSync, gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startWorker, type Agent, type Worker } from "./support/worker.ts";
import { SLOW } from "../support/extents.ts";

/** What happens to bodies and to failures between an agent and a real upstream. */
const CREDENTIAL = "lab+the/real=credential-of-the-company";
const MEGABYTE = 1024 * 1024;
/** How long the gateway waits for an upstream, or for more of a body, where a test is about that. */
const HASTY_MS = 2000;
const block = Buffer.alloc(MEGABYTE, "0123456789abcde\n");

let worker: Worker;
let agent: Agent;
let server: Server;
let origin: string;
let broken: Server;
let switching: Server;
let answer: (request: IncomingMessage, response: ServerResponse) => unknown;
let received = 0;
let odd: Server;
let oddStatus = 0;
let oddOpen = 0;

const listen = (one: Server) =>
  new Promise<number>((resolve) => one.listen(0, "127.0.0.1", () => resolve((one.address() as AddressInfo).port)));

beforeAll(async () => {
  const http = createServer((request, response) => {
    received++;
    answer(request, response);
  });
  server = http;
  origin = `http://127.0.0.1:${await listen(server)}`;
  // Speaks something else than HTTP.
  broken = createTcpServer((socket) => void socket.on("error", () => undefined).end("SSH-2.0-OpenSSH_9.9\r\n"));
  // Speaks another protocol from here on, as nobody asked it to.
  switching = createTcpServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", () =>
      socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"),
    );
  });
  // Answers with a status that HTTP does not have, and with a body that does not end.
  odd = createTcpServer((socket) => {
    oddOpen++;
    socket.on("error", () => undefined).on("close", () => oddOpen--);
    socket.once("data", () => socket.write(`HTTP/1.1 ${oddStatus} Odd\r\nContent-Length: 1000\r\n\r\nhalf`));
  });
  const lab = { resources: { things: ["read", "write"] }, rules: ["* /{path...} things"] };
  worker = await startWorker({
    ISSUER: "https://auth.example.com",
    "UPSTREAMS.lab": JSON.stringify({ ...lab, base_url: origin }),
    // The upstream is this process, which may be held up: it is given three times as long as it ever needs.
    "UPSTREAMS.hasty": JSON.stringify({ ...lab, base_url: origin, timeout_ms: HASTY_MS }),
    "UPSTREAMS.down": JSON.stringify({ ...lab, base_url: "http://127.0.0.1:1" }),
    "UPSTREAMS.nowhere": JSON.stringify({ ...lab, base_url: "http://nowhere.invalid" }),
    "UPSTREAMS.broken": JSON.stringify({ ...lab, base_url: `http://127.0.0.1:${await listen(broken)}` }),
    "UPSTREAMS.based": JSON.stringify({ ...lab, base_url: `${origin}/api/v3` }),
    "UPSTREAMS.switching": JSON.stringify({ ...lab, base_url: `http://127.0.0.1:${await listen(switching)}` }),
    "UPSTREAMS.odd": JSON.stringify({
      ...lab,
      base_url: `http://127.0.0.1:${await listen(odd)}`,
      credential: { scheme: "none" },
    }),
    "UPSTREAMS.stalling": JSON.stringify({ ...lab, base_url: origin, idle_timeout_ms: HASTY_MS }),
    UPSTREAM_STALLING_TOKEN: CREDENTIAL,
    "UPSTREAMS.bare": JSON.stringify({ ...lab, base_url: origin }),
    "UPSTREAMS.zendesk.base_url": origin,
    "UPSTREAMS.open": JSON.stringify({ ...lab, base_url: origin, credential: { scheme: "none" } }),
    UPSTREAM_LAB_TOKEN: CREDENTIAL,
    UPSTREAM_HASTY_TOKEN: CREDENTIAL,
    UPSTREAM_ZENDESK_TOKEN: CREDENTIAL,
    UPSTREAM_BASED_TOKEN: CREDENTIAL,
    UPSTREAM_SWITCHING_TOKEN: CREDENTIAL,
    UPSTREAM_DOWN_TOKEN: CREDENTIAL,
    UPSTREAM_NOWHERE_TOKEN: CREDENTIAL,
    UPSTREAM_BROKEN_TOKEN: CREDENTIAL,
  });
  agent = await worker.agent([
    "lab:*:*",
    "hasty:*:*",
    "based:*:*",
    "switching:*:*",
    "odd:*:*",
    "stalling:*:*",
    "down:*:*",
    "nowhere:*:*",
    "broken:*:*",
    "bare:*:*",
    "zendesk:*:*",
    "open:*:*",
  ]);
});
afterAll(async () => {
  await worker?.stop();
  server?.close();
  broken?.close();
  switching?.close();
  odd?.close();
});

const call = (path: string, init: Parameters<Worker["call"]>[1] = {}) =>
  worker.call(`/proxy${path}`, { token: agent.token, ...init });

/** A request whose answer is read as it comes, undecoded. */
function open(
  path: string,
  init: {
    method?: string;
    headers?: Record<string, string>;
    body?: (request: ReturnType<typeof httpRequest>) => void;
  } = {},
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      `${worker.url}/proxy${path}`,
      {
        method: init.method ?? "GET",
        headers: { authorization: `Bearer ${agent.token}`, ...init.headers },
        agent: false,
      },
      resolve,
    );
    request.on("error", reject);
    if (init.body) init.body(request);
    else request.end();
  });
}

async function readAll(message: IncomingMessage): Promise<{ body: Buffer; broken: boolean }> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of message) chunks.push(chunk as Buffer);
    return { body: Buffer.concat(chunks), broken: false };
  } catch {
    return { body: Buffer.concat(chunks), broken: true };
  }
}

/** Resident memory of the Worker's process, in megabytes. */
const memory = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${worker.pid}/status`, "utf8"))![1]) / 1024;

/** The highest memory while the work goes on. */
async function peakDuring(work: () => Promise<void>): Promise<number> {
  let peak = memory();
  const timer = setInterval(() => (peak = Math.max(peak, memory())), 10);
  await work().finally(() => clearInterval(timer));
  return peak;
}

async function pour(response: ServerResponse | ReturnType<typeof httpRequest>, megabytes: number): Promise<void> {
  for (let i = 0; i < megabytes; i++) {
    if (!response.write(block)) await new Promise((resolve) => response.once("drain", resolve));
  }
  response.end();
}

const MEGABYTES = 100;
const digest = () => createHash("sha256");
const whole = digest();
for (let i = 0; i < MEGABYTES; i++) whole.update(block);
const WHOLE = whole.digest("hex");

describe("a body of 100 MB", () => {
  for (const [type, options] of [
    ["application/octet-stream", {}],
    ["application/json", { tags: "slow" }],
    ["text/event-stream", { tags: "slow" }],
  ] as const) {
    it(`comes through as ${type} with flat memory, byte for byte`, options, async () => {
      const length = { "content-length": String(MEGABYTES * MEGABYTE) };
      answer = (_, response) => {
        response.writeHead(200, { "content-type": type, ...(type !== "text/event-stream" && length) });
        void pour(response, MEGABYTES);
      };
      const before = memory();
      const hash = digest();
      const peak = await peakDuring(async () => {
        const response = await open("/lab/big");
        for await (const chunk of response) hash.update(chunk as Buffer);
      });
      console.info(`${type}: ${before.toFixed(0)} MB before, ${peak.toFixed(0)} MB at most`);
      expect(hash.digest("hex")).toBe(WHOLE);
      expect(peak - before).toBeLessThan(50);
    });
  }

  it("goes up with flat memory, with and without a length", SLOW, async () => {
    for (const headers of [{ "content-length": String(MEGABYTES * MEGABYTE) }, {}]) {
      const hash = digest();
      let length: string | undefined;
      answer = async (request, response) => {
        length = request.headers["content-length"];
        for await (const chunk of request) hash.update(chunk as Buffer);
        response.end("{}");
      };
      const before = memory();
      const peak = await peakDuring(async () => {
        const response = await open("/lab/big", {
          method: "PUT",
          headers: { "content-type": "application/octet-stream", ...headers },
          body: (request) => void pour(request, MEGABYTES),
        });
        expect(response.statusCode).toBe(200);
        await readAll(response);
      });
      console.info(`up: ${before.toFixed(0)} MB before, ${peak.toFixed(0)} MB at most`);
      expect(hash.digest("hex")).toBe(WHOLE);
      expect(length).toBe(headers["content-length"]);
      expect(peak - before).toBeLessThan(50);
    }
  });
});

describe("an upload", () => {
  const slowly = (pieces: number) => (request: ReturnType<typeof httpRequest>) => {
    let left = pieces;
    const timer = setInterval(() => {
      request.write(block.subarray(0, 64 * 1024));
      if (--left > 0) return;
      clearInterval(timer);
      request.end();
    }, HASTY_MS / 7);
    request.on("close", () => clearInterval(timer));
  };

  it.each([{}, { "content-length": String(8 * 64 * 1024) }])(
    "may take longer than the upstream's answer may, %o",
    async (headers) => {
      answer = async (request, response) => {
        let length = 0;
        for await (const chunk of request) length += (chunk as Buffer).length;
        response.end(String(length));
      };
      const response = await open("/hasty/slow", { method: "PUT", headers, body: slowly(8) });
      expect(response.statusCode).toBe(200);
      expect((await readAll(response)).body.toString()).toBe(String(8 * 64 * 1024));
    },
  );

  it("that an upstream refuses before its end has that answer", async () => {
    answer = (_, response) => response.writeHead(422, { connection: "close" }).end("no");
    // Nothing more is sent until the answer is there: a client that goes on writing may lose it, because the connection is closed.
    const response = await open("/lab/refused", { method: "PUT", body: (request) => void request.write("a part") });
    expect(response.statusCode).toBe(422);
    response.destroy();
  });

  it("whose upstream does not answer after its end is 504", async () => {
    answer = (request) => request.resume();
    const response = await open("/hasty/never", { method: "PUT", body: slowly(3) });
    expect(response.statusCode).toBe(504);
    await readAll(response);
  });
});

describe("a stream of events", () => {
  it("arrives event by event", async () => {
    let send: (text: string) => void = () => undefined;
    answer = (_, response) => {
      response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
      response.flushHeaders();
      send = (text) => void response.write(text);
    };
    const response = await open("/lab/events");
    expect(response.headers["content-type"]).toBe("text/event-stream");
    const events = response[Symbol.asyncIterator]();
    // The next event is sent once the one before has arrived: one that is held back would be waited for in vain.
    for (const event of ["data: 1\n\n", "event: x\ndata: lab\n\n", ": ping\n\n", "data: 4\n\n"]) {
      send(event);
      expect(String((await events.next()).value)).toBe(event);
    }
    response.destroy();
  });
});

describe("an answer", () => {
  it("keeps its length, its status and what says how it may be kept", async () => {
    answer = (_, response) =>
      void response
        .writeHead(200, {
          "content-type": "application/json",
          "content-length": "11",
          etag: '"abc"',
          "x-ratelimit-remaining": "7",
        })
        .end('{"ok":true}');
    const { headers } = await open("/lab/length");
    expect(headers).toMatchObject({ "content-length": "11", etag: '"abc"', "x-ratelimit-remaining": "7" });
    expect(headers["transfer-encoding"]).toBeUndefined();
  });

  it("to HEAD has the length and no body", async () => {
    answer = (_, response) => void response.writeHead(200, { "content-length": "1234" }).end();
    const response = await open("/lab/head", { method: "HEAD" });
    expect(response.headers["content-length"]).toBe("1234");
    expect((await readAll(response)).body).toHaveLength(0);
  });

  it("204, 205 and 304 have no body", async () => {
    for (const status of [204, 205, 304]) {
      answer = (request, response) => {
        expect(request.headers["if-none-match"]).toBe('"abc"');
        response.writeHead(status, { etag: '"abc"' }).end();
      };
      const response = await open("/lab/none", { headers: { "if-none-match": '"abc"' } });
      expect(response.statusCode).toBe(status);
      expect(response.headers.etag).toBe('"abc"');
      expect((await readAll(response)).body).toHaveLength(0);
    }
  });

  it("to a request for several ranges is the whole", async () => {
    answer = (request, response) => void response.writeHead(200).end(`range: ${request.headers.range}`);
    const { body } = await call("/lab/ranges", { headers: { range: "bytes=0-19,20-39" } });
    expect(body).toBe("range: undefined");
  });

  it("206 keeps its range", async () => {
    answer = (request, response) => {
      expect(request.headers.range).toBe("bytes=2-5");
      response.writeHead(206, { "content-range": "bytes 2-5/10", "content-length": "4" }).end("2345");
    };
    const response = await open("/lab/range", { headers: { range: "bytes=2-5" } });
    expect(response.statusCode).toBe(206);
    expect(response.headers).toMatchObject({ "content-range": "bytes 2-5/10", "content-length": "4" });
    expect(String((await readAll(response)).body)).toBe("2345");
  });

  it("in gzip is gzip, and can be read", async () => {
    answer = (_, response) =>
      void response
        .writeHead(200, { "content-encoding": "gzip", "content-type": "application/json" })
        .end(gzipSync('{"zipped":true}'));
    const response = await open("/lab/gzip", { headers: { "accept-encoding": "gzip" } });
    expect(response.headers["content-encoding"]).toBe("gzip");
    expect(String(gunzipSync((await readAll(response)).body))).toBe('{"zipped":true}');
    expect((await call("/lab/gzip")).body).toEqual({ zipped: true });
  });

  it("5xx, 4xx and 429 are the upstream's own", async () => {
    for (const status of [500, 503, 404, 422, 429]) {
      answer = (_, response) => void response.writeHead(status, { "retry-after": "3" }).end('{"message":"theirs"}');
      const got = await call("/lab/status");
      expect(got.status).toBe(status);
      expect(got.body).toEqual({ message: "theirs" });
      expect(got.headers.get("retry-after")).toBe("3");
      expect(got.headers.get("x-agentauth-upstream")).toBe("lab");
      await worker.activity(agent, (message) => message.endsWith(`lab GET /status → ${status}`));
    }
  });

  it("that redirects is not followed: inside it leads through the gateway, outside it stays as it is", async () => {
    const before = received;
    for (const [location, expected] of [
      [`${origin}/elsewhere?a=1`, `${worker.url}/proxy/lab/elsewhere?a=1`],
      ["/elsewhere", "/proxy/lab/elsewhere"],
      ["https://files.example/signed?sig=1", "https://files.example/signed?sig=1"],
      ["//files.example/x", "http://files.example/x"],
    ]) {
      answer = (_, response) => void response.writeHead(302, { location }).end();
      const { status, headers } = await call("/lab/moved");
      expect(status).toBe(302);
      expect(headers.get("location")).toBe(expected);
    }
    expect(received - before).toBe(4);
  });

  it("that redirects where no request may go is 502, and nothing of where", async () => {
    for (const location of [
      `${worker.url}/agents/revoke-tokens`,
      "https://auth.example.com/x",
      "/a//b",
      "javascript:x",
    ]) {
      answer = (_, response) => void response.writeHead(307, { location }).end("moved");
      const { status, headers, body } = await call("/lab/astray");
      expect([status, body.code, body.upstream]).toEqual([502, "upstream_bad_redirect", "lab"]);
      expect(headers.get("location")).toBeNull();
    }
    await worker.activity(agent, (message) => message === "lab GET /astray → bad_redirect");
  });

  it("that creates something keeps its status where its Location may not pass", async () => {
    const headers = {
      location: `${worker.url}/agents`,
      "content-location": "/a//b",
      link: `<${worker.url}/x>; rel="next"`,
    };
    answer = (_, response) => void response.writeHead(201, headers).end("{}");
    const got = await call("/lab/created", { method: "POST", json: {} });
    expect(got.status).toBe(201);
    for (const name of Object.keys(headers)) expect(got.headers.get(name)).toBeNull();
  });

  it("redirects beside the base URL is sent there, and not to the gateway's own paths", async () => {
    for (const [location, expected] of [
      ["/agents", `${origin}/agents`],
      ["/api/v3x", `${origin}/api/v3x`],
      ["/api/v3/b", "/proxy/based/b"],
      ["b", `${worker.url}/proxy/based/b`],
    ]) {
      answer = (_, response) => void response.writeHead(302, { location }).end();
      expect((await call("/based/a")).headers.get("location")).toBe(expected);
    }
  });
});

describe("an upstream that fails", () => {
  const hasNoSecret = (got: { body: unknown; headers: Headers }) =>
    expect(JSON.stringify([got.body, [...got.headers]])).not.toContain("credential-of-the-company");

  it.each([
    ["down", "/down/x", "down GET /x → unreachable"],
    ["no host", "/nowhere/x", "nowhere GET /x → unreachable"],
    ["not HTTP", "/broken/x", "broken GET /x → unreachable"],
  ])("%s: 502 naming it", async (_, path, activity) => {
    const got = await call(path);
    expect(got.status).toBe(502);
    expect(got.body).toMatchObject({
      code: "upstream_unreachable",
      upstream: path.split("/")[1],
      title: "Bad gateway",
    });
    hasNoSecret(got);
    await worker.activity(agent, (message) => message === activity);
  });

  it.each([
    [101, "switching"],
    [600, "odd"],
    [999, "odd"],
  ])("answering with %i, which is no status: 502 naming it, recorded, and its body cancelled", async (status, name) => {
    oddStatus = status;
    const got = await call(`/${name}/x`, { method: "POST", json: {} });
    expect([got.status, got.body.code, got.body.upstream]).toEqual([502, "upstream_bad_answer", name]);
    expect(got.body.message).toContain(`the status ${status}`);
    hasNoSecret(got);
    await worker.activity(agent, (message) => message === `${name} POST /x → ${status}, bad_answer`);
    if (name === "odd") await expect.poll(() => oddOpen).toBe(0);
  });

  it("slow to begin: 504", async () => {
    answer = () => undefined;
    const got = await call("/hasty/slow");
    expect(got.status).toBe(504);
    expect(got.body).toMatchObject({ code: "upstream_timeout", upstream: "hasty" });
    hasNoSecret(got);
    await worker.activity(agent, (message) => message === "hasty GET /slow → timeout");
  });

  it("slow to end: its answer, however long it takes", async () => {
    answer = (_, response) => {
      response.writeHead(200, { "content-length": "2" }).write("a");
      setTimeout(() => response.end("b"), HASTY_MS * 1.2);
    };
    expect((await call("/hasty/slow-body")).body).toBe("ab");
  });

  it("hanging up before an answer: 502, and a write is sent once", async () => {
    for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE"]) {
      // The first call leaves a connection open, which the second finds closed under its hands.
      answer = (_, response) => void response.end("{}");
      await call("/lab/warm");
      const before = received;
      answer = (request) => void request.socket.destroy();
      const got = await call("/lab/hangup", { method, ...(method !== "GET" && { json: { a: 1 } }) });
      expect(got.status).toBe(502);
      expect(received - before).toBe(1);
      hasNoSecret(got);
    }
    await worker.activity(agent, (message) => message === "lab POST /hangup → unreachable");
  });

  it("breaking off in the middle: the agent sees that it did", async () => {
    for (const headers of [{ "content-length": "100000" }, {}, { "content-type": "image/png" }]) {
      // What has been sent is not read any more by whom the end reaches first: it breaks off once that has arrived.
      let breakOff: () => void = () => undefined;
      answer = (_, response) => {
        response.writeHead(200, headers);
        response.write("only this\n");
        breakOff = () => void response.destroy();
      };
      const response = await open("/lab/reset");
      expect(response.statusCode).toBe(200);
      response.once("data", () => breakOff());
      expect(await readAll(response)).toEqual({ body: Buffer.from("only this\n"), broken: true });
    }
    await worker.activity(agent, (message) => message === "lab GET /reset → 200, the answer broke off");
  });
});

describe("an upstream that breaks off a short answer", () => {
  it("is 502: the agent gets no half of it", async () => {
    answer = (_, response) => {
      response.writeHead(200, { "content-length": "1000", "content-type": "application/json" });
      response.write("{");
      setTimeout(() => response.destroy(), 50);
    };
    const { status, body } = await call("/lab/half");
    expect(status).toBe(502);
    expect(body).toMatchObject({ code: "upstream_unreachable", upstream: "lab" });
    await worker.activity(agent, (message) => message === "lab GET /half → 200, the answer broke off");
  });
});

describe("a body of which nothing more arrives", () => {
  const half = (headers: Record<string, string>) => {
    answer = (request, response) => {
      request.resume();
      response.writeHead(200, { "content-type": "application/json", ...headers });
      response.write("{");
    };
  };

  it("is 504 if it is short: the agent gets no half of it, and no silence", async () => {
    half({ "content-length": "1000" });
    const { status, body } = await call("/stalling/short", { method: "POST", json: {} });
    expect([status, body.code, body.upstream]).toEqual([504, "upstream_timeout", "stalling"]);
    await worker.activity(agent, (message) => message === "stalling POST /short → 200, the answer stalled");
  });

  it("is broken off if it is streamed", async () => {
    half({});
    expect(await readAll(await open("/stalling/stream"))).toEqual({ body: Buffer.from("{"), broken: true });
    await worker.activity(agent, (message) => message === "stalling GET /stream → 200, the answer stalled");
  });

  it("is not one that is slow: only silence counts", async () => {
    for (const headers of [{}, { "content-length": String(7 * 70_000) }]) {
      answer = async (_, response) => {
        response.writeHead(200, headers);
        for (let i = 0; i < 7; i++) {
          response.write("x".repeat(70_000));
          await new Promise((resolve) => setTimeout(resolve, HASTY_MS / 6));
        }
        response.end();
      };
      const { body, broken: cut } = await readAll(await open("/stalling/slow"));
      expect([body.length, cut]).toEqual([7 * 70_000, false]);
    }
  });

  it("is 408 if it is the request's, read first or streamed", async () => {
    for (const length of ["1000", String(MEGABYTE)]) {
      answer = (request) => void request.on("error", () => undefined).resume();
      const response = await open("/stalling/upload", {
        method: "POST",
        headers: { "content-length": length, "content-type": "application/octet-stream" },
        body: (request) => void request.write("x"),
      });
      const { body } = await readAll(response);
      expect([response.statusCode, JSON.parse(String(body)).code]).toEqual([408, "body_timeout"]);
    }
  });
});

describe("an agent that goes away", () => {
  it("in the middle of an answer ends it upstream", async () => {
    const gone = new Promise<void>((resolve) => {
      answer = (_, response) => {
        response.writeHead(200, { "content-type": "text/event-stream" });
        const timer = setInterval(() => response.write("data: 1\n\n"), 20);
        response.on("close", () => {
          clearInterval(timer);
          resolve();
        });
      };
    });
    const response = await open("/lab/long");
    response.once("data", () => response.destroy());
    await gone;
    await worker.activity(agent, (message) => message === "lab GET /long → 200, the agent closed the connection");
  });

  it("in the middle of an answer that nothing looks at ends it upstream too", async () => {
    const gone = new Promise<void>((resolve) => {
      answer = (_, response) => {
        response.writeHead(200);
        const timer = setInterval(() => response.write("data: 1\n\n"), 20);
        response.on("close", () => {
          clearInterval(timer);
          resolve();
        });
      };
    });
    const response = await open("/open/long");
    response.once("data", () => response.destroy());
    await gone;
    await worker.activity(
      agent,
      (message) => message === "open GET /long → 200, the agent or the upstream closed the connection",
    );
  });

  it("before the answer begins leaves a record of what it did all the same", async () => {
    const leaving = new AbortController();
    answer = (request, response) => {
      request.resume();
      leaving.abort();
      setTimeout(() => response.writeHead(200).end("done"), 200);
    };
    const headers = { authorization: `Bearer ${agent.token}` };
    const sent = fetch(`${worker.url}/proxy/lab/left`, { method: "DELETE", headers, signal: leaving.signal });
    await expect(sent).rejects.toThrow();
    // Whether the runtime says that the agent has gone, or that the body has no end any more, differs.
    await worker.activity(agent, (message) => /^lab DELETE \/left → 200(?:$|, )/.test(message));
  });

  it("in the middle of its body ends that upstream", async () => {
    let leave: () => void = () => undefined;
    const gone = new Promise<boolean>((resolve) => {
      answer = (request) => {
        request.on("close", () => resolve(request.complete)).resume();
        leave();
      };
    });
    void open("/lab/upload", {
      method: "POST",
      headers: { "content-length": String(10 * MEGABYTE) },
      body: (request) => {
        leave = () => void request.destroy();
        request.write(block);
      },
    }).catch(() => undefined);
    expect(await gone).toBe(false);
    await worker.activity(agent, (message) => message === "lab POST /upload → broken off, bad_body");
  });
});

describe("an upstream that sends the credential back", () => {
  const echo = (type: string, body: string | Buffer, headers: Record<string, string> = {}) => {
    answer = (_, response) =>
      void response
        .writeHead(200, { "content-type": type, "content-length": Buffer.byteLength(body), ...headers })
        .end(body);
  };
  const basic = Buffer.from(`user:${CREDENTIAL}`).toString("base64");

  it.each([
    ["in JSON", "application/json", JSON.stringify({ headers: { authorization: `Bearer ${CREDENTIAL}` } })],
    ["in base64", "text/plain", `Authorization: Basic ${basic}`],
    ["percent-encoded", "text/html", `<a href="?token=${encodeURIComponent(CREDENTIAL)}">`],
    ["in a short file", "application/octet-stream", `\0\0${CREDENTIAL}`],
    ["without a type", "", `${CREDENTIAL}`],
  ])("%s is cut off", async (_, type, body) => {
    echo(type, `x${"-".repeat(70_000)} ${body} ${"-".repeat(70_000)}`);
    const { body: got, broken: cut } = await readAll(await open("/lab/echo"));
    expect(cut).toBe(true);
    expect(got.toString()).not.toContain("credential-of");
    expect(got.toString()).not.toContain(basic.slice(12, 40));
    await worker.activity(agent, (message) => message === "lab GET /echo → 200, cut off: credential_echo");
  });

  it("in a short answer is 502, without a byte of it", async () => {
    echo("application/json", JSON.stringify({ authorization: CREDENTIAL }));
    const got = await call("/lab/echo-short");
    expect(got.status).toBe(502);
    expect(got.body).toMatchObject({ code: "credential_echo", upstream: "lab" });
    expect(JSON.stringify(got.body)).not.toContain("credential-of");
    await worker.activity(agent, (message) => message === "lab GET /echo-short → 200, cut off: credential_echo");
  });

  it("also under gzip", async () => {
    echo("application/json", gzipSync(`{"authorization":"${CREDENTIAL}"}`), { "content-encoding": "gzip" });
    const { body } = await readAll(await open("/lab/echo-gzip"));
    await worker.activity(agent, (message) => message === "lab GET /echo-gzip → 200, cut off: credential_echo");
    expect(body.toString("latin1")).not.toContain("credential-of");
  });

  it("in the beginning of a file of unknown length is cut off, and the rest of a longer one passes as it is", async () => {
    const type = { "content-type": "application/octet-stream" };
    answer = (_, response) => void response.writeHead(200, type).write(`\0${CREDENTIAL}`, () => response.end());
    expect((await readAll(await open("/lab/echo-file"))).broken).toBe(true);
    answer = (_, response) => {
      response.writeHead(200, type);
      void pour(response, 5);
    };
    const { body, broken: cut } = await readAll(await open("/lab/long-file"));
    expect(cut).toBe(false);
    expect(body.equals(Buffer.concat(Array<Buffer>(5).fill(block)))).toBe(true);
  });

  it.each([
    ["a text that calls itself a file", "application/octet-stream", "line of a text\n"],
    ["a text of an unusual type", "application/x-subrip", "00:00:01,000 --> 00:00:02,000\n"],
  ])("far behind the first megabyte of %s is cut off", async (_, type, line) => {
    echo(type, line.repeat((3 * MEGABYTE) / line.length) + CREDENTIAL);
    const { body, broken: cut } = await readAll(await open("/lab/echo-text"));
    expect(cut).toBe(true);
    expect(body.toString()).not.toContain("credential-of");
  });

  it("in the first megabyte of a longer file is cut off", async () => {
    echo("application/octet-stream", `\x01${CREDENTIAL}${"\x01".repeat(3 * MEGABYTE)}`);
    const { body, broken: cut } = await readAll(await open("/lab/echo-binary"));
    expect(cut).toBe(true);
    expect(body.toString()).not.toContain("credential-of");
  });

  it("beside the status loses that text", async () => {
    answer = (_, response) => void response.writeHead(200, CREDENTIAL).end("fine");
    const { statusMessage } = await open("/lab/reason");
    expect(statusMessage).not.toContain("credential-of");
  });

  it.each(["br", "identity"])("is found under %s too", async (coding) => {
    const text = `{"authorization":"${CREDENTIAL}"}`;
    echo("application/json", coding === "identity" ? text : brotliCompressSync(text), { "content-encoding": coding });
    const { body } = await readAll(await open("/lab/echo-br"));
    expect(body.toString()).not.toContain("credential-of");
    if (coding !== "identity") expect(() => brotliDecompressSync(body)).toThrow();
  });

  it.each(["GZIP", "x-gzip", "identity, gzip", "Gzip, utf-8"])("is found under %s, which is gzip", async (coding) => {
    const text = (secret: string) => gzipSync(JSON.stringify({ authorization: secret, padding: "x".repeat(1000) }));
    echo("application/json", text(CREDENTIAL), { "content-encoding": coding });
    const { body, broken: cut } = await readAll(await open("/lab/echo-spelled"));
    expect([cut, body.toString("latin1").includes("credential-of")]).toEqual([true, false]);
    echo("application/json", text("fine"), { "content-encoding": coding });
    const passed = await open("/lab/spelled");
    expect(passed.headers["content-encoding"]).toBeUndefined();
    expect(JSON.parse(String((await readAll(passed)).body)).authorization).toBe("fine");
  });

  it.each(["utf-8", "Identity", "UTF-8, identity"])("is found under %s, which is no coding", async (coding) => {
    echo("application/json", JSON.stringify({ authorization: CREDENTIAL }), { "content-encoding": coding });
    expect((await call("/lab/echo-bogus")).body.code).toBe("credential_echo");
    echo("application/json", '{"fine":true}', { "content-encoding": coding });
    const passed = await open("/lab/bogus");
    expect(passed.headers).toMatchObject({ "content-length": "13" });
    expect(passed.headers["content-encoding"]).toBeUndefined();
    expect(String((await readAll(passed)).body)).toBe('{"fine":true}');
  });

  it.each(["deflate", "snappy", "gzip, gzip", "BR", "zstd"])(
    "could not be found under %s, which is 502",
    async (coding) => {
      echo("application/json", deflateSync(`{"authorization":"${CREDENTIAL}"}`), { "content-encoding": coding });
      const got = await call("/lab/echo-coded");
      expect([got.status, got.body.code, got.body.upstream]).toEqual([502, "upstream_encoded", "lab"]);
      await worker.activity(agent, (message) => message === "lab GET /echo-coded → encoded");
    },
  );

  it("also drop by drop", async () => {
    const arrived = Promise.withResolvers<void>();
    answer = async (_, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write("data: ");
      await arrived.promise;
      for (const char of `${CREDENTIAL}\n\n`) {
        response.write(char);
        await new Promise((resolve) => setTimeout(resolve, 3));
      }
      response.end();
    };
    const response = await open("/lab/drops");
    let length = 0;
    response.on("data", (chunk: Buffer) => {
      length += chunk.length;
      if (length === "data: ".length) arrived.resolve();
    });
    const { body, broken: cut } = await readAll(response);
    expect(cut).toBe(true);
    expect(body.toString()).toBe("data: ");
  });

  it("in a header loses the header", async () => {
    echo("text/plain", "fine", {
      "x-echo": `Bearer ${CREDENTIAL}`,
      "x-echo-base64": basic,
      "x-echo-url": `https://x.example/?t=${encodeURIComponent(CREDENTIAL)}`,
      link: `<${origin}/a?t=${encodeURIComponent(CREDENTIAL)}>; rel="next"`,
      [`x-${encodeURIComponent(CREDENTIAL)}`]: "in its name",
      "www-authenticate": "Bearer realm=x",
      "set-cookie": "session=1",
      "x-kept": "yes",
    });
    const { headers, body } = await call("/lab/headers");
    expect(body).toBe("fine");
    expect([...headers.keys()].join()).not.toContain("credential-of");
    for (const name of ["x-echo", "x-echo-base64", "x-echo-url", "link", "www-authenticate", "set-cookie"]) {
      expect(headers.get(name)).toBeNull();
    }
    expect(headers.get("x-kept")).toBe("yes");
  });

  it("is logged for the operator, without it", async () => {
    echo("text/plain", CREDENTIAL);
    await call("/lab/logged");
    await expect.poll(() => worker.log.join("")).toContain('"code":"credential_echo"');
    expect(worker.log.join("")).not.toContain("credential-of-the-company");
  });
});

/** Milliseconds of CPU that the Worker's process has taken. */
const cpu = () => {
  const fields = readFileSync(`/proc/${worker.pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
};

describe("a body that is much longer when it is decoded", SLOW, () => {
  /** So many megabytes of spaces under gzip, which makes a thousandth of them. */
  async function gzip(megabytes: number): Promise<Buffer> {
    const spaces = Buffer.alloc(MEGABYTE, " ");
    const chunks: Buffer[] = [];
    for await (const chunk of Readable.from(Array<Buffer>(megabytes).fill(spaces)).pipe(createGzip({ level: 1 })))
      chunks.push(chunk);
    return Buffer.concat(chunks);
  }
  const bodies = new Map<number, Promise<Buffer>>();
  const gzipped = (megabytes: number): Promise<Buffer> => {
    if (!bodies.has(megabytes)) bodies.set(megabytes, gzip(megabytes));
    return bodies.get(megabytes)!;
  };
  const send = (body: Buffer, type: string, hasLength = true) => {
    answer = (_, response) => {
      const length = hasLength && { "content-length": body.length };
      response.writeHead(200, { "content-type": type, "content-encoding": "gzip", ...length });
      response.write(body.subarray(0, 1000));
      response.end(body.subarray(1000));
    };
  };
  const acceptsGzip = { headers: { "accept-encoding": "gzip" } };

  it.each([
    ["is searched", "/lab/bomb", "application/json", true],
    ["is searched and of unknown length", "/lab/bomb", "application/json", false],
    ["is searched at its beginning", "/lab/bomb", "application/octet-stream", false],
    ["is searched for links", "/zendesk/api/v2/tickets", "application/json", true],
  ])("is cut off where it %s", async (_, path, type, hasLength) => {
    const bomb = await gzipped(256);
    send(bomb, type, hasLength);
    const before = cpu();
    const { body, broken: cut } = await readAll(await open(path, acceptsGzip));
    console.info(`${path} ${type}: ${bomb.length} bytes of gzip, ${cpu() - before} ms of CPU`);
    expect(cut).toBe(true);
    // It ends soon after 64 MB: not after 256.
    expect(body.length).toBeLessThan(bomb.length / 2);
    const request = path.replace("/", "").replace("/", " GET /");
    await worker.activity(agent, (message) => message === `${request} → 200, cut off: upstream_too_large`);
    await expect.poll(() => worker.log.join("")).toContain('"code":"upstream_too_large"');
  });

  it("passes where it is of a size that answers have", async () => {
    const body = await gzipped(60);
    send(body, "application/json");
    const response = await open("/lab/long-json", acceptsGzip);
    expect(gunzipSync((await readAll(response)).body)).toHaveLength(60 * MEGABYTE);
  });

  it("has no limit where nothing looks at it", async () => {
    send(await gzipped(100), "application/octet-stream");
    const { body } = await readAll(await open("/open/bomb", acceptsGzip));
    expect(gunzipSync(body)).toHaveLength(100 * MEGABYTE);
  });
});

describe("an upstream without its credential", () => {
  it("is 503, and the log alone says which secret is missing", async () => {
    const got = await call("/bare/x");
    expect(got.status).toBe(503);
    expect(got.body).toMatchObject({ code: "upstream_not_configured", upstream: "bare" });
    expect(JSON.stringify(got.body)).not.toContain("UPSTREAM_BARE_TOKEN");
    await expect.poll(() => worker.log.join("")).toContain("UPSTREAM_BARE_TOKEN is not set");
    await worker.activity(agent, (message) => message === "bare GET /x → no credential");
  });
});
