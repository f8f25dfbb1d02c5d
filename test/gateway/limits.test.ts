import { afterEach, beforeAll, describe, expect, inject, it, vi } from "vitest";
import { held } from "../support/bindings.ts";
import { holdBody } from "../support/held-body.ts";
import { world, type Answer, type Registered } from "../support/world.ts";
import { SLOW, few } from "../support/extents.ts";

const upstream = inject("upstream");
const at = (name: string) => ({
  [`UPSTREAMS.${name}.base_url`]: upstream,
  [`UPSTREAM_${name.toUpperCase()}_TOKEN`]: `${name}-credential-of-the-company`,
});
const unlimited = { limit: async () => ({ success: true }) };
const self = world({
  ...at("slack"),
  ...at("hubspot"),
  ...at("zendesk"),
  ...at("salesforce"),
  ...at("stripe"),
  STANDING_TTL_SECONDS: "0",
  RATE_FREE: unlimited,
  RATE_ADDRESS: unlimited,
  RATE_VERIFY: unlimited,
  RATE_ENTERPRISE: unlimited,
  "UPSTREAMS.shop": {
    base_url: upstream,
    resources: { orders: ["read", "write"] },
    rules: ["GET,POST /orders orders", "* /orders/{id} orders", "POST /orders/{id}/move orders"],
    limits: {
      "path.id": { alone: ["* /orders/{id} orders"] },
      "body.amount": { alone: ["GET,POST /orders orders", "* /orders/{id} orders"] },
      "body.to.id": { alone: ["GET,POST /orders orders"] },
      "query.state": { alone: ["GET,POST /orders orders"] },
    },
  },
  UPSTREAM_SHOP_TOKEN: "shop-credential-of-the-company",
});

let admin: Registered;
beforeAll(async () => {
  admin = await self.admin();
  await self.call(`/agents/${admin.id}/tier`, { method: "PUT", token: admin.token, json: { tier: "enterprise" } });
});
afterEach(() => void vi.useRealTimers());

type Grant = { permission: string; where?: object; expires_at?: string };

const setGrants = async (id: string, grants: readonly Grant[]): Promise<void> => {
  const { status, body } = await self.call(`/agents/${id}/grants`, {
    method: "PUT",
    token: admin.token,
    json: { grants },
  });
  if (status !== 200) throw new Error(JSON.stringify(body));
};

const tokenOf = async ({ id, apiKey }: Registered): Promise<string> => {
  const { body } = await self.call("/agents/verify", { method: "POST", json: { agent_id: id, api_key: apiKey } });
  return body.token.access_token;
};

/** An agent with these grants, and a token of them. */
async function agentWith(...grants: Grant[]): Promise<Registered> {
  const agent = await self.agent(["lab:notes:read"]);
  await setGrants(agent.id, grants);
  return { ...agent, token: await tokenOf(agent) };
}

interface Sent {
  readonly method?: string;
  readonly path: string;
  readonly json?: unknown;
  readonly text?: string;
  readonly type?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

const send = (token: string, { method = "GET", path, json, text, type, headers = {} }: Sent): Promise<Answer> =>
  self.call(`/proxy${path}`, {
    method,
    token,
    headers: { ...headers, ...(type && { "content-type": type }) },
    ...(json === undefined ? text !== undefined && { body: text } : { json }),
  });

/** The status, and the code or, of an answer of the upstream, what it got. */
const outcomeOf = ({ status, body }: Answer): string => (status === 200 ? "200" : `${status} ${body.code}`);

const FORM = "application/x-www-form-urlencoded";
const HELLO = { "path.owner": "octo", "path.repo": "hello" };
const OUTSIDE = "403 constraint_violated";

describe("a limited grant", () => {
  it("allows what is within, and says what is not, in the answer, the log and the event", async () => {
    const agent = await agentWith({ permission: "github:issues:write", where: HELLO });
    const issue = { method: "POST", path: "/github/repos/Octo/HELLO/issues", json: { title: "x", labels: ["a"] } };
    const allowed = await send(agent.token, issue);
    expect([allowed.status, allowed.body.url, JSON.parse(allowed.body.body)]).toEqual([
      200,
      "/proxy/github/repos/Octo/HELLO/issues",
      issue.json,
    ]);

    self.sent.length = 0;
    const secret = "s".repeat(300);
    const refused = await send(agent.token, { ...issue, path: `/github/repos/octo/${secret}/issues` });
    expect([refused.status, refused.body]).toEqual([
      403,
      expect.objectContaining({
        code: "constraint_violated",
        required: "github:issues:write",
        violations: [{ field: "path.repo", constraint: { eq: "hello" }, actual: "s".repeat(100) }],
        message: expect.stringContaining("path.repo"),
      }),
    ]);
    const denials = self.sent.filter((message) => message.kind === "record");
    expect(denials).toMatchObject([
      {
        entry: {
          outcome: "denied",
          permission: "github:issues:write",
          message: "denied, outside the limits of github:issues:write: path.repo",
        },
        event: {
          name: "gateway.denied",
          data: { required: "github:issues:write", code: "constraint_violated", fields: ["path.repo"] },
        },
      },
    ]);
  });

  it("is no grant for AgentAuth's own endpoints, nor for another service or method", async () => {
    const { token } = await agentWith({ permission: "github:issues:write", where: HELLO });
    expect(outcomeOf(await send(token, { path: "/github/repos/octo/hello/issues/5" }))).toBe(
      "403 insufficient_permissions",
    );
    expect(outcomeOf(await send(token, { path: "/github/graphql", method: "POST", json: {} }))).toBe(
      "403 insufficient_permissions",
    );
  });
});

describe("a limit is not passed by", () => {
  const issues = { permission: "github:issues:write", where: HELLO };
  const issuesRead = { permission: "github:issues:read", where: HELLO };
  const repos = { permission: "github:repos:write", where: HELLO };
  const reposRead = { permission: "github:repos:read", where: HELLO };
  const amount = { permission: "shop:orders:write", where: { "body.amount": { max: 100 } } };
  const to = { permission: "shop:orders:write", where: { "body.to.id": { in: ["a", "b"] } } };
  const state = { permission: "shop:orders:read", where: { "query.state": "open" } };
  const channel = { permission: "slack:messages:write", where: { "body.channel": "C0123" } };
  const contact = { permission: "hubspot:contacts:write", where: { "path.id": "5" } };
  const account = { permission: "salesforce:accounts:write", where: { "path.id": "001A00000012345" } };
  const ticket = {
    permission: "zendesk:tickets:write",
    where: { "path.id": 5, "body.ticket.status": { not_in: ["closed"] } },
  };
  const post = (path: string, json: unknown): Sent => ({ method: "POST", path, json });
  const patch = (path: string, json: unknown): Sent => ({ method: "PATCH", path, json });
  const form = (path: string, text: string): Sent => ({ method: "POST", path, text, type: FORM });
  const OBJECT = "/github/repos/octo/hello";
  /** By their grant. */
  const agents = new Map<string, Promise<Registered>>();

  few(24).each<[string, Grant, Sent, string]>([
    ["nothing: another case", issues, patch("/github/repos/OCTO/Hello/issues/5", { state: "open" }), "200"],
    ["another owner", issues, patch("/github/repos/acme/hello/issues/5", {}), OUTSIDE],
    ["a letter that only folds to the name", issues, patch("/github/repos/octo/hel%C5%82o/issues/5", {}), OUTSIDE],
    ["nothing: the encoding of the segment", issues, patch("/github/repos/%6Fcto/%68ello/issues/5", {}), "200"],
    [
      "an encoding that ends the path, which needs what the path before it needs",
      issues,
      patch("/github/repos/octo/hello%3F/issues/5", {}),
      "403 insufficient_permissions",
    ],
    ["a second encoding", issues, patch("/github/repos/%256Fcto/hello/issues/5", {}), "400 double_encoding"],
    ["the field in the query as well", issues, patch(`${OBJECT}/issues/5?repo=other`, {}), OUTSIDE],
    ["the field in the body as well", issues, patch(`${OBJECT}/issues/5`, { repo: "other" }), OUTSIDE],
    ["the encoded name of the field", issues, patch(`${OBJECT}/issues/5?r%65po=other`, {}), OUTSIDE],
    ["an array of the field", issues, patch(`${OBJECT}/issues/5?repo[]=other`, {}), OUTSIDE],
    ["HEAD", issuesRead, { method: "HEAD", path: "/github/repos/acme/hello/issues/5" }, "403 undefined"],
    ["nothing: HEAD within", issuesRead, { method: "HEAD", path: `${OBJECT}/issues/5` }, "200"],
    [
      "a method override in a header",
      issuesRead,
      { path: `${OBJECT}/issues/5`, headers: { "X-HTTP-Method-Override": "DELETE" } },
      "400 header_refused",
    ],
    [
      "a method override in a form",
      issues,
      { ...form(`${OBJECT}/issues`, "_method=DELETE"), method: "POST" },
      "400 parameter_refused",
    ],
    ["the number of the repository", issues, patch("/github/repositories/7/issues/5", {}), OUTSIDE],
    ["every repository", issuesRead, { path: "/github/issues" }, OUTSIDE],
    [
      "a transfer, which no rule covers",
      issues,
      post(`${OBJECT}/issues/5/transfer`, { new_owner: "acme" }),
      "403 insufficient_permissions",
    ],
    ["a rename", repos, patch(OBJECT, { name: "other" }), OUTSIDE],
    ["nothing: no rename", repos, patch(OBJECT, { name: "Hello", description: "x" }), "200"],
    ["a rename in a list", repos, patch(OBJECT, { name: ["hello", "other"] }), OUTSIDE],
    ["a fork", repos, post(`${OBJECT}/forks`, {}), OUTSIDE],
    ["a template", repos, post(`${OBJECT}/generate`, { owner: "acme", name: "x" }), OUTSIDE],
    ["a comparison across repositories", reposRead, { path: `${OBJECT}/compare/main...acme:main` }, OUTSIDE],
    ["a sub-issue by its global id", issues, post(`${OBJECT}/issues/5/sub_issues`, { sub_issue_id: 7 }), OUTSIDE],

    ["nothing: a number", amount, post("/shop/orders", { amount: 100 }), "200"],
    ["a number above", amount, post("/shop/orders", { amount: 100.01 }), OUTSIDE],
    [
      "an exponent",
      amount,
      { ...post("/shop/orders", undefined), text: '{"amount":1e3}', type: "application/json" },
      OUTSIDE,
    ],
    [
      "a key twice",
      amount,
      { method: "POST", path: "/shop/orders", text: '{"amount":1000,"amount":1}', type: "application/json" },
      OUTSIDE,
    ],
    [
      "a key twice, once escaped",
      amount,
      { method: "POST", path: "/shop/orders", text: '{"amount":1,"\\u0061mount":1000}', type: "application/json" },
      OUTSIDE,
    ],
    [
      "__proto__",
      amount,
      {
        method: "POST",
        path: "/shop/orders",
        text: '{"__proto__":{"amount":1000},"amount":1}',
        type: "application/json",
      },
      OUTSIDE,
    ],
    ["a key with a dot", amount, post("/shop/orders", { "a.amount": 1000, amount: 1 }), OUTSIDE],
    ["no field", amount, post("/shop/orders", {}), OUTSIDE],
    ["no body", amount, { method: "POST", path: "/shop/orders" }, OUTSIDE],
    ["an empty list", amount, post("/shop/orders", { amount: [] }), OUTSIDE],
    ["an empty list of objects", amount, post("/shop/orders", []), OUTSIDE],
    ["a nested list", amount, post("/shop/orders", { amount: [[1], [1000]] }), OUTSIDE],
    ["nothing: a nested list within", amount, post("/shop/orders", { amount: [[1], [2]] }), "200"],
    ["an element without the field", amount, post("/shop/orders", [{ amount: 1 }, {}]), OUTSIDE],
    ["the query instead of the body", amount, post("/shop/orders?amount=1000", { amount: 1 }), OUTSIDE],
    ["nothing: a form", amount, form("/shop/orders", "amount=99.5&note=x"), "200"],
    ["a form with the field twice", amount, form("/shop/orders", "amount=1&amount=1000"), OUTSIDE],
    ["a form with an array", amount, form("/shop/orders", "amount[]=1"), OUTSIDE],
    ["a form in another case", amount, form("/shop/orders", "amount=1&AMOUNT=1000"), OUTSIDE],
    ["a form with an encoded name", amount, form("/shop/orders", "amount=1&%61mount=1000"), OUTSIDE],
    ["JSON under the type of a form", amount, form("/shop/orders", '{"amount":1000}'), OUTSIDE],
    [
      "another type",
      amount,
      { method: "POST", path: "/shop/orders", text: '{"amount":1000}', type: "text/plain" },
      "415 body_type_refused",
    ],
    [
      "another coding",
      amount,
      { ...post("/shop/orders", { amount: 1 }), headers: { "content-encoding": "gzip" } },
      "415 body_type_refused",
    ],
    [
      "another charset",
      amount,
      { method: "POST", path: "/shop/orders", text: "{}", type: "application/json; charset=utf-16" },
      "415 body_type_refused",
    ],
    ["a dotted key for a nested one", to, post("/shop/orders", { "to.id": "c", to: { id: "a" } }), OUTSIDE],
    ["nothing: steps", to, post("/shop/orders", { to: [{ id: "a" }, { id: "b" }] }), "200"],
    ["one of several", to, post("/shop/orders", { to: [{ id: "a" }, { id: "c" }] }), OUTSIDE],
    ["a look-alike step", to, post("/shop/orders", { to: { id: "a", ID: "c" } }), OUTSIDE],
    ["a step in a form", to, form("/shop/orders", "to[id]=a&to[id][]=c"), OUTSIDE],
    ["an object as the value", to, post("/shop/orders", { to: { id: { $ne: "a" } } }), OUTSIDE],
    [
      "a rule that was not listed",
      { permission: "shop:orders:write", where: { "path.id": "5" } },
      post("/shop/orders/5/move", {}),
      OUTSIDE,
    ],
    ["nothing: the query", state, { path: "/shop/orders?state=open" }, "200"],
    ["the query's field twice", state, { path: "/shop/orders?state=open&state=all" }, OUTSIDE],
    ["the query's field after a semicolon", state, { path: "/shop/orders?state=open&x=1;state=all" }, OUTSIDE],
    ["an empty query", state, { path: "/shop/orders" }, OUTSIDE],

    ["nothing: the channel", channel, post("/slack/chat.postMessage", { channel: "C0123", text: "x" }), "200"],
    ["the channel's name", channel, post("/slack/chat.postMessage", { channel: "#general", text: "x" }), OUTSIDE],
    [
      "the channel in the query",
      channel,
      post("/slack/chat.postMessage?channel=C9", { channel: "C0123", text: "x" }),
      OUTSIDE,
    ],
    ["the channel in a form twice", channel, form("/slack/chat.postMessage", "channel=C0123&channel=C9"), OUTSIDE],
    ["GET instead of POST", channel, { path: "/slack/chat.postMessage?channel=C9&text=x" }, OUTSIDE],
    [
      "nothing: the contact",
      contact,
      patch("/hubspot/crm/v3/objects/contacts/5", { properties: { city: "x" } }),
      "200",
    ],
    [
      "another property as the id",
      contact,
      patch("/hubspot/crm/v3/objects/contacts/5?idProperty=x", { properties: {} }),
      OUTSIDE,
    ],
    [
      "an encoded idProperty",
      contact,
      patch("/hubspot/crm/v3/objects/contacts/5?idP%72operty=x", { properties: {} }),
      OUTSIDE,
    ],
    [
      "idProperty in the body",
      contact,
      patch("/hubspot/crm/v3/objects/contacts/5", { properties: {}, idProperty: "x" }),
      OUTSIDE,
    ],
    ["a batch", contact, post("/hubspot/crm/v3/objects/contacts/batch/update", { inputs: [{ id: "7" }] }), OUTSIDE],
    [
      "nothing: the account",
      account,
      patch("/salesforce/services/data/v61.0/sobjects/Account/001A00000012345", { Name: "x" }),
      "200",
    ],
    [
      "18 characters for 15",
      account,
      patch("/salesforce/services/data/v61.0/sobjects/Account/001A00000012345AAA", { Name: "x" }),
      OUTSIDE,
    ],
    [
      "another case of an id",
      account,
      patch("/salesforce/services/data/v61.0/sobjects/Account/001a00000012345", { Name: "x" }),
      OUTSIDE,
    ],
    [
      "an external id",
      account,
      patch("/salesforce/services/data/v61.0/sobjects/Account/Key__c/5", { Name: "x" }),
      OUTSIDE,
    ],
    [
      "nothing: the ticket",
      ticket,
      { method: "PUT", path: "/zendesk/api/v2/tickets/5.json", json: { ticket: { status: "open" } } },
      "200",
    ],
    [
      "a status outside the closed list",
      ticket,
      { method: "PUT", path: "/zendesk/api/v2/tickets/5", json: { ticket: { status: "CLOSED" } } },
      OUTSIDE,
    ],
    [
      "another way to the status",
      ticket,
      { method: "PUT", path: "/zendesk/api/v2/tickets/5", json: { ticket: { status: "open", custom_status_id: 9 } } },
      OUTSIDE,
    ],
    [
      "several tickets",
      ticket,
      { method: "PUT", path: "/zendesk/api/v2/tickets/update_many?ids=5,6", json: { ticket: { status: "open" } } },
      OUTSIDE,
    ],
    ["an encoding that ends the path at the same rule", reposRead, { path: `${OBJECT}/contents/a%3Fb` }, OUTSIDE],
  ])("%s", async (_, grant, sent, expected) => {
    const key = JSON.stringify(grant);
    if (!agents.has(key)) agents.set(key, agentWith(grant));
    const { token } = await agents.get(key)!;
    expect(outcomeOf(await send(token, sent))).toBe(expected);
  });

  it("an embedded resource, which no field of the request names", async () => {
    const customers = { permission: "stripe:customers:read", where: { "path.id": { in: ["ch_1", "cus_1"] } } };
    const { token } = await agentWith(customers, { permission: "stripe:payments:read" });
    expect(outcomeOf(await send(token, { path: "/stripe/v1/customers/cus_1" }))).toBe("200");
    expect(outcomeOf(await send(token, { path: "/stripe/v1/charges/ch_1" }))).toBe("200");
    expect(outcomeOf(await send(token, { path: "/stripe/v1/charges/ch_1?expand[]=customer" }))).toBe(OUTSIDE);
  });

  it("a body of any length, and what is sent is what was judged", SLOW, async () => {
    const { token } = await agentWith(amount);
    const long = JSON.stringify({ note: "n".repeat(100_000), amount: 5 });
    const chunked = (text: string) =>
      self.call("/proxy/shop/orders", {
        method: "POST",
        token,
        headers: { "content-type": "application/json" },
        body: new Response(text).body!,
      });
    const sent = await chunked(long);
    expect([sent.status, sent.body.body]).toEqual([200, long]);
    expect(outcomeOf(await chunked(long.replace('"amount":5', '"amount":500')))).toBe(OUTSIDE);
    expect(outcomeOf(await chunked(`{"amount":5,"note":"${"n".repeat(1_100_000)}"}`))).toBe("413 body_too_large");
    // Without limits it is streamed, whatever it is.
    const whole = await agentWith({ permission: "shop:orders:write" });
    const odd = { method: "POST", path: "/shop/orders", text: '{"amount":1,"amount":2}', type: "application/x-own" };
    const streamed = await send(whole.token, odd);
    expect([streamed.status, streamed.body.body]).toEqual([200, odd.text]);
    const json = await send(await tokenOf(whole), { ...odd, type: "application/json" });
    expect([json.status, json.body.body]).toEqual([200, odd.text]);
  });
});

describe("narrowing and expiry", () => {
  const whole = { permission: "shop:orders:write" };
  const small = { permission: "shop:orders:write", where: { "body.amount": { max: 10 } } };
  const json = { amount: 50 };
  const post = (token: string) => send(token, { method: "POST", path: "/shop/orders", json });
  const inMs = (ms: number) => new Date(Date.now() + ms).toISOString();

  it("are in force for tokens that were issued before", async () => {
    const agent = await agentWith(whole);
    expect(outcomeOf(await post(agent.token))).toBe("200");
    await setGrants(agent.id, [small]);
    expect(outcomeOf(await post(agent.token))).toBe(OUTSIDE);
    // What is widened needs a new token.
    const narrow = await agentWith(small);
    await setGrants(narrow.id, [whole]);
    expect(outcomeOf(await post(narrow.token))).toBe(OUTSIDE);
    expect(outcomeOf(await post(await tokenOf(narrow)))).toBe("200");
    await setGrants(agent.id, []);
    expect(outcomeOf(await post(agent.token))).toBe("403 insufficient_permissions");
  });

  it("end a grant at its time, also for a status that is remembered", async () => {
    const remembering = world({ ...self.env, STANDING_TTL_SECONDS: "300" });
    const agent = await agentWith({ permission: "shop:orders:read" });
    const end = Date.now() + 120_000;
    await setGrants(agent.id, [{ permission: "shop:orders:read", expires_at: new Date(end).toISOString() }]);
    const get = () => remembering.call("/proxy/shop/orders", { token: agent.token });
    expect(outcomeOf(await get())).toBe("200");
    vi.useFakeTimers({ toFake: ["Date"], now: end - 1 });
    expect(outcomeOf(await get())).toBe("200");
    vi.setSystemTime(end);
    const { status, body } = await get();
    expect([status, body]).toEqual([
      403,
      expect.objectContaining({
        code: "grant_expired",
        required: "shop:orders:read",
        message: expect.stringContaining("has ended"),
      }),
    ]);
    expect(self.sent.findLast((message) => message.kind === "record")).toMatchObject({
      entry: {
        outcome: "denied",
        permission: "shop:orders:read",
        message: "denied, the grant of shop:orders:read has ended",
      },
      event: { name: "gateway.denied", data: { code: "grant_expired", required: "shop:orders:read" } },
    });
  });

  it("end a grant also for a request that waits for the database or the credential meanwhile", SLOW, async () => {
    const agent = await agentWith({ permission: "shop:orders:read" });
    const end = Date.now() + 120_000;
    await setGrants(agent.id, [{ permission: "shop:orders:read", expires_at: new Date(end).toISOString() }]);
    const { binding, release } = held(self.env.DB);
    const waiting = world({ ...self.env, DB: binding });
    vi.useFakeTimers({ toFake: ["Date"], now: end - 1 });
    const answer = waiting.call("/proxy/shop/orders", { token: agent.token });
    await scheduler.wait(0);
    vi.setSystemTime(end);
    release();
    expect(outcomeOf(await answer)).toBe("403 grant_expired");
  });

  it("decide about a write whose intent has not been recorded yet", async () => {
    const agent = await agentWith(whole);
    let narrow = true;
    const { DB } = self.env;
    const between = {
      prepare: DB.prepare.bind(DB),
      async batch(statements: D1PreparedStatement[]) {
        if (narrow) {
          narrow = false;
          await setGrants(agent.id, [small]);
        }
        return DB.batch(statements);
      },
    };
    const where = world({ ...self.env, DB: between });
    const write = () => where.call("/proxy/shop/orders", { method: "POST", token: agent.token, json });
    expect(outcomeOf(await write())).toBe(OUTSIDE);
    expect(narrow).toBe(false);
  });

  it("decide about a request whose short body arrives after them", SLOW, () => decideAfterBody(true));
  it("decide about a request whose streamed body arrives after them", SLOW, () => decideAfterBody(false));

  async function decideAfterBody(length: boolean): Promise<void> {
    const begun = async () => {
      const agent = await agentWith(whole);
      const body = JSON.stringify(json);
      return {
        agent,
        held: await holdBody(self, "/proxy/shop/orders", { method: "POST", token: agent.token, body, length }),
      };
    };
    const kept = await begun();
    expect(await kept.held.release()).toMatchObject({ status: 200 });

    const narrowed = await begun();
    await setGrants(narrowed.agent.id, [small]);
    expect(await narrowed.held.release()).toEqual({ status: 403, code: "constraint_violated" });

    const taken = await begun();
    await setGrants(taken.agent.id, []);
    expect(await taken.held.release()).toEqual({ status: 403, code: "insufficient_permissions" });

    const ended = await begun();
    const end = inMs(60_000);
    await setGrants(ended.agent.id, [{ ...whole, expires_at: end }]);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.parse(end) });
    expect(await ended.held.release()).toEqual({ status: 403, code: "grant_expired" });
  }
});
