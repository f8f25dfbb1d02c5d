import { env } from "cloudflare:workers";
import { describe, expect, it } from "vitest";
import { BUILT_IN_CATALOGUE } from "../src/permissions/catalogue.ts";
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

describe("0008", () => {
  const rowOf = async (id: string) => {
    const row = (await env.DB.prepare(
      "SELECT permissions, grants, grants_version, grants_due_at FROM agents WHERE id = ?1",
    )
      .bind(id)
      .first<{ permissions: string; grants: string; grants_version: number; grants_due_at: number | null }>())!;
    const grants = JSON.parse(row.grants) as { id: string; permission: string; actions?: string[]; where?: object }[];
    return { ...row, permissions: JSON.parse(row.permissions) as string[], grants };
  };
  /** An agent as a Worker of the former version inserts it. */
  const insertFormer = (id: string, permissions: string[]) =>
    env.DB.prepare(
      `INSERT INTO agents (id, name, owner_email, permissions, status, tier, created_at, updated_at)
       VALUES (?1, 'former', 'owner@example.com', ?2, 'active', 'free', 1, 1)`,
    )
      .bind(id, JSON.stringify(permissions))
      .run();
  const holdersOf = async (permission: string) => {
    const { results } = await env.DB.prepare("SELECT agent_id FROM agent_permissions WHERE permission = ?1")
      .bind(permission)
      .all<{ agent_id: string }>();
    return results.map(({ agent_id }) => agent_id);
  };

  it("makes a grant without limits of each permission that an agent of a former version has", async () => {
    const wildcards = Object.entries(BUILT_IN_CATALOGUE).flatMap(([service, resources]) =>
      Object.entries(resources).map(([resource, actions]) => ({ permission: `${service}:${resource}:*`, actions })),
    );
    const others = ["*:*:*", "github:*:*", "github:issues:read", "lab:things:*"].map((permission) => ({ permission }));
    const expected = [...wildcards, ...others].toSorted((a, b) => (a.permission < b.permission ? -1 : 1));
    await insertFormer("agt_former_0008", expected.map(({ permission }) => permission).toReversed());
    // As the database of the former version had it.
    await env.DB.batch([
      env.DB.prepare("UPDATE agents SET grants = '[]', grants_version = 5 WHERE id = 'agt_former_0008'"),
      env.DB.prepare("UPDATE agents SET grants = NULL, grants_version = 1 WHERE id = 'agt_former_0008'"),
    ]);
    for (const change of changesOf("0008_grants.sql", /^UPDATE agents SET permissions/)) {
      await env.DB.prepare(change).run();
    }
    const { permissions, grants, grants_due_at } = await rowOf("agt_former_0008");
    expect(grants.map(({ permission, actions }) => ({ permission, ...(actions && { actions }) }))).toEqual(expected);
    for (const { id } of grants) expect(id).toMatch(/^gra_[0-9a-f]{24}$/);
    expect(new Set(grants.map(({ id }) => id)).size).toBe(grants.length);
    expect(permissions).toEqual(expected.map(({ permission }) => permission));
    expect(grants_due_at).toBeNull();
    expect(await holdersOf("lab:things:*")).toContain("agt_former_0008");
  });

  it("keeps what is limited when a Worker of the former version writes permissions, and widens nothing", async () => {
    const id = "agt_former_limits";
    await insertFormer(id, ["lab:notes:read", "lab:things:read"]);
    const limited = [
      { id: "gra_1", permission: "lab:things:write", where: { "path.id": { eq: "1" } }, created_at: 1 },
      { id: "gra_2", permission: "lab:notes:read", created_at: 1 },
      { id: "gra_3", permission: "lab:notes:write", expires_at: 9e12, created_at: 1 },
    ];
    await env.DB.prepare(
      `UPDATE agents SET grants = ?2, permissions = '["lab:notes:read"]', grants_version = grants_version + 1 WHERE id = ?1`,
    )
      .bind(id, JSON.stringify(limited))
      .run();
    const before = await rowOf(id);
    const write = (permissions: string[]) =>
      env.DB.prepare("UPDATE agents SET permissions = ?2 WHERE id = ?1").bind(id, JSON.stringify(permissions)).run();
    await write(["lab:things:write", "lab:things:read", "lab:notes:read", "lab:notes:write"]);
    const after = await rowOf(id);
    expect(after.grants_version).toBe(before.grants_version + 1);
    expect(after.permissions).toEqual(["lab:notes:read", "lab:things:read"]);
    expect(after.grants.slice(0, 3)).toEqual(limited);
    expect(after.grants.slice(3).map(({ permission }) => permission)).toEqual(["lab:things:read"]);
    await write([]);
    const empty = await rowOf(id);
    expect(empty.permissions).toEqual([]);
    expect(empty.grants.map((one) => one.id)).toEqual(["gra_1", "gra_3"]);
    expect(await holdersOf("lab:things:write")).toContain(id);
    expect(await holdersOf("lab:notes:read")).not.toContain(id);
    await env.DB.prepare("DELETE FROM agents WHERE id = ?1").bind(id).run();
    expect(await holdersOf("lab:things:write")).not.toContain(id);
  });
});
