import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { callTool, modern } from "./mcp/client.ts";
import { distant } from "./support/bindings.ts";
import { countOperations } from "./support/count-operations.ts";
import { WRONG_API_KEY } from "./support/secrets.ts";
import { testEnv, world, type World } from "./support/world.ts";
import { SLOW } from "./support/extents.ts";

const post = (where: World, path: string, json: unknown, token?: string) => () =>
  where.call(path, { method: "POST", json, ...(token && { token }) });

/** Rows that a statement makes itself, four counts, and the webhooks of administrators: these may be read through. */
const SMALL =
  /CONSTANT ROW|VIRTUAL TABLE|^SCAN (\(subquery-\d+\)|[ps]|matches|agent_counts)$|USING INDEX webhooks_for_all$/;

/** What else it reads through. */
async function scansOf(sql: string, bindings: readonly unknown[]): Promise<string[]> {
  const { results } = await env.DB.prepare(`EXPLAIN QUERY PLAN ${sql}`)
    .bind(...bindings)
    .all<{ detail: string }>();
  return results.map(({ detail }) => detail).filter((detail) => detail.startsWith("SCAN") && !SMALL.test(detail));
}

/** What each endpoint costs: round trips that the response waits for, rows written (an event is one), and no table scan. */
describe("what an answer waits for", () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ["Date"] }));
  afterEach(() => void vi.useRealTimers());

  it("nothing at all on a proxied read while the agent's status is cached; one message is sent after it", async () => {
    const counter = countOperations();
    const self = world(counter.overrides);
    const { token } = await self.agent(["lab:things:read"]);
    const read = () => self.call("/proxy/lab/things/1", { token });
    await read();
    const { result, awaited, later } = await counter.run(read);
    expect(result.status).toBe(200);
    expect(awaited).toMatchObject({ d1: 0, kvReads: 0, kvWrites: 0, queueSends: 0, rateLimits: 1 });
    expect(later).toMatchObject({ d1: 0, kvWrites: 0, queueSends: 1 });
  });

  it("one D1 round trip on a proxied read without a cached status, and not KV, which is read at the same time", async () => {
    const counter = countOperations();
    const self = world(counter.overrides);
    const { token } = await self.agent(["lab:things:read"]);
    await self.call("/proxy/lab/things/1", { token });
    vi.setSystemTime(Date.now() + 5000);
    const { result, awaited, later } = await counter.run(() => self.call("/proxy/lab/things/1", { token }));
    expect(result.status).toBe(200);
    expect(awaited).toMatchObject({ d1: 1, kvReads: 0, kvWrites: 0, queueSends: 0 });
    expect(later).toMatchObject({ d1: 0, kvReads: 2 });
  });

  it("two D1 round trips on a proxied write, however fresh the memory: its sender is read, and its intent is written", async () => {
    const counter = countOperations();
    const self = world(counter.overrides);
    const { token } = await self.agent(["lab:things:read", "lab:things:write"]);
    await self.call("/proxy/lab/things/1", { token });
    const { result, awaited, later } = await counter.run(() =>
      self.call("/proxy/lab/things/1", { method: "DELETE", token }),
    );
    expect(result.status).toBe(200);
    expect(awaited).toMatchObject({ d1: 2, rowsWritten: 1, kvReads: 0, queueSends: 0 });
    expect(later).toMatchObject({ d1: 0, queueSends: 1 });
  });

  it("two D1 round trips on a proxied write with a body, read whole or streamed", async () => {
    const counter = countOperations();
    const self = world(counter.overrides);
    const { token } = await self.agent(["lab:things:write"]);
    for (const length of [100, 100_000]) {
      const init = { method: "PUT", token, json: { text: "x".repeat(length) } };
      const { result, awaited } = await counter.run(() => self.call("/proxy/lab/things/1", init));
      expect(result.status).toBe(200);
      expect(awaited).toMatchObject({ d1: 2, rowsWritten: 1, kvReads: 0, queueSends: 0 });
    }
  });

  it(
    "at /mcp one D1 round trip on every list, and for a call of a tool just what /proxy needs for the same request",
    SLOW,
    async () => {
      const counter = countOperations();
      const self = world(counter.overrides);
      const { token } = await self.agent(["lab:things:read", "lab:things:write"]);
      const call =
        (name: string, args = {}) =>
        () =>
          callTool(self, token, name, args);
      await call("lab_get_thing", { id: "1" })();
      const asked = { service: "lab", method: "PUT", path: "/things/1", body: {} };
      // Whose status is asked for is not what a list shows, so a list is never older than a revocation.
      const own = { d1: 1, rowsWritten: 0, auditD1: 0, kvReads: 0, kvWrites: 0, queueSends: 0, rateLimits: 2 };
      const [read, write] = [
        { ...own, d1: 0, rateLimits: 1 },
        { ...own, d1: 2, rowsWritten: 1 },
      ];
      const budgets: [work: () => Promise<unknown>, awaited: object, queueSends: number][] = [
        [() => modern(self, "tools/list", {}, { token }), own, 0],
        [() => modern(self, "server/discover", {}, { token }), own, 0],
        [call("explain", asked), own, 0],
        // The log is asked again, because records of this agent wait in the outbox.
        [call("my_activity"), { ...own, d1: 2, auditD1: 2 }, 0],
        [call("lab_get_thing", { id: "1" }), read, 1],
        [() => self.call("/proxy/lab/things/1", { token }), read, 1],
        [call("lab_delete_thing", { id: "1" }), write, 1],
        [() => self.call("/proxy/lab/things/1", { method: "DELETE", token }), write, 1],
      ];
      for (const [index, [work, budget, queueSends]] of budgets.entries()) {
        const { awaited, later } = await counter.run(work);
        expect({ index, ...awaited }).toMatchObject({ index, ...budget });
        expect({ index, ...later }).toMatchObject({ index, d1: 0, queueSends });
      }
    },
  );

  it("one on register, verify and refresh, at most two on what an agent or an admin changes", SLOW, async () => {
    const counter = countOperations();
    const self = world(counter.overrides);
    const admin = await self.admin();
    const { id, apiKey, token, refreshToken } = await self.agent();
    const json = { name: "counted", owner_email: "owner@example.com", permissions: ["lab:things:read"] };
    const put = (path: string, body: unknown) => () =>
      self.call(path, { method: "PUT", json: body, token: admin.token });
    const budgets: [work: () => Promise<{ status: number }>, d1: number, rowsWritten: number][] = [
      [post(self, "/agents/register", json), 1, 13],
      [post(self, "/agents/verify", { agent_id: id, api_key: apiKey }), 1, 5],
      [post(self, "/agents/refresh", { refresh_token: refreshToken }), 1, 4],
      [() => self.call(`/agents/${id}`, { token }), 2, 0],
      [() => self.call(`/agents/${id}/activity`, { token }), 2, 0],
      [() => self.call("/agents", { token: admin.token }), 2, 0],
      [() => self.call("/agents?q=count", { token: admin.token }), 2, 0],
      [() => self.call("/activity", { token: admin.token }), 1, 0],
      [() => self.call("/agents?permission=lab:things:read&tier=free", { token: admin.token }), 2, 0],
      [() => self.call(`/agents/${id}`, { method: "PATCH", token, json: { name: "renamed" } }), 2, 4],
      [put(`/agents/${id}/tier`, { tier: "pro" }), 2, 4],
      [put(`/agents/${id}/permissions`, { permissions: ["lab:notes:read"] }), 2, 5],
      [() => self.call(`/agents/${id}/keys`, { token }), 2, 0],
      [() => self.call(`/agents/${id}/sessions`, { token }), 2, 0],
      [post(self, "/agents/bulk-revoke", { filter: { owner_email: "nobody@example.com" } }, admin.token), 2, 0],
      [post(self, `/agents/${id}/rotate-key`, { overlap_seconds: 60, api_key: apiKey }, token), 2, 7],
      [post(self, "/agents/revoke-tokens", {}, token), 2, 2],
      [put(`/agents/${id}/status`, { status: "suspended" }), 2, 8],
      [() => self.call(`/agents/${id}`, { method: "DELETE", token: admin.token }), 2, 10],
    ];
    for (const [index, [work, d1, rowsWritten]] of budgets.entries()) {
      const { result, awaited, later, statements } = await counter.run(work);
      expect([index, result.status]).toEqual([index, index === 0 ? 201 : 200]);
      expect({ index, ...awaited }).toMatchObject({ index, d1, rowsWritten, kvReads: 0, kvWrites: 0, queueSends: 0 });
      expect(later.d1).toBe(0);
      for (const { sql, bindings } of statements)
        expect({ index, sql, scans: await scansOf(sql, bindings) }).toEqual({ index, sql, scans: [] });
    }
  });

  it("the same for an unknown agent, a wrong key and an agent that is not active", SLOW, async () => {
    const counter = countOperations();
    const self = world(counter.overrides);
    const admin = await self.admin();
    const { id, apiKey } = await self.agent();
    const other = await self.agent();
    const suspended = await self.agent();
    await self.call(`/agents/${suspended.id}/status`, {
      method: "PUT",
      token: admin.token,
      json: { status: "suspended" },
    });
    const hashed = vi.spyOn(crypto.subtle, "sign");
    const work = [];
    const told: string[][] = [];
    const written: number[] = [];
    for (const attempt of [
      { agent_id: "agt_000000000000000000000000", api_key: apiKey },
      { agent_id: id, api_key: other.apiKey },
      { agent_id: id, api_key: WRONG_API_KEY },
      { agent_id: suspended.id, api_key: suspended.apiKey },
    ]) {
      hashed.mockClear();
      const { result, awaited, later, statements } = await counter.run(post(self, "/agents/verify", attempt));
      expect(result.status).toBe(401);
      const { request_id: _, code, message, ...body } = result.body;
      told.push([code, message]);
      const { rowsRead: _rows, rowsWritten, ...counts } = awaited;
      written.push(rowsWritten);
      work.push({ counts, later, sql: statements.map(({ sql }) => sql), hashed: hashed.mock.calls.length, body });
    }
    hashed.mockRestore();
    expect(work[0]).toMatchObject({ counts: { d1: 1 }, hashed: 3, later: { queueSends: 1 } });
    // Each writes a record, that of an unknown agent about nobody. An agent that exists has an event beside it, in the same transaction.
    expect(written).toEqual([1, 2, 2, 2]);
    for (const one of work) expect(one).toEqual(work[0]);
    // Whoever has the right key learns why it is refused, and nobody else anything.
    const nothing = ["invalid_credentials", "No active agent has this id and this API key."];
    const wait = "It can verify again once an administrator has activated it.";
    const suspension = ["agent_inactive", `The API key is right, but the agent is suspended. ${wait}`];
    expect(told).toEqual([nothing, nothing, nothing, suspension]);
  });
});

/** How long each operation of the database is held, in milliseconds: those that do not wait for each other begin in that time. */
const HELD = 50;

/**
 * How many round trips stand one after another before an answer. What begins behind the answer could end before it on a machine that has
 * other things to do, and nothing that the answer waits for can be missed: the fewest of three tries count.
 */
async function roundTrips(work: (far: World) => Promise<{ status: number }>, status: number): Promise<number> {
  let fewest = Infinity;
  for (let tries = 0; tries < 3 && fewest > 1; tries++) {
    const database = distant(testEnv().DB, HELD);
    expect((await work(world({ DB: database.binding }))).status).toBe(status);
    fewest = Math.min(fewest, database.roundTrips());
  }
  return fewest;
}

describe("an answer waits for one round trip to the database, and for two on a proxied write", () => {
  const near = world();

  it("on register, verify and refresh", async () => {
    const { id, apiKey, refreshToken } = await near.agent();
    const json = { name: "far", owner_email: "owner@example.com", permissions: ["lab:things:read"] };
    const from = (path: string, body: unknown) => (far: World) => post(far, path, body)();
    expect(await roundTrips(from("/agents/register", json), 201)).toBe(1);
    expect(await roundTrips(from("/agents/verify", { agent_id: id, api_key: apiKey }), 200)).toBe(1);
    expect(await roundTrips(from("/agents/refresh", { refresh_token: refreshToken }), 200)).toBe(1);
  });

  it("on a proxied read whose status is not cached, and on a proxied write, read whole or streamed", SLOW, async () => {
    const { token } = await near.agent(["lab:things:*"]);
    const agents = await Promise.all(Array.from({ length: 3 }, () => near.agent(["lab:things:*"])));
    // Each try is the first of its agent: the second one's status would be cached.
    expect(await roundTrips((far) => far.call("/proxy/lab/things/1", { token: agents.pop()!.token }), 200)).toBe(1);
    for (const length of [100, 100_000]) {
      const init = { method: "PUT", token, json: { text: "x".repeat(length) } };
      expect(await roundTrips((far) => far.call("/proxy/lab/things/1", init), 200)).toBe(2);
    }
  });
});
