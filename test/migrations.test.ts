import { env } from "cloudflare:workers";
import { expect, it } from "vitest";
import { world } from "./support/world.ts";

/** The statements of a migration that change rows of a former version, without the comments before them. */
const changesOf = (name: string, kind: RegExp) =>
  env.TEST_MIGRATIONS.find((migration) => migration.name === name)!
    .queries.map((query) => query.replace(/^(?:\s*--.*\n|\s+)*/, ""))
    .filter((query) => kind.test(query));

it("0002 knows of rows of a former version whose address is whose", async () => {
  const { id } = await world().agent();
  const rows: [message: string, byOther: number][] = [
    ["registered", 0],
    ["verification failed", 0],
    ["lab GET /things/1 → 200", 0],
    ["tier is pro, set by agt_other", 1],
    ["status is suspended, set by agt_other", 1],
    [`status is revoked, set by ${id}`, 0],
    [`permissions are ${"lab:things:read ".repeat(40)}`.slice(0, 500), 1],
    ["API key rotated by agt_other", 1],
    [`API key rotated by ${id}`, 0],
  ];
  const insert = env.DB.prepare(
    `INSERT INTO activity (id, agent_id, at, ip_address, status, message, batch) VALUES (?1, ?2, 0, '192.0.2.1', 'success', ?3, 'b')`,
  );
  await env.DB.batch(rows.map(([message], n) => insert.bind(`act_former_${n}`, id, message)));
  const changes = changesOf("0002_floods.sql", /^UPDATE activity /);
  expect(changes).toHaveLength(1);
  await env.DB.prepare(changes[0]!).run();
  const { results } = await env.DB.prepare(
    "SELECT message, by_other FROM activity WHERE id LIKE 'act_former_%' ORDER BY id",
  ).all<{
    message: string;
    by_other: number;
  }>();
  expect(results.map(({ message, by_other }) => [message, by_other])).toEqual(rows);
});

it("0002 counts the deliveries, and reads the hosts, of webhooks of a former version", async () => {
  const { id } = await world().agent();
  const urls: [url: string, host: string][] = [
    ["https://Hooks.Example.com/a/b", "hooks.example.com"],
    ["https://hooks.example.com:8443/a", "hooks.example.com"],
    ["https://hooks.example.com?x=/y:z", "hooks.example.com"],
    ["https://hooks.example.com", "hooks.example.com"],
    ["http://127.0.0.1:9/a", "127.0.0.1"],
  ];
  const insert = env.DB.prepare(
    `INSERT INTO webhooks (id, agent_id, url, events, secret, created_at, updated_at) VALUES (?1, ?2, ?3, '[]', '{}', 0, 0)`,
  );
  await env.DB.batch(urls.map(([url], n) => insert.bind(`whk_former_${n}`, id, url)));
  const deliver = env.DB.prepare(
    `INSERT INTO deliveries (id, webhook_id, event_id, event, agent_id, body, status, created_at, updated_at)
     VALUES (?1, 'whk_former_0', ?1, 'agent.verified', ?2, 'naïve', ?3, 0, 0)`,
  );
  await env.DB.batch(["pending", "failed", "pending"].map((status, n) => deliver.bind(`msg_former_${n}`, id, status)));
  const kept = () => env.DB.prepare("SELECT * FROM delivery_totals WHERE webhook_id = 'whk_former_0'").first();
  const counted = await kept();
  await env.DB.prepare("DELETE FROM delivery_totals").run();
  for (const change of changesOf("0002_floods.sql", /^(?:UPDATE webhooks|INSERT INTO delivery_totals) /)) {
    await env.DB.prepare(change).run();
  }
  expect(counted).toEqual({ webhook_id: "whk_former_0", pending: 2, bytes: 3 * (6 + 1024) });
  expect(await kept()).toEqual(counted);
  const { results } = await env.DB.prepare(
    "SELECT url, host FROM webhooks WHERE id LIKE 'whk_former_%' ORDER BY id",
  ).all();
  expect(results).toEqual(urls.map(([url, host]) => ({ url, host })));
});
