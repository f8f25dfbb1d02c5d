import type { IncomingMessage } from "node:http";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { AgentAuthClient } from "../../src/client/index.ts";
import { snippetsOf } from "../../src/console/snippets.ts";
import { BUILT_IN_SERVICES } from "../../src/policy/services.ts";
import type * as Clients from "./support/vendor-clients.ts";
import { startRecorder, type Recorder } from "./support/recorder.ts";
import { startWorker, type Agent, type Worker } from "./support/worker.ts";
import { SLOW } from "../support/extents.ts";

/** The vendors' own clients, pointed at the gateway by their own settings, before servers that answer as the vendors do. */
interface Reply {
  readonly body: unknown;
  readonly headers?: Record<string, string>;
  readonly status?: number;
}

const SECRETS = {
  UPSTREAM_GITHUB_TOKEN: "ghp_of-the-company",
  UPSTREAM_STRIPE_TOKEN: "rk_of-the-company",
  UPSTREAM_SLACK_TOKEN: "xoxb-of-the-company",
  UPSTREAM_HUBSPOT_TOKEN: "pat-of-the-company",
  UPSTREAM_ZENDESK_TOKEN: "zendesk-of-the-company",
  UPSTREAM_SALESFORCE_TOKEN: "00D-of-the-company",
};

let clients: typeof Clients;
let upstream: Recorder;
let worker: Worker;
/** Plays each host that a vendor's answers lead to beside its API. */
let elsewhere: Recorder;
let reply: (request: IncomingMessage, url: URL) => Reply = () => ({ body: {} });

beforeAll(async () => {
  // Loading them all takes seconds, which a run that leaves these tests out does not spend.
  clients = await import("./support/vendor-clients.ts");
  upstream = await startRecorder((request, response) => {
    const { body, headers, status = 200 } = reply(request, new URL(request.url!, upstream.url));
    response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
  });
  elsewhere = await startRecorder();
  worker = await startWorker({
    ...SECRETS,
    "UPSTREAMS.github.base_url": upstream.url,
    "UPSTREAMS.stripe.base_url": upstream.url,
    "UPSTREAMS.slack.base_url": `${upstream.url}/api`,
    "UPSTREAMS.hubspot.base_url": upstream.url,
    "UPSTREAMS.zendesk.base_url": upstream.url,
    "UPSTREAMS.salesforce.base_url": upstream.url,
  });
});
afterAll(async () => {
  upstream?.close();
  elsewhere?.close();
  await worker?.stop();
});
beforeEach(() => {
  upstream.seen.length = elsewhere.seen.length = 0;
});

const asked = () => upstream.seen.map(({ method, target }) => `${method} ${target.split("?")[0]}`);
/** The company's credential was sent each time, and nothing of the agent's. */
function expectCredential(agent: Agent, secret: string): void {
  expect(upstream.seen.length).toBeGreaterThan(0);
  for (const { headers } of upstream.seen) {
    const sent = headers.map(([, value]) => value).join(" ");
    expect(sent).toContain(secret);
    expect(sent).not.toContain(agent.token);
  }
}
// oxlint-disable-next-line typescript/no-explicit-any -- each client throws errors of its own kind
const caught = (work: PromiseLike<unknown>): Promise<any> =>
  Promise.resolve(work).then(
    () => expect.unreachable(),
    (error: unknown) => error,
  );

describe("@octokit/rest", SLOW, () => {
  it("reads, writes, pages by rewritten links and is refused what it may not do", async () => {
    const agent = await worker.agent(["github:issues:*"]);
    const octokit = clients.octokit(worker.url, agent.token);
    const of = { owner: "o", repo: "r" };
    reply = () => ({ body: { number: 5, title: "read" } });
    expect((await octokit.rest.issues.get({ ...of, issue_number: 5 })).data.title).toBe("read");
    await octokit.rest.issues.create({ ...of, title: "made" });
    expect(JSON.parse(upstream.seen.at(-1)!.body)).toEqual({ title: "made" });
    reply = (_, { searchParams }) => {
      const page = Number(searchParams.get("page") ?? 1);
      const next = `<${upstream.url}/repos/o/r/issues?page=${page + 1}>; rel="next"`;
      return { body: [{ number: page }], ...(page < 3 && { headers: { link: next } }) };
    };
    const all = await octokit.paginate(octokit.rest.issues.listForRepo, of);
    expect(all.map(({ number }) => number)).toEqual([1, 2, 3]);
    expectCredential(agent, SECRETS.UPSTREAM_GITHUB_TOKEN);
    const denied = await caught(octokit.rest.pulls.list(of));
    expect([denied.name, denied.status]).toEqual(["HttpError", 403]);
    expect(denied.response.data).toMatchObject({
      required: "github:pull_requests:read",
      granted: ["github:issues:read", "github:issues:write"],
    });
  });
});

describe("a snippet of the console", SLOW, () => {
  /** A call with the client that the snippet makes, and the path at which the upstream gets it. */
  const calls: Readonly<Record<string, readonly [call: string, path: string, answer?: object]>> = {
    github: ["rest.issues.listForRepo({ owner: 'o', repo: 'r' })", "/repos/o/r/issues"],
    stripe: ["customers.retrieve('cus_1')", "/v1/customers/cus_1"],
    slack: ["conversations.list()", "/api/conversations.list", { ok: true }],
    hubspot: ["crm.contacts.basicApi.getPage()", "/crm/v3/objects/contacts", { results: [] }],
    zendesk: ["tickets.show(1)", "/api/v2/tickets/1.json"],
    salesforce: ["sobject('Account').retrieve('001000000000001AAA')", "/sobjects/Account/001000000000001AAA"],
  };

  it.each(BUILT_IN_SERVICES)(
    "makes a client of $name that reaches it through the gateway",
    async ({ name: service }) => {
      const agent = await worker.agent([`${service}:*:*`]);
      const snippets = snippetsOf(service, worker.url);
      expect(snippets.map(({ client }) => client).slice(0, 2)).toEqual(["curl", "AgentAuth’s SDK"]);
      const [call, path, answer = {}] = calls[service]!;
      const given = {
        client: new AgentAuthClient({ baseUrl: worker.url, accessToken: agent.token }),
        token: agent.token,
        Octokit: (await import("@octokit/rest")).Octokit,
        Stripe: (await import("stripe")).Stripe,
        WebClient: (await import("@slack/web-api")).WebClient,
        Client: (await import("@hubspot/api-client")).Client,
        createClient: (await import("node-zendesk")).createClient,
        jsforce: (await import("jsforce")).default,
      };
      const run = (code: string) =>
        // oxlint-disable-next-line typescript/no-implied-eval -- the snippet is code, and this is what it is for
        new Function(...Object.keys(given), `return (async () => (${code}))()`)(...Object.values(given));
      reply = () => ({ body: answer });
      await run(snippets[1]!.code);
      const { pathname } = new URL(/"(http[^"]+)"$/.exec(snippets[0]!.code)![1]!);
      expect(asked()).toEqual([`GET ${pathname.slice(`/proxy/${service}`.length)}`]);
      expect(snippets[2], `the vendor's client of ${service}`).toBeDefined();
      await run(`await (${snippets[2]!.code}).${call}`);
      expect(upstream.seen).toHaveLength(2);
      expect(upstream.seen[1]!.target.split("?")[0]).toMatch(new RegExp(`${path}$`));
      expectCredential(agent, SECRETS[`UPSTREAM_${service.toUpperCase()}_TOKEN` as keyof typeof SECRETS]);
    },
  );
});

describe("stripe", SLOW, () => {
  it("reads, pages by its cursor and is refused a write", async () => {
    const agent = await worker.agent(["stripe:customers:read"]);
    const stripe = clients.stripe(worker.url, agent.token);
    reply = () => ({ body: { id: "cus_1", object: "customer" } });
    expect((await stripe.customers.retrieve("cus_1")).id).toBe("cus_1");
    reply = (_, { searchParams }) => {
      const after = Number(searchParams.get("starting_after")?.slice(4) ?? 0);
      const data = [{ id: `cus_${after + 1}`, object: "customer" }];
      return { body: { object: "list", url: "/v1/customers", has_more: after < 2, data } };
    };
    const ids: string[] = [];
    for await (const { id } of stripe.customers.list({ limit: 1 })) ids.push(id);
    expect(ids).toEqual(["cus_1", "cus_2", "cus_3"]);
    expectCredential(agent, SECRETS.UPSTREAM_STRIPE_TOKEN);
    const before = upstream.seen.length;
    const denied = await caught(stripe.customers.create({ name: "No" }, { idempotencyKey: "once" }));
    expect(denied.statusCode).toBe(403);
    expect(upstream.seen).toHaveLength(before);
    // What would embed customers' charges needs payments too.
    const embedding = await caught(stripe.customers.list({ expand: ["data.latest_charge"] } as never));
    expect([embedding.statusCode, upstream.seen.length]).toEqual([403, before]);
  });

  it("has its Idempotency-Key passed on", async () => {
    const agent = await worker.agent(["stripe:*:*"]);
    const stripe = clients.stripe(worker.url, agent.token);
    reply = () => ({ body: { id: "cus_9", object: "customer" } });
    await stripe.customers.create({ name: "Made" }, { idempotencyKey: "once-only" });
    expect(upstream.seen.at(-1)!.headers).toContainEqual(["idempotency-key", "once-only"]);
    expect(upstream.seen.at(-1)!.body).toBe("name=Made");
  });
});

describe("@slack/web-api", SLOW, () => {
  it("reads, writes, pages by its cursor and is refused what it may not do", async () => {
    const agent = await worker.agent(["slack:channels:read", "slack:messages:write"]);
    const slack = clients.slack(worker.url, agent.token);
    reply = () => ({ body: { ok: true, channel: { id: "C1", name: "general" } } });
    expect((await slack.conversations.info({ channel: "C1" })).channel?.name).toBe("general");
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- no window: Slack
    await slack.chat.postMessage({ channel: "C1", text: "hello" });
    expect(upstream.seen.at(-1)!.body).toContain("text=hello");
    let page = 0;
    reply = () => ({
      body: {
        ok: true,
        channels: [{ id: `C${++page}` }],
        response_metadata: { next_cursor: page < 3 ? `p${page}` : "" },
      },
    });
    const ids: string[] = [];
    for await (const one of slack.paginate("conversations.list")) {
      ids.push(...(one as unknown as { channels: { id: string }[] }).channels.map(({ id }) => id));
    }
    expect(ids).toEqual(["C1", "C2", "C3"]);
    expectCredential(agent, SECRETS.UPSTREAM_SLACK_TOKEN);
    const before = upstream.seen.length;
    const denied = await caught(slack.conversations.history({ channel: "C1" }));
    expect(denied).toBeInstanceOf(Error);
    expect(denied).toMatchObject({ code: "slack_webapi_http_error", statusCode: 403 });
    expect(JSON.stringify(denied.body)).toContain("slack:messages:read");
    expect(upstream.seen).toHaveLength(before);
  });
});

describe("@hubspot/api-client", SLOW, () => {
  it("reads, writes, pages and is refused what it may not do", async () => {
    const agent = await worker.agent(["hubspot:contacts:*"]);
    const hubspot = clients.hubspot(worker.url, agent.token);
    const contact = { id: "1", properties: { email: "a@example.com" }, createdAt: "2026-01-01T00:00:00Z" };
    reply = ({ method }) => ({ body: contact, status: method === "POST" ? 201 : 200 });
    expect((await hubspot.crm.contacts.basicApi.getById("1")).id).toBe("1");
    await hubspot.crm.contacts.basicApi.create({ properties: { email: "b@example.com" } } as never);
    expect(JSON.parse(upstream.seen.at(-1)!.body)).toMatchObject({ properties: { email: "b@example.com" } });
    reply = (_, { searchParams }) => {
      const after = Number(searchParams.get("after") ?? 0) + 1;
      const link = `${upstream.url}/crm/v3/objects/contacts?after=${after}`;
      return {
        body: {
          results: [{ ...contact, id: String(after) }],
          ...(after < 3 && { paging: { next: { after: String(after), link } } }),
        },
      };
    };
    expect((await hubspot.crm.contacts.getAll(1)).map(({ id }) => id)).toEqual(["1", "2", "3"]);
    expectCredential(agent, SECRETS.UPSTREAM_HUBSPOT_TOKEN);
    const denied = await caught(hubspot.crm.deals.basicApi.getPage());
    expect(denied.code).toBe(403);
    expect(JSON.stringify(denied.body)).toContain("hubspot:deals:read");
  });
});

describe("node-zendesk", SLOW, () => {
  it("reads, writes, pages by rewritten links and is refused what it may not do", async () => {
    const agent = await worker.agent(["zendesk:tickets:*"]);
    const zendesk = clients.zendesk(worker.url, agent.token);
    reply = () => ({ body: { ticket: { id: 1, subject: "read" } } });
    const shown = (await zendesk.tickets.show(1)) as unknown as { result?: { subject: string } };
    expect(JSON.stringify(shown)).toContain("read");
    await zendesk.tickets.create({ ticket: { subject: "made", comment: { body: "x" } } } as never);
    expect(JSON.parse(upstream.seen.at(-1)!.body)).toMatchObject({ ticket: { subject: "made" } });
    reply = (_, { searchParams }) => {
      const page = Number(searchParams.get("page[after]") ?? 0) + 1;
      const next = `${upstream.url}/api/v2/tickets.json?page%5Bafter%5D=${page}&page%5Bsize%5D=1`;
      return {
        body: {
          tickets: [{ id: page }],
          meta: { has_more: page < 3 },
          links: { next: page < 3 ? next : null, prev: null },
          next_page: page < 3 ? next : null,
        },
      };
    };
    const all = (await zendesk.tickets.list()) as unknown as { id: number }[];
    expect(all.map(({ id }) => id)).toEqual([1, 2, 3]);
    expectCredential(agent, SECRETS.UPSTREAM_ZENDESK_TOKEN);
    const before = upstream.seen.length;
    const denied = await caught(zendesk.users.show(1));
    expect(denied.message).toContain("Zendesk Error (403): Forbidden");
    expect(upstream.seen).toHaveLength(before);
  });
});

describe("jsforce", SLOW, () => {
  it("reads, writes, pages by rewritten links and is refused what it may not do", async () => {
    const agent = await worker.agent(["salesforce:accounts:*"]);
    const wide = await worker.agent(["salesforce:*:*"]);
    const own = clients.salesforce(worker.url, agent.token);
    reply = () => ({
      body: { Id: "001000000000001AAA", Name: "Acme", id: "001000000000001AAA", success: true, errors: [] },
    });
    expect((await own.sobject("Account").retrieve("001000000000001AAA")).Name).toBe("Acme");
    expect((await own.sobject("Account").create({ Name: "Acme" })).success).toBe(true);
    expectCredential(agent, SECRETS.UPSTREAM_SALESFORCE_TOKEN);
    expect(asked()[0]).toBe("GET /services/data/v61.0/sobjects/Account/001000000000001AAA");
    const before = upstream.seen.length;
    const denied = await caught(own.sobject("Lead").retrieve("00Q000000000001AAA"));
    expect(denied.data).toMatchObject({ status: 403, required: "salesforce:leads:read" });
    expect(denied.message).toContain("salesforce:leads:read");
    expect(upstream.seen).toHaveLength(before);
    // Queries reach any object: only the whole service covers them.
    reply = ({ url = "" }) => {
      const page = Number(/query\/01g-(\d)/.exec(url)?.[1] ?? 0) + 1;
      const nextRecordsUrl = `/services/data/v61.0/query/01g-${page}`;
      return {
        body: { totalSize: 3, done: page === 3, records: [{ Name: `n${page}` }], ...(page < 3 && { nextRecordsUrl }) },
      };
    };
    const names: string[] = [];
    const queries = clients.salesforce(worker.url, wide.token);
    let result = await queries.query<{ Name: string }>("SELECT Name FROM Account");
    names.push(...result.records.map(({ Name }) => Name));
    while (!result.done) {
      result = await queries.queryMore<{ Name: string }>(result.nextRecordsUrl!);
      names.push(...result.records.map(({ Name }) => Name));
    }
    expect(names).toEqual(["n1", "n2", "n3"]);
  });
});

describe("an answer that leads to another host", SLOW, () => {
  /** What was sent to any other host than the gateway while `work` ran, by the process's own fetch. */
  async function leftFor(work: () => Promise<unknown>): Promise<string[]> {
    const left: string[] = [];
    const { fetch } = globalThis;
    globalThis.fetch = (input, init) => {
      const { url } = new Request(input, { ...init, body: null });
      if (url.startsWith(`${worker.url}/`) || url.startsWith(`${elsewhere.url}/`)) return fetch(input, init);
      left.push(url);
      return Promise.reject(new TypeError("There is no such host in a test."));
    };
    try {
      await work();
    } finally {
      globalThis.fetch = fetch;
    }
    return left;
  }

  it("takes no token of Octokit's there: neither an object's url nor an upload, whose host it knows by itself", async () => {
    const agent = await worker.agent(["github:*:*"]);
    const octokit = clients.octokit(worker.url, agent.token);
    reply = () => ({
      body: {
        url: `${upstream.url}/repos/o/r/releases/1`,
        upload_url: `${elsewhere.url}/repos/o/r/releases/1/assets{?name,label}`,
        assets_url: `${upstream.url}/repos/o/r/releases/1/assets`,
        zipball_url: `${upstream.url}/repos/o/r/zipball/v1`,
        html_url: "https://github.com/o/r/releases/tag/v1",
      },
    });
    const of = { owner: "o", repo: "r" };
    const left = await leftFor(async () => {
      const { data } = await octokit.rest.repos.getRelease({ ...of, release_id: 1 });
      expect(data).toMatchObject({
        url: `${worker.url}/proxy/github/repos/o/r/releases/1`,
        upload_url: `about:invalid#agentauth-removed=${new URL(elsewhere.url).host}`,
        html_url: "https://github.com/o/r/releases/tag/v1",
      });
      await octokit.request(data.url);
      await octokit.request(data.assets_url);
      await caught(octokit.request({ method: "POST", url: data.upload_url, data: "text" }));
      await octokit.rest.repos.uploadReleaseAsset({ ...of, release_id: 1, name: "a.txt", data: "text" });
    });
    expect([left, elsewhere.seen]).toEqual([[], []]);
    expect(asked()).toEqual([
      "GET /repos/o/r/releases/1",
      "GET /repos/o/r/releases/1",
      "GET /repos/o/r/releases/1/assets",
      "POST /repos/o/r/releases/1/assets",
    ]);
    expectCredential(agent, SECRETS.UPSTREAM_GITHUB_TOKEN);
  });

  it("takes no token of Slack's SDK there, which uploads files to the host that an answer names", async () => {
    const agent = await worker.agent(["slack:*:*"]);
    const { host } = new URL(elsewhere.url);
    const upload = (headers: Record<string, string>) => {
      const slack = clients.slack(worker.url, agent.token, headers);
      return slack.filesUploadV2({ file_uploads: [{ file: Buffer.from("text"), filename: "a.txt" }] });
    };
    reply = () => ({ body: { ok: true, upload_url: `${elsewhere.url}/upload/v1/ABC`, file_id: "F1", files: [] } });
    const refused = await caught(upload({}));
    expect(String(refused) + String(refused.original) + String(refused.original?.cause)).toMatch(/about:|scheme/);
    expect(elsewhere.seen).toEqual([]);
    expect(asked()).toEqual(["POST /api/files.getUploadURLExternal"]);
    // This is what the SDK does with a link that it gets.
    await upload({ "X-AgentAuth-Links": "keep" });
    expect(elsewhere.seen.map(({ headers }) => new Map(headers).get("authorization"))).toEqual([
      `Bearer ${agent.token}`,
    ]);
    reply = () => ({
      body: {
        ok: true,
        messages: [{ files: [{ url_private: `${elsewhere.url}/a.png`, permalink: "https://x.slack.com/a" }] }],
      },
    });
    const slack = clients.slack(worker.url, agent.token);
    const { messages } = await slack.conversations.history({ channel: "C1" });
    expect(messages?.[0]?.files).toEqual([
      { url_private: `about:invalid#agentauth-removed=${host}`, permalink: "https://x.slack.com/a" },
    ]);
  });

  it("takes no token of jsforce's there, which asks another host who it is", async () => {
    const agent = await worker.agent(["salesforce:*:*"]);
    const salesforce = clients.salesforce(worker.url, agent.token);
    reply = () => ({
      body: { identity: `${elsewhere.url}/id/00D/005`, sobjects: "/services/data/v61.0/sobjects" },
    });
    const left = await leftFor(() => caught(salesforce.identity()));
    expect([left.filter((url) => !url.startsWith("about:")), elsewhere.seen]).toEqual([[], []]);
    // Links from the root of the host stay as they are, and it appends them to its base URL.
    const attributes = { type: "Account", url: "/services/data/v61.0/sobjects/Account/001000000000001AAA" };
    reply = () => ({ body: { attributes, Name: "Acme" } });
    const { url } = (await salesforce.sobject("Account").retrieve("001000000000001AAA")).attributes as { url: string };
    expect(await salesforce.request(url)).toMatchObject({ Name: "Acme" });
    expect(new Set(asked().slice(1))).toEqual(new Set([`GET ${attributes.url}`]));
  });

  it("takes no token of Stripe's SDK there, which knows another host for files", async () => {
    const agent = await worker.agent(["stripe:customers:read"]);
    const stripe = clients.stripe(worker.url, agent.token);
    const file = { data: Buffer.from("text"), name: "a.txt", type: "text/plain" };
    const left = await leftFor(async () => {
      const refused = await caught(stripe.files.create({ purpose: "dispute_evidence", file }));
      expect(refused.statusCode).toBe(403);
    });
    expect([left, upstream.seen]).toEqual([[], []]);
  });

  it("is not followed by HubSpot's and Zendesk's clients", async () => {
    const agent = await worker.agent(["hubspot:*:*", "zendesk:*:*"]);
    reply = () => ({
      body: {
        url: `${elsewhere.url}/signed?x=1`,
        expiresAt: "2030-01-01T00:00:00Z",
        attachment: { id: 1, content_url: `${elsewhere.url}/attachments/token/x` },
        job_status: { id: "1", url: `${elsewhere.url}/api/v2/job_statuses/1.json`, status: "completed" },
      },
    });
    const zendesk = clients.zendesk(worker.url, agent.token);
    const left = await leftFor(async () => {
      await clients.hubspot(worker.url, agent.token).files.filesApi.getSignedUrl("1");
      await zendesk.attachments.show(1);
      await zendesk.jobstatuses.show("1" as never);
    });
    expect([left, elsewhere.seen]).toEqual([[], []]);
  });
});
