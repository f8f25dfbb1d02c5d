import { env } from "cloudflare:workers";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { MAX_ATTEMPTS_PER_HOST, MAX_PENDING } from "../../src/webhooks/limits/store.ts";
import { MAX_REDELIVERED, MAX_SEARCHED } from "../../src/webhooks/deliveries/store/search.ts";
import { countOperations, type Statement } from "../support/count-operations.ts";
import { attempts, hook, hookWorld, receiver } from "../support/receiver.ts";
import { firstAdministrator, invite } from "../support/people.ts";
import type { Answer, Registered } from "../support/world.ts";
import { SLOW, few } from "../support/extents.ts";

const MINUTE = 60_000;
const START = Date.parse("2026-11-20T00:00:00.000Z");
const NOWHERE = "http://127.0.0.1:9/";

const counter = countOperations();
const self = hookWorld(counter.overrides);
let admin: Registered;
let agent: Registered;
let other: Registered;
/** A webhook of each of the two agents, and one of the administrator for all agents. */
let mine: string;
let theirs: string;
let all: string;

beforeAll(async () => {
  [admin, agent, other] = [await self.admin(), await self.agent(), await self.agent()];
  // This file sends many requests as one administrator.
  await self.call(`/agents/${admin.id}/tier`, { method: "PUT", token: admin.token, json: { tier: "enterprise" } });
  mine = (await hook(self, agent, { url: NOWHERE, description: "first" })).id;
  theirs = (await hook(self, other, { url: NOWHERE })).id;
  all = (await hook(self, admin, { url: NOWHERE, all_agents: true })).id;
});
afterEach(async () => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  self.asked.length = 0;
  await env.DB.batch(["deliveries", "host_attempts"].map((table) => env.DB.prepare(`DELETE FROM ${table}`)));
});
afterAll(() => env.DB.prepare("DELETE FROM webhooks").run());

const get = (path: string, who = admin) => self.call(path, { token: who.token });
const redeliver = (filter: unknown, more: object = { dry_run: false }, who = admin) =>
  self.call("/deliveries/redeliver", { method: "POST", token: who.token, json: { filter, ...more } });

interface Rows {
  count: number;
  webhookId?: string;
  agentId?: string;
  status?: string;
  event?: string;
  /** Milliseconds; each row is a second later than the one before it. */
  from?: number;
  /** Milliseconds. */
  dueAt?: number;
}

/** Inserts deliveries as the product makes them. */
async function insert({
  count,
  webhookId = mine,
  agentId = agent.id,
  status = "failed",
  event = "agent.tier_updated",
  from = START,
  dueAt,
}: Rows): Promise<void> {
  await env.DB.prepare(
    `WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?1 - 1)
     INSERT INTO deliveries (id, webhook_id, event_id, event, agent_id, body, status, attempts, next_attempt_at, created_at, updated_at)
     SELECT 'msg_' || printf('%012x', ?2 + i * 1000) || lower(hex(randomblob(10))), ?3, 'evt_' || hex(randomblob(12)), ?4, ?5, '{}',
       ?6, 3, ?7, ?2 + i * 1000, ?2 + i * 1000 FROM n`,
  )
    .bind(count, from, webhookId, event, agentId, status, status === "pending" ? (dueAt ?? from) : null)
    .run();
}

const count = (where: string) => env.DB.prepare(`SELECT count(*) AS n FROM deliveries WHERE ${where}`).first("n");

/** Every row of a list, page by page. */
async function pages(path: string, key: string): Promise<{ rows: { id: string }[]; sizes: number[] }> {
  const [rows, sizes]: [{ id: string }[], number[]] = [[], []];
  for (let cursor: string | null = ""; cursor !== null;) {
    const { status, body }: Answer = await get(`${path}${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
    expect(status).toBe(200);
    rows.push(...body[key]);
    sizes.push(body[key].length);
    cursor = body.next_cursor;
  }
  return { rows, sizes };
}

describe("GET /webhooks", () => {
  it("shows whether each is active beside the list, and an administrator anybody's", async () => {
    const own = await get("/webhooks", agent);
    expect(Object.keys(own.body).sort()).toEqual(["details", "next_cursor", "success", "webhooks"]);
    expect(own.body.webhooks.map(({ id }: { id: string }) => id)).toEqual([mine]);
    expect(own.body.details).toEqual({ [mine]: { is_active: true, disabled_reason: null, description: "first" } });
    expect((await get(`/webhooks?agent_id=${agent.id}`)).body).toEqual(own.body);
    expect((await get(`/webhooks?agent_id=${agent.id}`, agent)).body).toEqual(own.body);
    const { rows, sizes } = await pages("/webhooks?agent_id=*&limit=2", "webhooks");
    expect([rows.map(({ id }) => id), sizes]).toEqual([
      [mine, theirs, all],
      [2, 1],
    ]);
    expect((await get("/webhooks")).body.webhooks.map(({ id }: { id: string }) => id)).toEqual([all]);
  });

  it("hides other agents' from an agent, whether they exist or not", async () => {
    for (const id of ["*", other.id, "agt_000000000000000000000000"]) {
      const { status, body } = await get(`/webhooks?agent_id=${id}`, agent);
      expect([status, body.required]).toEqual([403, "*:*:*"]);
      expect(JSON.stringify(body)).not.toContain(theirs);
    }
    // The position of another's webhook is only a position.
    const { next_cursor } = (await get("/webhooks?agent_id=*&limit=1")).body;
    expect(
      (await get(`/webhooks?cursor=${next_cursor}`, other)).body.webhooks.map((one: { id: string }) => one.id),
    ).toEqual([theirs]);
  });

  few(3).each([
    "agent_id=",
    "agent_id=a%20b",
    "cursor=",
    "cursor=1",
    "cursor=msg_0",
    "cursor=zzzzzzzzzz.whk_0",
    "limit=201",
    "limit=0",
  ])("refuses %s", async (query) => {
    expect((await get(`/webhooks?${query}`)).body.code).toBe("validation_error");
  });
});

describe("GET /deliveries", () => {
  it("lists everybody's, newest first, by each filter and all of them together", SLOW, async () => {
    await insert({ count: 3 });
    await insert({ count: 2, webhookId: theirs, agentId: other.id, status: "success", from: START + 60_000 });
    await insert({ count: 2, webhookId: all, event: "agent.revoked", from: START + 120_000 });
    await insert({ count: 1, webhookId: all, agentId: other.id, status: "pending", from: START + 180_000 });
    const found = async (query: string) => {
      const { status, body } = await get(`/deliveries?${query}`);
      expect(status).toBe(200);
      expect(body.deliveries.map(({ id }: { id: string }) => id)).toEqual(
        body.deliveries
          .map(({ id }: { id: string }) => id)
          .toSorted()
          .toReversed(),
      );
      return body.deliveries.length;
    };
    const at = (ms: number) => encodeURIComponent(new Date(START + ms).toISOString());
    const sizes: Record<string, number> = {
      "": 8,
      "status=failed": 5,
      "status=pending": 1,
      "status=success": 2,
      [`agent_id=${agent.id}`]: 5,
      [`agent_id=${other.id}&status=pending`]: 1,
      [`webhook_id=${all}`]: 3,
      [`webhook_id=${all}&agent_id=${agent.id}&status=failed&event=agent.revoked`]: 2,
      [`webhook_id=${mine}&agent_id=${other.id}`]: 0,
      "event=agent.revoked": 2,
      "event=webhook.test": 0,
      [`from=${at(60_000)}&to=${at(121_000)}`]: 3,
      [`from=${at(1)}&to=${at(2_000)}`]: 1,
      [`from=${encodeURIComponent("2026-11-20T01:01:00+01:00")}`]: 5,
      "from=0001-01-01T00:00:00Z": 8,
      "to=9999-12-31T23:59:59Z": 8,
    };
    for (const [query, size] of Object.entries(sizes)) expect([query, await found(query)]).toEqual([query, size]);
  });

  it("pages without a gap, also where more were searched than a page may search", SLOW, async () => {
    const total = MAX_SEARCHED + 20;
    await insert({ count: total });
    await env.DB.prepare(
      "UPDATE deliveries SET event = 'agent.revoked' WHERE id IN (SELECT id FROM deliveries ORDER BY id LIMIT 3)",
    ).run();
    const { rows, sizes } = await pages("/deliveries?event=agent.revoked", "deliveries");
    expect([rows.length, sizes]).toEqual([3, [0, 3]]);
    const { body } = await get("/deliveries?limit=200");
    expect(body.deliveries).toHaveLength(200);
    const second = (await get(`/deliveries?limit=200&cursor=${body.next_cursor}`)).body.deliveries;
    expect(second[0].id < body.deliveries.at(-1).id).toBe(true);
  });

  few(3).each([
    "status=lost",
    "event=agent.exploded",
    "from=yesterday",
    "from=2026-11-23",
    "from=2026-11-23T10:00:00",
    "from=2026-02-30T10:00:00Z",
    "from=2026-11-23T23:59:60Z",
    "from=1700000000000",
    "from=2026-11-23T10:00:00Z&to=2026-11-23T10:00:00Z",
    "from=2026-11-24T10:00:00Z&to=2026-11-23T10:00:00Z",
    `agent_id=${"a".repeat(129)}`,
    "agent_id=",
    "cursor=act_00000000000000000000000000000000",
    "cursor=1.whk_0",
    "cursor=",
    "limit=201",
    "limit=1e2",
  ])("refuses %s", async (query) => {
    const { status, body } = await get(`/deliveries?${query}`);
    expect([status, body.code]).toEqual([400, "validation_error"]);
  });

  it("is for administrators, as is starting them again", async () => {
    await insert({ count: 1 });
    for (const answer of [
      await get("/deliveries", agent),
      await get(`/deliveries?webhook_id=${mine}`, agent),
      await redeliver({ webhook_id: mine }, { dry_run: false }, agent),
    ]) {
      expect([answer.status, answer.body.required]).toEqual([403, "*:*:*"]);
    }
    expect(await count("status = 'failed'")).toBe(1);
  });
});

describe("the deliveries of one webhook", () => {
  it("are paged by a cursor or by an offset, and not by both", SLOW, async () => {
    await insert({ count: 5 });
    await insert({ count: 5, webhookId: theirs, agentId: other.id });
    const path = `/webhooks/${mine}/deliveries`;
    const { rows, sizes } = await pages(`${path}?limit=2`, "deliveries");
    expect(sizes).toEqual([2, 2, 1]);
    const whole = (await get(path)).body;
    expect(rows).toEqual(whole.deliveries);
    const byOffset = (await get(`${path}?limit=2&offset=2`)).body;
    expect(byOffset.deliveries).toEqual(rows.slice(2, 4));
    expect(byOffset).toMatchObject({ pagination: { total: 5, limit: 2, offset: 2, has_more: true } });
    const both = await get(`${path}?offset=0&cursor=${rows[0]!.id}`);
    expect([both.status, both.body.details[0].field]).toEqual([400, "cursor"]);
    // A cursor of another webhook's list is only a position in this one.
    const foreign = (await get(`/webhooks/${theirs}/deliveries?limit=1`)).body.next_cursor;
    const shown = (await get(`${path}?cursor=${foreign}`, agent)).body.deliveries;
    expect(shown.every((one: { webhook_id: string }) => one.webhook_id === mine)).toBe(true);
    expect((await get(`${path}?cursor=${rows[0]!.id}`, other)).status).toBe(404);
  });
});

describe("starting many deliveries again", () => {
  it("counts by default, and starts the failed ones under their own ids", SLOW, async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const at = receiver();
    const { id } = await hook(self, agent, { url: at.url });
    await insert({ count: 3, webhookId: id });
    await insert({ count: 2, webhookId: id, status: "success", from: START + MINUTE });
    const filter = { webhook_id: id, from: "2026-11-20T00:00:01Z" };
    const dry = await redeliver(filter, {});
    expect(dry.body).toMatchObject({ matched: 2, redelivered: 0, remaining: 2, next_cursor: null });
    expect(Object.keys(dry.body).sort()).toEqual([
      "matched",
      "message",
      "next_cursor",
      "redelivered",
      "remaining",
      "success",
    ]);
    expect([await count("status = 'failed'"), self.asked.length]).toEqual([3, 0]);
    const { results } = await env.DB.prepare("SELECT id FROM deliveries WHERE status = 'failed' ORDER BY id").all<{
      id: string;
    }>();
    const done = await redeliver(filter);
    expect(done.body).toMatchObject({ matched: 2, redelivered: 2, remaining: 0, next_cursor: null });
    expect((await redeliver(filter)).body).toMatchObject({ matched: 0, redelivered: 0, remaining: 0 });
    await attempts(self);
    const ids = (await at.arrived()).map(({ headers }) => headers["webhook-id"]);
    expect(ids.toSorted()).toEqual(results.slice(1).map((one) => one.id));
    const rows = (await get(`/webhooks/${id}/deliveries?status=success`)).body.deliveries;
    expect(rows.map(({ attempts: n }: { attempts: number }) => n).toSorted()).toEqual([1, 1, 3, 3]);

    // What has arrived is started again if that is asked for, and not again by a repetition of the call.
    const arrived = { ...filter, status: "success" };
    expect((await redeliver(arrived)).body).toMatchObject({ matched: 2, redelivered: 2 });
    await attempts(self);
    expect((await redeliver(arrived)).body).toMatchObject({ matched: 0, redelivered: 0 });
    await env.DB.prepare("DELETE FROM webhooks WHERE id = ?").bind(id).run();
  });

  it("begins each delivery once for two callers at once", async () => {
    await insert({ count: 40, webhookId: all });
    const answers = await Promise.all([redeliver({ webhook_id: all }), redeliver({ status: "failed" })]);
    expect(answers.map(({ body }) => body.redelivered).toSorted()).toEqual([0, 40]);
    const asked = self.asked.map(({ deliveryId }) => deliveryId);
    expect([asked.length, new Set(asked).size]).toEqual([40, 40]);
  });

  it("is bounded in a call, and says what remains", SLOW, async () => {
    await insert({ count: MAX_REDELIVERED + 7, webhookId: all });
    const first = await redeliver({ webhook_id: all });
    expect(first.body).toMatchObject({ matched: MAX_REDELIVERED + 7, redelivered: MAX_REDELIVERED, remaining: 7 });
    const { results } = await env.DB.prepare("SELECT id FROM deliveries ORDER BY id LIMIT ?")
      .bind(MAX_REDELIVERED)
      .all();
    expect(self.asked.map(({ deliveryId }) => deliveryId).toSorted()).toEqual(results.map(({ id }) => id));
    expect((await redeliver({ webhook_id: all })).body).toMatchObject({ matched: 7, redelivered: 7, remaining: 0 });
  });

  it("goes on by the cursor where more are searched than one call may search", SLOW, async () => {
    await insert({ count: MAX_SEARCHED, webhookId: all });
    await insert({ count: 2, webhookId: all, event: "agent.revoked", from: START + MAX_SEARCHED * 1000 });
    const filter = { event: "agent.revoked" };
    const first = (await redeliver(filter)).body;
    expect(first).toMatchObject({ matched: 0, redelivered: 0, next_cursor: expect.stringMatching(/^msg_/) });
    const second = (await redeliver(filter, { dry_run: false, cursor: first.next_cursor })).body;
    expect(second).toMatchObject({ matched: 2, redelivered: 2, next_cursor: null });
  });

  it("gives a webhook no more pending deliveries than it may have, so that none is given up for it", SLOW, async () => {
    await insert({ count: MAX_PENDING - 3, status: "pending", from: START, dueAt: Date.now() + 10 * MINUTE });
    await insert({ count: 5, from: START + 10 * MINUTE });
    await insert({ count: 1, webhookId: theirs, agentId: other.id, from: START + 20 * MINUTE });
    expect((await redeliver({ status: "failed" })).body).toMatchObject({ matched: 6, redelivered: 4, remaining: 2 });
    expect(await count(`webhook_id = '${mine}' AND status = 'pending'`)).toBe(MAX_PENDING);
    // Those that wait may be hurried: they have their places.
    expect((await redeliver({ status: "pending", webhook_id: mine })).body).toMatchObject({
      redelivered: MAX_PENDING - 3,
    });
  });

  it("leaves the limit of a minute to one host in force", SLOW, async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: Math.ceil(Date.now() / MINUTE) * MINUTE });
    const at = receiver();
    const { id } = await hook(self, other, { url: at.url });
    await insert({ count: MAX_ATTEMPTS_PER_HOST + 5, webhookId: id, agentId: other.id });
    expect((await redeliver({ webhook_id: id })).body.redelivered).toBe(MAX_ATTEMPTS_PER_HOST + 5);
    await attempts(self);
    expect(await at.arrived()).toHaveLength(MAX_ATTEMPTS_PER_HOST);
    expect(await count(`webhook_id = '${id}' AND status = 'pending'`)).toBe(5);
    await env.DB.prepare("DELETE FROM webhooks WHERE id = ?").bind(id).run();
  });

  it("leaves out what is under way, and webhooks that are switched off", SLOW, async () => {
    const off = await hook(self, agent, { url: NOWHERE });
    await self.call(`/webhooks/${off.id}`, { method: "PUT", token: agent.token, json: { is_active: false } });
    await insert({ count: 2, webhookId: off.id });
    await insert({ count: 2, status: "pending", dueAt: Date.now() + 1000 });
    for (const filter of [{ webhook_id: off.id }, { status: "pending" }]) {
      expect((await redeliver(filter)).body).toMatchObject({ matched: 0, redelivered: 0 });
    }
    await env.DB.prepare("DELETE FROM webhooks WHERE id = ?").bind(off.id).run();
  });

  few(3).each<[string, object, string?]>([
    ["no filter", {}],
    ["an empty filter", { filter: {} }],
    ["a filter that is no object", { filter: "failed" }],
    ["a list", { filter: [{ status: "failed" }] }],
    ["a field that no filter has", { filter: { status: "failed", webhook: "whk_1" } }, "unknown_field"],
    ["only such a field", { filter: { everything: true } }, "unknown_field"],
    ["a status that is none", { filter: { status: "lost" } }],
    ["a time that is none", { filter: { from: "today" } }],
    ["null", { filter: { status: null } }],
    ["an id that is too long", { filter: { agent_id: "a".repeat(60_000) } }],
    ["a cursor that was made up", { filter: { status: "failed" }, cursor: "msg_" }],
    ["dry_run as text", { filter: { status: "failed" }, dry_run: "false" }],
  ])("refuses %s", async (_, json, code = "validation_error") => {
    await insert({ count: 1 });
    const init = { method: "POST", token: admin.token, json: { dry_run: false, ...json } };
    const { status, body } = await self.call("/deliveries/redeliver", init);
    expect([status, body.code]).toEqual([400, code]);
    expect(await count("status = 'failed'")).toBe(1);
  });

  it("writes nothing for an administrator that was suspended after its request was accepted", async () => {
    await insert({ count: 1 });
    const doomed = await self.admin();
    const body = new ReadableStream({
      async start(controller) {
        controller.enqueue(new TextEncoder().encode('{"filter": {"status": "failed"}, "dry_run": false'));
        await self.call(`/agents/${doomed.id}/status`, {
          method: "PUT",
          token: admin.token,
          json: { status: "suspended" },
        });
        controller.enqueue(new TextEncoder().encode("}"));
        controller.close();
      },
    });
    const headers = { "content-type": "application/json" };
    const init = { method: "POST", token: doomed.token, headers, body };
    expect((await self.call("/deliveries/redeliver", init)).status).toBe(401);
    expect(await count("status = 'failed'")).toBe(1);
  });
});

describe("every one of these lists", () => {
  /** The index that each part of a statement reads, and what it reads through. */
  async function planOf({ sql, bindings }: Statement): Promise<string[]> {
    const { results } = await env.DB.prepare(`EXPLAIN QUERY PLAN ${sql}`)
      .bind(...bindings)
      .all<{ detail: string }>();
    return results.map(({ detail }) => detail);
  }
  const queries = (): [string, string][] => [
    ["/webhooks?agent_id=*", "webhooks_by_age"],
    [`/webhooks?agent_id=${agent.id}`, "webhooks_by_agent"],
    ["/deliveries", "PRIMARY KEY"],
    ["/deliveries?event=agent.revoked&from=2026-11-20T00:00:00Z", "PRIMARY KEY"],
    ["/deliveries?status=failed", "deliveries_ended"],
    ["/deliveries?status=pending", "deliveries_pending"],
    [`/deliveries?agent_id=${agent.id}&status=failed`, "deliveries_by_agent"],
    [`/deliveries?webhook_id=${mine}`, "deliveries_by_webhook"],
    [`/deliveries?webhook_id=${mine}&status=failed&agent_id=${agent.id}`, "deliveries_by_status"],
    [`/webhooks/${mine}/deliveries?status=failed&cursor=msg_${"f".repeat(32)}`, "deliveries_by_status"],
  ];

  it("is read by an index, in its order", SLOW, async () => {
    for (const [path, index] of queries()) {
      const { result, awaited, statements } = await counter.run(() => get(path));
      expect([path, result.status, awaited.rowsWritten, awaited.d1 <= 3]).toEqual([path, 200, 0, true]);
      const plans = await Promise.all(
        statements
          .filter(({ sql }) => /FROM (deliveries|webhooks)\b/.test(sql) && !sql.startsWith("SELECT json"))
          .map(planOf),
      );
      const details = plans.flat();
      expect({ path, details: details.some((one) => one.includes(index)) }).toEqual({ path, details: true });
      const scans = details.filter((one) => /^SCAN (?!d$|\(|.*subquery)/i.test(one) && !one.includes(index));
      expect({ path, scans }).toEqual({ path, scans: [] });
      if (/cursor|webhooks\?/.test(path)) {
        expect({ path, sorts: details.filter((one) => one.includes("TEMP B-TREE")) }).toEqual({ path, sorts: [] });
      }
    }
  });

  it("and so are deliveries that are started again, in one transaction", SLOW, async () => {
    for (const [filter, index] of [
      [{ status: "failed" }, "deliveries_ended"],
      [{ status: "pending" }, "deliveries_pending"],
      [{ webhook_id: mine }, "deliveries_by_status"],
      [{ agent_id: agent.id, from: "2026-11-20T00:00:00Z" }, "deliveries_by_agent"],
    ] as const) {
      const { result, awaited, statements } = await counter.run(() => redeliver(filter));
      expect([result.status, awaited.d1]).toEqual([200, 2]);
      for (const statement of statements.filter(({ sql }) => /FROM deliveries/.test(sql))) {
        const details = await planOf(statement);
        expect({ filter, index: details.some((one) => one.includes(index)) }).toEqual({ filter, index: true });
        expect({ filter, scans: details.filter((one) => /^SCAN (deliveries|w|webhooks)\b/.test(one)) }).toEqual({
          filter,
          scans: [],
        });
      }
    }
  });

  it("and the job that finds overdue deliveries takes the index of those that are due", async () => {
    const details = await planOf({
      sql: `SELECT id FROM deliveries WHERE status = 'pending' AND next_attempt_at <= ?1
        AND (enqueued_at IS NULL OR enqueued_at <= ?2) LIMIT ?3`,
      bindings: [0, 0, 10],
    });
    expect(details).toEqual([expect.stringContaining("deliveries_due")]);
  });
});

describe("one delivery, whole", () => {
  it("is read by an auditor without what was sent and what was answered, and by an administrator with both", async () => {
    const administrator = await firstAdministrator(self);
    const auditor = await invite(self, administrator, "auditor");
    const { id } = await hook(self, agent, { url: receiver().url });
    const sent = await self.call(`/webhooks/${id}/test`, { method: "POST", token: agent.token });
    const path = `/webhooks/${id}/deliveries/${sent.body.delivery.id}`;
    await attempts(self);
    const read = async (person: typeof auditor) => {
      const { status, body } = await person.call(path);
      expect([status, body.delivery.status, body.attempts.length]).toEqual([200, "success", 1]);
      return [body.request_body, body.delivery.response_body, body.attempts[0].response_body];
    };
    const answered = expect.stringMatching(/./);
    expect(await read(administrator)).toEqual([expect.stringContaining("webhook.test"), answered, answered]);
    expect(await read(auditor)).toEqual([null, null, null]);
    for (const list of [`/webhooks/${id}/deliveries`, "/deliveries"]) {
      const { status, body } = await auditor.call(list);
      expect([status, body.deliveries.map((one: { response_body: unknown }) => one.response_body)]).toEqual([
        200,
        [null],
      ]);
    }
  });
});
