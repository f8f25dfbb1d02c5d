import { createExecutionContext, createMessageBatch, getQueueResult } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { loadConfig } from "../../src/config/config.ts";
import worker from "../../src/index.ts";
import { runScheduledJobs } from "../../src/jobs/run-jobs.ts";
import { deliver } from "../../src/webhooks/deliveries/deliver.ts";
import { sweepSetAside } from "../../src/outbox/outbox.ts";
import { claim } from "../../src/webhooks/deliveries/store/attempts.ts";
import { emptyOutbox } from "../../src/webhooks/deliveries/fan-out.ts";
import { failing, held, slow } from "../support/bindings.ts";
import { attempts, deliveriesOf, hook, hookWorld, receiver, settle } from "../support/receiver.ts";
import type { Registered, World } from "../support/world.ts";
import { SLOW, few } from "../support/extents.ts";

const MINUTE = 60_000;

const self = hookWorld();
let agent: Registered;
let admin: Registered;

beforeAll(async () => {
  [agent, admin] = [await self.agent(), await self.admin()];
  await self.call(`/agents/${admin.id}/tier`, { method: "PUT", token: admin.token, json: { tier: "enterprise" } });
});
afterEach(async () => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  self.asked.length = 0;
  self.sent.length = 0;
  const tables = ["webhooks", "events", "events_set_aside", "event_counts"];
  await env.DB.batch(tables.map((table) => env.DB.prepare(`DELETE FROM ${table}`)));
});

/** A delivery of a test event that waits for its first attempt. */
async function waiting(answers = "200") {
  const at = receiver(answers);
  const { id } = await hook(self, agent, { url: at.url });
  const { body } = await self.call(`/webhooks/${id}/test`, { method: "POST", token: agent.token });
  self.asked.length = 0;
  const only = async () => (await deliveriesOf(self, agent, id))[0];
  return { at, id, deliveryId: body.delivery.id as string, only };
}

/** Lets a queue bring these messages. Returns those that it is to bring again. */
async function bring(where: World, queue: string, bodies: readonly unknown[]): Promise<string[]> {
  const messages = bodies.map((body, index) => ({ id: `m${index}`, timestamp: new Date(), attempts: 1, body }));
  const [batch, ctx] = [createMessageBatch(queue, messages), createExecutionContext()];
  await worker.queue(batch as MessageBatch, where.env, ctx);
  const result = await getQueueResult(batch, ctx);
  return result.retryMessages.map(({ msgId }) => msgId);
}

const logOf = (spy: { mock: { calls: unknown[][] } }) =>
  spy.mock.calls.flat().map((line) => JSON.parse(String(line)) as Record<string, unknown>);

describe("a message of the deliveries' queue", () => {
  it("is brought again where the claim fails, however late it fails", SLOW, async () => {
    const { deliveryId, only } = await waiting();
    const errors = vi.spyOn(console, "error").mockImplementation(() => {});
    const far = hookWorld({ DB: slow(failing(self.env.DB), 500) });
    expect(await bring(far, "agentauth-deliveries", [{ deliveryId }])).toEqual(["m0"]);
    expect(logOf(errors)).toMatchObject([{ event: "delivery_not_attempted", delivery_id: deliveryId, tries: 1 }]);
    expect(await only()).toMatchObject({ status: "pending", attempts: 0 });
  });

  it("is acknowledged once the claim stands, however far the database is", SLOW, async () => {
    const { at, deliveryId, only } = await waiting();
    const far = hookWorld({ DB: slow(self.env.DB, 500) });
    expect(await bring(far, "agentauth-deliveries", [{ deliveryId }])).toEqual([]);
    expect(await at.arrived()).toHaveLength(1);
    expect(await only()).toMatchObject({ status: "success", attempts: 1 });
  });

  it("waits for the claim and not for the receiver", async () => {
    const { deliveryId, only, id } = await waiting();
    const { promise: sent, resolve: send } = Promise.withResolvers<void>();
    const fetch = globalThis.fetch;
    vi.spyOn(globalThis, "fetch").mockImplementationOnce(async (...request) => {
      await sent;
      return fetch(...request);
    });
    const { binding, release } = held(self.env.DB);
    const [batch, ctx] = [
      createMessageBatch("agentauth-deliveries", [
        { id: "m0", timestamp: new Date(), attempts: 1, body: { deliveryId } },
      ]),
      createExecutionContext(),
    ];
    let acknowledged = false;
    const handled = Promise.resolve(worker.queue(batch as MessageBatch, hookWorld({ DB: binding }).env, ctx)).then(
      () => (acknowledged = true),
    );
    await deliveriesOf(self, agent, id);
    expect(acknowledged).toBe(false);
    release();
    await handled;
    expect(await only()).toMatchObject({ status: "pending", attempts: 1 });
    send();
    await getQueueResult(batch, ctx);
    expect(await only()).toMatchObject({ status: "success" });
  });

  it("leads to a dead letter where the database stays away, and the log says which deliveries", async () => {
    const { deliveryId, only, id } = await waiting();
    const errors = vi.spyOn(console, "error").mockImplementation(() => {});
    const bodies = [{ deliveryId }, { outbox: true }, null, { deliveryId: "msg_unknown" }];
    expect(await bring(self, "agentauth-deliveries-dead", bodies)).toEqual([]);
    expect(logOf(errors)).toEqual([
      expect.objectContaining({ event: "message_dead", message_id: "m1" }),
      expect.objectContaining({ event: "message_dead", message_id: "m2" }),
      expect.objectContaining({
        event: "delivery_dead",
        delivery_id: deliveryId,
        webhook_id: id,
        agent_id: agent.id,
        name: "webhook.test",
      }),
    ]);
    expect(await only()).toMatchObject({ status: "failed", error: "given up by the queue" });
  });
});

describe("the result of an attempt", () => {
  few(1).each(["200", "500", "410"])(
    "%s is not stored with another attempt that has the same number",
    async (answer) => {
      vi.useFakeTimers({ toFake: ["Date"] });
      vi.spyOn(console, "error").mockImplementation(() => {});
      const { id, deliveryId, only, at } = await waiting(answer);
      const send = globalThis.fetch;
      // While the first attempt is under way its claim ends, the delivery is started again, and another consumer claims it.
      vi.spyOn(globalThis, "fetch").mockImplementationOnce(async (...request) => {
        vi.setSystemTime(Date.now() + 2 * MINUTE);
        await bring(self, "agentauth-deliveries-dead", [{ deliveryId }]);
        const path = `/webhooks/${id}/deliveries/${deliveryId}/redeliver`;
        expect((await self.call(path, { method: "POST", token: agent.token })).status).toBe(200);
        expect(await claim(env.DB, deliveryId, Date.now())).toMatchObject({ delivery: { attempts: 1 } });
        return send(...request);
      });
      await deliver(self.env, loadConfig(self.env), deliveryId);
      expect(await at.arrived()).toHaveLength(1);
      expect(await only()).toMatchObject({ status: "pending", attempts: 1, response_status: null, error: null });
      expect((await self.call(`/webhooks/${id}`, { token: agent.token })).body.is_active).toBe(true);
    },
  );
});

describe("the outbox", () => {
  let changes = 0;
  /** One event, agent.tier_updated. */
  async function change(): Promise<void> {
    const json = { tier: changes++ % 2 === 0 ? "pro" : "free" };
    const { status } = await self.call(`/agents/${agent.id}/tier`, { method: "PUT", token: admin.token, json });
    expect(status).toBe(200);
  }
  const count = (table: string) => env.DB.prepare(`SELECT count(*) AS n FROM ${table}`).first("n");
  const spoil = (data: string, event = "agent.tier_updated", id = "evt_0") =>
    env.DB.prepare("INSERT INTO events (id, agent_id, event, at, data) VALUES (?, ?, ?, ?, ?)")
      .bind(id, agent.id, event, Date.now(), data)
      .run();

  it("is emptied by a message of its own, which the queue brings again until the database answers", async () => {
    const at = receiver();
    await hook(self, agent, { url: at.url });
    await change();
    const before = self.drains;
    expect(await bring(self, "agentauth-activity", self.sent.splice(0))).toEqual([]);
    expect([self.drains - before, await count("events")]).toEqual([1, 1]);
    vi.spyOn(console, "error").mockImplementation(() => {});
    const away = hookWorld({ DB: failing(self.env.DB) });
    expect(await bring(away, "agentauth-deliveries", [{ outbox: true }])).toEqual(["m0"]);
    expect(await bring(self, "agentauth-deliveries", [{ outbox: true }])).toEqual([]);
    await attempts(self);
    expect([await count("events"), (await at.arrived()).length]).toEqual([0, 1]);
    expect(await bring(self, "agentauth-activity", [])).toEqual([]);
    expect(self.drains - before, "nothing waits").toBe(1);
  });

  it("that holds more than one message handles sends another", SLOW, async () => {
    await env.DB.prepare(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
       INSERT INTO events (id, agent_id, event, at, data) SELECT 'evt_' || i, 'agt_none', 'agent.revoked', 0, '{}' FROM n`,
    ).run();
    const before = self.drains;
    await bring(self, "agentauth-deliveries", [{ outbox: true }]);
    expect(self.drains - before).toBe(1);
    await bring(self, "agentauth-deliveries", [{ outbox: true }]);
    expect([self.drains - before, await count("events")]).toEqual([1, 0]);
  });

  few(2).each(["{", "", "null", "7", "[]", '"text"'])("does not wait for an event whose data is %j", async (data) => {
    const errors = vi.spyOn(console, "error").mockImplementation(() => {});
    const at = receiver();
    await hook(self, agent, { url: at.url });
    await spoil(data);
    await change();
    await settle(self);
    expect([await count("events"), (await at.arrived()).length]).toEqual([0, 1]);
    const aside = await env.DB.prepare("SELECT id, data, reason FROM events_set_aside").all();
    expect(aside.results).toEqual([{ id: "evt_0", data, reason: "its data is not a JSON object" }]);
    expect(logOf(errors)).toMatchObject([{ event: "event_set_aside", event_id: "evt_0", agent_id: agent.id }]);
    const [now, days] = [Date.now(), 86_400_000];
    expect(await sweepSetAside(env.DB, 90, now + 89 * days, 10)).toBe(0);
    expect(await sweepSetAside(env.DB, 90, now + 91 * days, 10)).toBe(1);
  });

  it(
    "does not wait for an event that the database refuses: it is tried ten times by itself, and then set aside",
    SLOW,
    async () => {
      const errors = vi.spyOn(console, "error").mockImplementation(() => {});
      const at = receiver();
      await hook(self, agent, { url: at.url });
      await env.DB.prepare(
        `CREATE TRIGGER refuse BEFORE INSERT ON deliveries WHEN new.event_id = 'evt_0' BEGIN SELECT raise(ABORT, 'no'); END`,
      ).run();
      await spoil("{}");
      await change();
      await settle(self);
      expect([await count("events"), (await at.arrived()).length]).toEqual([1, 1]);
      for (let run = 1; run < 10; run++) await emptyOutbox(self.env, Date.now());
      expect([await count("events"), await count("events_set_aside")]).toEqual([0, 1]);
      expect(logOf(errors).at(-1)).toMatchObject({ event: "event_set_aside", event_id: "evt_0" });
      await env.DB.prepare("DROP TRIGGER refuse").run();
    },
  );

  it("counts no failure of an event while the database is away", async () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    await hook(self, agent, { url: receiver().url });
    await change();
    const real = self.env.DB;
    const writesFail = new Proxy(failing(real), {
      get: (target, name) =>
        name === "prepare"
          ? (sql: string) => (sql.startsWith("SELECT") ? real : target).prepare(sql)
          : Reflect.get(target, name),
    });
    await expect(emptyOutbox({ ...self.env, DB: writesFail }, Date.now())).rejects.toThrow("Network connection lost");
    expect(await env.DB.prepare("SELECT failures FROM events").first("failures")).toBe(0);
  });

  it(
    "delivers an event that only a newer version knows to who subscribes to it, within the limit of a minute",
    SLOW,
    async () => {
      const at = receiver();
      const { id } = await hook(self, agent, { url: at.url });
      await env.DB.prepare(`UPDATE webhooks SET events = '["agent.ascended", "agent.tier_updated"]' WHERE id = ?`)
        .bind(id)
        .run();
      for (let n = 0; n < 12; n++) await spoil('{"n":1}', "agent.ascended", `evt_0${n}`);
      await change();
      await settle(self);
      const names = (await at.arrived()).map(({ body }) => JSON.parse(body).event);
      expect(names.filter((name) => name === "agent.ascended")).toHaveLength(10);
      expect(names.filter((name) => name === "agent.tier_updated")).toHaveLength(1);
    },
  );

  it(
    "does not wait for a webhook whose list of events is broken, which can be read, replaced and deleted",
    SLOW,
    async () => {
      const at = receiver();
      const doomed = await self.agent();
      const { id: other } = await hook(self, agent, { url: at.url });
      const { id } = await hook(self, agent, { url: receiver().url });
      const { id: last } = await hook(self, doomed, { url: receiver().url });
      await env.DB.prepare("UPDATE webhooks SET events = '[' WHERE id IN (?, ?)").bind(id, last).run();
      await change();
      await settle(self);
      expect(await at.arrived()).toHaveLength(1);
      const listed = (await self.call("/webhooks", { token: agent.token })).body.webhooks;
      expect(listed.map((one: { events: string[] }) => one.events)).toContainEqual([]);
      const json = { events: ["agent.revoked"] };
      const replaced = await self.call(`/webhooks/${id}`, { method: "PUT", token: agent.token, json });
      expect(replaced.body.webhook.events).toEqual(["agent.revoked"]);
      expect((await self.call(`/agents/${doomed.id}`, { method: "DELETE", token: admin.token })).status).toBe(200);
      expect((await self.call(`/webhooks/${last}`, { token: admin.token })).status).toBe(404);
      expect(other).not.toBe(id);
    },
  );

  it("tells of a count whose data is broken how many there were", SLOW, async () => {
    const at = receiver();
    await hook(self, agent, { url: at.url, events: ["gateway.denied"] });
    const minute = Math.floor(Date.now() / MINUTE) - 1;
    await env.DB.prepare(
      "INSERT INTO event_counts (agent_id, event, minute, total, since, at, data) VALUES (?, 'gateway.denied', ?, 15, ?, ?, '{')",
    )
      .bind(agent.id, minute, Date.now(), Date.now())
      .run();
    await runScheduledJobs(self.env, loadConfig(self.env), Date.now());
    await attempts(self);
    const [told] = (await at.arrived()).map(({ body }) => JSON.parse(body).data);
    expect(told).toMatchObject({ agent_id: agent.id, count: 5 });
  });
});
