import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { loadConfig } from "../../src/config/config.ts";
import { runScheduledJobs } from "../../src/jobs/run-jobs.ts";
import { countOperations } from "../support/count-operations.ts";
import { testEnv, world, type Answer, type Registered, type World } from "../support/world.ts";
import { SLOW, few } from "../support/extents.ts";

const self = world({ RATE_FREE: { limit: async () => ({ success: true }) } });
let agent: Registered;
let other: Registered;
let admin: Registered;
beforeAll(async () => {
  [agent, other, admin] = [await self.agent(), await self.agent(), await self.admin()];
});
afterEach(() => void vi.useRealTimers());

const HOOK = { url: "https://hooks.example.com/", events: ["agent.verified"] };
const NEW_AGENT = { name: "Made once", owner_email: "owner@example.com", permissions: ["lab:things:read"] };
const MINUTE_MS = 60_000;

function post(
  path: string,
  key: string,
  json: unknown,
  { token, ip }: { token?: string; ip?: string } = {},
  where = self,
) {
  const headers = { "idempotency-key": key };
  return where.call(path, { method: "POST", json, headers, ...(token && { token }), ip: ip ?? "192.0.2.1" });
}

const addHook = (key: string, json: unknown = HOOK, token = agent.token) => post("/webhooks", key, json, { token });
const codeOf = ({ status, body }: Answer) => [status, body.code];
const isReplay = ({ headers }: Answer) => headers.get("idempotent-replayed");

async function count(sql: string, ...bindings: unknown[]): Promise<number> {
  const row = await self.env.DB.prepare(`SELECT COUNT(*) AS n FROM ${sql}`)
    .bind(...bindings)
    .first<{ n: number }>();
  return row!.n;
}
const hooksOf = (id: string) => count("webhooks WHERE agent_id = ?1", id);

describe("a request that is sent again with its key", () => {
  few(1).each([
    ["POST /webhooks", () => HOOK, "/webhooks", 201, "webhook.secret"],
    ["POST keys", () => ({ label: "second" }), "/agents/{id}/keys", 201, "credentials.api_key"],
    ["rotate-key", () => ({ overlap_seconds: 60 }), "/agents/{id}/rotate-key", 200, "credentials.api_key"],
    ["register", () => NEW_AGENT, "/agents/register", 201, "credentials.api_key"],
  ])("%s gets the same answer, its secret included, and is carried out once", async (_, json, path, status, secret) => {
    const one = await self.agent();
    const send = () => post(path.replace("{id}", one.id), "once-1", json(), { token: one.token });
    const first = await send();
    const before = [await count("agents"), await count("webhooks"), await count("api_keys"), await count("events")];
    const again = await send();
    expect([first.status, again.status, isReplay(first), isReplay(again)]).toEqual([status, status, null, "true"]);
    expect(again.body).toEqual(first.body);
    const shown = secret.split(".").reduce((value, key) => value[key], again.body);
    expect(shown).toMatch(/^(ak_|whsec_)/);
    expect([await count("agents"), await count("webhooks"), await count("api_keys"), await count("events")]).toEqual(
      before,
    );
  });

  it("gets it for 24 hours, but its secrets for 10 minutes, and is told so", SLOW, async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const one = await self.agent();
    const begin = Date.now();
    const send = () => addHook("day", HOOK, one.token);
    const { body } = await send();
    vi.setSystemTime(begin + 10 * MINUTE_MS - 1000);
    expect((await send()).body).toEqual(body);
    vi.setSystemTime(begin + 10 * MINUTE_MS);
    const late = await send();
    expect(late.body).toEqual({
      ...body,
      message: expect.stringContaining("not shown any more"),
      webhook: { ...body.webhook, secret: "***" },
    });
    const proof = { agent_id: one.id, api_key: one.apiKey };
    vi.setSystemTime(begin + 24 * 60 * MINUTE_MS - 1000);
    const { token } = (await self.call("/agents/verify", { method: "POST", json: proof })).body;
    expect((await addHook("day", HOOK, token.access_token)).body).toEqual(late.body);
    vi.setSystemTime(begin + 24 * 60 * MINUTE_MS);
    const anew = await addHook("day", HOOK, token.access_token);
    expect([anew.status, isReplay(anew), anew.body.webhook.id === body.webhook.id]).toEqual([201, null, false]);
  });

  it("costs one round trip more than without a key, and its replay two", async () => {
    const counter = countOperations();
    const counted = world(counter.overrides);
    const key = crypto.randomUUID();
    const send = () => post("/agents/register", key, NEW_AGENT, {}, counted);
    const first = await counter.run(send);
    expect([first.result.status, first.awaited.d1]).toEqual([201, 2]);
    const again = await counter.run(send);
    expect([again.result.status, again.awaited.d1, again.awaited.rowsWritten, again.later.queueSends]).toEqual([
      201, 2, 0, 0,
    ]);
  });

  it("gets it across a rotation of SECRET_PEPPER, while the former key is there", async () => {
    const [former, next] = ["former-pepper-0123456789-0123456789", "next-pepper-0123456789-0123456789-"].map(
      (secret, index) => ({ id: `p${index}`, secret }),
    );
    const under = (...keys: unknown[]) => world({ SECRET_PEPPER: JSON.stringify({ keys }) });
    const key = crypto.randomUUID();
    const send = (where: World) => post("/agents/register", key, NEW_AGENT, {}, where);
    const first = await send(under(former));
    const again = await send(under(next, former));
    expect([again.status, isReplay(again)]).toEqual([201, "true"]);
    expect(again.body).toEqual(first.body);
    expect(isReplay(await send(under(next)))).toBeNull();
  });

  it("is not another's: two callers with one key have two answers", async () => {
    const [mine, theirs] = [await addHook("shared"), await addHook("shared", HOOK, other.token)];
    expect([mine.status, theirs.status, isReplay(theirs)]).toEqual([201, 201, null]);
    expect(theirs.body.webhook).toMatchObject({ agent_id: other.id });
    expect(theirs.body.webhook.secret).not.toBe(mine.body.webhook.secret);
  });

  it("is the caller's own also under another token of it", SLOW, async () => {
    const { body } = await addHook("two tokens");
    expect(body.code).toBe("invalid_idempotency_key");
    const first = await addHook("two-tokens");
    const json = { agent_id: agent.id, api_key: agent.apiKey };
    const { token } = (await self.call("/agents/verify", { method: "POST", json })).body;
    expect((await addHook("two-tokens", HOOK, token.access_token)).body).toEqual(first.body);
  });
});

describe("a key that is sent with another request", () => {
  it("is refused for another body, path or query, and nothing is done", async () => {
    await addHook("mismatch");
    const before = await hooksOf(agent.id);
    for (const json of [
      { ...HOOK, description: "x" },
      { events: HOOK.events, url: HOOK.url },
    ]) {
      expect(codeOf(await addHook("mismatch", json))).toEqual([422, "idempotency_mismatch"]);
    }
    const rotate = await post(`/agents/${agent.id}/rotate-key`, "mismatch", HOOK, { token: agent.token });
    expect(codeOf(rotate)).toEqual([400, "unknown_field"]);
    const elsewhere = await post(`/agents/${agent.id}/rotate-key`, "mismatch", {}, { token: agent.token });
    expect(codeOf(elsewhere)).toEqual([422, "idempotency_mismatch"]);
    expect(await hooksOf(agent.id)).toBe(before);
    expect(await count("api_keys WHERE agent_id = ?1", agent.id)).toBe(1);
  });

  it("can be used again after a refusal, which has done nothing", async () => {
    expect((await addHook("refused", { ...HOOK, url: "http://10.0.0.1/" })).status).toBe(400);
    expect((await addHook("refused")).status).toBe(201);
    const nobody = "/agents/agt_000000000000000000000000/rotate-key";
    const byAdmin = { token: admin.token };
    expect((await post(nobody, "refused-later", {}, byAdmin)).status).toBe(404);
    expect(
      codeOf(await post(`/agents/${agent.id}/rotate-key`, "refused-later", { overlap_seconds: 60 }, byAdmin)),
    ).toEqual([200, undefined]);
  });
});

describe("requests with one key at once", () => {
  it("make one: 20 webhooks are one webhook, 20 registrations one agent", SLOW, async () => {
    const one = await self.agent();
    const all = await Promise.all(Array.from({ length: 20 }, () => addHook("parallel", HOOK, one.token)));
    expect(await hooksOf(one.id)).toBe(1);
    expectOneResult(all);
    const key = crypto.randomUUID();
    const before = await count("agents");
    expectOneResult(await Promise.all(Array.from({ length: 20 }, () => post("/agents/register", key, NEW_AGENT))));
    expect(await count("agents")).toBe(before + 1);
  });

  /** Each gets the one answer, or is told to ask again; and one of them has it. */
  function expectOneResult(all: readonly Answer[]): void {
    const answered = all.filter(({ status }) => status === 201);
    const waiting = all.filter(({ status }) => status !== 201);
    expect(answered.length).toBeGreaterThan(0);
    for (const { body } of answered) expect(body).toEqual(answered[0]!.body);
    for (const one of waiting) {
      expect([...codeOf(one), one.headers.get("retry-after")]).toEqual([409, "idempotency_in_flight", "1"]);
    }
  }

  it("are not carried out again where the answer was lost, and the caller is told", SLOW, async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const one = await self.agent();
    const { DB } = testEnv();
    // The isolate ends after the change is written and before its answer is kept.
    const broken = {
      prepare: (sql: string) =>
        sql.startsWith("UPDATE idempotency_keys") ? DB.prepare("SELECT no_such_function()") : DB.prepare(sql),
      batch: DB.batch.bind(DB),
    };
    const where = world({ DB: broken });
    const send = (on: World) => post("/webhooks", "lost", HOOK, { token: one.token }, on);
    expect((await send(where)).status).toBe(201);
    expect(codeOf(await send(self))).toEqual([409, "idempotency_in_flight"]);
    vi.setSystemTime(Date.now() + MINUTE_MS);
    expect(codeOf(await send(self))).toEqual([409, "answer_not_kept"]);
    expect(await hooksOf(one.id)).toBe(1);
  });

  it("leave nothing behind if the batch fails", async () => {
    const one = await self.agent();
    const { DB } = testEnv();
    const failing = {
      prepare: DB.prepare.bind(DB),
      batch: (statements: D1PreparedStatement[]) => DB.batch([...statements, DB.prepare("SELECT json('no')")]),
    };
    const refused = await post("/webhooks", "rolled-back", HOOK, { token: one.token }, world({ DB: failing }));
    expect(refused.status).toBe(500);
    expect((await addHook("rolled-back", HOOK, one.token)).status).toBe(201);
    expect(await hooksOf(one.id)).toBe(1);
  });
});

describe("a stored answer", () => {
  it("is shown to nobody whose token has ended, or who may not do this any more", async () => {
    const one = await self.agent();
    const send = (token: string) => addHook("ended", HOOK, token);
    expect((await send(one.token)).status).toBe(201);
    await self.call("/agents/revoke-tokens", { method: "POST", token: one.token });
    expect(codeOf(await send(one.token))).toEqual([401, "token_revoked"]);

    const [once, victim] = [await self.admin(), await self.agent()];
    const rotate = () => post(`/agents/${victim.id}/rotate-key`, "as-admin", {}, { token: once.token });
    expect((await rotate()).status).toBe(200);
    const permissions = { permissions: ["lab:things:read"] };
    await self.call(`/agents/${once.id}/permissions`, { method: "PUT", token: admin.token, json: permissions });
    expect(codeOf(await rotate())).toEqual([403, "insufficient_permissions"]);
  });

  it("is refused in the transaction itself if the caller has lost its right meanwhile", async () => {
    const one = await self.agent();
    expect((await addHook("meanwhile", HOOK, one.token)).status).toBe(201);
    const { DB } = testEnv();
    // Suspended after the token was found good, and before the batch.
    const late = {
      prepare: DB.prepare.bind(DB),
      async batch(statements: D1PreparedStatement[]) {
        await DB.prepare("UPDATE agents SET status = 'suspended' WHERE id = ?1").bind(one.id).run();
        return DB.batch(statements);
      },
    };
    expect(codeOf(await post("/webhooks", "meanwhile", HOOK, { token: one.token }, world({ DB: late })))).toEqual([
      401,
      "token_revoked",
    ]);
  });

  it("cannot be read from the database, and neither can the caller, the key or the request", async () => {
    const key = "findable-4711";
    const { body } = await addHook(key, { ...HOOK, url: "https://findable-host.example.com/" });
    const { results } = await self.env.DB.prepare("SELECT * FROM idempotency_keys").all();
    const text = JSON.stringify(results);
    expect(results.length).toBeGreaterThan(0);
    for (const hidden of [body.webhook.secret, body.webhook.id, key, agent.id, "findable"])
      expect(text).not.toContain(hidden);
  });

  it("cannot be put into another's row", SLOW, async () => {
    await self.env.DB.prepare("DELETE FROM idempotency_keys").run();
    await addHook("moved-1");
    await addHook("moved-2", { ...HOOK, description: "x" });
    const { results } = await self.env.DB.prepare("SELECT id FROM idempotency_keys").all<{ id: string }>();
    expect(results).toHaveLength(2);
    const [to, from] = results.map(({ id }) => id);
    const sql =
      "UPDATE idempotency_keys SET answer = (SELECT answer FROM idempotency_keys WHERE id = ?1) WHERE id = ?2";
    await self.env.DB.prepare(sql).bind(from, to).run();
    const codes = [await addHook("moved-1"), await addHook("moved-2", { ...HOOK, description: "x" })].map(codeOf);
    expect(codes).toContainEqual([500, "internal_error"]);
  });

  it("is swept when it has expired, its secrets before", SLOW, async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    await self.env.DB.prepare("DELETE FROM idempotency_keys").run();
    const begin = Date.now();
    await addHook("swept");
    const clean = () => runScheduledJobs(self.env, loadConfig(self.env), Date.now());
    const kept = async () => [
      await count("idempotency_keys"),
      await count("idempotency_keys WHERE secrets IS NOT NULL"),
    ];
    await clean();
    expect(await kept()).toEqual([1, 1]);
    vi.setSystemTime(begin + 11 * MINUTE_MS);
    await clean();
    expect(await kept()).toEqual([1, 0]);
    vi.setSystemTime(begin + 24 * 60 * MINUTE_MS + 1000);
    await clean();
    expect(await kept()).toEqual([0, 0]);
  });
});

describe("the form of a key", () => {
  few(2).each([
    ["1", 201],
    ["!~", 201],
    ["k".repeat(255), 201],
    ["k".repeat(256), 400],
    ["", 400],
    ["a b", 400],
    ["caf\u00e9", 400],
    ["a\tb", 400],
  ])("%j is %i of an agent", async (key, status) => {
    const one = await self.agent();
    const answer = await addHook(key, HOOK, one.token);
    expect(answer.status).toBe(status);
    if (status === 400) expect(codeOf(answer)).toEqual([400, "invalid_idempotency_key"]);
  });

  it("is refused if the header is sent twice, or holds a control character", async () => {
    const headers = new Headers([
      ["idempotency-key", "one"],
      ["idempotency-key", "two"],
    ]);
    const answer = await self.call("/webhooks", { method: "POST", token: agent.token, json: HOOK, headers });
    expect(codeOf(answer)).toEqual([400, "invalid_idempotency_key"]);
    expect(() => new Headers({ "idempotency-key": "a\u0000b" })).toThrow();
    expect(codeOf(await addHook("a\u0001b"))).toEqual([400, "invalid_idempotency_key"]);
  });

  few(2).each([
    ["0189f0c4-5f1b-7c3d-9e2a-4b6d8f0a1c3e", 201],
    ['"6b1f3c7a-92d4-4e58-a0b6-c1d2e3f4a5b7"', 201],
    ["q3J8-zK1_vB7nM4xC9wE2rT6yU5iO0pL", 201],
    ["q3J8-zK1_vB7nM4xC9wE2rT6yU5iO0p", 400],
    ["1", 400],
    ["00000000-0000-0000-0000-000000000000", 400],
    ["a".repeat(64), 400],
    ["abababababababababababababababab", 400],
    ["q3J8+zK1/vB7nM4xC9wE2rT6yU5iO0pL", 400],
  ])("%j is %i of a stranger, who needs a random one", async (key, status) => {
    const answer = await post("/agents/register", key, NEW_AGENT);
    expect(answer.status).toBe(status);
    if (status === 400) expect(codeOf(answer)).toEqual([400, "invalid_idempotency_key"]);
  });

  it("does not bring a stranger's answer to another network", SLOW, async () => {
    const key = crypto.randomUUID();
    const from = (ip: string) => post("/agents/register", key, NEW_AGENT, { ip });
    const first = await from("2001:db8:1:2::1");
    expect((await from("2001:db8:1:2:ffff::9")).body).toEqual(first.body);
    const elsewhere = await from("2001:db8:1:3::1");
    expect([elsewhere.status, isReplay(elsewhere)]).toEqual([201, null]);
    expect(elsewhere.body.credentials.api_key).not.toBe(first.body.credentials.api_key);
    // A registrar with a token is another caller than a stranger of the same network.
    const byAdmin = await post("/agents/register", key, NEW_AGENT, { token: admin.token, ip: "2001:db8:1:2::1" });
    expect([byAdmin.status, isReplay(byAdmin)]).toEqual([201, null]);
  });

  it("means nothing to a request that creates nothing", async () => {
    const headers = { "idempotency-key": "a b" };
    const read = await self.call("/webhooks", { token: agent.token, headers });
    expect([read.status, isReplay(read)]).toEqual([200, null]);
  });
});
