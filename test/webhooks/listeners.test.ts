import { env } from "cloudflare:workers";
import { expect, it } from "vitest";
import { emptyOutbox } from "../../src/webhooks/deliveries/fan-out.ts";
import { countOperations } from "../support/count-operations.ts";
import { hook, hookWorld } from "../support/receiver.ts";

it("Other agents' webhooks cost an event nothing, however many there are", async () => {
  const counter = countOperations();
  const where = hookWorld(counter.overrides);
  const events = ["agent.verified"];
  const { id, apiKey, ...rest } = await where.agent();
  await hook(where, { id, apiKey, ...rest }, { url: "http://127.0.0.1:9/", events });
  const verify = async () => {
    const json = { agent_id: id, api_key: apiKey };
    const { result, awaited } = await counter.run(() => where.call("/agents/verify", { method: "POST", json }));
    expect(result.status).toBe(200);
    const emptied = await counter.run(() => emptyOutbox(where.env, Date.now()));
    expect(emptied.result).toBe(1);
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
  expect(amongMany.verify).toBeLessThan(alone.verify + 10);
  expect(amongMany.fanOut).toBeLessThan(alone.fanOut + 10);
});
