import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, it } from "vitest";
import { archiveRecords } from "../../src/audit/archive/write.ts";
import { checkPart, ok } from "../../src/storage/part-health.ts";
import { seedRecords } from "../support/audit-rows.ts";
import { failing } from "../support/bindings.ts";
import { testSecrets } from "../support/secrets.ts";
import { world, type World } from "../support/world.ts";
import { SLOW } from "../support/extents.ts";

const KEYS = JSON.stringify({ keys: [{ kty: "oct", kid: "new", k: btoa("n".repeat(32)).replaceAll("=", "") }] });
const HOUR = 3_600_000;

beforeEach(async () => {
  await env.AUDIT_DB.batch(
    ["records", "batches", "day_keys"].map((table) => env.AUDIT_DB.prepare(`DELETE FROM ${table}`)),
  );
  await env.DB.batch(["audit_outbox", "events"].map((table) => env.DB.prepare(`DELETE FROM ${table}`)));
});

// oxlint-disable-next-line typescript/no-explicit-any
type Details = { status: string; parts: Record<string, any> };

async function details(overrides: Record<string, unknown> = {}): Promise<Details> {
  const self: World = world({ DATA_KEYS: KEYS, ...overrides });
  const { token } = await world().admin();
  await env.DB.prepare("DELETE FROM events").run();
  const { status, body } = await self.call("/health/details", { token });
  expect(status).toBe(200);
  const parts = body.parts.map(({ name, ...part }: { name: string }) => [name, part]);
  return { status: body.status, parts: Object.fromEntries(parts) };
}

describe("GET /health/details", () => {
  it("says of each part that it is well", async () => {
    const { status, parts } = await details();
    expect(status).toBe("ok");
    expect(Object.keys(parts)).toEqual([
      "database",
      "revocations",
      "migrations",
      "events",
      "deliveries",
      "audit_outbox",
      "audit_database",
      "audit_archive",
      "otlp",
    ]);
    for (const [name, part] of Object.entries(parts)) {
      expect([name, part.status]).toEqual([name, name === "otlp" ? "off" : "ok"]);
    }
    expect(parts.audit_database.numbers).toMatchObject({ max_bytes: 8e9, max_hot_days: 90 });
    expect(parts.audit_database.numbers.bytes).toBeGreaterThan(10_000);
  });

  it("says since when records wait, for the archive and for the receiver, and what to do", SLOW, async () => {
    const since = Date.now() - HOUR;
    await seedRecords([{ agent: "agt_a", at: since }]);
    const { status, parts } = await details({ OTLP_ENDPOINT: "https://otlp.example.com" });
    expect(status).toBe("lagging");
    const waiting = { status: "lagging", since: new Date(since).toISOString() };
    expect(parts.audit_archive).toMatchObject({ ...waiting, numbers: { unarchived_batches: 1 } });
    expect(parts.audit_archive.message).toContain("archive_records");
    expect(parts.otlp).toMatchObject({ ...waiting, numbers: { unsent_batches: 1, attempts: 0 } });
    expect(parts.otlp.message).toContain("otlp_not_sent");
  });

  it("says what waits in the outboxes", async () => {
    const since = Date.now() - HOUR;
    await env.DB.prepare("DELETE FROM audit_outbox").run();
    await env.DB.prepare(
      "INSERT INTO audit_outbox (agent_id, id, part, at, ready_at, entry) VALUES ('a', 'b', 'whole', ?1, ?1, '{}'), ('a', 'c', 'intent', ?1, ?1 * 2, '{}')",
    )
      .bind(since)
      .run();
    const { parts } = await details();
    expect(parts.audit_outbox).toMatchObject({
      status: "lagging",
      since: new Date(since).toISOString(),
      // Two are those of the administrator who asks.
      numbers: { entries: 4 },
    });
  });

  it("says that nothing is archived without DATA_KEYS, and how to make them", async () => {
    const { status, parts } = await details({ DATA_KEYS: undefined });
    expect(status).toBe("failing");
    expect(parts.audit_archive).toMatchObject({ status: "failing" });
    expect(parts.audit_archive.message).toContain("npm run keys -- publish data");
  });

  it("counts the keys of days that still need an older key of DATA_KEYS", async () => {
    await seedRecords([{ agent: "agt_a", at: Date.now() }]);
    const dataKeys = [{ kty: "oct" as const, kid: "old", k: btoa("o".repeat(32)).replaceAll("=", "") }];
    await archiveRecords(
      { db: env.AUDIT_DB, bucket: env.AUDIT_ARCHIVE, dataKeys, retentionDays: null },
      Date.now(),
      500,
    );
    const { parts } = await details();
    expect(parts.audit_archive.numbers).toMatchObject({ day_keys: 1, day_keys_under_older_keys: 1 });
  });

  it("answers while parts fail, and says which, without a secret", async () => {
    const { status, parts } = await details({
      AUDIT_DB: failing(env.AUDIT_DB),
      AUDIT_ARCHIVE: failing(env.AUDIT_ARCHIVE, "R2 is down"),
      REVOCATIONS: failing(env.REVOCATIONS, "KV is down"),
    });
    expect(status).toBe("failing");
    expect(parts.audit_database).toMatchObject({ status: "failing", since: null });
    expect(parts.audit_database.message).toContain("Network connection lost. Look for AUDIT_DB");
    expect(parts.audit_archive.message).toContain("R2 is down. Look for the bucket");
    expect(parts.revocations.message).toContain("KV is down. Look for the KV namespace");
    const text = JSON.stringify(parts);
    for (const secret of Object.values(testSecrets)) expect(text).not.toContain(secret);
  });

  it("compares the migrations of both databases with the files", SLOW, async () => {
    const last = (migrations: typeof env.TEST_MIGRATIONS) => parseInt(migrations.at(-1)!.name);
    const [wanted, auditWanted] = [last(env.TEST_MIGRATIONS), last(env.TEST_AUDIT_MIGRATIONS)];
    const numbers = { applied: wanted, wanted, audit_applied: auditWanted, audit_wanted: auditWanted };
    expect((await details()).parts.migrations).toMatchObject({ status: "ok", numbers });
    const newest = "name = (SELECT max(name) FROM d1_migrations)";
    const row = await env.AUDIT_DB.prepare(`DELETE FROM d1_migrations WHERE ${newest} RETURNING name`).first("name");
    const { parts } = await details();
    await env.AUDIT_DB.prepare("INSERT INTO d1_migrations (name) VALUES (?)").bind(row).run();
    expect(parts.migrations).toMatchObject({
      status: "failing",
      numbers: { ...numbers, audit_applied: auditWanted - 1 },
    });
  });

  it("says since when deliveries are due that nobody attempts", SLOW, async () => {
    const self = world();
    const { id } = await self.agent();
    const due = Date.now() - HOUR;
    await env.DB.batch([
      env.DB.prepare(
        "INSERT INTO webhooks (id, agent_id, url, events, secret, created_at, updated_at) VALUES ('whk_due', ?1, 'https://hooks.example.com/', '[]', '{}', 0, 0)",
      ).bind(id),
      env.DB.prepare(
        "INSERT INTO deliveries (id, webhook_id, event_id, event, agent_id, body, status, next_attempt_at, created_at, updated_at) VALUES ('msg_due', 'whk_due', 'e', 'webhook.test', ?1, '{}', 'pending', ?2, 0, 0)",
      ).bind(id, due),
    ]);
    const { parts } = await details();
    await env.DB.prepare("DELETE FROM webhooks WHERE id = 'whk_due'").run();
    expect(parts.deliveries).toMatchObject({
      status: "lagging",
      since: new Date(due).toISOString(),
      numbers: { overdue: 1 },
    });
  });

  it("counts what each pepper verifies, and who would gain by new rules, when it is asked", SLOW, async () => {
    const self = world();
    const admin = await self.admin();
    const { id } = await self.agent(["github:issues:*"]);
    await env.DB.batch([
      env.DB.prepare("UPDATE api_keys SET pepper_id = 'gone' WHERE agent_id = ?").bind(id),
      env.DB.prepare(
        "UPDATE agents SET grants = json_set(grants, '$[0].actions', json('[\"read\"]')) WHERE id = ?",
      ).bind(id),
    ]);
    const { body } = await self.call("/health/details?counts=true", { token: admin.token });
    const { peppers, peppers_complete, gains, gains_complete, deliveries_given_up } = body.counts;
    expect([peppers_complete, gains_complete, deliveries_given_up]).toEqual([true, true, 0]);
    expect(peppers).toContainEqual({ id: "gone", configured: false, keys: 1, sessions: 0 });
    const current = peppers.find(({ configured }: { configured: boolean }) => configured);
    expect(current.keys).toBeGreaterThan(0);
    expect(current.sessions).toBeGreaterThan(0);
    expect(gains).toEqual([{ agent_id: id, permission: "github:issues:*", lacks: ["github:issues:write"] }]);
    expect((await self.call("/health/details", { token: admin.token })).body.counts).toBeUndefined();
  });

  it("is for administrators", async () => {
    const self = world();
    const { token } = await self.agent();
    expect((await self.call("/health/details", { token })).status).toBe(403);
    expect((await self.call("/health/details")).status).toBe(401);
  });
});

describe("a check of a part", () => {
  it("does not wait for one that hangs", async () => {
    const part = await checkPart("slow", () => new Promise(() => {}), "Wait.", 20);
    expect(part).toMatchObject({ status: "failing", message: "It did not answer within 0.02 seconds. Wait." });
  });

  it("passes on what it finds", async () => {
    expect(await checkPart("good", async () => ok({ n: 1 }), "")).toEqual({ name: "good", ...ok({ n: 1 }) });
  });
});
