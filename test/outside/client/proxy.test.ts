import { Octokit } from "@octokit/rest";
import { Readable } from "node:stream";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { AgentAuthClient } from "../../../src/client/index.ts";
import { startRecorder, type Recorder } from "../support/recorder.ts";
import { startWorker, type Agent, type Worker } from "../support/worker.ts";

let upstream: Recorder;
let worker: Worker;
let agent: Agent;
let status = 200;
let redirect: string | undefined;
let calls: string[] = [];

const counting: typeof fetch = (input, init) => {
  calls.push(new URL(input instanceof Request ? input.url : String(input)).pathname);
  return fetch(input, init);
};

beforeAll(async () => {
  upstream = await startRecorder((request, response) => {
    if (redirect) return void response.writeHead(302, { location: redirect }).end();
    const body = JSON.stringify({ number: 5, title: "An issue", asked: request.url });
    response.writeHead(status, { "content-type": "application/json" }).end(body);
  });
  worker = await startWorker({
    ISSUER: "https://auth.example.com",
    ACCESS_TOKEN_TTL_SECONDS: "2",
    "UPSTREAMS.github.base_url": upstream.url,
    UPSTREAM_GITHUB_TOKEN: "ghp_of-the-company",
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
    expect(calls.filter((path) => !path.startsWith("/proxy/github") && path !== "/agents/verify")).toEqual([]);
  });

  it("renews an expired token, once for all calls, and sends bodies again", async () => {
    const client = new AgentAuthClient({
      baseUrl: worker.url,
      accessToken: agent.token,
      refreshToken: agent.refreshToken,
      fetch: counting,
    });
    await new Promise((resolve) => setTimeout(resolve, 2100));
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

  it("sends neither the SDK's own credential and host, nor ours to where a redirect leads", async () => {
    const elsewhere = await startRecorder((_, response) => void response.writeHead(200).end("elsewhere"));
    try {
      redirect = `${elsewhere.url.replace("127.0.0.1", "localhost")}/archive`;
      const headers = { authorization: "token mine", host: "api.github.com", "content-length": "999" };
      const answer = await own().proxy("github")("/repos/o/r/issues", { headers });
      expect(await answer.text()).toBe("elsewhere");
      expect(elsewhere.seen[0]!.headers.map(([name]) => name)).not.toContain("authorization");
      expect(sentHeader("authorization")).toBe("Bearer ghp_of-the-company");
    } finally {
      redirect = undefined;
      elsewhere.close();
    }
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
