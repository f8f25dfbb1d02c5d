import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it } from "vitest";
import { emptyOutbox } from "../../src/webhooks/deliveries/fan-out.ts";
import { countOperations } from "../support/count-operations.ts";
import { attempts, deliveriesOf, hook, hookWorld, receiver, settle } from "../support/receiver.ts";
import type { Registered, World } from "../support/world.ts";
import { SLOW } from "../support/extents.ts";

afterEach(() => env.DB.batch([env.DB.prepare("DELETE FROM webhooks"), env.DB.prepare("DELETE FROM events")]));

const put = (where: World, by: Registered, of: Registered, what: string, json: unknown) =>
  where.call(`/agents/${of.id}/${what}`, { method: "PUT", token: by.token, json });
const told = async ({ arrived }: ReturnType<typeof receiver>) =>
  (await arrived()).map(({ body }) => JSON.parse(body) as { event: string; agent_id: string });

describe("who was an administrator", () => {
  const ways = [
    ["narrowed", "permissions", { permissions: ["lab:things:read"] }, { permissions: ["*:*:*"] }, {}],
    ["suspended", "status", { status: "suspended" }, { status: "active" }, SLOW],
  ] as const;
  for (const [way, what, end, back, options] of ways) {
    it(`hears of other agents no more once ${way}, also not what waits or is asked for again`, options, () =>
      hearNoMore(what, end, back),
    );
  }

  async function hearNoMore(what: string, end: object, back: object): Promise<void> {
    const where = hookWorld();
    const [agent, other, admin] = [await where.agent(), await where.admin(), await where.admin()];
    const at = receiver("500,200");
    const { id } = await hook(where, other, { url: at.url, all_agents: true });
    await put(where, admin, agent, "tier", { tier: "pro" });
    await settle(where);
    expect(await told(at)).toHaveLength(1);

    await put(where, admin, other, what, end);
    await env.DB.prepare("UPDATE deliveries SET next_attempt_at = 0 WHERE webhook_id = ?").bind(id).run();
    await attempts(where);
    const [waiting] = await deliveriesOf(where, admin, id);
    expect(waiting).toMatchObject({ status: "failed", error: "not sent: its owner is no active administrator" });
    const again = `/webhooks/${id}/deliveries/${waiting.id}/redeliver`;
    expect((await where.call(again, { method: "POST", token: admin.token })).status).toBe(200);
    await put(where, admin, agent, "tier", { tier: "enterprise" });
    await settle(where);
    expect(await told(at)).toHaveLength(1);

    // Its own events are its own still.
    await put(where, admin, other, "tier", { tier: "pro" });
    await settle(where);
    expect((await told(at)).map(({ agent_id }) => agent_id)).toEqual([agent.id, other.id]);

    await put(where, admin, other, what, back);
    await put(where, admin, agent, "tier", { tier: "free" });
    await settle(where);
    expect((await told(at)).map(({ agent_id }) => agent_id)).toEqual([agent.id, other.id, agent.id]);
  }
});

describe("an agent that is deleted", () => {
  it(
    "is delivered to its webhooks, also by a retry, and then they are deleted with their deliveries",
    SLOW,
    async () => {
      const where = hookWorld();
      const [agent, admin] = [await where.agent(), await where.admin()];
      const at = receiver("500,200");
      const { id } = await hook(where, agent, { url: at.url, events: ["agent.deleted"] });
      const { id: silent } = await hook(where, agent, { url: receiver().url });
      const left = async () => {
        const { results } = await env.DB.prepare(
          `SELECT id FROM webhooks WHERE id IN (?1, ?2) UNION ALL SELECT event FROM deliveries WHERE webhook_id = ?1`,
        )
          .bind(id, silent)
          .all<{ id: string }>();
        return results.map((row) => row.id).sort();
      };
      expect((await where.call(`/agents/${agent.id}`, { method: "DELETE", token: admin.token })).status).toBe(200);
      for (const path of [`/webhooks/${id}`, `/webhooks/${id}/deliveries`]) {
        expect((await where.call(path, { token: admin.token })).status).toBe(404);
      }
      await settle(where);
      expect(await left()).toEqual(["agent.deleted", id].sort());
      await env.DB.prepare("UPDATE deliveries SET next_attempt_at = 0").run();
      await attempts(where);
      expect((await told(at)).map(({ event, agent_id }) => [event, agent_id])).toEqual([
        ["agent.deleted", agent.id],
        ["agent.deleted", agent.id],
      ]);
      expect(await left()).toEqual([]);
    },
  );

  it("leaves no webhook behind that is switched off while it waits", SLOW, async () => {
    const where = hookWorld();
    const [agent, admin] = [await where.agent(), await where.admin()];
    const { id } = await hook(where, agent, {
      url: receiver("410").url,
      events: ["agent.deleted", "agent.tier_updated"],
    });
    await where.call(`/webhooks/${id}/test`, { method: "POST", token: agent.token });
    await where.call(`/agents/${agent.id}`, { method: "DELETE", token: admin.token });
    const kept = () => env.DB.prepare("SELECT count(*) AS n FROM webhooks WHERE id = ?").bind(id).first("n");
    expect(await kept()).toBe(1);
    await attempts(where);
    expect(await kept()).toBe(0);
  });
});

it("Other agents' webhooks cost an event nothing, however many there are", SLOW, async () => {
  const counter = countOperations();
  const where = hookWorld(counter.overrides);
  const events = ["agent.verified"];
  const { id, apiKey, ...rest } = await where.agent();
  await hook(where, { id, apiKey, ...rest }, { url: "http://127.0.0.1:9/", events });
  const verify = async () => {
    const json = { agent_id: id, api_key: apiKey };
    await emptyOutbox(where.env, Date.now());
    const { result, awaited } = await counter.run(() => where.call("/agents/verify", { method: "POST", json }));
    expect(result.status).toBe(200);
    const emptied = await counter.run(() => emptyOutbox(where.env, Date.now()));
    expect(emptied.result.events).toBe(1);
    return { verify: awaited.rowsRead, fanOut: emptied.awaited.rowsRead };
  };
  const alone = await verify();

  const other = await where.agent();
  const { id: made } = await hook(where, other, { url: "http://127.0.0.1:9/", events });
  await env.DB.prepare(
    `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
     INSERT INTO webhooks (id, agent_id, url, events, secret, created_at, updated_at)
     SELECT 'wh_' || i, agent_id, url, events, secret, created_at, updated_at FROM n, webhooks WHERE id = ?1`,
  )
    .bind(made)
    .run();
  const amongMany = await verify();
  // Some rows more or fewer are read as the tables' trees grow. What looked at each of the two hundred would read them all.
  expect(amongMany.verify).toBeLessThan(alone.verify + 100);
  expect(amongMany.fanOut).toBeLessThan(alone.fanOut + 100);
});
