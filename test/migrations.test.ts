import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
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

describe("0004", () => {
  it("gives the keys of a former version an id, and leaves them as good as they were", async () => {
    const self = world();
    const { id, apiKey } = await self.agent();
    const { hash } = (await env.DB.prepare("SELECT hash FROM api_keys WHERE agent_id = ?1")
      .bind(id)
      .first<{ hash: string }>())!;
    // The table as the former version had it, in the place of the one that is to be replaced.
    await env.DB.batch([
      env.DB.prepare("ALTER TABLE api_keys RENAME TO present_api_keys"),
      env.DB.prepare(
        `CREATE TABLE api_keys (hash TEXT PRIMARY KEY, agent_id TEXT NOT NULL, created_at INTEGER NOT NULL, expires_at INTEGER, change_id TEXT)
         STRICT, WITHOUT ROWID`,
      ),
      env.DB.prepare("INSERT INTO api_keys VALUES (?1, ?2, 7, NULL, 'c'), ('other', ?2, 8, 9, NULL)").bind(hash, id),
      env.DB.prepare("DROP INDEX api_keys_by_agent"),
      env.DB.prepare("DROP INDEX api_keys_by_expiry"),
    ]);
    for (const change of changesOf("0004_sessions.sql", /api_keys/)) await env.DB.prepare(change).run();
    const { results } = await env.DB.prepare(
      "SELECT type, hash, pepper_id, hint, created_at, expires_at, change_id FROM api_keys WHERE agent_id = ?1 ORDER BY created_at",
    )
      .bind(id)
      .all();
    const common = { type: "secret", pepper_id: null, hint: "" };
    expect(results).toEqual([
      { ...common, hash, created_at: 7, expires_at: null, change_id: "c" },
      { ...common, hash: "other", created_at: 8, expires_at: 9, change_id: null },
    ]);
    const ids = await env.DB.prepare("SELECT id FROM api_keys WHERE agent_id = ?1").bind(id).all<{ id: string }>();
    for (const one of ids.results) expect(one.id).toMatch(/^key_[0-9a-f]{24}$/);
    const json = { agent_id: id, api_key: apiKey };
    expect((await self.call("/agents/verify", { method: "POST", json })).status).toBe(200);
    // A Worker of the former version goes on while the present one is rolled out.
    await env.DB.prepare("INSERT INTO api_keys (hash, agent_id, created_at) VALUES ('third', ?1, 1)").bind(id).run();
  });

  it("ends the sessions that the agent's not_before had ended, and those alone", async () => {
    const { id } = await world().agent();
    await env.DB.prepare("UPDATE agents SET not_before = 100 WHERE id = ?1").bind(id).run();
    const insert = env.DB.prepare(
      "INSERT INTO refresh_families (id, agent_id, issued_at, expires_at, revoked_at) VALUES (?1, ?2, ?3, 1, ?4)",
    );
    await env.DB.batch([
      insert.bind("fam_before", id, 99, null),
      insert.bind("fam_at", id, 100, null),
      insert.bind("fam_revoked", id, 99, 5),
    ]);
    const [change] = changesOf("0004_sessions.sql", /^UPDATE refresh_families/);
    await env.DB.prepare(change!).run();
    const { results } = await env.DB.prepare(
      "SELECT id, revoked_at FROM refresh_families WHERE id IN ('fam_before', 'fam_at', 'fam_revoked') ORDER BY id",
    ).all();
    expect(results).toEqual([
      { id: "fam_at", revoked_at: null },
      { id: "fam_before", revoked_at: expect.any(Number) },
      { id: "fam_revoked", revoked_at: 5 },
    ]);
  });

  it("counts a revocation by a Worker of the former version, once", async () => {
    const { id } = await world().agent();
    const version = () =>
      env.DB.prepare("SELECT token_version FROM agents WHERE id = ?1").bind(id).first("token_version");
    await env.DB.prepare("UPDATE agents SET not_before = not_before + 5 WHERE id = ?1").bind(id).run();
    expect(await version()).toBe(2);
    await env.DB.prepare("UPDATE agents SET not_before = not_before, name = 'other' WHERE id = ?1").bind(id).run();
    expect(await version()).toBe(2);
    await env.DB.prepare(
      "UPDATE agents SET not_before = not_before + 1, token_version = token_version + 1 WHERE id = ?1",
    )
      .bind(id)
      .run();
    expect(await version()).toBe(3);
  });
});
