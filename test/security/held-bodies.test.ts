import { env } from "cloudflare:workers";
import { afterEach, beforeAll, describe, expect, inject, it, vi } from "vitest";
import { ROUTES } from "../../src/app.ts";
import type { Route } from "../../src/http/route.ts";
import { holdBody } from "../support/held-body.ts";
import { hook } from "../support/receiver.ts";
import { world, type Registered, type World } from "../support/world.ts";
import { ENDS } from "./route-walk.ts";

/** An attacker sends all of a body but its last byte, waits until its owner has acted, and sends the rest. */

const unlimited = { limit: async () => ({ success: true }) };
const SETTINGS = {
  STANDING_TTL_SECONDS: "0",
  WEBHOOK_ALLOW_LOOPBACK: "true",
  RATE_FREE: unlimited,
  RATE_ADDRESS: unlimited,
  RATE_VERIFY: unlimited,
};
const self = world(SETTINGS);
let admin: Registered;
beforeAll(async () => {
  admin = await self.admin();
  await self.call(`/agents/${admin.id}/tier`, { method: "PUT", token: admin.token, json: { tier: "enterprise" } });
});

afterEach(() => void vi.useRealTimers());

const TABLES = ["agents", "api_keys", "refresh_families", "refresh_tokens", "webhooks", "events", "deliveries"];
const contents = async () => {
  const results = await env.DB.batch(TABLES.map((table) => env.DB.prepare(`SELECT * FROM ${table} ORDER BY 1`)));
  return Object.fromEntries(results.map(({ results: rows }, index) => [TABLES[index], rows]));
};

/** A target for whatever the caller of a route may be let do. */
interface Scene {
  readonly caller: Registered;
  readonly agentId: string;
  readonly webhookId: string;
  readonly deliveryId: string;
}

async function sceneOf(caller: Registered, agentId = caller.id): Promise<Scene> {
  const { id: webhookId } = await hook(self, caller, { url: "http://127.0.0.1:9/hook" });
  const tested = await self.call(`/webhooks/${webhookId}/test`, { method: "POST", token: caller.token });
  const deliveryId = tested.body.delivery.id as string;
  await env.DB.prepare("UPDATE deliveries SET status = 'failed' WHERE id = ?1").bind(deliveryId).run();
  return { caller, agentId, webhookId, deliveryId };
}

const BODIES: Readonly<Record<string, unknown>> = {
  "POST /agents/register": { name: "held", owner_email: "owner@example.com", permissions: ["lab:things:read"] },
  "POST /agents/{id}/rotate-key": { overlap_seconds: 0 },
  "PUT /agents/{id}/status": { status: "suspended" },
  "PUT /agents/{id}/tier": { tier: "enterprise" },
  "PUT /agents/{id}/permissions": { permissions: ["*:*:*"] },
  "POST /webhooks": { url: "http://127.0.0.1:9/other", events: ["agent.verified"] },
  "PUT /webhooks/{id}": { url: "http://127.0.0.1:9/changed" },
  "POST /webhooks/{id}/regenerate-secret": { overlap_seconds: 0 },
  "POST /proxy/_explain": { service: "lab", method: "GET", path: "/things/1" },
};

const nameOf = ({ method, path }: Route) => `${method} ${path}`;
const bodyOf = (route: Route) => JSON.stringify(BODIES[nameOf(route)] ?? {});
const pathOf = ({ path }: Route, { agentId, webhookId, deliveryId }: Scene) =>
  path.replace("{delivery_id}", deliveryId).replace("{id}", path.startsWith("/webhooks") ? webhookId : agentId);

/** Every route that an authenticated caller can write by. */
const routes = ROUTES.filter(({ method, auth }) => method !== "GET" && auth !== "none");
const OWN = routes.filter(({ auth }) => auth === "self" || auth === "bearer" || auth === "own");

const narrowed = async (one: Registered) => {
  const json = { permissions: ["lab:things:read"] };
  const { status } = await self.call(`/agents/${one.id}/permissions`, { method: "PUT", token: admin.token, json });
  expect(status).toBe(200);
};

type Way = [way: string, end: (one: Registered) => Promise<void>, status: number, code: string];
const ways: readonly Way[] = [
  ...Object.entries(ENDS).map<Way>(([way, end]) => [way, (one) => end(self, one, admin), 401, "token_revoked"]),
  ["no administrator any more", narrowed, 403, "insufficient_permissions"],
];

describe("a request whose body is held", () => {
  it("are of every route by which something is written", () => {
    expect(routes.length).toBeGreaterThanOrEqual(15);
    for (const name of Object.keys(BODIES)) expect(routes.map(nameOf)).toContain(name);
  });

  it.each(ways)("does nothing for an administrator that was meanwhile %s", async (_, end, status, code) => {
    for (const route of routes) {
      const victim = await self.agent();
      const scene = await sceneOf(await self.admin(), victim.id);
      if (status === 403 && !["admin", "self"].includes(route.auth)) continue;
      const { token } = scene.caller;
      const init = { method: route.method, token, body: bodyOf(route), length: true };
      const held = await holdBody(self, pathOf(route, scene), init);
      await end(scene.caller);
      const before = await contents();
      expect([nameOf(route), await held.release()]).toEqual([nameOf(route), { status, code }]);
      expect(await contents()).toEqual(before);
    }
  });

  it.each(ways.slice(0, -1))("does nothing for an agent itself that was meanwhile %s", async (_, end, status, code) => {
    for (const route of OWN) {
      const scene = await sceneOf(await self.agent());
      const { token } = scene.caller;
      const init = { method: route.method, token, body: bodyOf(route), length: false };
      const held = await holdBody(self, pathOf(route, scene), init);
      await end(scene.caller);
      const before = await contents();
      expect([nameOf(route), await held.release()]).toEqual([nameOf(route), { status, code }]);
      expect(await contents()).toEqual(before);
    }
  });

  it("grants nothing that the registering agent was denied meanwhile", async () => {
    const agent = await self.agent(["lab:things:read", "lab:things:write"]);
    const body = JSON.stringify({ ...(BODIES["POST /agents/register"] as object), permissions: ["lab:things:write"] });
    const held = await holdBody(self, "/agents/register", { method: "POST", token: agent.token, body, length: true });
    await narrowed(agent);
    const before = await contents();
    expect(await held.release()).toEqual({ status: 403, code: "grant_beyond_caller" });
    expect(await contents()).toEqual(before);
  });

  it("is reuse for a refresh token that was used meanwhile, longer ago than the grace", async () => {
    vi.setSystemTime(Date.now());
    const { refreshToken } = await self.agent();
    const body = JSON.stringify({ refresh_token: refreshToken });
    const held = await holdBody(self, "/agents/refresh", { method: "POST", body, length: true });
    vi.setSystemTime(Date.now() + 5000);
    const used = await self.call("/agents/refresh", { method: "POST", json: { refresh_token: refreshToken } });
    expect(used.status).toBe(200);
    vi.setSystemTime(Date.now() + 20_000);
    expect(await held.release()).toEqual({ status: 401, code: "refresh_token_reused" });
    const next = { refresh_token: used.body.token.refresh_token };
    expect((await self.call("/agents/refresh", { method: "POST", json: next })).body.code).toBe("session_ended");
  });

  it("opens no session for a key that was replaced meanwhile", async () => {
    const { id, apiKey, token } = await self.agent();
    const body = JSON.stringify({ agent_id: id, api_key: apiKey });
    const held = await holdBody(self, "/agents/verify", { method: "POST", body, length: true });
    const json = { overlap_seconds: 0 };
    expect((await self.call(`/agents/${id}/rotate-key`, { method: "POST", token, json })).status).toBe(200);
    const before = await contents();
    expect(await held.release()).toEqual({ status: 401, code: "invalid_credentials" });
    expect(await contents()).toEqual(before);
  });

  it("is refused for a token that expired meanwhile", async () => {
    vi.setSystemTime(Date.now());
    const { id, token } = await self.agent();
    const held = await holdBody(self, `/agents/${id}/rotate-key`, { method: "POST", token, body: "{}", length: true });
    vi.setSystemTime(Date.now() + 3_600_000);
    expect(await held.release()).toEqual({ status: 401, code: "token_expired" });
  });
});

describe("a caller that is ended between its authentication and its write", () => {
  /** The database at the moment before the first batch, which is the first that can write. */
  function interrupted(interrupt: () => Promise<void>): { where: World; wasInterrupted: () => boolean } {
    let due = true;
    const DB = {
      prepare: (sql: string) => env.DB.prepare(sql),
      async batch(statements: D1PreparedStatement[]) {
        if (due) {
          due = false;
          await interrupt();
          before = await contents();
        }
        return env.DB.batch(statements);
      },
    };
    return { where: world({ ...SETTINGS, DB }), wasInterrupted: () => !due };
  }
  let before: unknown;

  it.each(ways)("writes nothing: %s", async (_, end, status, code) => {
    for (const route of routes) {
      const victim = await self.agent();
      const scene = await sceneOf(await self.admin(), victim.id);
      // What an administrator may do as any agent does not end with its right.
      if (status === 403 && route.auth === "bearer") continue;
      const { where, wasInterrupted } = interrupted(() => end(scene.caller));
      const answer = await where.call(pathOf(route, scene), {
        method: route.method,
        token: scene.caller.token,
        headers: { "content-type": "application/json" },
        body: bodyOf(route),
      });
      // It decides, and writes nothing.
      if (nameOf(route) === "POST /proxy/_explain") {
        expect([answer.status, wasInterrupted()]).toEqual([200, false]);
        continue;
      }
      expect([nameOf(route), wasInterrupted(), answer.status, answer.body.code]).toEqual([
        nameOf(route),
        true,
        status,
        code,
      ]);
      expect(await contents()).toEqual(before);
    }
  });

  it("is told of no other agents by a webhook", async () => {
    const one = await self.admin();
    const { where } = interrupted(() => narrowed(one));
    const json = { url: "http://127.0.0.1:9/all", events: ["agent.verified"], all_agents: true };
    const answer = await where.call("/webhooks", { method: "POST", token: one.token, json });
    expect([answer.status, answer.body.code]).toEqual([403, "insufficient_permissions"]);
    expect(await contents()).toEqual(before);
  });

  it("grants nothing that it does not hold any more", async () => {
    const one = await self.agent(["lab:things:read", "lab:things:write"]);
    const { where } = interrupted(() => narrowed(one));
    const json = { ...(BODIES["POST /agents/register"] as object), permissions: ["lab:things:write"] };
    const answer = await where.call("/agents/register", { method: "POST", token: one.token, json });
    expect([answer.status, answer.body]).toEqual([
      403,
      expect.objectContaining({ code: "insufficient_permissions", required: "lab:things:write" }),
    ]);
    expect(await contents()).toEqual(before);
  });
});

describe("verifications thrown at rotations without overlap", () => {
  it("leave no session of a former key alive", { timeout: 60_000 }, async () => {
    const { id, apiKey: first, token: firstToken } = await self.agent();
    let [apiKey, token] = [first, firstToken];
    const opened: string[] = [];
    let verifications = 0;
    for (let rotation = 0; rotation < 12; rotation++) {
      const verify = () => self.call("/agents/verify", { method: "POST", json: { agent_id: id, api_key: apiKey } });
      const rotate = () =>
        self.call(`/agents/${id}/rotate-key`, { method: "POST", token, json: { overlap_seconds: 0 } });
      const before = Array.from({ length: 20 }, verify);
      const rotating = rotate();
      const all = [...before, ...Array.from({ length: 20 }, verify)];
      verifications += all.length;
      for (const { status, body } of await Promise.all(all)) {
        if (status === 200) opened.push(body.token.access_token);
        else expect(status).toBe(401);
      }
      const rotated = await rotating;
      expect(rotated.status).toBe(200);
      apiKey = rotated.body.credentials.api_key;
      token = (await verify()).body.token.access_token;
    }
    expect(verifications).toBe(480);
    expect(opened.length).toBeGreaterThan(0);
    const alive = await Promise.all(opened.map((one) => self.call(`/agents/${id}`, { token: one })));
    expect(alive.filter(({ status }) => status !== 401)).toEqual([]);
  });
});

describe("a proxied body that is held", () => {
  const slack = { "UPSTREAMS.slack": { base_url: inject("upstream") }, UPSTREAM_SLACK_TOKEN: "xoxb-real" };
  const where = world({ ...SETTINGS, ...slack });
  const LONG = JSON.stringify({ text: "x".repeat(100_000) });
  const kinds: readonly [kind: string, path: string, permission: string, body: string, length: boolean][] = [
    ["short", "/proxy/lab/things/1", "lab:things:write", '{"a":1}', true],
    ["long", "/proxy/lab/things/1", "lab:things:write", LONG, true],
    ["of unknown length", "/proxy/lab/things/1", "lab:things:write", '{"a":1}', false],
    ["judged", "/proxy/slack/api/chat.postMessage", "slack:chat:write", '{"channel":"C1","text":"hello"}', false],
  ];
  const all: readonly Way[] = [
    ...ways.slice(0, -1),
    ["without the permission", narrowed, 403, "insufficient_permissions"],
  ];

  it.each(kinds)(
    "and %s reaches no upstream whole once its agent was ended",
    async (_, path, permission, body, length) => {
      for (const [way, end, status, code] of all) {
        const agent = await self.agent([permission]);
        const upstream = vi.spyOn(globalThis, "fetch");
        const held = await holdBody(where, path, { method: "PUT", token: agent.token, body, length });
        await end(agent);
        expect([way, await held.release()]).toEqual([way, { status, code }]);
        for (const { value } of upstream.mock.results) await expect(value).rejects.toThrow();
        upstream.mockRestore();
      }
    },
  );

  it.each(kinds)("and %s arrives as it is if nothing happened meanwhile", async (_, path, permission, body, length) => {
    const agent = await self.agent([permission]);
    const held = await holdBody(where, path, { method: "PUT", token: agent.token, body, length });
    expect((await held.release()).status).toBe(200);
  });
});
