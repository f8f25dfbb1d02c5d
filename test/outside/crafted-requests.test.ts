import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { sendRaw, startRecorder, type RawAnswer, type Recorder, type Seen } from "./support/recorder.ts";
import { startWorker, type Worker } from "./support/worker.ts";
import { SLOW, few } from "../support/extents.ts";

/** Requests that no well-behaved client sends, byte for byte over a socket: what the upstream gets, if anything. */
const CREDENTIAL = "ghp_the-real-credential-of-the-company";
const THINGS = {
  credential: { scheme: "none" },
  resources: { things: ["read", "write"] },
  rules: ["GET,POST /things things"],
};
let upstream: Recorder;
let worker: Worker;
/** Holds every permission that there is to hold for GitHub: what is refused here is refused to anybody. */
let owner: string;
let reader: string;

beforeAll(async () => {
  upstream = await startRecorder();
  worker = await startWorker({
    ISSUER: "https://gateway.example",
    "UPSTREAMS.github.base_url": upstream.url,
    "UPSTREAMS.prefixed": JSON.stringify({
      base_url: `${upstream.url}/api/v3`,
      credential: { scheme: "header", name: "X-Api-Key" },
      resources: { things: ["read", "write"] },
      rules: ["* /things/{id} things"],
    }),
    "UPSTREAMS.lenient": JSON.stringify({ ...THINGS, base_url: upstream.url, refuse_parameters: [] }),
    "UPSTREAMS.strict": JSON.stringify({ ...THINGS, base_url: upstream.url, refuse_parameters: ["shop_id"] }),
    UPSTREAM_GITHUB_TOKEN: CREDENTIAL,
    UPSTREAM_PREFIXED_TOKEN: CREDENTIAL,
  });
  owner = (await worker.agent(["github:*:*", "prefixed:*:*", "lenient:*:*", "strict:*:*"])).token;
  reader = (await worker.agent(["github:issues:read", "prefixed:things:read"])).token;
});
afterAll(async () => {
  upstream?.close();
  await worker?.stop();
});
beforeEach(() => void upstream.seen.splice(0));

interface Crafted {
  method?: string;
  headers?: readonly string[];
  body?: string;
  token?: string;
  host?: string;
}

/** One request with this target. */
function send(
  target: string,
  { method = "GET", headers = [], body = "", token = owner, host = "gateway.example" }: Crafted = {},
): Promise<RawAnswer> {
  const lines = [`${method} ${target} HTTP/1.1`, `Host: ${host}`, `Authorization: Bearer ${token}`, ...headers];
  return sendRaw(worker.port, Buffer.from(`${lines.join("\r\n")}\r\nConnection: close\r\n\r\n${body}`, "latin1"));
}

const valuesOf = (seen: Seen | undefined, name: string): string[] =>
  (seen?.headers ?? []).filter(([key]) => key === name).map(([, value]) => value);

describe("a path that could be read in two ways is refused to everybody, and nothing is forwarded", () => {
  few(8).each([
    ["/repos/o/r/issues/../actions/secrets", "dot_segment"],
    ["/repos/o/r/./issues", "dot_segment"],
    ["/repos/o/r/issues/..", "dot_segment"],
    ["/repos/o/r/issues/%2e%2e/actions", "dot_segment"],
    ["/repos/o/r/issues/.%2E/actions", "dot_segment"],
    ["/repos/o/r/issues/%2E./actions", "dot_segment"],
    ["/repos/o/r/contents/%2e%2e%2f%2e%2e%2factions", "dot_segment"],
    ["/repos/o/r/contents/a%2F..%2Fb", "dot_segment"],
    ["/repos/o/r/issues/%252e%252e/actions", "double_encoding"],
    ["/repos/o/r/issues%252factions", "double_encoding"],
    ["/repos/o/r/issues/%255c", "double_encoding"],
    ["/repos/o/r/issues\\..\\actions", "backslash"],
    ["/repos/o/r/issues/5\\actions", "backslash"],
    ["/repos/o/r/issues/%5c..%5cactions", "backslash"],
    ["/repos/o/r/issues%2Factions%2Fsecrets", "encoded_slash"],
    ["/repos/o/r%2factions/secrets", "encoded_slash"],
    ["/repos%2Fo/r", "encoded_slash"],
    ["//repos/o/r/issues", "empty_segment"],
    ["/repos//o/r/issues", "empty_segment"],
    ["/repos/o/r/issues//", "empty_segment"],
    ["/repos/o/r/contents/a%2F%2Fb", "empty_segment"],
    ["/repos/o/r/issues;x=/5", "path_parameter"],
    ["/repos/o/r/issues/5;jsessionid=1", "path_parameter"],
    ["/repos/o/r/issues%3bx", "path_parameter"],
    ["/repos/o/r/issues/..;/actions", "path_parameter"],
    ["/repos/o/r/issues.", "trailing_dot_or_space"],
    ["/repos/o/r./issues", "trailing_dot_or_space"],
    ["/repos/o/r/issues/...", "trailing_dot_or_space"],
    ["/repos/o/r/issues%20", "trailing_dot_or_space"],
    ["/repos/o/r/issues%2e", "trailing_dot_or_space"],
    ["/repos/o/r/issues%00", "control_character"],
    ["/repos/o/r/issues%0d%0aX-Injected:%201", "control_character"],
    ["/repos/o/r/issues%C2%85", "control_character"],
    ["/repos/o/r/issues%7f", "control_character"],
    ["/repos/o/r/issues/%", "bad_encoding"],
    ["/repos/o/r/issues/%2", "bad_encoding"],
    ["/repos/o/r/issues/%zz", "bad_encoding"],
    ["/repos/o/r/issues/%ff", "bad_encoding"],
    ["/repos/o/r/issues/%c0%ae%c0%ae/actions", "bad_encoding"],
    ["/repos/o/r/issues/%u002e", "bad_encoding"],
    [`/repos/o/r/issues/${"5".repeat(9000)}`, "path_too_long"],
  ])("%s", async (path, code) => {
    const { status, body } = await send(`/proxy/github${path}`);
    expect(body).toContain(`"code":"${code}"`);
    expect(status).toBe(400);
    expect(upstream.seen).toEqual([]);
  });
});

describe("a target in an odd form", () => {
  few(8).each([
    ["http://evil.example/proxy/github/repos/o/r/issues", 200],
    ["https://user:pass@evil.example/proxy/github/repos/o/r/issues", 200],
    ["//evil.example/proxy/github/repos/o/r/issues", 404],
    ["/proxy/github/http://evil.example/x", 400],
    ["/proxy/github//evil.example/x", 400],
    ["/proxy/github/@evil.example/x", 200],
    ["/proxy/github@evil.example/x", 404],
    ["/proxy/github:80/x", 404],
    ["/proxy/github.evil.example/x", 404],
    ["/proxy/github%2f@evil.example/x", 404],
    ["/proxy/git%68ub/repos/o/r", 404],
    ["/%70roxy/github/repos/o/r", 404],
    ["/proxy%2Fgithub/repos/o/r", 404],
    ["/PROXY/github/repos/o/r", 404],
    ["/proxy/GitHub/repos/o/r", 404],
    ["/proxy//repos/o/r", 404],
    ["/proxy/./github/repos", 404],
    ["/proxy/../proxy/github/repos", 404],
    ["/proxy/x/../github/repos/o/r", 400],
    ["/proxy/x/proxy/github/repos/o/r", 404],
    ["/x/proxy/github/repos/o/r", 404],
    ["/proxy/__proto__/x", 404],
    ["/proxy/constructor/x", 404],
    ["proxy/github/repos/o/r", 400],
    ["*", 404],
    ["", 400],
    ["/proxy/github/a b", 400],
    ["/proxy/github/a\tb", 400],
  ])("%s", async (target, expected) => {
    const { status } = await send(target);
    expect(status).toBe(expected);
    // Whatever the target says, a request that is forwarded goes to the configured host and nowhere else.
    expect(upstream.seen).toHaveLength(expected === 200 ? 1 : 0);
  });

  it("leaves a fragment out, as no upstream could see it", async () => {
    await send("/proxy/github/repos/o/r/issues#/../actions/secrets", { token: reader });
    expect(upstream.seen.map(({ target }) => target)).toEqual(["/repos/o/r/issues"]);
  });

  it("stays below a base URL with a path", async () => {
    expect((await send("/proxy/prefixed/things/1")).status).toBe(200);
    expect((await send("/proxy/prefixed/..%2f..%2fthings/1")).status).toBe(400);
    expect((await send("/proxy/prefixed/../../things/1")).status).toBe(400);
    expect((await send("/proxy/prefixed")).status).toBe(200);
    expect(upstream.seen.map(({ target }) => target)).toEqual(["/api/v3/things/1", "/api/v3"]);
  });

  it("is forwarded as it was checked: the case of the letters and the encoding of unreserved ones", async () => {
    await send("/proxy/github/repos/o/r/issues/%35?q=%41%20%62", { token: reader });
    await send("/proxy/github/repos/o/r/contents/a%2fb/%C3%A9", { token: owner });
    expect(upstream.seen.map(({ target }) => target)).toEqual([
      "/repos/o/r/issues/5?q=%41%20%62",
      "/repos/o/r/contents/a%2Fb/%C3%A9",
    ]);
  });
});

describe("a Host header", () => {
  const MALFORMED = [
    "gateway.example/proxy/github/repos/o/r/issues?x=",
    "gateway.example?x=",
    "gateway.example#",
    "gateway.example\\x",
    "a@b",
    "gateway.example@",
    "user:pass@gateway.example",
    "a b",
    "[::1",
    "::1",
    "[gateway.example]",
    "gateway.example:x",
    "gateway.example:99999",
    "gateway.example:80:90",
    "999.1.1.1",
    "%zz",
    "gateway.example\r\nHost: gateway.example",
  ];

  few(4).each(MALFORMED)(
    "that is none is answered in JSON, logged without its query, and forwarded nowhere: %j",
    async (host) => {
      worker.log.splice(0);
      for (const target of ["/proxy/github/repos/o/r/issues?q=in-the-query", "/health", "/nowhere", "/openapi.json"]) {
        const { status, head, body } = await send(target, { host });
        expect([target, status, head.toLowerCase()]).toEqual([
          target,
          400,
          expect.stringContaining("application/json"),
        ]);
        expect(JSON.parse(body)).toMatchObject({ status: 400, code: "malformed_host", message: expect.any(String) });
      }
      expect(worker.log.join()).toContain('"malformed_host"');
      expect(worker.log.join()).not.toContain("in-the-query");
      expect(upstream.seen).toEqual([]);
    },
  );

  few(2).each(["gateway.example", "GATEWAY.example:8787", "[::1]:80", "127.0.0.1", "an_internal-name."])(
    "that is one leads to this Worker, whatever name it is: %s",
    async (host) => {
      expect((await send("/health", { host })).status).toBe(200);
    },
  );

  it("of another machine gets nothing from a Worker in local development", SLOW, async () => {
    const local = await startWorker();
    try {
      const ask = (host: string, ...lines: string[]) =>
        sendRaw(
          local.port,
          [`GET /health HTTP/1.1`, `Host: ${host}`, ...lines, "Connection: close", "", ""].join("\r\n"),
        );
      expect((await ask("localhost:8787")).status).toBe(200);
      for (const answer of [
        await ask("evil.example:8787"),
        await ask("localhost", "Origin: http://evil.example:8787"),
        await ask("localhost", "Origin: http://localhost", "Origin: http://evil.example"),
      ]) {
        expect(answer.status).toBe(421);
        expect(JSON.parse(answer.body)).toMatchObject({ code: "misdirected_request", status: 421 });
      }
    } finally {
      await local.stop();
    }
  });
});

describe("a path that only resembles a covered one needs the whole service", () => {
  few(4).each([
    "/repos/o/r/Issues",
    "/repos/o/r/ISSUES/5",
    "/repos/o/r/issues.json",
    "/repos/o/r/issues/5.json",
    "/repos/o/r/issuesx",
    "/repos/o/r/actions/secrets",
    "/Repos/o/r/issues",
    "/repos/o/issues",
    "/issues/../repos",
    "/graphql",
  ])("%s", async (path) => {
    const { status } = await send(`/proxy/github${path}`, { token: reader });
    expect([400, 403]).toContain(status);
    expect(upstream.seen).toEqual([]);
  });
});

describe("a method", () => {
  few(3).each(["get", "Get", "DELETEX", "TRACE", "PROPFIND", "PURGE", "M-SEARCH"])(
    "%s is not forwarded",
    async (method) => {
      const { status } = await send("/proxy/github/repos/o/r/issues", { method });
      expect([400, 405, 501]).toContain(status);
      expect(upstream.seen).toEqual([]);
    },
  );

  it("CONNECT is the runtime's to refuse", async () => {
    expect((await send("evil.example:80", { method: "CONNECT" })).status).toBeGreaterThanOrEqual(400);
    expect((await send("/proxy/github/repos/o/r", { method: "CONNECT" })).status).toBeGreaterThanOrEqual(400);
    expect(upstream.seen).toEqual([]);
  });

  it("is what was checked, whatever a header or a parameter says", async () => {
    for (const name of ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"]) {
      const refused = await send("/proxy/github/repos/o/r/issues/5", { headers: [`${name}: DELETE`], token: reader });
      expect(refused.status).toBe(400);
    }
    expect(upstream.seen).toEqual([]);
    const headers = ["X-HTTP-Method-Override: GET", "X-Original-Method: DELETE", "_method: DELETE"];
    await send("/proxy/github/repos/o/r/issues/5", { headers, token: reader });
    expect(upstream.seen).toHaveLength(1);
    expect(upstream.seen[0]).toMatchObject({ method: "GET", target: "/repos/o/r/issues/5" });
    expect(upstream.seen[0]!.headers.filter(([name]) => name.includes("method"))).toEqual([]);
  });

  it("GET carries no body, and one with a body is refused", async () => {
    const sent = { headers: ["Content-Length: 4"], body: "hide", token: reader };
    expect((await send("/proxy/github/repos/o/r/issues", sent)).status).toBe(400);
    expect(upstream.seen).toEqual([]);
    // The runtime takes a chunked body away, and with it every sign that there was one.
    const chunked = { headers: ["Transfer-Encoding: chunked"], body: "4\r\nhide\r\n0\r\n\r\n", token: reader };
    await send("/proxy/github/repos/o/r/issues", chunked);
    for (const { body } of upstream.seen) expect(body).toBe("");
  });

  it("an upgrade is refused", async () => {
    const headers = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"];
    const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    const { status } = await send("/proxy/github/repos/o/r/issues", { headers: [...headers, key] });
    expect(status).toBe(400);
    expect((await send("/proxy/github/repos", { headers: ["Upgrade: h2c", "HTTP2-Settings: AAMAAABk"] })).status).toBe(
      400,
    );
    expect(upstream.seen).toEqual([]);
  });
});

describe("a query", () => {
  few(4).each([
    "token=x",
    "access_token=x",
    "a=1&access_token=x",
    "ACCESS_TOKEN=x",
    "%61ccess_token=x",
    "access%5Ftoken=x",
    "access_token[]=x",
    "access.token=x",
    "a=1;access_token=x",
    "+access_token=x",
    "access_token",
    "page=1&page=2&key=x",
    "_method=DELETE",
    "_HttpMethod=PATCH",
    "?token=x&token=y",
    "%2574oken=x",
    "to%00ken=x",
    "%ff=x",
  ])("with %s is refused", async (query) => {
    const { status } = await send(`/proxy/github/repos/o/r/issues?${query}`);
    expect(status).toBe(400);
    expect(upstream.seen).toEqual([]);
  });

  it("passes as it is otherwise, duplicates and all", async () => {
    await send("/proxy/github/repos/o/r/issues?page=2&labels=a,b&labels=c%26token%3D1&q=", { token: reader });
    expect(upstream.seen[0]!.target).toBe("/repos/o/r/issues?page=2&labels=a,b&labels=c%26token%3D1&q=");
  });
});

describe("a form", () => {
  const post = (type: string, body: string, more: readonly string[] = [], path = "/proxy/github/repos/o/r/issues") =>
    send(path, {
      method: "POST",
      headers: [`Content-Type: ${type}`, `Content-Length: ${body.length}`, ...more],
      body,
    });
  const FORM = "application/x-www-form-urlencoded";
  const part = (disposition: string) =>
    `--b\r\nContent-Disposition: form-data; ${disposition}\r\n\r\nDELETE\r\n--b--\r\n`;

  few(2).each(["_method=DELETE", "a=1&[_method]=DELETE", "access.token=x", "oauth_token[=x"])(
    "%s is refused, since upstreams merge it with the query",
    async (body) => {
      for (const path of ["/proxy/github/repos/o/r/issues", "/proxy/prefixed/things/1"]) {
        const answer = await post(FORM, body, [], path);
        expect(answer.body).toContain('"code":"parameter_refused"');
        expect(answer.status).toBe(400);
      }
      expect(upstream.seen).toEqual([]);
    },
  );

  few(2).each([
    ['name="_method"', "parameter_refused"],
    ["name=_method", "bad_body"],
    ["name='_method'", "bad_body"],
    ['name="_method', "bad_body"],
    ['name="_method\0x"', "bad_body"],
    ["name==_method", "bad_body"],
  ])("with the part %j is refused", async (disposition, code) => {
    const { status, body } = await post("multipart/form-data; boundary=b", part(disposition));
    expect(body).toContain(`"code":"${code}"`);
    expect(status).toBe(400);
    expect(upstream.seen).toEqual([]);
  });

  it("is sent as it was parsed", async () => {
    await post(`${FORM}; charset=UTF-8`, "title=a;b&labels[]=x y");
    await post("multipart/form-data; boundary=b", part('name="title"'));
    expect(upstream.seen[0]!.body).toBe("title=a%3Bb&labels%5B%5D=x+y");
    expect(valuesOf(upstream.seen[0], "content-type")).toEqual([`${FORM}; charset=UTF-8`]);
    const [type] = valuesOf(upstream.seen[1], "content-type");
    const boundary = /^multipart\/form-data; boundary=(agentauth-[\w-]+)$/.exec(type!)![1]!;
    expect(upstream.seen[1]!.body).toBe(part('name="title"').replaceAll("--b", `--${boundary}`));
  });

  it("is checked as the type that the upstream gets", async () => {
    await post(FORM, "_method=DELETE", ["Connection: Content-Type"]);
    await post("text/plain", "_method=DELETE", ["Content-Type:"]);
    await send("/proxy/github/repos/o/r/issues", {
      method: "POST",
      headers: ["Content-Length: 14"],
      body: "_method=DELETE",
    });
    for (const seen of upstream.seen) expect(valuesOf(seen, "content-type")).toEqual(["application/octet-stream"]);
    upstream.seen.splice(0);
    for (const type of [
      `${FORM}, x`,
      `text/plain\r\nContent-Type: ${FORM}`,
      `${FORM} x`,
      "multipart/mixed; boundary=b",
    ]) {
      expect((await post(type, "_method=DELETE")).status).toBe(415);
    }
    expect(upstream.seen).toEqual([]);
  });

  it("that is JSON, as GitHub's own examples send it, arrives as JSON", async () => {
    await post(FORM, '{"title": "a&_method=DELETE"}');
    expect(upstream.seen[0]!.body).toBe('{"title":"a&_method=DELETE"}');
    expect(valuesOf(upstream.seen[0], "content-type")).toEqual(["application/json"]);
  });

  it("may hold what the upstream's own settings allow", async () => {
    expect((await post(FORM, "_method=PUT", [], "/proxy/lenient/things")).status).toBe(200);
    expect((await post("multipart/mixed; boundary=b", "--b--", [], "/proxy/lenient/things?token=x")).status).toBe(200);
    expect(upstream.seen.map(({ target, body }) => [target, body])).toEqual([
      ["/things", "_method=PUT"],
      ["/things?token=x", "--b--"],
    ]);
    expect((await post(FORM, "shop[id]=2", [], "/proxy/strict/things")).status).toBe(400);
    expect((await send("/proxy/strict/things?shop.id=2")).status).toBe(400);
    expect((await post(FORM, "token=2", [], "/proxy/strict/things")).status).toBe(200);
  });
});

describe("headers", () => {
  it("come from an allow-list: the agent's credential, its cookies and its claims about itself stay here", async () => {
    const sent = [
      "Cookie: session=1",
      "X-Forwarded-For: 10.0.0.1",
      "X-Forwarded-Host: evil.example",
      "Forwarded: for=10.0.0.1;host=evil.example",
      "X-Real-IP: 10.0.0.1",
      "X-Original-URL: /admin",
      "X-Rewrite-URL: /admin",
      "Stripe-Account: acct_1",
      "X-On-Behalf-Of: admin",
      "X-GitHub-OTP: 123456",
      "Proxy-Authorization: Basic eDp5",
      "TE: trailers",
      "Expect: 100-continue",
      "Accept-Encoding: identity",
      "Accept-Language: de",
      "Content-Language: de",
      "__proto__: x",
      "constructor: x",
      "Via: 1.1 evil",
      "CF-Connecting-IP: 10.0.0.1",
      "Accept: application/json",
      'If-None-Match: "abc"',
      "Idempotency-Key: once",
    ];
    await send("/proxy/github/repos/o/r/issues", { headers: sent, token: reader });
    const [seen] = upstream.seen;
    // `CF-Worker` names the zone: the platform adds it to every request of a Worker's.
    const names = seen!.headers.map(([name]) => name).filter((name) => name !== "cf-worker");
    expect(names.toSorted()).toEqual([
      "accept",
      "accept-language",
      "authorization",
      // Of the runtime, which neither reads nor fills a cache.
      "cache-control",
      "host",
      "idempotency-key",
      "if-none-match",
      "pragma",
      "user-agent",
      "x-github-api-version",
    ]);
    expect(valuesOf(seen, "authorization")).toEqual([`Bearer ${CREDENTIAL}`]);
    expect(valuesOf(seen, "host")).toEqual([new URL(upstream.url).host]);
    expect(valuesOf(seen, "user-agent")).toEqual(["AgentAuth-Gateway/1"]);
  });

  it("that Connection names are for this hop only", async () => {
    const headers = ["Connection: Accept, If-None-Match", 'If-None-Match: "abc"', "Accept: text/evil"];
    await send("/proxy/github/repos/o/r/issues", { headers, token: reader });
    expect(valuesOf(upstream.seen[0], "if-none-match")).toEqual([]);
    expect(valuesOf(upstream.seen[0], "accept")).toEqual(["application/vnd.github+json"]);
    expect(valuesOf(upstream.seen[0], "authorization")).toEqual([`Bearer ${CREDENTIAL}`]);
  });

  it("cannot take the injected credential away or stand beside it", async () => {
    const headers = ["X-Api-Key: mine", "x-api-key: also mine", "Connection: X-Api-Key"];
    await send("/proxy/prefixed/things/1", { headers, token: reader });
    expect(valuesOf(upstream.seen[0], "x-api-key")).toEqual([CREDENTIAL]);
    expect(valuesOf(upstream.seen[0], "authorization")).toEqual([]);
  });

  it("two Authorization headers are refused, equal or not", async () => {
    const { status } = await send("/proxy/github/repos/o/r/issues", { headers: [`Authorization: Bearer ${reader}`] });
    expect(status).toBe(400);
    expect(upstream.seen).toEqual([]);
  });
});

describe("bytes that hide a second request", () => {
  const hidden = "GET /proxy/github/repos/o/r/hidden HTTP/1.1\r\nHost: gateway.example\r\n\r\n";
  const shapes: Record<string, [headers: string[], body: string]> = {
    "length and chunks": [["Content-Length: 6", "Transfer-Encoding: chunked"], `0\r\n\r\n${hidden}`],
    "chunks and length": [["Transfer-Encoding: chunked", "Content-Length: 6"], `0\r\n\r\n${hidden}`],
    "two lengths": [["Content-Length: 0", `Content-Length: ${hidden.length}`], hidden],
    "a list of lengths": [[`Content-Length: 0, ${hidden.length}`], hidden],
    "chunks in another coding": [["Transfer-Encoding: xchunked"], `0\r\n\r\n${hidden}`],
    "chunks twice": [["Transfer-Encoding: chunked", "Transfer-Encoding: identity"], `0\r\n\r\n${hidden}`],
    "a space before the colon": [["Transfer-Encoding : chunked", "Content-Length: 5"], `0\r\n\r\n${hidden}`],
    "a folded header": [["X-Fold: a", " Transfer-Encoding: chunked", "Content-Length: 5"], `0\r\n\r\n${hidden}`],
    "a signed length": [["Content-Length: +5"], `0\r\n\r\n${hidden}`],
  };
  for (const [shape, [headers, body]] of Object.entries(shapes)) {
    it(`${shape}: the upstream never sees it`, async () => {
      await send("/proxy/github/repos/o/r/issues", { method: "POST", headers, body });
      expect(upstream.seen.filter(({ target }) => target.includes("hidden"))).toEqual([]);
      expect(upstream.seen.length).toBeLessThanOrEqual(1);
    });
  }

  it("a header that holds a line break is not forwarded as two", async () => {
    const { status } = await send("/proxy/github/repos/o/r/issues", { headers: ["Accept: a\rX-Injected: 1"] });
    for (const seen of upstream.seen) expect(valuesOf(seen, "x-injected")).toEqual([]);
    expect([200, 400]).toContain(status);
  });
});
