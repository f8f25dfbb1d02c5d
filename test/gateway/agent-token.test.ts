import { beforeAll, describe, expect, inject, it } from "vitest";
import { LAB, world, type Registered } from "../support/world.ts";

/** Tokens where the vendors' own clients put theirs. */
const base_url = inject("upstream");
const keyed = { base_url, ...LAB, agent_token: { header: "X-Api-Key" }, request_headers: ["X-*"] };
const self = world({
  "UPSTREAMS.github.base_url": base_url,
  "UPSTREAMS.stripe.base_url": base_url,
  "UPSTREAMS.zendesk.base_url": base_url,
  "UPSTREAMS.slack.base_url": base_url,
  "UPSTREAMS.keyed": { ...keyed, credential: { scheme: "header", name: "X-Vendor-Key" } },
  STANDING_TTL_SECONDS: "0",
  UPSTREAM_STRIPE_TOKEN: "stripe-real-credential",
  UPSTREAM_ZENDESK_TOKEN: "zendesk-real-credential",
  UPSTREAM_SLACK_TOKEN: "slack-real-credential",
  UPSTREAM_KEYED_TOKEN: "keyed-real-credential-of-the-company",
});
let agent: Registered;
beforeAll(async () => {
  agent = await self.agent([
    "github:repos:read",
    "stripe:customers:read",
    "zendesk:tickets:read",
    "slack:messages:write",
    "lab:things:read",
    "lab:things:write",
    "keyed:things:read",
  ]);
});
const basic = (pair: string) => ({ authorization: `Basic ${btoa(pair)}` });

describe("a vendor's own client", () => {
  it.each([
    ["GitHub, with token", "github/repos/o/r", (token: string) => ({ authorization: `token ${token}` })],
    ["GitHub, as git does", "github/repos/o/r", (token: string) => basic(`x-access-token:${token}`)],
    ["Stripe, with the key as user", "stripe/v1/customers", (token: string) => basic(`${token}:`)],
    ["Zendesk, with a user's /token", "zendesk/api/v2/tickets", (token: string) => basic(`a@b.example/token:${token}`)],
  ])("of %s reaches the upstream, which gets the company's credential alone", async (_, path, headersOf) => {
    const { status, body } = await self.call(`/proxy/${path}`, { headers: headersOf(agent.token) });
    expect(status).toBe(200);
    // The upstream tells the header backwards.
    expect([...body.headers.authorization].toReversed().join("")).toMatch(/^(?:Bearer|Basic) /);
    expect(JSON.stringify(body)).not.toContain(agent.token);
  });

  it("of an own upstream sends it in the header that it names, and the upstream does not get it", async () => {
    const { body, status } = await self.call("/proxy/keyed/lab/status/201", { headers: { "x-api-key": agent.token } });
    expect([status, body]).toEqual([201, "status 201"]);
    const echo = await self.call("/proxy/keyed/things/7", { headers: { "x-api-key": agent.token } });
    // The upstream reports every header that it got, which is refused for the company's credential.
    expect(echo.body.code).toBe("credential_echo");
    const both = { "x-api-key": agent.token, authorization: `Bearer ${agent.token}` };
    const refused = await self.call("/proxy/keyed/things/7", { headers: both });
    expect([refused.status, refused.body.code]).toEqual([400, "several_tokens"]);
  });

  it("is known by its own place only: elsewhere the same header is 401, in the one scheme that is asked for", async () => {
    for (const path of ["/proxy/slack/api/chat.postMessage", "/proxy/nothing/x", "/agents/revoke-tokens"]) {
      const { status, headers } = await self.call(path, { headers: basic(`${agent.token}:`), method: "POST" });
      expect([path, status, headers.get("www-authenticate")]).toEqual([path, 401, expect.stringMatching(/^Bearer /)]);
    }
    const { status, headers, body } = await self.call("/proxy/stripe/v1/customers", {
      headers: { ...basic(`${agent.token}:`), "sec-fetch-site": "cross-site" },
    });
    expect([status, body.code, headers.get("www-authenticate")]).toEqual([
      401,
      "missing_token",
      'Bearer realm="agentauth", resource_metadata="https://auth.example.com/.well-known/oauth-protected-resource/proxy/stripe"',
    ]);
  });

  it("of Slack that writes the token into the form learns how to send it", async () => {
    const { status, body } = await self.call("/proxy/slack/api/chat.postMessage", {
      method: "POST",
      headers: { "content-type": "application/x-www-form-urlencoded" },
      body: `token=${agent.token}&channel=C1&text=hi`,
    });
    expect([status, body.code]).toEqual([401, "missing_token"]);
    expect(body.message).toContain("new WebClient(token)");
  });

  it("reads as long as it may: its status counts in every place", async () => {
    const revoked = await self.agent(["stripe:customers:read"]);
    await self.call("/agents/revoke-tokens", { method: "POST", token: revoked.token });
    const { status, body } = await self.call("/proxy/stripe/v1/customers", { headers: basic(`${revoked.token}:`) });
    expect([status, body.code]).toEqual([401, "token_revoked"]);
  });
});

describe("the agent's token in a part of the request that is forwarded", () => {
  it.each([
    ["the path", (token: string) => [`/proxy/lab/things/${token}`, {}]],
    ["the query", (token: string) => [`/proxy/lab/things?q=a${token}b`, {}]],
    ["an encoded query", (token: string) => [`/proxy/lab/things?q=${token.replaceAll(".", "%2e")}`, {}]],
    ["a header", (token: string) => ["/proxy/lab/things", { headers: { "if-none-match": `"${token}"` } }]],
    [
      "a body",
      (token: string) => [
        "/proxy/lab/things",
        { method: "POST", json: { note: token }, headers: { "content-length": "500" } },
      ],
    ],
  ] as [string, (token: string) => [string, RequestInit & { json?: unknown }]][])(
    "is refused: %s",
    async (_, request) => {
      const [path, init] = request(agent.token);
      const { status, body } = await self.call(path, { token: agent.token, ...init });
      expect([status, body.code]).toEqual([400, "token_in_request"]);
      expect(JSON.stringify(body)).not.toContain(agent.token);
    },
  );
});
