import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { loadConfig } from "../../src/config/config.ts";
import { runScheduledJobs } from "../../src/jobs/run-jobs.ts";
import { deliver } from "../../src/webhooks/deliveries/deliver.ts";
import { emptyOutbox } from "../../src/webhooks/deliveries/fan-out.ts";
import { EVENTS, MAX_EVENTS_PER_MINUTE, newEvent } from "../../src/outbox/event.ts";
import {
  MAX_ATTEMPTS_PER_HOST,
  MAX_ATTEMPTS_PER_HOST_FOR_ALL,
  MAX_KEPT_BYTES,
  MAX_PENDING,
} from "../../src/webhooks/limits/store.ts";
import { toPayloadBody } from "../../src/webhooks/payload.ts";
import { maxAttemptsFor, SCHEDULE } from "../../src/webhooks/schedule.ts";
import { attempts, deliveriesOf, hook, hookWorld, receiver, settle } from "../support/receiver.ts";
import type { Registered, World } from "../support/world.ts";
import { SLOW } from "../support/extents.ts";

const MINUTE = 60_000;
const WEBHOOKS = 20;
const REFUSED = 60;

beforeEach(() => void vi.useFakeTimers({ toFake: ["Date"], now: Math.ceil(Date.now() / MINUTE) * MINUTE }));
afterEach(async () => {
  vi.useRealTimers();
  await env.DB.batch(
    ["webhooks", "events", "event_counts", "host_attempts"].map((table) => env.DB.prepare(`DELETE FROM ${table}`)),
  );
});

const later = (ms: number) => vi.setSystemTime(Date.now() + ms);
const house = (where: World) => runScheduledJobs(where.env, loadConfig(where.env), Date.now());

/** An agent with the rate to be refused often, whatever else it does. */
async function busyAgent(where: World): Promise<Registered> {
  const [agent, admin] = [await where.agent(), await where.admin()];
  await where.call(`/agents/${agent.id}/tier`, { method: "PUT", token: admin.token, json: { tier: "enterprise" } });
  await emptyOutbox(where.env, Date.now());
  where.sent.length = 0;
  return agent;
}

/** A call that the agent has no permission for. */
const refused = (where: World, { token }: Registered, path = "/proxy/lab/things/1") =>
  where.call(path, { method: "DELETE", token });

async function dueIds(now: number): Promise<string[]> {
  const { results } = await env.DB.prepare(
    "SELECT id FROM deliveries WHERE status = 'pending' AND next_attempt_at <= ? ORDER BY next_attempt_at",
  )
    .bind(now)
    .all<{ id: string }>();
  return results.map(({ id }) => id);
}

describe("60 refused requests of 8 KB by an agent with 20 webhooks", () => {
  it("become a bounded number of deliveries, bytes and POSTs, and none is left out of the count", SLOW, async () => {
    const where = hookWorld();
    const agent = await busyAgent(where);
    const hooks = [];
    const receivers = [];
    for (let n = 0; n < WEBHOOKS; n++) {
      const at = receiver();
      receivers.push(at);
      hooks.push(await hook(where, agent, { url: at.url, events: ["gateway.denied"] }));
    }
    where.sent.length = 0;
    const path = `/proxy/lab/files/${"x".repeat(8000)}`;
    for (let n = 0; n < REFUSED; n++) expect((await refused(where, agent, path)).status).toBe(403);

    await where.drain();
    await emptyOutbox(where.env, Date.now());
    later(MINUTE);
    await house(where);
    const made = async () => (await env.DB.prepare("SELECT sum(attempts) AS n FROM deliveries").first<number>("n"))!;
    const posts: number[] = [];
    while ((await dueIds(Date.now() + 60 * MINUTE)).length > 0) {
      const due = await dueIds(Date.now());
      await Promise.all(due.map((id) => deliver(where.env, loadConfig(where.env), id, Date.now())));
      posts.push((await made()) - posts.reduce((total, minute) => total + minute, 0));
      later(MINUTE);
    }
    const kept = await env.DB.prepare("SELECT count(*) AS n, sum(length(body)) AS bytes FROM deliveries").first<{
      n: number;
      bytes: number;
    }>();
    const arrived = await Promise.all(receivers.map((at) => at.arrived()));
    const all = arrived.flat().length;
    const most = WEBHOOKS * (MAX_EVENTS_PER_MINUTE + 1);
    console.log(`${kept!.n} deliveries, ${kept!.bytes} bytes, ${all} POSTs, by the minute ${posts.join(" ")}`);
    expect(kept!.n).toBe(most);
    expect(kept!.bytes).toBeLessThan(most * 1200);
    // Receivers that fail get each three times: see "fail after the few attempts that a refusal is worth".
    expect(all).toBe(most);
    expect(Math.max(...posts)).toBeLessThanOrEqual(MAX_ATTEMPTS_PER_HOST);

    for (const bodies of arrived) {
      const told = new Map(bodies.map(({ body }) => [JSON.parse(body).id, JSON.parse(body).data]));
      const counts = [...told.values()].map(({ count = 1 }) => count);
      expect(counts.reduce((sum, count) => sum + count)).toBe(REFUSED);
    }
    expect(await deliveriesOf(where, agent, hooks[0]!.id, "?status=pending")).toEqual([]);
  });
});

describe("what an event quotes", () => {
  it("is the beginning of a long path, and the digest of the whole", SLOW, async () => {
    const where = hookWorld();
    const agent = await busyAgent(where);
    const at = receiver();
    await hook(where, agent, { url: at.url, events: ["gateway.denied"] });
    const short = `/files/${"y".repeat(512 - "/files/".length)}`;
    for (const path of [short, `${short}z`]) await refused(where, agent, `/proxy/lab${path}`);
    await settle(where);
    const told = (await at.arrived()).map(({ body }) => JSON.parse(body).data);
    const bytes = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(`${short}z`));
    const digest = `sha-256=:${Buffer.from(bytes).toString("base64")}:`;
    expect(told.find(({ path_digest }) => path_digest === undefined)).toMatchObject({ path: short });
    expect(told.find(({ path_digest }) => path_digest !== undefined)).toMatchObject({
      path: short,
      path_digest: digest,
    });
  });

  it.each([...EVENTS])("is bounded in %s, whatever it is made of", (name) => {
    const long = "\u{1F600}".repeat(10_000);
    const data = { name: long, owner_email: long, permissions: Array(1000).fill(long), at: 7 };
    // No event has all of these.
    const event = newEvent(name, "agt_1", 0, data as never);
    expect(toPayloadBody(event).length).toBeLessThan(52 * 520);
    expect(event.data).toMatchObject({ name: long.slice(0, 512), at: 7 });
  });
});

describe("events that an agent causes again and again", () => {
  it("are sent one by one up to the limit of a minute, and then as one, when the minute is over", SLOW, async () => {
    const where = hookWorld();
    const agent = await busyAgent(where);
    const other = await busyAgent(where);
    const at = receiver();
    const [mine, others] = [await hook(where, agent, { url: at.url, events: ["gateway.denied"] }), receiver()];
    await hook(where, other, { url: others.url, events: ["gateway.denied"] });
    const begun = Date.now();
    const round = async (times: number) => {
      for (let n = 0; n < times; n++) await refused(where, agent);
      await settle(where);
    };
    await round(MAX_EVENTS_PER_MINUTE - 1);
    expect(await at.arrived()).toHaveLength(MAX_EVENTS_PER_MINUTE - 1);
    later(1000);
    await round(1);
    later(1000);
    await round(3);
    later(1000);
    await round(1);
    expect(await at.arrived()).toHaveLength(MAX_EVENTS_PER_MINUTE);
    await refused(where, other);
    await settle(where);
    expect(await others.arrived(), "another agent has a limit of its own").toHaveLength(1);

    await house(where);
    await attempts(where);
    expect(await at.arrived(), "the minute is not over").toHaveLength(MAX_EVENTS_PER_MINUTE);
    later(MINUTE);
    await Promise.all([house(where), house(where)]);
    await attempts(where);
    const arrived = (await at.arrived()).map(({ body }) => JSON.parse(body));
    expect(arrived).toHaveLength(MAX_EVENTS_PER_MINUTE + 1);
    expect(arrived.at(-1)).toMatchObject({
      event: "gateway.denied",
      timestamp: new Date(begun + 3000).toISOString(),
      data: {
        agent_id: agent.id,
        denied_at: new Date(begun + 3000).toISOString(),
        method: "DELETE",
        path: "/things/1",
        count: 4,
        since: new Date(begun + 2000).toISOString(),
      },
    });
    await round(1);
    expect(await at.arrived(), "the next minute begins anew").toHaveLength(MAX_EVENTS_PER_MINUTE + 2);
    later(MINUTE);
    await house(where);
    await attempts(where);
    expect(await deliveriesOf(where, agent, mine.id)).toHaveLength(MAX_EVENTS_PER_MINUTE + 2);
    const left = await env.DB.prepare("SELECT count(*) AS n FROM event_counts").first("n");
    expect(left).toBe(0);
  });

  it("are counted once where two workers empty the outbox at the same time", SLOW, async () => {
    const where = hookWorld();
    const agent = await busyAgent(where);
    const at = receiver();
    await hook(where, agent, { url: at.url, events: ["gateway.denied"] });
    for (let n = 0; n < MAX_EVENTS_PER_MINUTE + 5; n++) await refused(where, agent);
    await where.drain();
    await Promise.all([1, 2, 3].map(() => emptyOutbox(where.env, Date.now())));
    await attempts(where);
    later(MINUTE);
    await house(where);
    await attempts(where);
    const told = (await at.arrived()).map(({ body }) => JSON.parse(body).data.count ?? 1);
    expect(told.toSorted((a, b) => a - b)).toEqual([...Array(MAX_EVENTS_PER_MINUTE).fill(1), 5]);
  });

  it("are also verifications; what an administrator does is always sent", SLOW, async () => {
    const where = hookWorld();
    const [agent, admin] = [await busyAgent(where), await where.admin()];
    const at = receiver();
    await hook(where, agent, { url: at.url, events: ["agent.verified", "agent.tier_updated"] });
    for (let n = 0; n < MAX_EVENTS_PER_MINUTE + 2; n++) {
      const json = { agent_id: agent.id, api_key: agent.apiKey };
      expect((await where.call("/agents/verify", { method: "POST", json })).status).toBe(200);
      const tier = n % 2 === 0 ? "pro" : "enterprise";
      await where.call(`/agents/${agent.id}/tier`, { method: "PUT", token: admin.token, json: { tier } });
    }
    await settle(where);
    const names = (await at.arrived()).map(({ body }) => JSON.parse(body).event);
    expect(names.filter((name) => name === "agent.verified")).toHaveLength(MAX_EVENTS_PER_MINUTE);
    expect(names.filter((name) => name === "agent.tier_updated")).toHaveLength(MAX_EVENTS_PER_MINUTE + 2);
  });

  it.each([
    ["gateway.denied", 3],
    ["agent.verification_failed", 3],
    ["webhook.test", 3],
    ["agent.revoked", SCHEDULE.length],
    ["agent.key_rotated", SCHEDULE.length],
    ["constructor", 3],
  ])("have a schedule: %s is attempted %i times", (name, times) => {
    expect(maxAttemptsFor(name)).toBe(times);
  });

  it("fail after the few attempts that a refusal is worth", SLOW, async () => {
    const where = hookWorld();
    const agent = await busyAgent(where);
    const at = receiver("500");
    const { id } = await hook(where, agent, { url: at.url, events: ["gateway.denied"] });
    await refused(where, agent);
    await settle(where);
    for (let n = 0; n < 5; n++) {
      later(6 * MINUTE);
      for (const due of await dueIds(Date.now())) await deliver(where.env, loadConfig(where.env), due);
    }
    expect(await at.arrived()).toHaveLength(3);
    expect((await deliveriesOf(where, agent, id))[0]).toMatchObject({
      status: "failed",
      attempts: 3,
      response_status: 500,
    });
  });
});

describe("attempts to one host", () => {
  /** Deliveries of one owner, due now. */
  async function waiting(where: World, who: Registered, urls: readonly string[], each: number, more = {}) {
    const ids = [];
    for (const url of urls) ids.push((await hook(where, who, { url, events: ["agent.tier_updated"], ...more })).id);
    await env.DB.batch(
      ids.map((id) =>
        env.DB.prepare(
          `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?4)
           INSERT INTO deliveries (id, webhook_id, event_id, event, agent_id, body, status, next_attempt_at, created_at, updated_at)
           SELECT 'msg_' || ?1 || i, ?1, 'evt_' || i, 'agent.tier_updated', ?2, '{}', 'pending', ?3, ?3, ?3 FROM n`,
        ).bind(id, who.id, Date.now(), each),
      ),
    );
    return ids;
  }
  const attemptDue = async (where: World) => {
    for (const id of await dueIds(Date.now())) await deliver(where.env, loadConfig(where.env), id, Date.now());
  };

  it("are limited for all webhooks of an owner together: what is above waits, and none fails", SLOW, async () => {
    const where = hookWorld();
    const [agent, other] = [await busyAgent(where), await busyAgent(where)];
    const [first, second, theirs] = [receiver(), receiver(), receiver()];
    const each = MAX_ATTEMPTS_PER_HOST + 10;
    const [id] = await waiting(where, agent, [first.url, second.url], each);
    await waiting(where, other, [theirs.url], 5);
    const counted = async () => (await first.arrived()).length + (await second.arrived()).length;

    where.asked.length = 0;
    await attemptDue(where);
    expect(await counted()).toBe(MAX_ATTEMPTS_PER_HOST);
    expect(await theirs.arrived(), "another owner has a limit of its own").toHaveLength(5);
    expect(where.asked).toHaveLength(2 * each - MAX_ATTEMPTS_PER_HOST);
    expect(where.asked.every(({ delaySeconds }) => delaySeconds >= 60 && delaySeconds <= 180)).toBe(true);
    expect(await dueIds(Date.now())).toEqual([]);
    const one = (await deliveriesOf(where, agent, id!, "?status=pending")).find(({ attempts: n }) => n === 0);
    expect(one).toMatchObject({ status: "pending", attempts: 0, error: null });

    const minutes = [];
    for (let minute = 0; minute < 4; minute++) {
      const before = await counted();
      later(MINUTE - 1);
      await attemptDue(where);
      later(1);
      minutes.push((await counted()) - before);
    }
    expect(Math.max(...minutes)).toBeLessThanOrEqual(MAX_ATTEMPTS_PER_HOST);
    expect(await counted()).toBe(2 * each);
    const states = await env.DB.prepare("SELECT status, max(attempts) AS n FROM deliveries GROUP BY 1").all();
    expect(states.results).toEqual([{ status: "success", n: 1 }]);
  });

  it(
    "are counted by the domain that is called, in whatever way its URL is written and whatever stands before it",
    SLOW,
    async () => {
      const where = hookWorld();
      const agent = await busyAgent(where);
      const made = [];
      for (const url of [
        "https://Hooks.Example.com/1",
        "https:hooks.example.com/2",
        "https://hooks.example.com./3",
        "https://hook%73.example.com/4",
        "https://w1.deep.example.com/5",
        "https://example.com/6",
      ]) {
        made.push((await hook(where, agent, { url })).id);
      }
      const moved = await hook(where, agent, { url: "https://elsewhere.example.net/" });
      await where.call(`/webhooks/${moved.id}`, {
        method: "PUT",
        token: agent.token,
        json: { url: "https://HOOKS.example.com" },
      });
      const { results } = await env.DB.prepare("SELECT DISTINCT host FROM webhooks WHERE agent_id = ?")
        .bind(agent.id)
        .all();
      expect(results).toEqual([{ host: "example.com" }]);
    },
  );

  it("have a limit of their own, and a higher one, for an administrator's webhook for all agents", SLOW, async () => {
    const where = hookWorld();
    const admin = await where.admin();
    const at = receiver();
    await waiting(where, admin, [at.url], MAX_ATTEMPTS_PER_HOST + 5, { all_agents: true });
    await attemptDue(where);
    expect(await at.arrived()).toHaveLength(MAX_ATTEMPTS_PER_HOST + 5);
    await env.DB.prepare("UPDATE host_attempts SET total = ? WHERE all_agents = 1")
      .bind(MAX_ATTEMPTS_PER_HOST_FOR_ALL)
      .run();
    await where.call(`/agents/${admin.id}/tier`, { method: "PUT", token: admin.token, json: { tier: "pro" } });
    await settle(where);
    expect(await at.arrived()).toHaveLength(MAX_ATTEMPTS_PER_HOST + 5);
    later(2 * MINUTE);
    await attemptDue(where);
    expect(await at.arrived()).toHaveLength(MAX_ATTEMPTS_PER_HOST + 6);
    later(2 * MINUTE);
    await house(where);
    expect(await env.DB.prepare("SELECT count(*) AS n FROM host_attempts").first("n")).toBe(0);
  });
});

describe("what is kept of a webhook's deliveries", () => {
  async function filled(status: string, rows: number, size: number) {
    const where = hookWorld();
    const agent = await busyAgent(where);
    const { id } = await hook(where, agent, { url: "https://hooks.example.com/" });
    const neighbour = await hook(where, agent, { url: "https://hooks.example.com/" });
    const insert = env.DB.prepare(
      `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?4)
       INSERT INTO deliveries (id, webhook_id, event_id, event, agent_id, body, status, next_attempt_at, created_at, updated_at)
       SELECT printf('msg_%s%06d', ?1, i), ?1, 'evt_' || i, 'gateway.denied', ?2, printf('%.*c', ?5, 'x'), ?6, ?3, ?3, ?3 FROM n`,
    );
    const at = Date.now() + 60 * MINUTE;
    await env.DB.batch([
      insert.bind(id, agent.id, at, rows, size, status),
      insert.bind(neighbour.id, agent.id, at, 3, size, status),
    ]);
    const totals = async () => {
      const { results } = await env.DB.prepare(
        `SELECT t.pending, t.bytes, sum(d.status = 'pending') AS realPending, sum(length(d.body) + 1024 + coalesce(iif(d.status = 'pending', 0, length(CAST(d.attempt_log AS BLOB))), 0)) AS realBytes
         FROM delivery_totals t JOIN deliveries d ON d.webhook_id = t.webhook_id WHERE t.webhook_id = ?`,
      )
        .bind(id)
        .all<{ pending: number; bytes: number; realPending: number; realBytes: number }>();
      const { pending, bytes, realPending, realBytes } = results[0]!;
      expect({ pending, bytes }).toEqual({ pending: realPending, bytes: realBytes });
      return { pending, bytes };
    };
    return { where, agent, id, neighbour, totals };
  }

  it("is bounded in bytes: the oldest that have ended go first", SLOW, async () => {
    const { where, agent, id, neighbour, totals } = await filled("failed", 500, 3000);
    expect((await totals()).bytes).toBe(500 * 4024);
    await house(where);
    const { bytes } = await totals();
    expect(bytes).toBeLessThanOrEqual(MAX_KEPT_BYTES);
    expect(bytes).toBeGreaterThan(MAX_KEPT_BYTES - 4024);
    const { results } = await env.DB.prepare(
      "SELECT max(id) AS newest, min(id) AS oldest, count(*) AS n FROM deliveries WHERE webhook_id = ?",
    )
      .bind(id)
      .all<{ newest: string; oldest: string; n: number }>();
    expect(results[0]!.newest).toMatch(/000500$/);
    expect(Number(results[0]!.oldest.slice(-6))).toBe(501 - results[0]!.n);
    expect(await deliveriesOf(where, agent, neighbour.id)).toHaveLength(3);
    expect((await where.call(`/webhooks/${id}`, { method: "DELETE", token: agent.token })).status).toBe(200);
    expect(
      await env.DB.prepare("SELECT count(*) AS n FROM delivery_totals WHERE webhook_id = ?").bind(id).first("n"),
    ).toBe(0);
  });

  it("is bounded in deliveries that wait: the oldest fail and can be sent again by hand", SLOW, async () => {
    const { where, agent, id, totals } = await filled("pending", MAX_PENDING + 40, 100);
    await house(where);
    expect((await totals()).pending).toBe(MAX_PENDING);
    const failed = await deliveriesOf(where, agent, id, "?status=failed&limit=100");
    expect(failed).toHaveLength(40);
    expect(failed[0]).toMatchObject({ error: `given up: more than ${MAX_PENDING} deliveries wait for this webhook` });
    expect(failed.every((one) => Number(one.id.slice(-6)) <= 40)).toBe(true);
    const again = `/webhooks/${id}/deliveries/${failed[0].id}/redeliver`;
    expect((await where.call(again, { method: "POST", token: agent.token })).status).toBe(200);
    expect((await totals()).pending).toBe(MAX_PENDING + 1);
    const webhook = await where.call(`/webhooks/${id}`, { token: agent.token });
    expect(webhook.body.is_active).toBe(true);
  });
});
