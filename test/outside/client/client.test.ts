import { getEventListeners } from "node:events";
import { inspect } from "node:util";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import {
  AgentAuthClient,
  AuthenticationError,
  ConflictError,
  ConnectionError,
  NotFoundError,
  PermissionDeniedError,
  RateLimitError,
  ServerError,
  ValidationError,
  type ClientOptions,
  type Retry,
} from "../../../src/client/index.ts";
import type { Token } from "../../../src/client/wire.ts";
import { testSecrets } from "../../support/secrets.ts";
import { startRecorder, type Recorder } from "../support/recorder.ts";
import { startWorker, type Agent, type Worker } from "../support/worker.ts";
import { expiredTokenOf } from "../support/expired-token.ts";
import { startFront, type Front } from "./front.ts";
import { SLOW } from "../../support/extents.ts";

let upstream: Recorder;
let worker: Worker;
let front: Front;
/** What the server says while an earlier attempt of a request is under way. */
const IN_FLIGHT = JSON.stringify({ error: "Send it again.", code: "idempotency_in_flight", status: 409 });
let admin: Agent;
/** Seconds. */
const TOKEN_LIFE = 3600;

beforeAll(async () => {
  upstream = await startRecorder();
  const lab = { base_url: upstream.url, resources: { things: ["read", "write"] }, rules: ["* /things/{id} things"] };
  const settings = {
    ISSUER: "https://auth.example.com",
    "UPSTREAMS.lab": JSON.stringify(lab),
    UPSTREAM_LAB_TOKEN: "lab-credential",
    WEBHOOK_ALLOW_LOOPBACK: "true",
  };
  worker = await startWorker(settings);
  front = await startFront(worker.url);
  admin = await worker.admin();
});
afterAll(async () => {
  front?.close();
  upstream?.close();
  await worker?.stop();
});
beforeEach(() => front.next());
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const client = (options: ClientOptions = {}) => new AgentAuthClient({ baseUrl: worker.url, ...options });
const asAdmin = (options: ClientOptions = {}) => client({ accessToken: admin.token, ...options });
// oxlint-disable-next-line typescript/no-explicit-any -- each test looks at what it means
type Caught = any;
const caught = (work: Promise<unknown>): Promise<Caught> =>
  work.then(
    () => expect.unreachable(),
    (error: unknown) => error,
  );
const quick = () => vi.spyOn(Math, "random").mockReturnValue(0);

describe("the published SDK's calls", () => {
  it("work unchanged", async () => {
    const auth = new AgentAuthClient({ baseURL: worker.url });
    const { agent, credentials } = await auth.registerAgent({
      name: "Drop-in",
      owner_email: "owner@example.com",
      permissions: ["github:issues:read"],
    });
    const { token } = await auth.verifyAgent({ agent_id: agent.agent_id, api_key: credentials.api_key });
    expect(token.token_type).toBe("Bearer");
    expect((await auth.getAgent(agent.agent_id)).agent).toEqual(agent);
    const { token: next } = await auth.refreshToken({ refresh_token: token.refresh_token });
    expect(next.access_token).not.toBe(token.access_token);
    const { activity, pagination } = await auth.getActivity(agent.agent_id, { limit: 10, offset: 0 });
    expect([Array.isArray(activity), pagination.limit]).toEqual([true, 10]);
    const { webhook } = await auth.registerWebhook({ url: "https://hooks.example.com/x", events: ["agent.verified"] });
    expect(webhook.secret).toMatch(/^whsec_/);
    expect((await auth.listWebhooks()).webhooks.map(({ id }) => id)).toEqual([webhook.id]);
    expect((await auth.regenerateWebhookSecret(webhook.id)).webhook.secret).not.toBe(webhook.secret);
    expect((await auth.deleteWebhook(webhook.id)).success).toBe(true);
    expect((await auth.getWebhookEvents()).events).toContain("agent.revoked");
    expect((await auth.listPermissions()).permissions.github).toContain("github:issues:read");
    expect((await auth.healthCheck()).status).toBe("healthy");
    const boss = new AgentAuthClient({ baseUrl: worker.url });
    boss.setAccessToken(admin.token);
    const { agents, total } = await boss.listAgents({ q: agent.agent_id });
    expect([agents.length, total]).toEqual([1, 1]);
    expect((await boss.updateAgentTier(agent.agent_id, "pro")).agent.tier).toBe("pro");
    expect((await auth.revokeAgent(agent.agent_id)).agent.status).toBe("revoked");
    await Promise.all([auth.close(), boss.close()]);
  });

  it("have the rest of the contract beside them", SLOW, async () => {
    await using boss = asAdmin();
    const { agent, credentials } = await boss.registerAgent({ name: "The rest", owner_email: "o@example.com" });
    const id = agent.agent_id;
    expect((await boss.updateAgentPermissions(id, ["lab:things:read"])).agent.permissions).toEqual(["lab:things:read"]);
    const { grants, grants_version } = await boss.getGrants(id);
    const limited = { permission: "github:issues:write", where: { "path.owner": "octo" } } as const;
    const set = await boss.setGrants(id, [...grants, limited], grants_version);
    expect(set.grants).toMatchObject([grants[0], { ...limited, where: { "path.owner": { eq: "octo" } } }]);
    expect(await caught(boss.setGrants(id, [], grants_version))).toMatchObject({ code: "grants_changed" });
    expect(await caught(boss.updateAgentPermissions(id, []))).toMatchObject({ code: "limited_grant" });
    expect((await boss.setGrants(id, grants)).grants).toEqual(grants);
    expect((await boss.updateAgentTier(id, { tier: "enterprise" })).agent.tier).toBe("enterprise");
    expect((await boss.updateAgentStatus(id, "suspended")).agent.status).toBe("suspended");
    expect((await boss.updateAgentStatus(id, "active")).agent.status).toBe("active");
    await using own = client({ agentId: id, apiKey: credentials.api_key });
    expect((await own.rotateAgentKey(id, { overlap_seconds: 60 })).credentials.api_key).toMatch(/^ak_/);
    const { webhook } = await own.registerWebhook({ url: "http://127.0.0.1:9/x", events: ["agent.verified"] });
    expect((await own.updateWebhook(webhook.id, { description: "changed" })).description).toBe("changed");
    const { delivery } = await own.testWebhook(webhook.id);
    expect((await own.listDeliveries(webhook.id, { limit: 1 })).deliveries[0]?.id).toBe(delivery.id);
    expect((await own.getWebhook(webhook.id)).is_active).toBe(true);
    const redelivered = await own.redeliver(webhook.id, delivery.id).catch((error: unknown) => error);
    if (redelivered instanceof Error) expect(redelivered).toBeInstanceOf(ConflictError);
    expect((await boss.getAllActivity({ agent_id: id })).success).toBe(true);
    const theirs = await boss.listAllWebhooks({ agent_id: id });
    expect(theirs.webhooks.map((one) => one.id)).toEqual([webhook.id]);
    expect(theirs.details[webhook.id]).toMatchObject({ is_active: true, description: "changed" });
    expect((await boss.listAllWebhooks({ limit: 1 })).webhooks).toHaveLength(1);
    const all: string[] = [];
    for await (const one of boss.deliveries({ webhook_id: webhook.id, limit: 1 })) all.push(one.id);
    expect(all).toEqual([delivery.id]);
    const counted = await boss.redeliverAll({ filter: { webhook_id: webhook.id, event: "agent.verified" } });
    expect(counted).toMatchObject({ matched: 0, redelivered: 0, remaining: 0, next_cursor: null });
    await expect(own.listAllDeliveries()).rejects.toBeInstanceOf(PermissionDeniedError);
    const explained = await boss.explain({ service: "lab", method: "GET", path: "/things/1", permissions: [] });
    expect(explained).toMatchObject({ required: "lab:things:read", decision: "deny" });
    expect((await own.revokeTokens()).revoked_at).toMatch(/Z$/);
    expect((await own.getAgent(id)).agent.agent_id).toBe(id);
    expect((await boss.deleteAgent(id)).success).toBe(true);
  });
});

describe("what owners ask for", () => {
  it("is there: details, keys, sessions, filters, and many agents revoked at once", SLOW, async () => {
    await using boss = asAdmin();
    const owner_email = `owner-${Date.now()}@example.com`;
    const { agent, credentials } = await boss.registerAgent({
      name: "Asked for",
      owner_email,
      permissions: ["lab:things:read", "lab:things:write"],
      metadata: { team: "billing" },
    });
    const id = agent.agent_id;
    await using own = client({ agentId: id, apiKey: credentials.api_key });
    expect((await own.updateAgent(id, { description: "What it is for" })).details.metadata).toEqual({
      team: "billing",
    });
    expect((await boss.updateAgent(id, { rate_limit: 120 })).details.rate_limit).toBe(120);
    expect((await own.getAgent(id)).details).toMatchObject({ description: "What it is for", key_count: 1 });

    const { key, credentials: second } = await own.createAgentKey(id, { label: "Second", expires_in: 3600 });
    expect((await own.listAgentKeys(id)).keys.map((one) => one.id)).toContain(key.id);
    await using other = client({ agentId: id, apiKey: second.api_key, scope: ["lab:things:read"], expiresIn: 60 });
    const { token } = await other.verifyAgent();
    expect(token.expires_in).toBe(60);
    const { sessions } = await own.listAgentSessions(id);
    const session = sessions.find(({ key_id }) => key_id === key.id)!;
    expect(session.scope).toEqual(["lab:things:read"]);
    expect((await own.endAgentSession(id, session.id)).success).toBe(true);
    // The next session is limited as the first was.
    expect((await other.getAgent(id)).agent.agent_id).toBe(id);
    const reopened = (await own.listAgentSessions(id)).sessions.find(({ key_id }) => key_id === key.id)!;
    expect(reopened.scope).toEqual(["lab:things:read"]);
    const rotated = await own.rotateAgentKey(id, { key_id: key.id, overlap_seconds: 0 });
    expect(rotated.credentials.api_key).not.toBe(second.api_key);
    const replaced = (await own.listAgentKeys(id)).keys.find(({ label }) => label === "Second");
    expect((await own.deleteAgentKey(id, replaced!.id)).success).toBe(true);
    expect(await caught(own.deleteAgentKey(id, key.id))).toBeInstanceOf(NotFoundError);
    expect(await caught(own.verifyAgent({ scope: "lab:things:read *:*:*" }))).toMatchObject({ code: "invalid_scope" });
    expect((await boss.revokeAgentTokens(id)).revoked_at).toMatch(/Z$/);

    const filter = { owner_email, tier: "free" } as const;
    const found: string[] = [];
    for await (const one of boss.agents(filter)) found.push(one.agent_id);
    expect(found).toEqual([id]);
    const { matched } = await boss.bulkRevokeAgents({ filter });
    const revoked = await boss.bulkRevokeAgents({ filter, dry_run: false, expected: matched });
    expect([revoked.revoked, revoked.remaining]).toEqual([1, 0]);
    expect(await caught(boss.bulkRevokeAgents({ filter, dry_run: false, expected: 1 }))).toBeInstanceOf(ConflictError);
  });

  it("is done with the key where the token goes back to an older proof", SLOW, async () => {
    const agent = await worker.agent(["lab:things:read"]);
    const seen: unknown[] = [];
    const stale: typeof fetch = async (input, init) => {
      const body = JSON.parse(String(init?.body ?? "{}")) as { api_key?: string };
      if (!String(input).endsWith("/keys") || init?.method !== "POST") return fetch(input, init);
      seen.push(body.api_key);
      if (body.api_key) return fetch(input, init);
      const refusal = {
        error: "e",
        title: "t",
        message: "m",
        status: 403,
        code: "reauthentication_required",
        request_id: "r",
      };
      return Response.json(refusal, { status: 403 });
    };
    await using own = client({ agentId: agent.id, apiKey: ` ${agent.apiKey}\n`, fetch: stale });
    expect((await own.createAgentKey(agent.id)).key.type).toBe("secret");
    expect(seen).toEqual([undefined, agent.apiKey]);
    await using keyless = client({ accessToken: agent.token, fetch: stale });
    expect(await caught(keyless.createAgentKey(agent.id))).toMatchObject({ code: "reauthentication_required" });
  });
});

describe("tokens", () => {
  const counting = (target: string) => {
    const calls: string[] = [];
    const counted: typeof fetch = (input, init) => {
      calls.push(new URL(String(input)).pathname);
      return fetch(input, init);
    };
    return { calls, options: { baseUrl: target, fetch: counted } };
  };
  const made = async () => {
    const agent = await worker.agent(["lab:things:read"]);
    return { ...agent, agentId: agent.id };
  };

  it("are fetched on first use, once for however many calls, and passed to onTokens", async () => {
    const { agentId, apiKey } = await made();
    const { calls, options } = counting(worker.url);
    const told: Token[] = [];
    await using own = client({ ...options, agentId, apiKey, onTokens: (token) => void told.push(token) });
    await Promise.all(Array.from({ length: 20 }, () => own.getAgent(agentId)));
    expect(calls.filter((path) => path === "/agents/verify")).toHaveLength(1);
    expect(told.map(({ expires_in }) => expires_in)).toEqual([TOKEN_LIFE]);
  });

  it("are renewed before they expire, so that no call is refused", async () => {
    const { agentId, apiKey } = await made();
    const { calls, options } = counting(worker.url);
    await using own = client({ ...options, agentId, apiKey });
    await own.getAgent(agentId);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + (TOKEN_LIFE - 30) * 1000 });
    await own.getAgent(agentId);
    expect(calls).toEqual(["/agents/verify", `/agents/${agentId}`, "/agents/refresh", `/agents/${agentId}`]);
  });

  it("that have expired cost 100 parallel calls one refresh", SLOW, async () => {
    const { agentId, token, refreshToken } = await made();
    const { calls, options } = counting(worker.url);
    // The client does not know when they expire, so the server's refusal decides.
    await using own = client({ ...options, accessToken: await expiredTokenOf(token), refreshToken });
    const agents = await Promise.all(Array.from({ length: 100 }, () => own.getAgent(agentId)));
    expect(agents).toHaveLength(100);
    expect(calls.filter((path) => path === "/agents/refresh")).toHaveLength(1);
  });

  it("do not mind a clock that is wrong", SLOW, async () => {
    const { agentId, apiKey } = await made();
    const { calls, options } = counting(worker.url);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 86_400_000 });
    await using own = client({ ...options, agentId, apiKey });
    for (let n = 0; n < 3; n++) await own.getAgent(agentId);
    expect(calls.filter((path) => path === "/agents/verify" || path === "/agents/refresh")).toHaveLength(1);
  });

  it("come from the key again where the session has ended, and from nowhere without one", async () => {
    const { agentId, apiKey, token, refreshToken } = await made();
    expect((await worker.call("/agents/revoke-tokens", { method: "POST", token })).status).toBe(200);
    await using keyed = client({ baseUrl: worker.url, agentId, apiKey, accessToken: token, refreshToken });
    expect((await keyed.getAgent(agentId)).agent.agent_id).toBe(agentId);
    await using keyless = client({ baseUrl: worker.url, accessToken: token, refreshToken });
    const error = await caught(keyless.getAgent(agentId));
    expect(error).toBeInstanceOf(AuthenticationError);
  });

  it("of a revoked agent end with what the server says, after one try", async () => {
    const agent = await worker.agent(["lab:things:read"]);
    const { calls, options } = counting(worker.url);
    await using own = client({ ...options, agentId: agent.id, apiKey: agent.apiKey });
    await own.getAgent(agent.id);
    await asAdmin().revokeAgent(agent.id);
    calls.length = 0;
    const error = await caught(own.getAgent(agent.id));
    expect([error.name, error.status, error.message]).toEqual(["AuthenticationError", 401, expect.any(String)]);
    expect(calls).toEqual([`/agents/${agent.id}`, "/agents/refresh", "/agents/verify"]);
  });

  it("are not given up for the others where one caller gives up", async () => {
    const { agentId, apiKey } = await made();
    await using own = client({ baseUrl: worker.url, agentId, apiKey });
    const leaving = new AbortController();
    const [gone, stayed] = [own.getAgent(agentId, { signal: leaving.signal }), own.getAgent(agentId)];
    leaving.abort(new Error("left"));
    await expect(gone).rejects.toThrow("left");
    expect((await stayed).agent.agent_id).toBe(agentId);
  });
});

describe("exchange", () => {
  it("gets a token by which an agent, or a part of this program, acts for another one", async () => {
    const things = ["lab:things:read", "lab:things:write"];
    const [one, two] = [await worker.agent(things), await worker.agent(things)];
    const clientOf = ({ id, apiKey }: Agent) => new AgentAuthClient({ baseUrl: worker.url, agentId: id, apiKey });
    const [planner, reader] = [clientOf(one), clientOf(two)];
    const use = async (accessToken: string, method: string) => {
      const client = new AgentAuthClient({ baseUrl: worker.url, accessToken });
      return (await client.proxy("lab")("/things/1", { method })).status;
    };
    const scope = ["lab:things:read"];
    const tokens = [
      await reader.exchange({ subjectToken: one.token, scope, resource: "https://auth.example.com/proxy/lab" }),
      await planner.exchange({ actorToken: two.token, scope }),
      await planner.exchange({ subAgent: "reader", scope }),
    ];
    for (const { access_token: token, ...rest } of tokens) {
      expect([rest.token_type, rest.scope]).toEqual(["Bearer", "lab:things:read"]);
      expect([await use(token, "GET"), await use(token, "DELETE")]).toEqual([200, 403]);
    }
    const wide = reader.exchange({ subjectToken: one.token, scope: ["github:issues:read"] });
    await expect(wide).rejects.toMatchObject({ code: "invalid_scope", message: expect.stringContaining("github") });
    await expect(wide).rejects.toThrow(ValidationError);
    const keyless = new AgentAuthClient({ baseUrl: worker.url, accessToken: one.token });
    await expect(keyless.exchange({ subAgent: "reader" })).rejects.toThrow(AuthenticationError);
  });
});

describe("what a client stores", () => {
  const agentOf = async () => {
    const agent = await worker.agent(["lab:things:read"]);
    return { ...agent, agentId: agent.id };
  };

  it("is passed to onTokens: what that throws the call throws, and the client has the tokens all the same", async () => {
    const { agentId, apiKey } = await agentOf();
    let told = 0;
    const onTokens = () => {
      if (told++ === 0) throw new Error("disk full");
    };
    await using own = client({ agentId, apiKey, onTokens });
    await expect(own.getAgent(agentId)).rejects.toThrow("disk full");
    expect((await own.getAgent(agentId)).agent.agent_id).toBe(agentId);
    expect(told).toBe(1);
  });

  it("is not given back by a renewal to whom has become somebody else meanwhile", SLOW, async () => {
    const [one, other] = [await agentOf(), await agentOf()];
    const held = Promise.withResolvers<void>();
    const verifying = Promise.withResolvers<void>();
    const slow: typeof fetch = async (input, init) => {
      const answer = await fetch(input, init);
      if (String(input).endsWith("/verify")) {
        verifying.resolve();
        await held.promise;
      }
      return answer;
    };
    await using own = client({ agentId: one.agentId, apiKey: one.apiKey, fetch: slow });
    const first = caught(own.getAgent(one.agentId));
    await verifying.promise;
    own.setAccessToken(other.token);
    held.resolve();
    expect(await first).toBeInstanceOf(PermissionDeniedError);
    expect(await own.getAccessToken()).toBe(other.token);
  });

  it("is another agent's wholly after setApiKey, and the fresh key after it was rotated", SLOW, async () => {
    const [one, other] = [await agentOf(), await agentOf()];
    await using own = client({ agentId: one.agentId, apiKey: one.apiKey });
    await own.getAgent(one.agentId);
    await own.rotateAgentKey(one.agentId, { overlap_seconds: 0 });
    own.setAccessToken();
    expect((await own.getAgent(one.agentId)).agent.agent_id).toBe(one.agentId);
    own.setApiKey(other.apiKey, other.agentId);
    expect((await own.getAgent(other.agentId)).agent.agent_id).toBe(other.agentId);
  });

  it("is not renewed for a call that was given up before it began", async () => {
    await using own = client({ baseUrl: front.url, agentId: "agt_x", apiKey: admin.apiKey });
    await expect(own.getAgent("agt_x", { signal: AbortSignal.abort(new Error("left")) })).rejects.toThrow("left");
    expect(front.seen).toEqual([]);
  });
});

describe("what may be sent again", () => {
  it("is, after errors of the server and the network, and arrives", async () => {
    quick();
    await using own = asAdmin({ baseUrl: front.url });
    for (const answer of [{ status: 500 }, { status: 503 }, "reset"] as const) {
      front.next(answer, answer, answer);
      expect((await own.getAgent(admin.id)).agent.agent_id).toBe(admin.id);
      expect(front.seen).toHaveLength(4);
    }
  });

  it("is given up after maxRetries, with the last error", async () => {
    quick();
    await using own = asAdmin({ baseUrl: front.url, maxRetries: 1 });
    front.next({ status: 503 }, { status: 502 }, "pass");
    const error = await caught(own.getAgent(admin.id));
    expect(error).toBeInstanceOf(ServerError);
    expect([error.status, error.code, error.requestId]).toEqual([502, "as_told", "r-1"]);
    expect(front.seen).toHaveLength(2);
  });

  it(
    "makes one agent and one webhook of a creation whose answer was lost, however often it is sent",
    SLOW,
    async () => {
      quick();
      await using own = client({ baseUrl: front.url });
      const body = { name: "Only one of this name", owner_email: "o@example.com" };
      for (const answers of [
        ["lost", "lost"],
        [{ status: 502 }],
        ["reset", { status: 409, body: IN_FLIGHT }],
      ] as const) {
        front.next(...answers);
        const made = await own.registerAgent({
          ...body,
          name: `${body.name} ${answers.length}${answers[0]}`.slice(0, 60),
        });
        expect(made.credentials.api_key).toMatch(/^ak_/);
        expect(front.seen).toHaveLength(answers.length + 1);
      }
      const found = await asAdmin().listAgents({ q: body.name });
      expect(found.total).toBe(3);

      const agent = await worker.agent(["lab:things:read"]);
      await using hooked = client({ baseUrl: front.url, accessToken: agent.token });
      front.next("lost");
      const { webhook } = await hooked.registerWebhook({
        url: "https://hooks.example.com/x",
        events: ["agent.verified"],
      });
      expect(webhook.secret).toMatch(/^whsec_/);
      expect((await hooked.listWebhooks()).webhooks.map(({ id }) => id)).toEqual([webhook.id]);
      front.next("lost");
      const { credentials } = await hooked.rotateAgentKey(agent.id, { overlap_seconds: 600 });
      const proof = { agent_id: agent.id, api_key: credentials.api_key };
      expect((await client().verifyAgent(proof)).success).toBe(true);
    },
  );

  it("is not where a second test event could come of it", async () => {
    quick();
    await using own = client({ baseUrl: front.url });
    for (const answer of [{ status: 500 }, "reset"] as const) {
      front.next(answer);
      await expect(own.testWebhook("whk_x")).rejects.toThrow();
      expect(front.seen).toEqual(["POST /webhooks/whk_x/test"]);
    }
    // A request that was refused for its rate was not acted upon.
    front.next({ status: 429, headers: { "retry-after": "0" } });
    await expect(own.testWebhook("whk_x")).rejects.toThrow(AuthenticationError);
    expect(front.seen).toHaveLength(2);
  });

  it("waits anywhere from nothing to a bound that doubles", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
    const random = vi.spyOn(Math, "random");
    const at: number[] = [];
    const refuse: typeof fetch = async () => {
      at.push(Date.now());
      return Response.json({ error: "Down" }, { status: 503 });
    };
    const own = client({ fetch: refuse, maxRetries: 6 });
    for (const [luck, expected] of [
      [0, [0, 0, 0, 0, 0, 0]],
      [0.5, [250, 500, 1000, 2000, 4000, 4000]],
    ] as const) {
      random.mockReturnValue(luck);
      at.length = 0;
      const failed = caught(own.healthCheck());
      await vi.runAllTimersAsync();
      expect(await failed).toBeInstanceOf(ServerError);
      expect(at.slice(1).map((time, index) => time - at[index]!)).toEqual(expected);
    }
  });

  it("has the seconds of Retry-After, and none if it is malformed", async () => {
    quick();
    await using own = asAdmin({ baseUrl: front.url, maxRetries: 0 });
    vi.useFakeTimers({ toFake: ["Date"], now: Math.floor(Date.now() / 1000) * 1000 });
    front.next({ status: 503, headers: { "retry-after": new Date(Date.now() + 20_000).toUTCString() } });
    expect((await caught(own.getAgent(admin.id))).retryAfter).toBe(20);
    front.next({ status: 503, headers: { "retry-after": "soon" } });
    expect((await caught(own.getAgent(admin.id))).retryAfter).toBeUndefined();
  });

  it("says so to onRetry before each wait", SLOW, async () => {
    quick();
    const retries: Retry[] = [];
    await using own = asAdmin({ baseUrl: front.url, onRetry: (retry) => retries.push(retry) });
    front.next({ status: 429, headers: { "retry-after": "1" } }, "reset");
    await own.listAgents({ q: "somebody" });
    expect(retries).toEqual([
      { method: "GET", path: "/agents", attempt: 1, delay: 1000, error: expect.any(RateLimitError) },
      { method: "GET", path: "/agents", attempt: 2, delay: 0, error: expect.any(ConnectionError) },
    ]);
    const stop = new Error("stop");
    await using stopping = asAdmin({
      baseUrl: front.url,
      onRetry: () => {
        throw stop;
      },
    });
    front.next({ status: 503 });
    expect(await caught(stopping.listAgents())).toBe(stop);
    expect(front.seen).toHaveLength(1);
  });

  it("waits no longer than maxRetryDelay, half a minute by default", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
    vi.spyOn(Math, "random").mockReturnValue(1);
    const refusals = (seconds: number, options: ClientOptions = {}) => {
      const delays: number[] = [];
      const refuse: typeof fetch = async () =>
        Response.json({ error: "Slower" }, { status: 429, headers: { "retry-after": String(seconds) } });
      const own = client({ fetch: refuse, onRetry: ({ delay }) => delays.push(delay), maxRetries: 2, ...options });
      return { delays, failed: caught(own.healthCheck()) };
    };
    const sixty = refusals(60);
    expect([(await sixty.failed).retryAfter, sixty.delays]).toEqual([60, []]);
    const minute = refusals(60, { maxRetryDelay: 60_000 });
    await vi.runAllTimersAsync();
    expect([(await minute.failed).code, minute.delays]).toEqual(["unknown", [60_000, 60_000]]);
    const brief = refusals(0, { maxRetryDelay: 200 });
    await vi.runAllTimersAsync();
    expect([(await brief.failed).code, brief.delays]).toEqual(["unknown", [200, 200]]);
  });

  it("waits as long as Retry-After says, or leaves that to the caller", SLOW, async () => {
    quick();
    await using own = asAdmin({ baseUrl: front.url });
    front.next({ status: 429, headers: { "retry-after": "1" } });
    const began = Date.now();
    await own.getAgent(admin.id);
    expect(Date.now() - began).toBeGreaterThanOrEqual(990);
    front.next({ status: 429, headers: { "retry-after": "3600" } });
    const error = await caught(own.getAgent(admin.id));
    expect(error).toBeInstanceOf(RateLimitError);
    expect([error.retryAfter, front.seen.length]).toEqual([3600, 1]);
  });

  it("is a refresh whose answer was lost: the session goes on", async () => {
    quick();
    const agent = await worker.agent(["lab:things:read"]);
    await using own = client({ baseUrl: front.url });
    front.next("reset", "pass");
    const { token } = await own.refreshToken({ refresh_token: agent.refreshToken });
    expect(token.refresh_token).not.toBe(agent.refreshToken);
  });
});

describe("a call whose response was lost", () => {
  const made = () => worker.agent(["lab:things:read"]);

  it("has deleted what the repeated call does not find any more", async () => {
    quick();
    const agent = await made();
    await using own = client({ baseUrl: front.url, accessToken: agent.token });
    const { webhook } = await own.registerWebhook({ url: "https://hooks.example.com/x", events: ["agent.verified"] });
    front.next("lost");
    expect((await own.deleteWebhook(webhook.id)).success).toBe(true);
    expect(front.seen).toHaveLength(2);
    expect(await caught(own.getWebhook(webhook.id))).toBeInstanceOf(NotFoundError);
    await using boss = asAdmin({ baseUrl: front.url });
    front.next("lost", { status: 502 });
    expect((await boss.deleteAgent(agent.id)).success).toBe(true);
    expect(front.seen).toHaveLength(3);
  });

  it("has revoked the agent whose token the repeated call finds revoked", SLOW, async () => {
    quick();
    for (const withKey of [true, false]) {
      const agent = await made();
      const credentials = withKey ? { agentId: agent.id, apiKey: agent.apiKey } : { accessToken: agent.token };
      await using own = client({ baseUrl: front.url, ...credentials });
      await own.getAgent(agent.id);
      front.next("lost");
      const { success, agent: revoked } = await own.revokeAgent(agent.id);
      expect([success, revoked]).toEqual([true, { agent_id: agent.id, status: "revoked" }]);
      expect((await asAdmin().getAgent(agent.id)).agent.status).toBe("revoked");
    }
    const other = await made();
    // Revoking is for who has proved themselves in the last 5 minutes.
    await using boss = client({ baseUrl: front.url, accessToken: (await worker.admin()).token });
    front.next("lost");
    expect((await boss.revokeAgent(other.id)).agent).toMatchObject({ agent_id: other.id, status: "revoked" });
  });

  it(
    "has suspended the agent whose token goes back to an older proof, and says so also after a lost response",
    SLOW,
    async () => {
      quick();
      const agent = await made();
      const [head, payload, signature] = agent.token.split(".") as [string, string, string];
      const claims = JSON.parse(Buffer.from(payload, "base64url").toString()) as { auth_time: number };
      const revoked = { error: "revoked", message: "revoked", code: "token_revoked", status: 401, request_id: "r" };
      // The server is not asked: what the client says depends on its token alone.
      const older = Buffer.from(JSON.stringify({ ...claims, auth_time: claims.auth_time - 301 })).toString("base64url");
      await using own = client({ baseUrl: front.url, accessToken: `${head}.${older}.${signature}`, maxRetries: 1 });
      front.next("reset", { status: 401, body: JSON.stringify(revoked) });
      expect((await own.revokeAgent(agent.id)).agent).toEqual({ agent_id: agent.id, status: "suspended" });
    },
  );

  it("has stopped the agent whose key was replaced elsewhere", SLOW, async () => {
    quick();
    const agent = await made();
    const { apiKey } = await made();
    await using own = client({ baseUrl: front.url, agentId: agent.id, apiKey, accessToken: agent.token });
    expect((await own.revokeAgent(agent.id)).agent.status).toBe("revoked");
  });

  it("has not, if no attempt of the same call can have succeeded", SLOW, async () => {
    quick();
    await using boss = asAdmin({ baseUrl: front.url, maxRetries: 1 });
    const unknown = "agt_000000000000000000000000";
    expect(await caught(boss.deleteAgent(unknown))).toBeInstanceOf(NotFoundError);
    front.next({ status: 429, headers: { "retry-after": "0" } });
    expect(await caught(boss.deleteAgent(unknown))).toBeInstanceOf(NotFoundError);
    expect(front.seen).toHaveLength(2);
    // The loss belongs to the call that it ended.
    front.next("reset", "reset");
    expect(await caught(boss.deleteAgent(unknown))).toBeInstanceOf(ConnectionError);
    expect(await caught(boss.deleteAgent(unknown))).toBeInstanceOf(NotFoundError);
    // Not found is not success of a call that deletes nothing.
    front.next("lost");
    expect(await caught(boss.getAgent(unknown))).toBeInstanceOf(NotFoundError);
    front.next("lost");
    expect(await caught(boss.updateAgentTier(unknown, "pro"))).toBeInstanceOf(NotFoundError);
    // A token that is refused for another reason says nothing of the agent.
    const agent = await made();
    await using own = client({ baseUrl: front.url, accessToken: agent.token, maxRetries: 1 });
    front.next("reset", { status: 401 });
    expect(await caught(own.revokeAgent(agent.id))).toBeInstanceOf(AuthenticationError);
    expect((await asAdmin().getAgent(agent.id)).agent.status).toBe("active");
  });
});

describe("a permission that was added after the token was issued", () => {
  const counted =
    (calls: string[]): typeof fetch =>
    (input, init) => {
      calls.push(new URL(String(input)).pathname);
      return fetch(input, init);
    };

  it("comes with a new token, once, when it is first denied", async () => {
    const agent = await worker.agent(["lab:things:read"]);
    const calls: string[] = [];
    await using own = client({ agentId: agent.id, apiKey: agent.apiKey, fetch: counted(calls) });
    await own.getAgent(agent.id);
    calls.length = 0;
    const denied = await caught(own.listAgents());
    expect([denied.status, denied.required]).toEqual([403, "*:*:*"]);
    expect(calls).toEqual(["/agents", `/agents/${agent.id}`]);
    await asAdmin().updateAgentPermissions(agent.id, ["*:*:*"]);
    calls.length = 0;
    expect((await own.listAgents()).success).toBe(true);
    expect(calls).toEqual(["/agents", `/agents/${agent.id}`, "/agents/refresh", "/agents"]);
  });

  it("is not asked for where the token has it already, and is tried once", SLOW, async () => {
    const agent = await worker.agent(["lab:things:read"]);
    const calls: string[] = [];
    const denying: typeof fetch = async (input, init) => {
      await counted(calls)(input, init).then((response) => response.body?.cancel());
      if (!String(input).endsWith("/agents")) return fetch(input, init);
      const body = {
        error: "Insufficient permissions",
        code: "insufficient_permissions",
        required: "lab:things:write",
      };
      return Response.json(body, { status: 403 });
    };
    await using own = client({ agentId: agent.id, apiKey: agent.apiKey, fetch: denying });
    await own.getAgent(agent.id);
    await asAdmin().updateAgentPermissions(agent.id, ["lab:things:read", "lab:things:write"]);
    calls.length = 0;
    expect(await caught(own.listAgents())).toBeInstanceOf(PermissionDeniedError);
    expect(calls).toEqual(["/agents", `/agents/${agent.id}`, "/agents/refresh", "/agents"]);
    calls.length = 0;
    expect(await caught(own.listAgents())).toBeInstanceOf(PermissionDeniedError);
    expect(calls).toEqual(["/agents"]);
  });

  it(
    "is looked for where a request exceeds limits, which may have changed, and at most once a minute",
    SLOW,
    async () => {
      const agent = await worker.agent(["lab:things:read"]);
      const calls: string[] = [];
      const limiting: typeof fetch = (input, init) => {
        if (!String(input).includes("/proxy/")) return counted(calls)(input, init);
        calls.push("proxied");
        return Promise.resolve(
          Response.json({ code: "constraint_violated", required: "lab:things:read" }, { status: 403 }),
        );
      };
      await using own = client({ agentId: agent.id, apiKey: agent.apiKey, fetch: limiting });
      await own.getAgent(agent.id);
      calls.length = 0;
      expect((await own.proxy("lab")("/things/1")).status).toBe(403);
      expect(calls).toEqual(["proxied"]);
      vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 61_000 });
      calls.length = 0;
      expect((await own.proxy("lab")("/things/1")).status).toBe(403);
      expect(calls).toEqual(["proxied", "/agents/refresh", "proxied"]);
    },
  );

  it("is beyond a client that can renew nothing", async () => {
    const agent = await worker.agent(["lab:things:read"]);
    const calls: string[] = [];
    await using own = client({ accessToken: agent.token, fetch: counted(calls) });
    expect(await caught(own.listAgents())).toBeInstanceOf(PermissionDeniedError);
    expect(calls).toEqual(["/agents"]);
  });
});

describe("an API key", () => {
  it("may have white space around it", async () => {
    const agent = await worker.agent(["lab:things:read"]);
    await using own = client({ agentId: agent.id, apiKey: ` ${agent.apiKey}\r\n` });
    expect((await own.getAgent(agent.id)).success).toBe(true);
    const { agent_id, api_key } = { agent_id: agent.id, api_key: `\t${agent.apiKey}\n` };
    await using other = client();
    expect((await other.verifyAgent({ agent_id, api_key })).success).toBe(true);
    other.setAccessToken();
    expect((await other.getAgent(agent.id)).success).toBe(true);
  });

  it("that does not have the form of one is refused without asking the server", async () => {
    const { apiKey } = admin;
    const mistyped = apiKey.slice(0, 10) + (apiKey[10] === "x" ? "y" : "x") + apiKey.slice(11);
    for (const key of [
      mistyped,
      `"${apiKey}"`,
      apiKey.slice(0, -1),
      `${apiKey}0`,
      apiKey.slice(3),
      "ak_test",
      "sk_live_1",
    ]) {
      front.next();
      await using own = client({ baseUrl: front.url, agentId: admin.id, apiKey: key });
      const error = await caught(own.getAgent(admin.id));
      expect([error.name, error.status, error.code]).toEqual(["AuthenticationError", 401, "malformed_api_key"]);
      expect(error.message).toContain("does not have the form of an API key");
      expect(error.message).not.toContain(key.slice(4));
      expect(front.seen).toEqual([]);
    }
  });

  it("has that form whenever the server makes one", async () => {
    const { credentials } = await client().registerAgent({ name: "Formed", owner_email: "o@example.com" });
    await using own = client({ agentId: "agt_000000000000000000000000", apiKey: credentials.api_key });
    expect((await caught(own.verifyAgent())).code).not.toBe("malformed_api_key");
  });
});

describe("an error", () => {
  it("is of the kind that fits, and says what the server said", async () => {
    // Revoking is for who has proved themselves in the last 5 minutes.
    await using own = client({ accessToken: (await worker.admin()).token });
    const agent = await worker.agent(["github:issues:read"]);
    await using other = client({ accessToken: agent.token });
    const kinds = [
      [() => own.getAgent("agt_000000000000000000000000"), NotFoundError, 404],
      [() => own.registerAgent({ name: "x", owner_email: "nobody" }), ValidationError, 400],
      [() => other.getAgent(admin.id), PermissionDeniedError, 403],
      [() => client({ accessToken: "garbage" }).getAgent(admin.id), AuthenticationError, 401],
      [() => client().getAgent(admin.id), AuthenticationError, 401],
    ] as const;
    for (const [work, kind, status] of kinds) {
      const error = await caught(work());
      expect(error).toBeInstanceOf(kind);
      expect([error.status, error.code, error.requestId]).toEqual([status, expect.any(String), expect.any(String)]);
    }
    const invalid = await caught(own.registerAgent({ name: "x", owner_email: "nobody" }));
    expect(invalid.details.map(({ field }: { field: string }) => field)).toEqual(["name", "owner_email"]);
    const denied = await caught(other.getAgent(admin.id));
    expect([denied.required, denied.granted]).toEqual(["*:*:*", ["github:issues:read"]]);
    await own.revokeAgent(agent.id);
    const final = await caught(own.updateAgentStatus(agent.id, "active"));
    expect(final).toBeInstanceOf(ConflictError);
  });

  it("says that nothing answers, and at once where that is so", async () => {
    quick();
    const gone = await startFront(worker.url);
    gone.close();
    const error = await caught(client({ baseUrl: gone.url }).healthCheck());
    expect(error).toBeInstanceOf(ConnectionError);
    expect(error.code).toBe("connection_failed");
    expect(error.message).toContain(`${gone.url} could not be reached (ECONNREFUSED)`);
  });

  it("says that something else answers", async () => {
    await using own = asAdmin({ baseUrl: front.url });
    front.next({ status: 404, headers: { "content-type": "text/html" }, body: "<h1>Not found</h1>" });
    const error = await caught(own.getAgent(admin.id));
    expect([error.name, error.code]).toEqual(["ConnectionError", "not_agentauth"]);
    expect(error.message).toContain("Check baseUrl");
    front.next({ status: 200, headers: { "content-type": "text/html" }, body: "<h1>Welcome</h1>" });
    expect((await caught(own.getAgent(admin.id))).code).toBe("not_agentauth");
  });

  it("says that it took too long", async () => {
    // A front of its own: the request may arrive when its client has given up long since.
    const slow = await startFront(worker.url);
    await using own = asAdmin({ baseUrl: slow.url, timeout: 100, maxRetries: 0 });
    slow.next("hang");
    const error = await caught(own.getAgent(admin.id));
    slow.close();
    expect([error.code, error.message]).toEqual([
      "timeout",
      `${slow.url} did not answer within 0.1 seconds. Try again, or raise timeout.`,
    ]);
  });

  it("says that something before AgentAuth answers for it, and where a redirect leads", async () => {
    quick();
    await using own = asAdmin({ baseUrl: front.url, maxRetries: 1 });
    const html = { headers: { "content-type": "text/html" }, body: "<h1>Bad gateway</h1>" };
    front.next({ status: 502, ...html }, { status: 502, ...html });
    const down = await caught(own.listAgents({ q: "somebody" }));
    expect([down.name, down.code, down.status]).toEqual(["ServerError", "unavailable", 502]);
    expect(down.message).toBe(`${front.url}/agents answered 502 (text/html), not AgentAuth itself. Try again later.`);
    front.next({ status: 429, ...html });
    expect((await own.getAgent(admin.id)).agent.agent_id).toBe(admin.id);
    front.next({ status: 301, headers: { location: "https://auth.example.com/agents" }, body: "" });
    const moved = await caught(own.listAgents());
    expect([moved.code, moved.message]).toEqual([
      "not_agentauth",
      expect.stringContaining("https://auth.example.com/"),
    ]);
  });

  it("says that another JSON API gives no token", async () => {
    await using own = client({ baseUrl: front.url, agentId: "agt_x", apiKey: admin.apiKey });
    front.next({ status: 200, body: '{"ok":true}' });
    expect((await caught(own.getAgent("agt_x"))).code).toBe("not_agentauth");
  });

  it("says what to do where a client has no means to get a token", async () => {
    const error = await caught(client({ apiKey: admin.apiKey }).getAgent(admin.id));
    expect([error.name, error.code]).toEqual(["AuthenticationError", "missing_token"]);
    expect(error.message).toContain("Give the client agentId and apiKey, or call verifyAgent.");
  });

  it.each([undefined, "", "auth.example.com", "ftp://auth.example.com"])("says that %j is no baseUrl", (baseUrl) => {
    expect(() => new AgentAuthClient({ baseUrl } as ClientOptions)).toThrow(/^baseUrl must be a URL such as https:/);
  });

  it("is not made of how a baseUrl is written", async () => {
    const { port } = new URL(worker.url);
    const own = new AgentAuthClient({ baseUrl: `HTTP://user:secret@LOCALHOST:${port}//?x=1#y` });
    expect((await own.healthCheck()).status).toBe("healthy");
  });

  it("never holds a secret", async () => {
    const secrets = [admin.token, admin.apiKey, testSecrets.UPSTREAM_GITHUB_TOKEN];
    const failed = [
      () => client({ accessToken: admin.token, baseUrl: "http://127.0.0.1:9", maxRetries: 0 }).getAgent("x"),
      () => client({ agentId: admin.id, apiKey: `${admin.apiKey}x` }).getAgent("x"),
      () => asAdmin().getAgent("agt_0"),
      // What cannot stand in a header, Fetch quotes in its message.
      () => client({ accessToken: `${admin.token}\n“${admin.apiKey}”` }).getAgent("agt_0"),
      () => client({ accessToken: `${admin.token}\n“` }).proxy("lab")("/../x?key=" + admin.apiKey),
      () => Promise.reject(asAdmin({ apiKey: admin.apiKey })),
    ];
    for (const work of failed) {
      const error = await caught(work());
      const text = `${JSON.stringify(error)} ${inspect(error, { depth: 9, showHidden: true })} ${error}`;
      expect(secrets.filter((secret) => text.includes(secret))).toEqual([]);
    }
  });
});

describe("a signal", () => {
  it("has one listener, however many calls it is for, and none after them", async () => {
    const held = Promise.withResolvers<void>();
    let under = 0;
    const slow: typeof fetch = async (input, init) => {
      under++;
      await held.promise;
      return fetch(input, init);
    };
    await using own = asAdmin({ fetch: slow });
    const { signal } = new AbortController();
    const calls = Array.from({ length: 20 }, () => own.getAgent(admin.id, { signal }));
    await expect.poll(() => under).toBe(20);
    expect(getEventListeners(signal, "abort")).toHaveLength(1);
    held.resolve();
    await Promise.all(calls);
    expect(getEventListeners(signal, "abort")).toHaveLength(0);
  });

  it("ends a call that is under way, or that waits to be sent again", async () => {
    let waiting = 0;
    await using own = asAdmin({ baseUrl: front.url, onRetry: () => void waiting++ });
    for (const answer of ["hang", { status: 503, headers: { "retry-after": "30" } }] as const) {
      front.next(answer);
      const ending = new AbortController();
      const ended = expect(own.getAgent(admin.id, { signal: ending.signal })).rejects.toThrow("given up");
      await expect.poll(() => (answer === "hang" ? front.seen.length : waiting)).toBe(1);
      ending.abort(new Error("given up"));
      await ended;
    }
  });

  it("of the client's own ends everything when it is closed", async () => {
    const own = asAdmin({ baseUrl: front.url });
    front.next("hang");
    const hanging = caught(own.getAgent(admin.id));
    await expect.poll(() => front.seen.length).toBe(1);
    await own.close();
    expect((await hanging).code).toBe("closed");
    expect((await caught(own.getAgent(admin.id))).code).toBe("closed");
  });
});

describe("a listing", () => {
  it("of 10,000 activities comes whole, in order, page by page", SLOW, async () => {
    const agent = await worker.agent(["lab:things:read"]);
    await worker.auditSql(
      `INSERT INTO records (agent_id, id, part, at, action, outcome, message, random, batch)
       SELECT ?1, printf('aud_%032x', value), 1, 1700000000000 + value, 'gateway.call', 'success', 'call ' || value, '00', 'seed'
       FROM (WITH RECURSIVE n (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 10000) SELECT value FROM n)`,
      agent.id,
    );
    let calls = 0;
    const counted: typeof fetch = (input, init) => (calls++, fetch(input, init));
    await using own = client({ accessToken: agent.token, fetch: counted });
    const seen = new Set<string>();
    let last = "~";
    for await (const { id } of own.activity(agent.id)) {
      expect(id < last).toBe(true);
      last = id;
      seen.add(id);
    }
    expect(seen.size).toBeGreaterThanOrEqual(10_000);
    expect(calls).toBe(Math.ceil(seen.size / 100));
    const records: string[] = [];
    for await (const { id } of own.audit()) records.push(id);
    expect(records.map((id) => id.replace("aud_", "act_"))).toEqual([...seen]);
    calls = Math.ceil(seen.size / 100);
    const few = own.activity(agent.id);
    await few.next();
    await few.return(undefined);
    expect(calls).toBe(Math.ceil(seen.size / 100) + 1);
  });

  it("of the audit log goes on from page to page", SLOW, async () => {
    const agent = await worker.agent(["lab:things:read"]);
    await worker.activity(agent, (message) => message === "verified");
    await worker.activity(agent, (message) => message === "registered");
    await using own = client({ accessToken: agent.token });
    const records = [];
    for await (const record of own.audit({ limit: 1 })) records.push(record);
    expect(records.map(({ action, agent_id }) => [action, agent_id])).toEqual([
      ["token.issued", agent.id],
      ["agent.registered", agent.id],
    ]);
    expect((await own.getAuditRecord(records[0]!.id)).record).toEqual(records[0]);
  });

  it("of agents goes on from page to page", async () => {
    await using own = asAdmin();
    await Promise.all(Array.from({ length: 7 }, () => worker.agent(["lab:things:read"])));
    const ids: string[] = [];
    for await (const { agent_id } of own.agents({ limit: 3, status: "active" })) ids.push(agent_id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.length).toBeGreaterThanOrEqual(7);
  });
});

describe("the OAuth endpoints", () => {
  it("issue a token for one task, say whether it is valid, and end it", SLOW, async () => {
    const agent = await worker.agent(["github:issues:write", "lab:things:read"]);
    const client = new AgentAuthClient({ baseUrl: worker.url, agentId: agent.id, apiKey: agent.apiKey });
    const where = { "path.owner": "octo" };
    const detail = { type: "agentauth_grant", permission: "github:issues:write", where } as const;
    const issued = await client.clientCredentials({ scope: ["lab:things:read"], authorizationDetails: [detail] });
    expect(issued).toMatchObject({
      scope: "lab:things:read",
      authorization_details: [{ permission: detail.permission }],
    });
    const operator = new AgentAuthClient({ baseUrl: worker.url, agentId: admin.id, apiKey: admin.apiKey });
    expect(await operator.introspectToken(issued.access_token)).toMatchObject({ active: true, client_id: agent.id });
    await client.revokeToken(issued.access_token);
    expect(await operator.introspectToken(issued.access_token)).toEqual({ active: false });
    const wide = await client.clientCredentials({ scope: ["github:*:*"] }).catch((error: unknown) => error);
    expect(wide).toBeInstanceOf(ValidationError);
    expect(wide).toMatchObject({ code: "invalid_scope", message: "github:*:* is not granted to the agent." });
    await expect(new AgentAuthClient({ baseUrl: worker.url }).clientCredentials()).rejects.toThrow(
      "agentId and apiKey",
    );
  });
});
