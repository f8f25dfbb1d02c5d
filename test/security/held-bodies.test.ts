import { env } from "cloudflare:workers";
import { afterEach, beforeAll, beforeEach, describe, expect, inject, it, vi, type TestOptions } from "vitest";
import { ROUTES } from "../../src/app.ts";
import type { Route } from "../../src/access/route.ts";
import { SLOW, few } from "../support/extents.ts";
import { holdBody } from "../support/held-body.ts";
import { hook } from "../support/receiver.ts";
import { world, type Registered, type World } from "../support/world.ts";
import { ENDS, OF_PEOPLE } from "./route-walk.ts";

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

/** What is compared stays small. */
beforeEach(async () => {
  await env.DB.batch([
    env.DB.prepare("DELETE FROM agents WHERE id <> ?1").bind(admin.id),
    ...["webhooks", "deliveries", "events"].map((table) => env.DB.prepare(`DELETE FROM ${table}`)),
  ]);
  const json = { name: "one of many", owner_email: "many@example.com", permissions: ["lab:things:read"] };
  await self.call("/agents/register", { method: "POST", token: admin.token, json });
});
afterEach(() => void vi.useRealTimers());

const TABLES = ["agents", "api_keys", "sessions", "webhooks", "events", "deliveries"];
const contents = async () => {
  const results = await env.DB.batch(TABLES.map((table) => env.DB.prepare(`SELECT * FROM ${table} ORDER BY 1`)));
  return Object.fromEntries(results.map(({ results: rows }, index) => [TABLES[index], rows]));
};

/** What a route is called with, and by whom. */
interface Scene {
  readonly caller: Registered;
  readonly path: string;
}

/** An administrator before another agent and its own webhook, or an agent before itself. */
async function sceneOf({ path }: Route, by: "administrator" | "agent"): Promise<Scene> {
  const caller = by === "agent" ? await self.agent() : await self.admin();
  if (path.startsWith("/agents/{id}")) {
    const target = by === "agent" ? caller : await self.agent();
    const one = (table: "api_keys" | "sessions") =>
      env.DB.prepare(`SELECT id FROM ${table} WHERE agent_id = ?1`).bind(target.id).first<string>("id");
    const key = path.includes("{key_id}") && { "{key_id}": await one("api_keys") };
    const session = path.includes("{session_id}") && { "{session_id}": await one("sessions") };
    const ids: Record<string, string | null> = { "{id}": target.id, ...key, ...session };
    return { caller, path: path.replace(/\{\w+\}/g, (name) => ids[name] ?? name) };
  }
  if (!path.includes("{id}")) return { caller, path: path.replace("{name}", "lab") };
  const { id } = await hook(self, caller, { url: "http://127.0.0.1:9/hook" });
  if (!path.includes("{delivery_id}")) return { caller, path: path.replace("{id}", id) };
  const tested = await self.call(`/webhooks/${id}/test`, { method: "POST", token: caller.token });
  const deliveryId = tested.body.delivery.id as string;
  await env.DB.prepare("UPDATE deliveries SET status = 'failed' WHERE id = ?1").bind(deliveryId).run();
  return { caller, path: path.replace("{id}", id).replace("{delivery_id}", deliveryId) };
}

const BODIES: Readonly<Record<string, unknown>> = {
  "POST /agents/register": { name: "held", owner_email: "owner@example.com", permissions: ["lab:things:read"] },
  "POST /agents/{id}/rotate-key": { overlap_seconds: 0 },
  "PATCH /agents/{id}": { name: "changed" },
  "POST /agents/{id}/keys": { label: "another" },
  "POST /agents/bulk-revoke": { filter: { owner_email: "many@example.com" }, dry_run: false, expected: 1 },
  "POST /deliveries/redeliver": { filter: { event: "agent.updated" }, dry_run: false },
  "PUT /agents/{id}/status": { status: "suspended" },
  "PUT /agents/{id}/tier": { tier: "enterprise" },
  "PUT /agents/{id}/permissions": { permissions: ["*:*:*"] },
  "PUT /agents/{id}/grants": { grants: [{ permission: "lab:notes:read" }] },
  "POST /webhooks": { url: "http://127.0.0.1:9/other", events: ["agent.verified"] },
  "PUT /webhooks/{id}": { url: "http://127.0.0.1:9/changed" },
  "POST /webhooks/{id}/regenerate-secret": { overlap_seconds: 0 },
  "POST /proxy/_explain": { service: "lab", method: "GET", path: "/things/1" },
};

const nameOf = ({ method, path }: Route) => `${method} ${path}`;
const bodyOf = (route: Route) => JSON.stringify(BODIES[nameOf(route)] ?? {});
/**
 * Every route that an agent can write by. A client of OAuth has no token: it authenticates itself in the body. Nor has the holder of the
 * bootstrap token, nor a person.
 */
const routes = ROUTES.filter(
  ({ method, auth }) => method !== "GET" && !(OF_PEOPLE.has(auth) || ["none", "client", "bootstrap"].includes(auth)),
);
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

  async function walk(some: readonly Route[], by: "administrator" | "agent", [, end, status, code]: Way) {
    for (const route of some) {
      const { caller, path } = await sceneOf(route, by);
      const init = { method: route.method, token: caller.token, body: bodyOf(route), length: by === "agent" };
      const held = await holdBody(self, path, init);
      await end(caller);
      const before = await contents();
      expect([nameOf(route), await held.release()]).toEqual([nameOf(route), { status, code }]);
      expect(await contents()).toEqual(before);
    }
  }
  const needAdmin = routes.filter(({ auth }) => auth === "admin" || auth === "self");
  const own = OWN.filter(({ path }) => !path.includes("{delivery_id}"));
  const rotate = routes.filter(({ path }) => path.endsWith("/rotate-key"));

  it("does nothing by any route for an administrator that was ended", SLOW, () =>
    walk(routes, "administrator", ways[0]!),
  );
  it("does nothing by any route for an administrator that is none any more", SLOW, () =>
    walk(needAdmin, "administrator", ways.at(-1)!),
  );
  it("does nothing by any route for an agent to itself that was ended", SLOW, () => walk(own, "agent", ways[0]!));
  few(2).each(ways)("does nothing, whichever way its sender was ended: %s", (...way) =>
    walk(rotate, "administrator", way),
  );

  it.each(ways)("does nothing by any route for an administrator: %s", SLOW, (...way) =>
    walk(way[2] === 403 ? needAdmin : routes, "administrator", way),
  );
  it.each(ways.slice(0, -1))("does nothing by any route for an agent to itself: %s", SLOW, (...way) =>
    walk(own, "agent", way),
  );

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
    const { events: _, ...before } = await contents();
    expect(await held.release()).toEqual({ status: 401, code: "invalid_credentials" });
    // That somebody failed to verify is an event.
    expect(await contents()).toMatchObject(before);
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

  async function walk(some: readonly Route[], [, end, status, code]: Way) {
    for (const route of some) {
      const { caller, path } = await sceneOf(route, "administrator");
      const { where, wasInterrupted } = interrupted(() => end(caller));
      const headers = { "content-type": "application/json" };
      const init = { method: route.method, token: caller.token, headers, body: bodyOf(route) };
      const { status: answered, body } = await where.call(path, init);
      expect([nameOf(route), wasInterrupted(), answered, body.code]).toEqual([nameOf(route), true, status, code]);
      expect(await contents()).toEqual(before);
    }
  }
  // It decides, and writes nothing.
  const writing = routes.filter((route) => nameOf(route) !== "POST /proxy/_explain");
  const [rotate] = writing.filter(({ path }) => path.endsWith("/rotate-key")) as [Route];

  it("writes nothing by any route", SLOW, () => walk(writing, ways[0]!));
  it("writes nothing that it was an administrator for", SLOW, () =>
    walk(
      // What an administrator does as any agent does not end with its right.
      writing.filter(({ auth }) => auth !== "bearer"),
      ways.at(-1)!,
    ),
  );
  few(2).each(ways)("writes nothing, whichever way it was ended: %s", (...way) => walk([rotate], way));

  it("gets no events of other agents by a webhook", async () => {
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
  const ROTATIONS = 12;

  it("leave no session of a former key alive", SLOW, async () => {
    const { id, apiKey: first, token: firstToken } = await self.agent();
    let [apiKey, token] = [first, firstToken];
    let sessions = 0;
    let verifications = 0;
    for (let rotation = 0; rotation < ROTATIONS; rotation++) {
      const verify = () => self.call("/agents/verify", { method: "POST", json: { agent_id: id, api_key: apiKey } });
      const rotate = () =>
        self.call(`/agents/${id}/rotate-key`, { method: "POST", token, json: { overlap_seconds: 0 } });
      const before = Array.from({ length: 20 }, verify);
      const rotating = rotate();
      const all = [...before, ...Array.from({ length: 20 }, verify)];
      verifications += all.length;
      const answers = await Promise.all(all);
      const rotated = await rotating;
      expect(rotated.status).toBe(200);
      const opened = answers.filter(({ status }) => status === 200);
      expect(answers.filter(({ status }) => status !== 200 && status !== 401)).toEqual([]);
      sessions += opened.length;
      const alive = await env.DB.prepare(
        `SELECT count(*) AS n FROM sessions s JOIN agents a ON a.id = s.agent_id
         WHERE a.id = ?1 AND s.ended_at IS NULL AND s.token_version = a.token_version`,
      )
        .bind(id)
        .first("n");
      expect(alive).toBe(0);
      for (const { body } of [opened[0], opened.at(-1)].filter((one) => one !== undefined)) {
        expect((await self.call(`/agents/${id}`, { token: body.token.access_token })).body.code).toBe("token_revoked");
      }
      apiKey = rotated.body.credentials.api_key;
      token = (await verify()).body.token.access_token;
    }
    expect(verifications).toBe(40 * ROTATIONS);
    expect(sessions).toBeGreaterThan(0);
  });
});

describe("a proxied body that is held", () => {
  const slack = { "UPSTREAMS.slack": { base_url: inject("upstream") }, UPSTREAM_SLACK_TOKEN: "xoxb-real" };
  const where = world({ ...SETTINGS, ...slack });
  const methodOf = (path: string) => (path.includes("/slack/") ? "POST" : "PUT");
  const LONG = JSON.stringify({ text: "x".repeat(100_000) });
  const kinds: readonly [kind: string, path: string, permission: string, body: string, length: boolean][] = [
    ["short", "/proxy/lab/things/1", "lab:things:write", '{"a":1}', true],
    ["long", "/proxy/lab/things/1", "lab:things:write", LONG, true],
    ["of unknown length", "/proxy/lab/things/1", "lab:things:write", '{"a":1}', false],
    ["judged", "/proxy/slack/api/chat.postMessage", "slack:messages:write", '{"channel":"C1","text":"hello"}', false],
  ];
  const all: readonly Way[] = [
    ...ways.slice(0, -1),
    ["without the permission", narrowed, 403, "insufficient_permissions"],
  ];

  const extent: readonly [some: readonly Way[], options: TestOptions][] = [
    [all.slice(0, 1), {}],
    [all.slice(1), SLOW],
  ];
  for (const [some, options] of extent) {
    it.each(kinds)(
      `and %s reaches no upstream whole once its agent was ended: ${some.map(([way]) => way).join(", ")}`,
      options,
      async (kind, path, permission, body, length) => {
        const isStreamed = kind === "long" || kind === "of unknown length";
        for (const [way, end, status, code] of some) {
          const agent = await self.agent([permission]);
          const upstream = vi.spyOn(globalThis, "fetch");
          const held = await holdBody(where, path, { method: methodOf(path), token: agent.token, body, length });
          await end(agent);
          expect([way, await held.release()]).toEqual([way, { status, code }]);
          // A request that is checked after its body is not forwarded at all.
          expect(upstream).toHaveBeenCalledTimes(isStreamed ? 1 : 0);
          for (const { value } of upstream.mock.results) await expect(value).rejects.toThrow();
          upstream.mockRestore();
        }
      },
    );
  }

  it("and streamed because its agent held the whole service breaks off once that is narrowed", async () => {
    const hubspot = world({
      ...SETTINGS,
      "UPSTREAMS.hubspot": { base_url: inject("upstream") },
      UPSTREAM_HUBSPOT_TOKEN: "pat-real",
    });
    const agent = await self.agent(["hubspot:*:*", "hubspot:contacts:write"]);
    const body = JSON.stringify({ associations: [1], text: "x".repeat(100_000) });
    const path = "/proxy/hubspot/crm/v3/objects/contacts";
    const held = await holdBody(hubspot, path, { method: "POST", token: agent.token, body, length: true });
    const json = { permissions: ["hubspot:contacts:write"] };
    await self.call(`/agents/${agent.id}/permissions`, { method: "PUT", token: admin.token, json });
    expect(await held.release()).toEqual({ status: 403, code: "insufficient_permissions" });
  });

  few(2).each(kinds)(
    "and %s arrives as it is if nothing happened meanwhile",
    async (_, path, permission, body, length) => {
      const agent = await self.agent([permission]);
      const held = await holdBody(where, path, { method: methodOf(path), token: agent.token, body, length });
      expect((await held.release()).status).toBe(200);
    },
  );
});
