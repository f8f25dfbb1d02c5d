// @module-tag slow
import { Octokit } from "@octokit/rest";
import { Readable } from "node:stream";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { AgentAuthClient, ConnectionError, type AgentAuthError } from "../../../src/client/index.ts";
import { expiredTokenOf } from "../support/expired-token.ts";
import { startRecorder, type Recorder } from "../support/recorder.ts";
import { startWorker, type Agent, type Worker } from "../support/worker.ts";
import { SLOW } from "../../support/extents.ts";

let upstream: Recorder;
let worker: Worker;
let agent: Agent;
let status = 200;
let redirects: { status: number; location: string }[] = [];
let calls: string[] = [];

const ownUpstream = (base_url: string, rule: string) =>
  JSON.stringify({ base_url, resources: { things: ["read"] }, rules: [rule] });

const counting: typeof fetch = (input, init) => {
  calls.push(new URL(input instanceof Request ? input.url : String(input)).pathname);
  return fetch(input, init);
};

beforeAll(async () => {
  upstream = await startRecorder((request, response) => {
    const to = redirects.shift();
    if (to) return void response.writeHead(to.status, { location: to.location }).end();
    const body = JSON.stringify({ number: 5, title: "An issue", asked: request.url });
    response.writeHead(status, { "content-type": "application/json" }).end(body);
  });
  worker = await startWorker({
    ISSUER: "https://auth.example.com",
    "UPSTREAMS.github.base_url": upstream.url,
    UPSTREAM_GITHUB_TOKEN: "ghp_of-the-company",
    "UPSTREAMS.orders": ownUpstream(`${upstream.url}/api`, "GET /orders things"),
    UPSTREAM_ORDERS_TOKEN: "of-the-company",
    "UPSTREAMS.enterprise": ownUpstream(`${upstream.url}/api/v3`, "GET /repos/{owner}/{repo}/issues/{number} things"),
    UPSTREAM_ENTERPRISE_TOKEN: "of-the-company",
  });
  agent = await worker.agent(["github:issues:read", "github:issues:write"]);
});
afterAll(async () => {
  upstream?.close();
  await worker?.stop();
});
beforeEach(() => {
  status = 200;
  calls = [];
  redirects = [];
  upstream.seen.length = 0;
});

const own = () =>
  new AgentAuthClient({ baseUrl: worker.url, agentId: agent.id, apiKey: agent.apiKey, fetch: counting });
const last = () => upstream.seen.at(-1)!;
const sentHeader = (name: string) => last().headers.find(([one]) => one === name)?.[1];

describe("client.proxy(service)", () => {
  it("gives an SDK a fetch that goes through the gateway", async () => {
    const octokit = new Octokit({ auth: "not-a-credential", request: { fetch: own().proxy("github") } });
    const { data } = await octokit.rest.issues.get({ owner: "o", repo: "r", issue_number: 5 });
    expect(data.title).toBe("An issue");
    expect(last().target).toBe("/repos/o/r/issues/5");
    expect(sentHeader("authorization")).toBe("Bearer ghp_of-the-company");
    await octokit.rest.issues.create({ owner: "o", repo: "r", title: "made" });
    expect([last().method, JSON.parse(last().body).title]).toEqual(["POST", "made"]);
    const denied = await octokit.rest.pulls.get({ owner: "o", repo: "r", pull_number: 1 }).catch((error) => error);
    expect([denied.status, denied.response.data.required]).toEqual([403, "github:pull_requests:read"]);
  });

  it.each([
    "https://api.github.com/repos/o/r/issues?state=open&x=%2F",
    "/repos/o/r/issues?state=open&x=%2F",
    "repos/o/r/issues?state=open&x=%2F",
    new URL("https://api.github.com/repos/o/r/issues?state=open&x=%2F"),
    new Request("https://api.github.com/repos/o/r/issues?state=open&x=%2F", { headers: { accept: "text/x" } }),
  ])("reads %s for its path and query", async (input) => {
    const answer = await own().proxy("github")(input);
    expect([answer.status, last().target]).toEqual([200, "/repos/o/r/issues?state=open&x=%2F"]);
    if (input instanceof Request) expect(sentHeader("accept")).toBe("text/x");
  });

  it("takes a link that the gateway has rewritten as it is", async () => {
    await own().proxy("github")(`${worker.url}/proxy/github/repos/o/r/issues?page=2`);
    expect(last().target).toBe("/repos/o/r/issues?page=2");
  });

  it.each([
    "/../../agents",
    "https://api.github.com/../../../health",
    "/repos/../../../agents",
    "/..\\..\\agents",
    "/%2e%2e/%2E./agents",
    "//evil.example/agents",
    "http:/evil.example",
  ])("does not carry the token out of the service: %s", async (path) => {
    const answer = await own()
      .proxy("github")(path)
      .then(
        ({ status: code }) => code,
        (error: unknown) => error,
      );
    // A URL's dots are folded before anybody sees them: what is left of them stays below the service.
    if (typeof answer !== "number") expect(answer).toBeInstanceOf(TypeError);
    // The SDK's own calls, to get a token and to see whether a denied permission is there by now.
    const itself = new Set(["/agents/verify", `/agents/${agent.id}`]);
    expect(calls.filter((path) => !path.startsWith("/proxy/github") && !itself.has(path))).toEqual([]);
  });

  it.each([
    ["about:invalid#agentauth-removed=uploads.github.com", "uploads.github.com"],
    // As Octokit asks for it.
    ["https://api.github.comabout#agentauth-removed=uploads.github.com", "uploads.github.com"],
    ["about:invalid", "another place"],
  ])("calls nothing for a link that the gateway has removed: %s", async (link, host) => {
    const sending = own().proxy("github")(link, { method: "POST", body: "text" });
    await expect(sending).rejects.toThrow(`because it leads to ${host}.`);
    await expect(sending).rejects.toBeInstanceOf(TypeError);
    expect(upstream.seen).toEqual([]);
  });

  it("renews an expired token, once for all calls, and sends bodies again", async () => {
    const client = new AgentAuthClient({
      baseUrl: worker.url,
      accessToken: await expiredTokenOf(agent.token),
      refreshToken: agent.refreshToken,
      fetch: counting,
    });
    const github = client.proxy("github");
    const body = JSON.stringify({ title: "again" });
    const target = "https://api.github.com/repos/o/r/issues";
    const answers = await Promise.all([
      ...Array.from({ length: 20 }, () => github("/repos/o/r/issues/5")),
      github(target, { method: "POST", body }),
      github(new Request(target, { method: "POST", body })),
    ]);
    expect(answers.map(({ status: code }) => code)).toEqual(answers.map(() => 200));
    expect(calls.filter((path) => path === "/agents/refresh")).toHaveLength(1);
    expect(upstream.seen.filter(({ method }) => method === "POST").map((one) => one.body)).toEqual([body, body]);
  });

  it("asks for a token that is good for the next call where a stream cannot be sent again", async () => {
    const client = new AgentAuthClient({
      baseUrl: worker.url,
      accessToken: "expired-long-ago",
      refreshToken: (await worker.agent(["github:issues:write"])).refreshToken,
    });
    const post = (body: BodyInit | AsyncIterable<Uint8Array>) =>
      client.proxy("github")("/repos/o/r/issues", { method: "POST", body, duplex: "half" } as RequestInit);
    const stream = () => new Blob(['{"title":"streamed"}']).stream();
    expect((await post(stream())).status).toBe(401);
    expect((await post(stream())).status).toBe(200);
    client.setAccessToken("expired-long-ago", (await worker.agent(["github:issues:write"])).refreshToken);
    expect((await post(Readable.from([Buffer.from("{}")]))).status).toBe(401);
    expect(upstream.seen.map(({ body }) => body)).toEqual(['{"title":"streamed"}']);
  });

  it("does not send the SDK's own credential and host", async () => {
    const headers = { authorization: "token mine", host: "api.github.com", "content-length": "999" };
    expect((await own().proxy("github")("/repos/o/r/issues", { headers })).status).toBe(200);
    expect(sentHeader("authorization")).toBe("Bearer ghp_of-the-company");
  });

  it("passes a caller's signal on, and calls nothing once the client is closed", async () => {
    const client = own();
    const github = client.proxy("github");
    const aborted = github("/repos/o/r/issues", { signal: AbortSignal.abort(new Error("left")) });
    await expect(aborted).rejects.toThrow("left");
    await client.close();
    calls = [];
    await expect(github("/repos/o/r/issues")).rejects.toThrow("The client is closed");
    expect(calls).toEqual([]);
  });

  it("is for an SDK without a fetch a base URL and a token", async () => {
    const token = await own().getAccessToken();
    const octokit = new Octokit({ baseUrl: `${worker.url}/proxy/github`, auth: token });
    const { data } = await octokit.rest.issues.get({ owner: "o", repo: "r", issue_number: 5 });
    expect(data.title).toBe("An issue");
  });

  it("leaves an upstream's own 401 alone", async () => {
    const client = own();
    const github = client.proxy("github");
    await github("/repos/o/r/issues/5");
    calls = [];
    status = 401;
    const answer = await github("/repos/o/r/issues/5");
    expect(answer.status).toBe(401);
    expect(calls).toEqual(["/proxy/github/repos/o/r/issues/5"]);
  });
});

describe("a base path that the SDK and the upstream share, to client.proxy(service)", () => {
  let holder: Agent;
  beforeAll(async () => void (holder = await worker.agent(["orders:things:read", "enterprise:things:read"])));
  const through = () => new AgentAuthClient({ baseUrl: worker.url, agentId: holder.id, apiKey: holder.apiKey });

  it.each(["https://orders.example.com/api", "https://orders.example.com/api/"])(
    "is not doubled where proxy is given %s",
    async (baseUrl) => {
      const orders = through().proxy("orders", { baseUrl });
      for (const input of [
        "https://orders.example.com/api/orders",
        "https://ORDERS.example.com:443/api/orders",
        new Request("https://orders.example.com/api/orders"),
        "/orders",
        "orders",
        `${worker.url}/proxy/orders/orders`,
      ]) {
        expect((await orders(input)).status).toBe(200);
        expect(last().target).toBe("/api/orders");
      }
    },
  );

  it("is GitHub Enterprise's too", async () => {
    const baseUrl = "https://github.example.com/api/v3";
    const octokit = new Octokit({ baseUrl, request: { fetch: through().proxy("enterprise", { baseUrl }) } });
    const { data } = await octokit.rest.issues.get({ owner: "o", repo: "r", issue_number: 5 });
    expect([data.title, last().target]).toEqual(["An issue", "/api/v3/repos/o/r/issues/5"]);
  });

  it.each([
    "https://orders.example.com/orders",
    "https://orders.example.com/apiary/orders",
    "https://orders.example.com/api/../orders",
    "https://other.example.com/api/orders",
    "https://me@orders.example.com/api/orders",
    "https://orders.example.com.evil.example/api/orders",
  ])("refuses a URL that does not lie below it: %s", async (url) => {
    const orders = through().proxy("orders", { baseUrl: "https://orders.example.com/api" });
    await expect(orders(url)).rejects.toThrow(
      /^https:.* does not lie below https:\/\/orders.example.com\/api, the baseUrl/,
    );
    expect(upstream.seen).toEqual([]);
  });
});

describe("a failure of client.proxy(service)", () => {
  it("says that nothing answers, as a ConnectionError", async () => {
    const gone = await startRecorder();
    gone.close();
    const client = new AgentAuthClient({ baseUrl: gone.url, accessToken: agent.token });
    const error = await client
      .proxy("github")("/repos/o/r/issues")
      .catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(ConnectionError);
    expect(error).toMatchObject({ code: "connection_failed", cause: { message: "fetch failed" } });
    expect((error as Error).message).toBe(
      `${gone.url} could not be reached (ECONNREFUSED). Is AgentAuth running there? Is baseUrl right?`,
    );
  });

  it("is the caller's TypeError where the request is none", async () => {
    const github = own().proxy("github");
    const error = await github("/repos/o/r/issues", { method: "GET", body: "x" }).catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(TypeError);
    expect((error as Error).message).toContain("GET/HEAD");
    await expect(github("/repos/o/r/issues", { method: "not a method" })).rejects.toBeInstanceOf(TypeError);
  });

  it("is a signal's reason where that is aborted on the way", async () => {
    const leaving = new AbortController();
    const client = new AgentAuthClient({
      baseUrl: worker.url,
      accessToken: agent.token,
      fetch: async () => {
        leaving.abort(new Error("left"));
        throw new TypeError("fetch failed");
      },
    });
    await expect(client.proxy("github")("/repos/o/r/issues", { signal: leaving.signal })).rejects.toThrow("left");
  });
});

describe("a permission that was added after the token was issued, to client.proxy(service)", () => {
  const issues = "/repos/o/r/issues";
  const writes = ["github:issues:read", "github:issues:write"];
  const setPermissions = async (id: string, permissions: string[]) => {
    const { token } = await worker.admin();
    const { status: code } = await worker.call(`/agents/${id}/permissions`, {
      method: "PUT",
      token,
      json: { permissions },
    });
    expect(code).toBe(200);
  };
  const reader = async () => {
    const { id, apiKey } = await worker.agent(["github:issues:read"]);
    const client = new AgentAuthClient({ baseUrl: worker.url, agentId: id, apiKey, fetch: counting });
    const github = client.proxy("github");
    const post = (body: BodyInit = '{"title":"x"}', more: object = {}) =>
      github(issues, { method: "POST", body, ...more });
    await github(issues);
    calls = [];
    upstream.seen.length = 0;
    return { id, post };
  };

  it("comes with a new token, and the request is sent once more", async () => {
    const { id, post } = await reader();
    const denied = await post();
    expect([denied.status, await denied.json()]).toMatchObject([403, { required: "github:issues:write" }]);
    expect(calls).toEqual([`/proxy/github${issues}`, `/agents/${id}`]);
    await setPermissions(id, writes);
    calls = [];
    expect((await post()).status).toBe(200);
    expect(calls).toEqual([`/proxy/github${issues}`, `/agents/${id}`, "/agents/refresh", `/proxy/github${issues}`]);
    expect(upstream.seen.map(({ body }) => body)).toEqual(['{"title":"x"}']);
  });

  it("serves the next request where the body was a stream", async () => {
    const { id, post } = await reader();
    await setPermissions(id, writes);
    expect((await post(new Blob(["{}"]).stream(), { duplex: "half" })).status).toBe(403);
    expect((await post()).status).toBe(200);
    expect(upstream.seen).toHaveLength(1);
  });

  it("is not looked for where the service behind the gateway denies", async () => {
    const { post, id } = await reader();
    await setPermissions(id, writes);
    await post();
    calls = [];
    status = 403;
    expect((await post()).status).toBe(403);
    expect(calls).toEqual([`/proxy/github${issues}`]);
  });
});

describe("a redirect, to client.proxy(service)", () => {
  const issues = "/repos/o/r/issues";
  let holder: Agent;
  beforeAll(async () => void (holder = await worker.agent(["github:*:*"])));
  const github = () =>
    new AgentAuthClient({ baseUrl: worker.url, agentId: holder.id, apiKey: holder.apiKey }).proxy("github");
  const post = (init: RequestInit = {}) =>
    github()(issues, {
      method: "POST",
      body: '{"title":"x"}',
      headers: { "content-type": "application/json" },
      ...init,
    });
  const refused = (answer: Promise<Response>) =>
    answer.then(
      ({ status: code }) => expect.fail(`was followed: ${code}`),
      (error: unknown) => error as AgentAuthError,
    );

  it.each([
    [301, "POST", "GET", ""],
    [302, "POST", "GET", ""],
    [303, "POST", "GET", ""],
    [303, "PATCH", "GET", ""],
    [302, "PATCH", "PATCH", "{}"],
    [307, "POST", "POST", "{}"],
    [308, "DELETE", "DELETE", "{}"],
    [301, "GET", "GET", ""],
    [303, "HEAD", "HEAD", ""],
  ])("%i of a %s is followed within the service with %s", async (code, method, expected, body) => {
    redirects = [{ status: code, location: "/repos/o/r/issues/5" }];
    const isRead = method === "GET" || method === "HEAD";
    const headers = { "content-type": "application/json", accept: "text/x" };
    const answer = await github()(issues, { method, headers, ...(!isRead && { body: "{}" }) });
    expect(answer.status).toBe(200);
    expect(last()).toMatchObject({ method: expected, target: "/repos/o/r/issues/5", body });
    expect(sentHeader("accept")).toBe("text/x");
    expect(sentHeader("content-type") !== undefined).toBe(isRead || expected !== "GET");
  });

  it("that leads anywhere else is an error that says where, without what may be signed", async () => {
    const elsewhere = await startRecorder();
    try {
      redirects = [{ status: 307, location: `${elsewhere.url.replace("127.0.0.1", "localhost")}/archive?sig=secret` }];
      const error = await refused(post());
      expect(error).toMatchObject({ name: "AgentAuthError", code: "redirect_refused", status: 307 });
      expect(error.message).toContain("out of the service, to http://localhost");
      expect(error.message).toContain("/archive");
      expect(error.message).not.toContain("secret");
      expect(elsewhere.seen).toEqual([]);
    } finally {
      elsewhere.close();
    }
  });

  it.each([
    "/agents/revoke-tokens",
    "/proxy/slack/api/chat.postMessage",
    "/proxy/githubx/user",
    "/proxy/github/../../agents",
    "/proxy/github/%2e%2e/slack",
    "//evil.example/proxy/github/user",
    "\\\\evil.example/proxy/github/user",
    "https://user@127.0.0.1/proxy/github/user",
  ])("by a gateway of another kind that does not judge links is judged here: %s", async (location) => {
    // What stands before a deployment may answer for it: the SDK takes nobody's word.
    const front = await startRecorder((_, response) => void response.writeHead(307, { location }).end());
    try {
      const client = new AgentAuthClient({ baseUrl: front.url, accessToken: agent.token });
      expect((await refused(client.proxy("github")(issues))).code).toBe("redirect_refused");
      expect(front.seen).toHaveLength(1);
    } finally {
      front.close();
    }
  });

  it("is followed at most 20 times", SLOW, async () => {
    redirects = Array.from({ length: 20 }, (_, n) => ({ status: 302, location: `/repos/o/r/issues?n=${n}` }));
    expect((await github()(issues)).status).toBe(200);
    redirects = Array.from({ length: 21 }, () => ({ status: 302, location: issues }));
    expect((await refused(github()(issues))).message).toBe("github redirects more than 20 times.");
  });

  it("is the answer with redirect: manual, and an error with redirect: error", async () => {
    redirects = [{ status: 302, location: "https://files.example/x?sig=1" }];
    const answer = await github()(issues, { redirect: "manual" });
    expect([answer.status, answer.headers.get("location")]).toEqual([302, "https://files.example/x?sig=1"]);
    redirects = [{ status: 302, location: issues }];
    expect((await refused(github()(issues, { redirect: "error" }))).code).toBe("redirect_refused");
    expect(upstream.seen).toHaveLength(2);
  });

  it("of a stream is an error, as it cannot be sent again", async () => {
    redirects = [{ status: 307, location: issues }];
    const body = new Blob(["{}"]).stream();
    const error = await refused(post({ body, duplex: "half" } as RequestInit));
    expect(error.message).toContain("cannot be sent again");
  });

  it("that the platform hides is an error, and nothing is followed", async () => {
    const hidden = { type: "opaqueredirect", status: 0, headers: new Headers(), body: null } as unknown as Response;
    const client = new AgentAuthClient({ baseUrl: worker.url, accessToken: holder.token, fetch: async () => hidden });
    const error = await refused(client.proxy("github")(issues));
    expect(error.message).toContain("this platform does not show");
  });
});
