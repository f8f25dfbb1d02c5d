import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import { newEncryptionKey } from "../../scripts/secrets.ts";
import { runScheduledJobs } from "../../src/jobs/run-jobs.ts";
import { loadConfig } from "../../src/config/config.ts";
import { openSecret } from "../../src/webhooks/secret.ts";
import { EVENTS } from "../../src/outbox/event.ts";
import { hook, hookWorld } from "../support/receiver.ts";
import type { Registered } from "../support/world.ts";
import { SLOW, few } from "../support/extents.ts";

const WEBHOOK_KEYS = ["agent_id", "created_at", "events", "id", "secret", "url"];
const URL = "https://hooks.example.com/agentauth";

const self = hookWorld({ RATE_FREE: { limit: async () => ({ success: true }) } });
let agent: Registered;
let stranger: Registered;
let admin: Registered;

beforeAll(async () => {
  [stranger, admin] = [await self.agent(), await self.admin()];
});
// One for each test: an agent may have twenty webhooks.
beforeEach(async () => {
  agent = await self.agent();
});

const send = (method: string, path: string, who: Registered, json?: unknown) =>
  self.call(path, { method, token: who.token, ...(json !== undefined && { json }) });
const keptSecret = async (id: string) =>
  (await self.env.DB.prepare("SELECT secret FROM webhooks WHERE id = ?").bind(id).first<{ secret: string }>())!.secret;

describe("POST /webhooks", () => {
  it("registers, and shows the secret this once", async () => {
    const { status, body, headers } = await send("POST", "/webhooks", agent, {
      url: URL,
      events: ["agent.verified", "agent.revoked", "agent.verified"],
      description: "to the team's channel",
    });
    expect(status).toBe(201);
    expect(Object.keys(body).sort()).toEqual(["message", "success", "webhook"]);
    expect(Object.keys(body.webhook).sort()).toEqual(WEBHOOK_KEYS);
    expect(body.webhook).toMatchObject({
      id: expect.stringMatching(/^whk_\w{24}$/),
      agent_id: agent.id,
      url: URL,
      events: ["agent.verified", "agent.revoked"],
      secret: expect.stringMatching(/^whsec_[A-Za-z0-9+/]{43}=$/),
    });
    expect(headers.get("cache-control")).toBe("no-store");
    const read = await send("GET", `/webhooks/${body.webhook.id}`, agent);
    expect(Object.keys(read.body.webhook).sort()).toEqual(WEBHOOK_KEYS);
    expect(read.body).toMatchObject({
      success: true,
      webhook: { secret: "***" },
      is_active: true,
      all_agents: false,
      description: "to the team's channel",
      disabled_at: null,
    });
    expect(JSON.stringify(read.body)).not.toContain("whsec_");
  });

  it("keeps the secret encrypted under the configured key", async () => {
    const { id, secret } = await hook(self, agent, { url: URL });
    const kept = await keptSecret(id);
    expect(kept).not.toContain(secret);
    expect(await openSecret(kept, id, loadConfig(self.env).webhookKeys)).toBe(secret);
  });

  few(3).each([
    ["no url", { events: ["agent.revoked"] }, "url"],
    ["a url that is none", { url: "hooks", events: ["agent.revoked"] }, "url"],
    ["a url into the network", { url: "https://169.254.169.254/", events: ["agent.revoked"] }, "url"],
    ["a url with a password", { url: "https://u:p@hooks.example.com/", events: ["agent.revoked"] }, "url"],
    ["no events", { url: URL }, "events"],
    ["an empty list of events", { url: URL, events: [] }, "events"],
    ["an event that is never fired", { url: URL, events: ["agent.exploded"] }, "events.0"],
    ["events that are no list", { url: URL, events: "agent.revoked" }, "events"],
    ["a long description", { url: URL, events: ["agent.revoked"], description: "x".repeat(501) }, "description"],
  ])("refuses %s, and names the field", async (_, json, field) => {
    const { status, body } = await send("POST", "/webhooks", agent, json);
    expect([status, body.code]).toEqual([400, "validation_error"]);
    expect(body.details).toContainEqual({ field, message: expect.any(String) });
  });

  it("lets only administrators subscribe to the events of every agent", async () => {
    const json = { url: URL, events: ["agent.revoked"], all_agents: true };
    const refused = await send("POST", "/webhooks", agent, json);
    expect([refused.status, refused.body.required]).toEqual([403, "*:*:*"]);
    const made = await send("POST", "/webhooks", admin, json);
    expect(made.status).toBe(201);
    expect((await send("GET", `/webhooks/${made.body.webhook.id}`, admin)).body.all_agents).toBe(true);
  });

  it("lets no narrower token of an administrator lead everybody's events elsewhere, nor read them", SLOW, async () => {
    const { id } = await hook(self, admin, { url: URL, all_agents: true });
    const json = { agent_id: admin.id, api_key: admin.apiKey, scope: "lab:things:read" };
    const { body } = await self.call("/agents/verify", { method: "POST", json });
    const narrow = { ...admin, token: body.token.access_token };
    for (const [method, path, sent] of [
      ["PUT", `/webhooks/${id}`, { url: "https://evil.example.com/" }],
      ["PUT", `/webhooks/${id}`, { events: ["agent.registered"] }],
      ["POST", `/webhooks/${id}/regenerate-secret`, {}],
      ["GET", `/webhooks/${id}/deliveries`, undefined],
      ["GET", `/webhooks/${id}/deliveries/msg_1`, undefined],
      ["POST", `/webhooks/${id}/deliveries/msg_1/redeliver`, undefined],
    ] as const) {
      const refused = await send(method, path, narrow, sent);
      expect([refused.status, refused.body.required]).toEqual([403, "*:*:*"]);
    }
    const read = (await send("GET", `/webhooks/${id}`, admin)).body;
    expect([read.webhook.url, read.webhook.events]).toEqual([URL, expect.not.arrayContaining(["agent.registered"])]);
    // Its own webhooks are its own.
    const own = (await hook(self, admin, { url: URL })).id;
    expect((await send("PUT", `/webhooks/${own}`, narrow, { url: `${URL}/2` })).status).toBe(200);
  });

  it("lets an agent have twenty, also when it asks for more at once", SLOW, async () => {
    const many = await self.agent();
    const json = { url: URL, events: ["agent.revoked"] };
    const made = await Promise.all(Array.from({ length: 25 }, () => send("POST", "/webhooks", many, json)));
    expect(made.filter(({ status }) => status === 201)).toHaveLength(20);
    expect(made.filter(({ status, body }) => status === 409 && body.code === "too_many_webhooks")).toHaveLength(5);
    expect((await send("GET", "/webhooks", many)).body.webhooks).toHaveLength(20);
  });
});

describe("GET /webhooks", () => {
  it("lists the caller's own, without secrets, an administrator's too", async () => {
    const another = await self.admin();
    const mine = await hook(self, agent, { url: URL });
    await hook(self, another, { url: URL, all_agents: true });
    const { status, body } = await send("GET", "/webhooks", agent);
    expect(status).toBe(200);
    expect(Object.keys(body).sort()).toEqual(["details", "next_cursor", "success", "webhooks"]);
    expect(body.webhooks).toEqual([
      {
        id: mine.id,
        agent_id: agent.id,
        url: URL,
        events: ["agent.tier_updated"],
        secret: "***",
        created_at: expect.any(String),
      },
    ]);
    expect(
      (await send("GET", "/webhooks", another)).body.webhooks.map((one: { agent_id: string }) => one.agent_id),
    ).toEqual([another.id]);
  });
});

describe("GET /webhooks/events", () => {
  it("lists exactly the events that are sent", async () => {
    const { status, body } = await self.call("/webhooks/events");
    expect(status).toBe(200);
    expect(body).toEqual({ events: [...EVENTS] });
  });
});

describe("PUT /webhooks/{id}", () => {
  it("changes the given properties, and nothing else", async () => {
    const { id } = await hook(self, agent, { url: URL, description: "first" });
    const moved = await send("PUT", `/webhooks/${id}`, agent, { url: `${URL}/2` });
    expect(moved.body).toMatchObject({
      success: true,
      webhook: { url: `${URL}/2`, events: ["agent.tier_updated"], secret: "***" },
      description: "first",
      is_active: true,
    });
    const cleared = await send("PUT", `/webhooks/${id}`, agent, { description: null, events: ["agent.revoked"] });
    expect(cleared.body).toMatchObject({ webhook: { url: `${URL}/2`, events: ["agent.revoked"] }, description: null });
  });

  it("switches off and on again", async () => {
    const { id } = await hook(self, agent, { url: URL });
    expect((await send("PUT", `/webhooks/${id}`, agent, { is_active: false })).body.is_active).toBe(false);
    const refused = await send("POST", `/webhooks/${id}/test`, agent);
    expect([refused.status, refused.body.code]).toEqual([409, "webhook_inactive"]);
    expect((await send("PUT", `/webhooks/${id}`, agent, { is_active: true })).body.is_active).toBe(true);
    expect((await send("POST", `/webhooks/${id}/test`, agent)).status).toBe(200);
  });

  few(1).each([
    [{ url: "https://localhost/" }, "url"],
    [{ events: [] }, "events"],
    [{ is_active: "no" }, "is_active"],
  ])("refuses %j", async (json, field) => {
    const { id } = await hook(self, agent, { url: URL });
    const { status, body } = await send("PUT", `/webhooks/${id}`, agent, json);
    expect([status, body.details[0].field]).toEqual([400, field]);
    expect((await send("GET", `/webhooks/${id}`, agent)).body.webhook.url).toBe(URL);
  });
});

describe("POST /webhooks/{id}/regenerate-secret", () => {
  it("shows another secret this once; without an overlap the former is dropped", async () => {
    const { id, secret } = await hook(self, agent, { url: URL });
    const { status, body } = await send("POST", `/webhooks/${id}/regenerate-secret`, agent);
    expect(status).toBe(200);
    expect(Object.keys(body).sort()).toEqual(["message", "success", "webhook"]);
    expect(body.webhook.secret).toMatch(/^whsec_/);
    expect(body.webhook.secret).not.toBe(secret);
    const row = await self.env.DB.prepare("SELECT previous_secret FROM webhooks WHERE id = ?").bind(id).first();
    expect(row).toEqual({ previous_secret: null });
  });

  few(1).each([-1, 604_801, 1.5, "60"])("refuses an overlap of %j seconds", async (overlap_seconds) => {
    const { id } = await hook(self, agent, { url: URL });
    const kept = await keptSecret(id);
    expect((await send("POST", `/webhooks/${id}/regenerate-secret`, agent, { overlap_seconds })).status).toBe(400);
    expect(await keptSecret(id)).toBe(kept);
  });
});

describe("DELETE /webhooks/{id}", () => {
  it("deletes it with its deliveries", SLOW, async () => {
    const { id } = await hook(self, agent, { url: URL });
    await send("POST", `/webhooks/${id}/test`, agent);
    const { status, body } = await send("DELETE", `/webhooks/${id}`, agent);
    expect([status, Object.keys(body).sort()]).toEqual([200, ["message", "success"]]);
    expect((await send("GET", `/webhooks/${id}`, agent)).status).toBe(404);
    expect((await send("DELETE", `/webhooks/${id}`, agent)).status).toBe(404);
    const other = await hook(self, agent, { url: URL });
    self.sent.length = 0;
    expect((await send("DELETE", `/webhooks/${other.id}`, admin)).status).toBe(200);
    const [record] = await self.records(agent.id);
    expect(record).toMatchObject({ agentId: agent.id, message: `webhook ${other.id} deleted by ${admin.id}` });
    const left = await self.env.DB.prepare("SELECT count(*) AS n FROM deliveries WHERE webhook_id = ?")
      .bind(id)
      .first();
    expect(left).toEqual({ n: 0 });
  });
});

describe("another agent's webhook", () => {
  few(3).each([
    ["GET", "", undefined],
    ["PUT", "", { is_active: false }],
    ["PUT", "", { url: "https://evil.example.com/" }],
    ["DELETE", "", undefined],
    ["POST", "/regenerate-secret", undefined],
    ["GET", "/deliveries", undefined],
    ["POST", "/deliveries/DELIVERY/redeliver", undefined],
    ["POST", "/test", undefined],
  ])("does not exist: %s %s %j, and is open to an administrator", async (method, path, json) => {
    const { id } = await hook(self, agent, { url: URL });
    const { body: tested } = await send("POST", `/webhooks/${id}/test`, agent);
    const kept = await keptSecret(id);
    const at = (webhookId: string) => `/webhooks/${webhookId}${path.replace("DELIVERY", tested.delivery.id)}`;
    const theirs = await send(method, at(id), stranger, json);
    const nobodys = await send(method, at("whk_000000000000000000000000"), stranger, json);
    expect(theirs.status).toBe(404);
    expect({ ...theirs.body, request_id: "" }).toEqual({ ...nobodys.body, request_id: "" });
    expect(await keptSecret(id)).toBe(kept);
    expect((await send("GET", `/webhooks/${id}`, agent)).body).toMatchObject({
      is_active: true,
      webhook: { url: URL },
    });
    expect([200, 409]).toContain((await send(method, at(id), admin, json)).status);
  });

  it("keeps its deliveries to itself: one's own webhook's id does not open another's delivery", async () => {
    const [theirs, own] = [await hook(self, agent, { url: URL }), await hook(self, stranger, { url: URL })];
    const { body } = await send("POST", `/webhooks/${theirs.id}/test`, agent);
    const path = `/webhooks/${own.id}/deliveries/${body.delivery.id}/redeliver`;
    expect((await send("POST", path, stranger)).status).toBe(404);
  });
});

describe("an encryption key", () => {
  it(
    "is replaced without an outage: secrets are encrypted anew under the newest, then the older can go",
    SLOW,
    async () => {
      const before = loadConfig(self.env).webhookKeys[0]!;
      const { id, secret } = await hook(self, agent, { url: URL });
      await send("POST", `/webhooks/${id}/regenerate-secret`, agent, { overlap_seconds: 600 });
      const fresh = newEncryptionKey();
      const rotated = hookWorld({ WEBHOOK_KEYS: JSON.stringify({ keys: [fresh, before] }) });
      await runScheduledJobs(rotated.env, loadConfig(rotated.env), Date.now());
      const { results } = await self.env.DB.prepare("SELECT id, secret, previous_secret FROM webhooks").all<{
        id: string;
        secret: string;
        previous_secret: string | null;
      }>();
      expect(results.length).toBeGreaterThan(10);
      for (const row of results) expect(await openSecret(row.secret, row.id, [fresh])).toMatch(/^whsec_/);
      const former = results.find((row) => row.id === id)!.previous_secret!;
      expect(await openSecret(former, id, [fresh])).toBe(secret);

      // A secret that is regenerated between the promotion of a key and the next housekeeping leaves its former one behind.
      const again = newEncryptionKey();
      const promoted = hookWorld({ WEBHOOK_KEYS: JSON.stringify({ keys: [again, fresh] }) });
      const overlap = { method: "POST", token: agent.token, json: { overlap_seconds: 600 } };
      await promoted.call(`/webhooks/${id}/regenerate-secret`, overlap);
      const previous = () =>
        self.env.DB.prepare("SELECT previous_secret FROM webhooks WHERE id = ?")
          .bind(id)
          .first<string>("previous_secret");
      await runScheduledJobs(promoted.env, loadConfig(promoted.env), Date.now());
      expect(await openSecret((await previous())!, id, [again])).toMatch(/^whsec_/);

      // What is past its overlap is not worth an encryption.
      const next = newEncryptionKey();
      const last = hookWorld({ WEBHOOK_KEYS: JSON.stringify({ keys: [next, again] }) });
      await runScheduledJobs(last.env, loadConfig(last.env), Date.now() + 601_000);
      expect(await previous()).toBeNull();
      expect(await openSecret(await keptSecret(id), id, [next])).toMatch(/^whsec_/);
    },
  );
});
