import { createExecutionContext, createMessageBatch, getQueueResult, waitOnExecutionContext } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { Webhook } from "standardwebhooks";
import { afterEach, describe, expect, it, vi } from "vitest";
import { newEncryptionKey } from "../../scripts/secrets.ts";
import worker from "../../src/index.ts";
import { loadConfig } from "../../src/config/config.ts";
import { runScheduledJobs } from "../../src/jobs/run-jobs.ts";
import { deliver } from "../../src/webhooks/deliveries/deliver.ts";
import { recordDead } from "../../src/webhooks/deliveries/store/attempts.ts";
import { attempts, deliveriesOf, hook, hookWorld, olderSignature, receiver, settle } from "../support/receiver.ts";
import { WRONG_API_KEY } from "../support/secrets.ts";
import type { Arrived } from "../support/upstream-server.ts";
import type { Registered, World } from "../support/world.ts";
import { SLOW, few } from "../support/extents.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

const DELIVERY_KEYS = [
  "agent_id",
  "attempts",
  "created_at",
  "error",
  "event",
  "event_id",
  "id",
  "next_attempt_at",
  "response_body",
  "response_status",
  "status",
  "updated_at",
  "webhook_id",
];

afterEach(async () => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  // Webhooks of administrators would hear of the next test's agents.
  await env.DB.batch([env.DB.prepare("DELETE FROM webhooks"), env.DB.prepare("DELETE FROM events")]);
});

const setTier = (where: World, admin: Registered, { id }: Registered, tier = "pro") =>
  where.call(`/agents/${id}/tier`, { method: "PUT", token: admin.token, json: { tier } });
const post = (where: World, who: Registered, path: string, json?: unknown) =>
  where.call(path, { method: "POST", token: who.token, ...(json !== undefined && { json }) });
const now = () => Date.now();
const later = (ms: number) => vi.setSystemTime(Date.now() + ms);
const house = (where: World) => runScheduledJobs(where.env, loadConfig(where.env), Date.now());

/** An agent whose tier's changes go to a receiver that answers like this, an administrator to change it, and the first event sent. */
async function sent(answers: string, where = hookWorld()) {
  const [agent, admin] = [await where.agent(), await where.admin()];
  const at = receiver(answers);
  const { id, secret } = await hook(where, agent, { url: at.url });
  await setTier(where, admin, agent);
  await settle(where);
  const only = async () => (await deliveriesOf(where, agent, id))[0];
  return { where, agent, admin, at, id, secret, only };
}

/** Events that are tested with what causes them: many failures, many sessions, several keys. */
const ELSEWHERE = new Set([
  "webhook.disabled",
  "session.limit_reached",
  "agent.key_created",
  "agent.key_deleted",
  "grant.expiring",
]);

describe("an event", () => {
  it("arrives once, signed, with the body of the contract", async () => {
    const { at, agent, secret, only } = await sent("200");
    const [arrived, ...more] = await at.arrived();
    expect(more).toEqual([]);
    const { headers, body } = arrived!;
    const read = new Webhook(secret).verify(body, headers) as Record<string, unknown>;
    expect(Object.keys(read).sort()).toEqual(["agent_id", "data", "event", "id", "timestamp"]);
    expect(read).toMatchObject({
      id: expect.stringMatching(/^evt_/),
      event: "agent.tier_updated",
      agent_id: agent.id,
      timestamp: expect.stringMatching(/^\d{4}-.*\.\d{3}Z$/),
      data: { agent_id: agent.id, tier: "pro" },
    });
    expect(headers).toMatchObject({
      "content-type": "application/json",
      "user-agent": "AgentAuth-Webhooks/1",
      "x-agentauth-event": "agent.tier_updated",
      "x-agentauth-signature": expect.stringMatching(/^[0-9a-f]{64}$/),
    });
    const delivery = await only();
    expect(Object.keys(delivery).sort()).toEqual(DELIVERY_KEYS);
    expect(delivery).toMatchObject({
      id: headers["webhook-id"],
      event_id: read.id,
      status: "success",
      attempts: 1,
      next_attempt_at: null,
      response_status: 200,
      response_body: "answer 200",
      error: null,
    });
  });

  it("goes to every webhook that listens, and to none that does not", SLOW, async () => {
    const self = hookWorld();
    const [agent, other, admin] = [await self.agent(), await self.agent(), await self.admin()];
    const places = Array.from({ length: 6 }, () => receiver());
    const [both, second, otherEvent, otherAgent, all, off] = places as [(typeof places)[0], ...typeof places];
    await hook(self, agent, { url: both.url, events: ["agent.tier_updated", "agent.revoked"] });
    await hook(self, agent, { url: second!.url });
    await hook(self, agent, { url: otherEvent!.url, events: ["agent.revoked"] });
    await hook(self, other, { url: otherAgent!.url });
    await hook(self, admin, { url: all!.url, all_agents: true });
    const silent = await hook(self, agent, { url: off!.url });
    await self.call(`/webhooks/${silent.id}`, { method: "PUT", token: agent.token, json: { is_active: false } });
    await setTier(self, admin, agent);
    await settle(self);
    const counts = await Promise.all(places.map(async (place) => (await place.arrived()).length));
    expect(counts).toEqual([1, 1, 0, 0, 1, 0]);
    const ids = await Promise.all([both, second!, all!].map(async (place) => (await place.arrived())[0]!));
    expect(new Set(ids.map(({ headers }) => headers["webhook-id"])).size).toBe(3);
    expect(new Set(ids.map(({ body }) => JSON.parse(body).id)).size).toBe(1);
  });

  it("is announced for each thing that happens to an agent, with its data", SLOW, async () => {
    const self = hookWorld();
    const admin = await self.admin();
    const at = receiver();
    const everything = (await self.call("/webhooks/events")).body.events;
    await hook(self, admin, { url: at.url, events: everything, all_agents: true });
    const agent = await self.agent();
    const admins = (path: string, json?: unknown, method = "PUT") =>
      self.call(`/agents/${agent.id}${path}`, { method, token: admin.token, ...(json !== undefined && { json }) });
    await post(self, agent, "/agents/verify", { agent_id: agent.id, api_key: WRONG_API_KEY });
    await self.call("/proxy/lab/things", { method: "POST", token: agent.token });
    await admins("/tier", { tier: "pro" });
    expect((await admins("", { name: "renamed" }, "PATCH")).status).toBe(200);
    await admins("/permissions", { permissions: ["lab:things:read", "lab:notes:read"] });
    await admins("/rotate-key", { overlap_seconds: 60 }, "POST");
    await post(self, agent, "/agents/refresh", { refresh_token: agent.refreshToken });
    later(20_000);
    await post(self, agent, "/agents/refresh", { refresh_token: agent.refreshToken });
    await settle(self);
    await admins("/status", { status: "suspended" });
    await admins("/revoke", undefined, "POST");
    await admins("", undefined, "DELETE");
    await settle(self);
    const told = (await at.arrived())
      .map(({ body }) => JSON.parse(body))
      .filter(({ agent_id }) => agent_id === agent.id);
    const data = Object.fromEntries(told.map((one) => [one.event, one.data]));
    expect(Object.keys(data).sort()).toEqual(everything.filter((name: string) => !ELSEWHERE.has(name)).sort());
    expect(Object.keys(data["agent.registered"]).sort()).toEqual(["agent_id", "created_at", "name", "owner_email"]);
    expect(Object.keys(data["agent.verified"]).sort()).toEqual(["agent_id", "ip_address", "verified_at"]);
    expect(data["agent.revoked"]).toEqual({ agent_id: agent.id, revoked_at: expect.any(String), revoked_by: admin.id });
    expect(data["gateway.denied"]).toMatchObject({ agent_id: agent.id, required: "lab:things:write" });
    for (const one of told) expect(JSON.stringify(one)).not.toMatch(/ak_|rt_|eyJ|whsec_/);
  });
});

describe("the change and its event", () => {
  it("are not lost apart: what the queue does not take is swept, once", SLOW, async () => {
    const where = hookWorld();
    const [agent, admin] = [await where.agent(), await where.admin()];
    const at = receiver();
    await hook(where, agent, { url: at.url });
    const broken = hookWorld({
      ACTIVITY: { send: () => Promise.reject(new Error("no queue")) },
      DELIVERIES: { sendBatch: () => Promise.reject(new Error("no queue")) },
    });
    vi.spyOn(console, "warn").mockImplementation(() => {});
    expect((await setTier(broken, admin, agent)).status).toBe(200);
    expect(await at.arrived()).toEqual([]);
    const events = () =>
      where.env.DB.prepare("SELECT count(*) AS n FROM events WHERE agent_id = ? AND event LIKE 'agent.%_updated'")
        .bind(agent.id)
        .first("n");
    expect(await events()).toBe(1);
    // The sweep makes the deliveries, and cannot ask for them either.
    await house(broken);
    expect(await events()).toBe(0);
    expect(await at.arrived()).toEqual([]);
    later(3 * MINUTE);
    await house(where);
    await attempts(where);
    expect(await at.arrived()).toHaveLength(1);
    later(3 * MINUTE);
    await house(where);
    expect(where.asked).toEqual([]);
  });

  it("are both undone where the change fails", async () => {
    const where = hookWorld();
    const [agent, admin] = [await where.agent(), await where.admin()];
    await hook(where, agent, { url: receiver().url, events: ["agent.status_updated", "agent.revoked"] });
    const status = (to: string) =>
      where.call(`/agents/${agent.id}/status`, { method: "PUT", token: admin.token, json: { status: to } });
    expect((await status("revoked")).status).toBe(200);
    const events = () =>
      where.env.DB.prepare("SELECT count(*) AS n FROM events WHERE agent_id = ? AND event LIKE 'agent.%_updated'")
        .bind(agent.id)
        .first("n");
    const before = await events();
    expect((await status("active")).status).toBe(409);
    expect(await events()).toBe(before);
  });

  it("give one delivery, also when two workers empty the outbox at once", SLOW, async () => {
    const where = hookWorld();
    const [agent, admin] = [await where.agent(), await where.admin()];
    const at = receiver();
    const { id } = await hook(where, agent, { url: at.url });
    await setTier(where, admin, agent);
    await Promise.all([settle(where), settle(where), house(where)]);
    await attempts(where);
    expect(await at.arrived()).toHaveLength(1);
    expect(await deliveriesOf(where, agent, id)).toHaveLength(1);
  });
});

describe("a delivery that the queue brings twice", () => {
  it("is attempted once, also at the same moment, and is one row", SLOW, async () => {
    const { where, agent, admin, at, id } = await sent("200");
    await setTier(where, admin, agent, "enterprise");
    await settleAllButAttempts(where);
    const messages = where.asked.splice(0);
    expect(messages).toHaveLength(1);
    where.asked.push(...messages, ...messages, ...messages);
    await attempts(where);
    where.asked.push(...messages);
    await attempts(where);
    expect(await at.arrived()).toHaveLength(2);
    expect(await deliveriesOf(where, agent, id)).toHaveLength(2);
  });

  it("is attempted again by another consumer where the first died in the middle", SLOW, async () => {
    const { where, agent, admin, at, id } = await sent("200");
    await setTier(where, admin, agent, "enterprise");
    await settleAllButAttempts(where);
    const { deliveryId } = where.asked.splice(0)[0]!;
    // As a consumer leaves it that claimed it and was killed.
    await where.env.DB.prepare("UPDATE deliveries SET attempts = 1, next_attempt_at = ?2 WHERE id = ?1")
      .bind(deliveryId, now() + MINUTE)
      .run();
    await deliver(where.env, loadConfig(where.env), deliveryId);
    expect(await at.arrived()).toHaveLength(1);
    later(3 * MINUTE);
    await house(where);
    await attempts(where);
    const arrived = await at.arrived();
    expect(arrived).toHaveLength(2);
    expect(arrived[1]!.headers["webhook-id"]).toBe(deliveryId);
    expect((await deliveriesOf(where, agent, id))[0]).toMatchObject({ id: deliveryId, status: "success", attempts: 2 });
  });
});

describe("an attempt that ends after its delivery was started again", () => {
  few(1).each([
    ["its success", "200", 1],
    ["its failure", "500", 1],
    ["its failure, which would have been the last", "500", 10],
  ])("leaves nothing of %s behind", async (_, answer, attempt) => {
    const where = hookWorld();
    const [agent, admin] = [await where.agent(), await where.admin()];
    const at = receiver(`${answer},200`);
    const { id } = await hook(where, agent, { url: at.url });
    await setTier(where, admin, agent);
    await settleAllButAttempts(where);
    const { deliveryId } = where.asked.splice(0)[0]!;
    await where.env.DB.prepare("UPDATE deliveries SET attempts = ?2 WHERE id = ?1")
      .bind(deliveryId, attempt - 1)
      .run();
    const only = async () => (await deliveriesOf(where, agent, id))[0];

    const send = globalThis.fetch;
    vi.spyOn(globalThis, "fetch").mockImplementationOnce(async (input, init) => {
      later(2 * MINUTE);
      await recordDead(where.env.DB, [deliveryId], now());
      const again = await post(where, agent, `/webhooks/${id}/deliveries/${deliveryId}/redeliver`);
      expect(again.status).toBe(200);
      return send(input, init);
    });
    await deliver(where.env, loadConfig(where.env), deliveryId);
    expect(await at.arrived()).toHaveLength(1);
    const anew = await only();
    expect(anew).toMatchObject({ id: deliveryId, status: "pending", attempts: 0, response_status: null, error: null });
    expect(Date.parse(anew.next_attempt_at)).toBeLessThanOrEqual(now());

    await attempts(where);
    expect(await at.arrived()).toHaveLength(2);
    expect(await only()).toMatchObject({ status: "success", attempts: 1, response_status: 200 });
  });
});

describe("an attempt that ends while another one is under way", () => {
  few(1).each([
    ["its success", "200", "attempts = 1, attempt_id = 'att_another'", 1],
    ["its failure", "500", "attempts = 1, attempt_id = 'att_another'", 1],
    // A former version of the Worker claims a delivery without naming its attempt.
    ["its success beside one without a name", "200", "attempts = 2", 2],
    ["its failure beside one without a name", "500", "attempts = 2", 2],
  ])("leaves nothing of %s behind", async (_, answer, claimed, count) => {
    const where = hookWorld();
    const [agent, admin] = [await where.agent(), await where.admin()];
    const at = receiver(answer);
    const { id } = await hook(where, agent, { url: at.url });
    await setTier(where, admin, agent);
    await settleAllButAttempts(where);
    const { deliveryId } = where.asked.splice(0)[0]!;
    const until = now() + 5 * MINUTE;
    const send = globalThis.fetch;
    vi.spyOn(globalThis, "fetch").mockImplementationOnce(async (input, init) => {
      await where.env.DB.prepare(`UPDATE deliveries SET ${claimed}, next_attempt_at = ?2 WHERE id = ?1`)
        .bind(deliveryId, until)
        .run();
      return send(input, init);
    });
    await deliver(where.env, loadConfig(where.env), deliveryId);
    expect(await at.arrived()).toHaveLength(1);
    expect((await deliveriesOf(where, agent, id))[0]).toMatchObject({
      status: "pending",
      attempts: count,
      next_attempt_at: new Date(until).toISOString(),
      response_status: null,
      error: null,
    });
  });
});

async function settleAllButAttempts(where: World): Promise<void> {
  const wanted = where.asked;
  await runScheduledJobs(where.env, loadConfig(where.env), Date.now());
  expect(wanted.length).toBeGreaterThan(0);
}

describe("a receiver that fails", () => {
  it("is tried on the schedule, under one id, each time freshly signed, until it takes it", async () => {
    const { where, at, secret, only } = await sent("500,reset,302,200");
    const waits = [5_000, 5 * MINUTE, 30 * MINUTE];
    for (const wait of waits) {
      const { status, next_attempt_at } = await only();
      expect(status).toBe("pending");
      const due = Date.parse(next_attempt_at) - now();
      expect(due).toBeGreaterThan(wait * 0.9 - 1000);
      expect(due).toBeLessThan(wait * 1.1 + 1);
      expect(where.asked).toHaveLength(1);
      const early = where.asked[0]!.delaySeconds * 1000 - due;
      expect([early >= 0, early < 2000]).toEqual([true, true]);
      later(due + 1);
      await attempts(where);
    }
    expect(await only()).toMatchObject({ status: "success", attempts: 4, next_attempt_at: null, response_status: 200 });
    const arrived = await at.arrived();
    expect(new Set(arrived.map(({ headers }) => headers["webhook-id"])).size).toBe(1);
    expect(new Set(arrived.map(({ body }) => body)).size).toBe(1);
    expect(new Set(arrived.map(({ headers }) => headers["webhook-timestamp"])).size).toBe(4);
    // The library judges the last one's timestamp against the clock of its attempt.
    expect(new Webhook(secret).verify(arrived[3]!.body, arrived[3]!.headers)).toBeTruthy();
    expect(await at.elsewhere()).toEqual([]);
  });

  few(1).each([
    ["500", { response_status: 500, error: null }],
    ["302", { response_status: 302, error: null }],
    ["reset", { response_status: null, error: "the connection failed" }],
  ])("by %s is seen by its owner", async (answer, told) => {
    const { only } = await sent(`${answer}`);
    expect(await only()).toMatchObject({ status: "pending", attempts: 1, ...told });
  });

  it("is left alone for as long as it asks", SLOW, async () => {
    const { where, at, only } = await sent("503~3600,200");
    const due = Date.parse((await only()).next_attempt_at) - now();
    expect(Math.abs(due - HOUR)).toBeLessThan(5000);
    expect(where.asked[0]!.delaySeconds).toBe(Math.ceil(due / 1000));
    await attempts(where);
    expect(await at.arrived()).toHaveLength(1);
    later(due + 1);
    await house(where);
    later(3 * MINUTE);
    await house(where);
    await attempts(where);
    expect(await at.arrived()).toHaveLength(2);
  });

  it("waits longer than a message can in hops", SLOW, async () => {
    const { where, at, only } = await sent("500");
    await where.env.DB.prepare("UPDATE deliveries SET attempts = 7, next_attempt_at = ?2 WHERE id = ?1")
      .bind((await only()).id, now())
      .run();
    await attempts(where);
    expect(where.asked.map(({ delaySeconds }) => delaySeconds)).toEqual([12 * 3600]);
    later(12 * HOUR);
    await attempts(where);
    expect(await at.arrived()).toHaveLength(2);
    const { delaySeconds } = where.asked[0]!;
    expect(delaySeconds).toBeLessThanOrEqual(12 * 3600);
    expect(delaySeconds).toBeGreaterThan(0);
    later(delaySeconds * 1000);
    await attempts(where);
    expect(await at.arrived()).toHaveLength(3);
  });

  it("is given up after ten attempts, and can be started again by hand, under the same id", SLOW, async () => {
    const { where, agent, at, id, only } = await sent(`${"500,".repeat(10)}200`);
    for (let round = 0; round < 40 && (await only()).status === "pending"; round++) {
      later(Math.max(0, Date.parse((await only()).next_attempt_at) - now()) + 1);
      await attempts(where);
    }
    const failed = await only();
    expect(failed).toMatchObject({ status: "failed", attempts: 10, next_attempt_at: null, response_status: 500 });
    expect(await at.arrived()).toHaveLength(10);
    expect(where.asked).toEqual([]);
    const again = await post(where, agent, `/webhooks/${id}/deliveries/${failed.id}/redeliver`);
    expect([again.status, Object.keys(again.body).sort()]).toEqual([200, ["delivery", "message", "success"]]);
    expect(again.body.delivery).toMatchObject({ id: failed.id, status: "pending", attempts: 0 });
    const twice = await post(where, agent, `/webhooks/${id}/deliveries/${failed.id}/redeliver`);
    expect([twice.status, twice.body.code]).toEqual([409, "delivery_pending"]);
    await attempts(where);
    expect(await only()).toMatchObject({ id: failed.id, status: "success", attempts: 1 });
    const ids = (await at.arrived()).map(({ headers }) => headers["webhook-id"]);
    expect(new Set(ids)).toEqual(new Set([failed.id]));
  });

  it(
    "that was repaired need not wait for the schedule: what is not due within a minute can be started again",
    SLOW,
    async () => {
      const { where, agent, at, id, only } = await sent("500,500,200");
      const again = async () => post(where, agent, `/webhooks/${id}/deliveries/${(await only()).id}/redeliver`);
      expect((await again()).body.code).toBe("delivery_pending");
      later(10_000);
      await attempts(where);
      expect((await again()).body.delivery).toMatchObject({ status: "pending", attempts: 0 });
      await attempts(where);
      expect(await only()).toMatchObject({ status: "success", attempts: 1 });
      later(6 * MINUTE);
      await house(where);
      await attempts(where);
      expect(await at.arrived()).toHaveLength(3);
    },
  );

  it("that answers 410 is disabled, and its owner is notified", SLOW, async () => {
    const where = hookWorld();
    const [agent, admin] = [await where.agent(), await where.admin()];
    const [gone, told] = [receiver("410"), receiver()];
    const { id } = await hook(where, agent, { url: gone.url });
    await hook(where, agent, { url: told.url, events: ["webhook.disabled"] });
    await setTier(where, admin, agent);
    await settle(where);
    await settle(where);
    expect((await where.call(`/webhooks/${id}`, { token: agent.token })).body).toMatchObject({
      is_active: false,
      disabled_at: expect.any(String),
      disabled_reason: "the receiver answered 410 Gone",
    });
    const [event] = (await told.arrived()).map(({ body }) => JSON.parse(body));
    expect(event).toMatchObject({ event: "webhook.disabled", data: { webhook_id: id, agent_id: agent.id } });
    await where.drain();
    const { activity } = (await where.call(`/agents/${agent.id}/activity`, { token: agent.token })).body;
    expect(activity.map(({ message }: { message: string }) => message)).toContain(
      `webhook ${id} switched off: the receiver answered 410 Gone`,
    );
    await setTier(where, admin, agent, "enterprise");
    await settle(where);
    expect(await gone.arrived()).toHaveLength(1);
  });

  it(
    "is switched off after five deliveries in a row were given up, but not where one arrived between them",
    SLOW,
    async () => {
      const where = hookWorld();
      const [agent, admin] = [await where.agent(), await where.admin()];
      const at = receiver("500,500,500,500,200,500");
      const { id } = await hook(where, agent, { url: at.url });
      const active = async () => (await where.call(`/webhooks/${id}`, { token: admin.token })).body.is_active;
      const states = [];
      for (let n = 0; n < 10; n++) {
        await post(where, admin, `/webhooks/${id}/test`);
        // As if this were the last attempt of the schedule.
        await where.env.DB.prepare("UPDATE deliveries SET attempts = 9 WHERE webhook_id = ? AND status = 'pending'")
          .bind(id)
          .run();
        await attempts(where);
        states.push(await active());
      }
      expect(states).toEqual([true, true, true, true, true, true, true, true, true, false]);
      await where.call(`/webhooks/${id}`, { method: "PUT", token: agent.token, json: { is_active: true } });
      expect((await where.call(`/webhooks/${id}`, { token: agent.token })).body).toMatchObject({
        is_active: true,
        disabled_at: null,
        disabled_reason: null,
      });
    },
  );

  it("is shown with what came of each attempt, also from before it was started again", SLOW, async () => {
    const { where, agent, admin, at, id, only } = await sent("500,reset,long");
    const show = async (who = agent, delivery?: string) =>
      where.call(`/webhooks/${id}/deliveries/${delivery ?? (await only()).id}`, { token: who.token });
    later(10_000);
    await attempts(where);
    await post(where, agent, `/webhooks/${id}/deliveries/${(await only()).id}/redeliver`);
    await attempts(where);
    const { body } = await show();
    const time = expect.stringMatching(/^\d{4}-.*\.\d{3}Z$/);
    const one = { at: time, duration_ms: expect.any(Number), response_status: null, response_body: null, error: null };
    expect(body).toEqual({
      success: true,
      delivery: await only(),
      request_body: (await at.arrived())[0]!.body,
      attempts: [
        { ...one, number: 1, response_status: 500, response_body: "answer 500" },
        { ...one, number: 2, error: "the connection failed" },
        { ...one, number: 1, response_status: 200, response_body: "x".repeat(256) },
      ],
    });
    expect(body.attempts.map((attempt: { at: string }) => attempt.at)).toEqual(
      body.attempts.map((attempt: { at: string }) => attempt.at).toSorted(),
    );
    expect((await show(admin)).body).toEqual(body);
    expect((await show(await where.agent())).status).toBe(404);
    expect((await show(agent, "msg_0")).status).toBe(404);
    const other = await hook(where, agent, { url: at.url });
    const elsewhere = `/webhooks/${other.id}/deliveries/${body.delivery.id}`;
    expect((await where.call(elsewhere, { token: agent.token })).status).toBe(404);
  });

  it("has its last ten attempts kept, whose bytes are counted and do not outlive it", SLOW, async () => {
    const { where, agent, id, only } = await sent("200");
    const again = async () => {
      later(1000);
      await post(where, agent, `/webhooks/${id}/deliveries/${(await only()).id}/redeliver`);
      await attempts(where);
    };
    const bytes = async () =>
      env.DB.prepare(
        `SELECT t.bytes AS counted, sum(length(body) + 1024 + length(CAST(attempt_log AS BLOB))) AS stored, attempt_log AS log
         FROM delivery_totals t JOIN deliveries d USING (webhook_id) WHERE webhook_id = ?`,
      )
        .bind(id)
        .first<{ counted: number; stored: number; log: string }>();
    for (let round = 0; round < 11; round += 1) await again();
    const { counted, stored, log } = (await bytes())!;
    expect(JSON.parse(log)).toHaveLength(10);
    expect(counted).toBe(stored);
    await env.DB.prepare("DELETE FROM deliveries WHERE webhook_id = ?").bind(id).run();
    expect(await env.DB.prepare("SELECT bytes FROM delivery_totals WHERE webhook_id = ?").bind(id).first("bytes")).toBe(
      0,
    );
  });

  it("keeps of a long answer its first kilobyte", SLOW, async () => {
    const { only } = await sent("long");
    const { status, response_body } = await only();
    expect([status, response_body.length]).toEqual(["success", 1024]);
  });
});

describe("a delivery on its way", () => {
  it("is signed with both secrets during an overlap, and with the new one alone after it", async () => {
    const { where, agent, admin, at, id, secret } = await sent("200");
    const { body } = await post(where, agent, `/webhooks/${id}/regenerate-secret`, { overlap_seconds: 600 });
    const fresh: string = body.webhook.secret;
    const last = async (tier: string) => {
      await setTier(where, admin, agent, tier);
      await settle(where);
      return (await at.arrived()).at(-1)!;
    };
    const during = await last("enterprise");
    for (const one of [secret, fresh]) expect(new Webhook(one).verify(during.body, during.headers)).toBeTruthy();
    expect(during.headers["x-agentauth-signature"]).toBe(await olderSignature(fresh, during.body));
    later(601_000);
    const after = await last("free");
    expect(new Webhook(fresh).verify(after.body, after.headers)).toBeTruthy();
    expect(() => new Webhook(secret).verify(after.body, after.headers)).toThrow("No matching signature");
  });

  it(
    "comes to a receiver of the older scheme with its second attempt, whichever secret of an overlap it knows",
    SLOW,
    async () => {
      const { where, agent, at, id, secret } = await sent("401,200");
      const { body } = await post(where, agent, `/webhooks/${id}/regenerate-secret`, { overlap_seconds: 600 });
      later(10_000);
      await attempts(where);
      await post(where, agent, `/webhooks/${id}/deliveries/${(await deliveriesOf(where, agent, id))[0].id}/redeliver`);
      await attempts(where);
      const [alone, second, first] = await at.arrived();
      const signed = ({ headers }: Arrived) => headers["x-agentauth-signature"];
      const by = (one: string) => olderSignature(one, alone!.body);
      expect([signed(alone!), signed(second!), signed(first!)]).toEqual([
        await by(secret),
        await by(secret),
        await by(body.webhook.secret),
      ]);
    },
  );

  it("is not sent where its webhook was switched off meanwhile", SLOW, async () => {
    const { where, agent, at, id, only } = await sent("500,200");
    await where.call(`/webhooks/${id}`, { method: "PUT", token: agent.token, json: { is_active: false } });
    later(10_000);
    await attempts(where);
    expect(await at.arrived()).toHaveLength(1);
    expect(await only()).toMatchObject({ status: "failed", error: "not sent: the webhook is switched off" });
  });

  it("goes to its webhook's URL of the moment, if it may still go there", SLOW, async () => {
    const { where, agent, at, id, only } = await sent("500,200");
    const moved = receiver();
    await where.call(`/webhooks/${id}`, { method: "PUT", token: agent.token, json: { url: moved.url } });
    later(10_000);
    await attempts(where);
    expect([(await at.arrived()).length, (await moved.arrived()).length]).toEqual([1, 1]);
    expect((await only()).status).toBe("success");
  });

  it("is checked again for where it goes, at every attempt", SLOW, async () => {
    const { where, at, only } = await sent("500,200");
    const strict = hookWorld({ WEBHOOK_ALLOW_LOOPBACK: "false" });
    later(10_000);
    strict.asked.push(...where.asked.splice(0));
    await attempts(strict);
    expect(await at.arrived()).toHaveLength(1);
    expect(await only()).toMatchObject({ status: "failed", error: "not sent: the URL must begin with https://" });
  });

  it("whose secret's key is gone waits for it to be put back, and the log says which key", SLOW, async () => {
    const { where, at, only } = await sent("500,200");
    const rotated = hookWorld({ WEBHOOK_KEYS: JSON.stringify({ keys: [newEncryptionKey()] }) });
    const errors = vi.spyOn(console, "error").mockImplementation(() => {});
    later(10_000);
    rotated.asked.push(...where.asked.splice(0));
    await attempts(rotated);
    expect(await only()).toMatchObject({ status: "pending", error: "not sent: the secret could not be decrypted" });
    expect(errors.mock.calls.flat().join()).toContain("webhook_secret_unreadable");
    expect(await at.arrived()).toHaveLength(1);
    later(6 * MINUTE);
    where.asked.push(...rotated.asked.splice(0));
    await attempts(where);
    expect(await only()).toMatchObject({ status: "success", attempts: 3 });
  });

  it("goes out under the new secret alone where only the former one's key is gone", SLOW, async () => {
    const { where, agent, at, id } = await sent("500,200");
    const [before, added] = [loadConfig(where.env).webhookKeys[0]!, newEncryptionKey()];
    const both = hookWorld({ WEBHOOK_KEYS: JSON.stringify({ keys: [added, before] }) });
    const { body } = await post(both, agent, `/webhooks/${id}/regenerate-secret`, { overlap_seconds: 600 });
    const retired = hookWorld({ WEBHOOK_KEYS: JSON.stringify({ keys: [added] }) });
    vi.spyOn(console, "error").mockImplementation(() => {});
    later(10_000);
    retired.asked.push(...where.asked.splice(0));
    await attempts(retired);
    const { headers, body: text } = (await at.arrived())[1]!;
    expect(headers["webhook-signature"]).not.toContain(" ");
    expect(new Webhook(body.webhook.secret).verify(text, headers)).toBeTruthy();
  });

  it("of a deleted webhook is not sent", SLOW, async () => {
    const { where, agent, at, id } = await sent("500,200");
    await where.call(`/webhooks/${id}`, { method: "DELETE", token: agent.token });
    later(10_000);
    await attempts(where);
    expect(await at.arrived()).toHaveLength(1);
  });
});

describe("a test event", () => {
  it("is sent to that webhook alone, whatever it listens to", async () => {
    const where = hookWorld();
    const agent = await where.agent();
    const [at, other] = [receiver(), receiver()];
    const { id, secret } = await hook(where, agent, { url: at.url });
    await hook(where, agent, { url: other.url });
    const { status, body } = await post(where, agent, `/webhooks/${id}/test`);
    expect(status).toBe(200);
    expect(Object.keys(body).sort()).toEqual(["delivery", "message", "success"]);
    expect(body.delivery).toMatchObject({ status: "pending", event: "webhook.test", webhook_id: id });
    await attempts(where);
    const [arrived] = await at.arrived();
    expect(new Webhook(secret).verify(arrived!.body, arrived!.headers)).toMatchObject({ event: "webhook.test" });
    expect(await other.arrived()).toEqual([]);
  });
});

describe("the deliveries of a webhook", () => {
  it("are listed newest first, by page and by status", SLOW, async () => {
    const where = hookWorld();
    const agent = await where.agent();
    const { id } = await hook(where, agent, { url: receiver("500,500,200").url });
    for (let n = 0; n < 5; n++) {
      await post(where, agent, `/webhooks/${id}/test`);
      await attempts(where);
      later(1000);
    }
    const read = async (query: string) =>
      (await where.call(`/webhooks/${id}/deliveries${query}`, { token: agent.token })).body;
    const all = await read("");
    expect(Object.keys(all).sort()).toEqual(["deliveries", "next_cursor", "pagination", "success"]);
    expect(all.pagination).toEqual({ total: 5, limit: 50, offset: 0, has_more: false });
    const created = all.deliveries.map((one: { created_at: string }) => one.created_at);
    expect(created).toEqual(created.toSorted().toReversed());
    expect((await read("?status=pending")).deliveries).toHaveLength(2);
    expect((await read("?status=success&limit=2")).pagination).toEqual({
      total: 3,
      limit: 2,
      offset: 0,
      has_more: true,
    });
    expect((await read("?limit=2&offset=4")).deliveries).toEqual([all.deliveries[4]]);
    expect((await where.call(`/webhooks/${id}/deliveries?status=lost`, { token: agent.token })).status).toBe(400);
  });

  it("are kept for as long as activity is", SLOW, async () => {
    const { where, id } = await sent("200");
    const kept = () => env.DB.prepare("SELECT count(*) AS n FROM deliveries WHERE webhook_id = ?").bind(id).first("n");
    later(89 * 24 * HOUR);
    await house(where);
    expect(await kept()).toBe(1);
    later(2 * 24 * HOUR);
    await house(where);
    expect(await kept()).toBe(0);
  });
});

describe("the queues' consumers", () => {
  const batchOfBodies = (queue: string, bodies: readonly unknown[]) =>
    createMessageBatch(
      queue,
      bodies.map((body, index) => ({ id: `m${index}`, timestamp: new Date(), attempts: 1, body })),
    );
  const batchOf = (queue: string, ids: readonly string[]) =>
    batchOfBodies(
      queue,
      ids.map((deliveryId) => ({ deliveryId })),
    );

  it("attempt what the deliveries' queue brings", async () => {
    const where = hookWorld();
    const agent = await where.agent();
    const at = receiver();
    const { id } = await hook(where, agent, { url: at.url });
    const { body } = await post(where, agent, `/webhooks/${id}/test`);
    const [batch, ctx] = [batchOf("agentauth-deliveries", [body.delivery.id, "msg_unknown"]), createExecutionContext()];
    await worker.queue(batch, where.env, ctx);
    expect((await getQueueResult(batch, ctx)).retryMessages).toEqual([]);
    expect(await at.arrived()).toHaveLength(1);
  });

  it("let no message take others down that cannot be read", SLOW, async () => {
    const errors = vi.spyOn(console, "error").mockImplementation(() => {});
    const where = hookWorld();
    const agent = await where.agent();
    const { id } = await hook(where, agent, { url: receiver().url });
    const { body } = await post(where, agent, `/webhooks/${id}/test`);
    const bodies = [null, { deliveryId: body.delivery.id }, {}];
    const [batch, ctx] = [batchOfBodies("agentauth-deliveries", bodies), createExecutionContext()];
    await worker.queue(batch as MessageBatch, where.env, ctx);
    const { retryMessages } = await getQueueResult(batch, ctx);
    expect(retryMessages.map(({ msgId }) => msgId)).toEqual(["m0", "m2"]);
    expect(errors).toHaveBeenCalledTimes(2);
    expect((await deliveriesOf(where, agent, id))[0].status).toBe("success");
  });

  it("ask for a message again when the database does not answer", async () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    const where = hookWorld({
      DB: { prepare: () => ({ bind: () => ({}) }), batch: () => Promise.reject(new Error("D1_ERROR")) },
    });
    const [batch, ctx] = [batchOf("agentauth-deliveries", ["msg_1"]), createExecutionContext()];
    await worker.queue(batch, where.env, ctx);
    const { retryMessages } = await getQueueResult(batch, ctx);
    expect(retryMessages.map(({ msgId }) => msgId)).toEqual(["m0"]);
  });

  it("mark what the queue gave up as failed: visible, and redeliverable", SLOW, async () => {
    const { where, agent, id, only, at } = await sent("500,200");
    const { id: deliveryId } = await only();
    const dead = async (...bodies: unknown[]) => {
      const [batch, ctx] = [batchOfBodies("agentauth-deliveries-dead", bodies), createExecutionContext()];
      await worker.queue(batch as MessageBatch, where.env, ctx);
      await waitOnExecutionContext(ctx);
    };
    await dead({ deliveryId });
    expect(await only(), "another message asks for it in 5 seconds").toMatchObject({ status: "pending" });
    later(10_000);
    await dead(null, {}, { deliveryId: 7 }, { deliveryId });
    expect(await only()).toMatchObject({ status: "failed", error: "given up by the queue", next_attempt_at: null });
    where.asked.length = 0;
    expect((await post(where, agent, `/webhooks/${id}/deliveries/${deliveryId}/redeliver`)).status).toBe(200);
    await attempts(where);
    expect(await only()).toMatchObject({ status: "success" });
    expect(await at.arrived()).toHaveLength(2);
  });
});
