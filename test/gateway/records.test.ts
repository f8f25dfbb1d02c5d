import { afterEach, describe, expect, it, vi } from "vitest";
import type { AuditRecord } from "../../src/audit/audit-record.ts";
import { consumeMessages } from "../../src/audit/consume.ts";
import { moveOutbox } from "../../src/audit/move.ts";
import { failing } from "../support/bindings.ts";
import { SLOW } from "../support/extents.ts";
import { testEnv, world, type Registered, type World } from "../support/world.ts";

const ALL = ["lab:things:read", "lab:things:write"];

/** The records of an agent's calls, the newest first. */
const callsOf = async (where: World, { id }: Registered): Promise<AuditRecord[]> =>
  (await where.records(id)).filter(({ action }) => action === "gateway.call");

/** The one record of an agent's calls. */
async function callOf(where: World, agent: Registered): Promise<AuditRecord> {
  await where.settled();
  const calls = await callsOf(where, agent);
  expect(calls).toHaveLength(1);
  return calls[0]!;
}

const outbox = async (where: World, { id }: Registered): Promise<{ part: string; outcome: string }[]> => {
  const { results } = await where.env.DB.prepare(
    "SELECT part, entry ->> 'outcome' AS outcome FROM audit_outbox WHERE agent_id = ? AND entry ->> 'action' = 'gateway.call'",
  )
    .bind(id)
    .all<{ part: string; outcome: string }>();
  return results;
};

describe("a call is one record", () => {
  it("of a read: what was asked, by which rule, and what became of it", async () => {
    const self = world();
    const agent = await self.agent(ALL);
    const { headers } = await self.call("/proxy/lab/things/1?secret=1", { token: agent.token, ip: "192.0.2.7" });
    const record = await callOf(self, agent);
    expect(record).toMatchObject({
      outcome: "success",
      agentId: agent.id,
      actor: { type: "agent", id: agent.id, name: expect.stringMatching(/^agent /) },
      sessionId: expect.stringMatching(/^ses_/),
      ipAddress: "192.0.2.7",
      requestId: headers.get("x-request-id"),
      service: "lab",
      method: "GET",
      path: "/things/1",
      rule: "* /things/{id} things",
      permission: "lab:things:read",
      status: 200,
      upstreamStatus: 200,
      bytesIn: 0,
      message: null,
    });
    expect(record.bytesOut).toBeGreaterThan(0);
    expect(record.durationMs).toBeGreaterThanOrEqual(0);
    expect(JSON.stringify(record)).not.toContain("secret");
  });

  it("of a write, whose intent stands before it is sent", async () => {
    const self = world();
    const agent = await self.agent(ALL);
    const sent = { method: "PUT", token: agent.token, json: { text: "four" } };
    await self.call("/proxy/lab/things/1", sent);
    expect(await outbox(self, agent)).toEqual([{ part: "intent", outcome: "unknown" }]);
    expect(await callOf(self, agent)).toMatchObject({ outcome: "success", status: 200, bytesIn: 15, method: "PUT" });
    expect(await outbox(self, agent)).toEqual([]);
    const row = await self.env.AUDIT_DB.prepare(
      "SELECT part, random, intent_random FROM records WHERE agent_id = ? AND method = 'PUT'",
    )
      .bind(agent.id)
      .first<{ part: number; random: string; intent_random: string }>();
    expect(row?.part).toBe(1);
    expect(row?.intent_random).toMatch(/^[0-9a-f]{64}$/);
    expect(row?.intent_random).not.toBe(row?.random);
  });

  it.each([
    [
      "a denial",
      "DELETE",
      "/lab/things/1",
      {},
      { status: 403, outcome: "denied", permission: "lab:things:write", message: null },
    ],
    [
      "a failure of the upstream",
      "GET",
      "/lab/lab/status/503",
      {},
      { status: 503, upstreamStatus: 503, outcome: "failed" },
    ],
    [
      "an upstream that hangs up",
      "GET",
      "/lab/lab/hangup/1",
      {},
      { status: 502, outcome: "failed", message: "unreachable" },
    ],
    [
      "an answer that comes too late",
      "GET",
      "/lab/lab/slow/1000000",
      {},
      { status: 504, outcome: "failed", message: "timeout" },
    ],
    [
      "an answer that breaks off",
      "GET",
      "/lab/lab/reset/1",
      {},
      { status: 502, upstreamStatus: 200, message: "the answer broke off" },
    ],
  ] as const)("of %s", async (_, method, path, init, expected) => {
    const self = world(path.includes("/slow/") ? { "UPSTREAMS.lab.timeout_ms": 100 } : {});
    const agent = await self.agent(["lab:things:read"]);
    await self.call(`/proxy${path}`, { method, token: agent.token, ...init });
    expect(await callOf(self, agent)).toMatchObject(expected);
  });

  it("of a body that is refused, and the token that a path contains is not in it", async () => {
    const self = world();
    const agent = await self.agent(ALL);
    const answer = await self.call(`/proxy/lab/files/${agent.token}`, { token: agent.token });
    expect(answer.body.code).toBe("token_in_request");
    const record = await callOf(self, agent);
    expect(record).toMatchObject({
      outcome: "denied",
      status: 400,
      path: "/***",
      message: "refused, token_in_request",
    });
    expect(JSON.stringify(record)).not.toContain(agent.token.slice(-20));
  });

  it("and a request of a known agent that the gateway does not understand is one too", async () => {
    const self = world();
    const agent = await self.agent(ALL);
    await self.call("/proxy/nowhere/things", { token: agent.token });
    await self.settled();
    const [record] = await self.records(agent.id);
    expect(record).toMatchObject({ action: "request.refused", status: 404, path: "/proxy/nowhere/things" });
  });
});

describe("a record is not lost", () => {
  afterEach(() => void vi.useRealTimers());

  it("if the sender hangs up before it has sent its body", async () => {
    const self = world();
    const agent = await self.agent(ALL);
    const { readable, writable } = new IdentityTransformStream();
    const writer = writable.getWriter();
    const headers = { "content-type": "text/plain" };
    const answering = self.fetch("/proxy/lab/things/1", { method: "PUT", token: agent.token, body: readable, headers });
    await writer.write(new Uint8Array(100_000));
    await writer.abort(new Error("hung up"));
    expect((await answering).status).toBeGreaterThanOrEqual(400);
    expect(await callOf(self, agent)).toMatchObject({ method: "PUT", message: expect.stringMatching(/bad_body/) });
  });

  it("if the sender hangs up while it gets the answer", SLOW, async () => {
    const self = world();
    const agent = await self.agent(ALL);
    const one = Buffer.from(JSON.stringify("x".repeat(1000))).toString("base64url");
    const response = await self.fetch(`/proxy/lab/lab/json/${one}?times=5000&chunked=1`, { token: agent.token });
    const reader = response.body!.getReader();
    await reader.read();
    await reader.cancel();
    await expect.poll(async () => (await callsOf(self, agent)).length).toBe(1);
    expect(await callOf(self, agent)).toMatchObject({
      upstreamStatus: 200,
      message: "the agent closed the connection",
    });
  });

  it("if the agent is deleted at once", SLOW, async () => {
    const self = world();
    const [agent, admin] = [await self.agent(ALL), await self.admin()];
    await self.call("/proxy/lab/things/1", { method: "PUT", token: agent.token, json: {} });
    await self.call(`/agents/${agent.id}`, { method: "DELETE", token: admin.token });
    expect(await callOf(self, agent)).toMatchObject({ outcome: "success", method: "PUT" });
  });

  it("if the queue fails: it stands in the identity database", async () => {
    const sound = world();
    const self = world({ ACTIVITY: failing(testEnv().ACTIVITY, "Queue is overloaded.") });
    const agent = await sound.agent(ALL);
    await self.call("/proxy/lab/things/1", { token: agent.token });
    await self.call("/proxy/lab/things/1", { method: "PUT", token: agent.token, json: {} });
    await expect
      .poll(async () => (await outbox(self, agent)).map(({ part }) => part).toSorted())
      .toEqual(["end", "intent", "whole"]);
    const calls = await callsOf(sound, agent);
    expect(calls.map(({ method, outcome }) => [method, outcome]).toSorted()).toEqual([
      ["GET", "success"],
      ["PUT", "success"],
    ]);
    expect(await outbox(sound, agent)).toEqual([]);
  });

  it(
    "if the audit log's database fails: messages are tried again, and the outbox keeps what it has",
    SLOW,
    async () => {
      const self = world();
      const agent = await self.agent(ALL);
      await self.call("/proxy/lab/things/1", { method: "PUT", token: agent.token, json: {} });
      await self.settled();
      const broken = { DB: self.env.DB, AUDIT_DB: failing(self.env.AUDIT_DB) };
      const messages = [...self.sent];
      await expect(consumeMessages(broken, messages, { now: Date.now(), isRepeated: false })).rejects.toThrow();
      await expect(moveOutbox(broken, Date.now() + 3_600_000)).rejects.toThrow();
      expect(await outbox(self, agent)).toHaveLength(1);
      expect(await callOf(self, agent)).toMatchObject({ outcome: "success" });
    },
  );

  it("if its end never comes: it is of an unknown outcome, until the end comes after all", SLOW, async () => {
    const self = world();
    const agent = await self.agent(ALL);
    await self.call("/proxy/lab/things/1", { method: "PUT", token: agent.token, json: {} });
    await self.settled();
    const messages = self.sent.splice(0);
    await self.drain();
    expect(await outbox(self, agent), "it may still end").toHaveLength(1);
    await moveOutbox(self.env, Date.now() + 3_600_000);
    const read = async () =>
      (await self.call(`/agents/${agent.id}/activity`, { token: agent.token })).body.activity.filter(
        ({ message }: { message: string }) => message.startsWith("lab PUT"),
      );
    expect(await read()).toMatchObject([{ status: "failure", message: "lab PUT /things/1 → not known" }]);
    // Twice, and not in their order.
    self.sent.push(...messages.toReversed(), ...messages);
    await self.drain();
    expect(await read()).toMatchObject([{ status: "success", message: "lab PUT /things/1 → 200" }]);
  });
});

/** A database in which something changes after a caller was read, and before its first batch: the intent of a write. */
function changedBefore(db: D1Database, change: string, id: string): D1Database {
  let isChanged = false;
  return {
    prepare: db.prepare.bind(db),
    async batch(statements: D1PreparedStatement[]) {
      if (!isChanged) await db.prepare(change).bind(id).run();
      isChanged = true;
      return db.batch(statements);
    },
  } as D1Database;
}

describe("a write is not sent", () => {
  it("if its sender loses its authority between the check and the intent", async () => {
    const self = world();
    const agent = await self.agent(ALL);
    const where = world({
      DB: changedBefore(self.env.DB, "UPDATE agents SET status = 'suspended' WHERE id = ?", agent.id),
    });
    const answer = await where.call("/proxy/lab/things/1", { method: "PUT", token: agent.token, json: {} });
    expect([answer.status, answer.body.code]).toEqual([401, "token_revoked"]);
    await where.drain();
    expect(await outbox(self, agent)).toEqual([]);
    expect(await callOf(self, agent)).toMatchObject({ outcome: "denied", status: 401, upstreamStatus: null });
  });

  it("without an intent, if the outbox is full and AUDIT_ON_FAILURE says so; a read is", async () => {
    for (const [setting, status] of [
      ["refuse_writes", 503],
      ["continue", 200],
    ] as const) {
      const self = world({ AUDIT_ON_FAILURE: setting });
      const agent = await self.agent(ALL);
      const full = (value: number) =>
        self.env.DB.prepare("INSERT OR REPLACE INTO audit_state (name, value) VALUES ('outbox_full', ?)")
          .bind(value)
          .run();
      await full(1);
      try {
        const write = await self.call("/proxy/lab/things/1", { method: "PUT", token: agent.token, json: {} });
        expect([write.status, write.status === 503 && write.body.code]).toEqual([
          status,
          status === 503 && "audit_unavailable",
        ]);
        expect((await self.call("/proxy/lab/things/1", { token: agent.token })).status).toBe(200);
      } finally {
        await full(0);
      }
      expect(await outbox(self, agent)).toEqual([]);
    }
  });

  it("twice if the grants change meanwhile: it is judged again", SLOW, async () => {
    const self = world();
    const agent = await self.agent(ALL);
    const where = world({
      DB: changedBefore(self.env.DB, "UPDATE agents SET grants_version = grants_version + 1 WHERE id = ?", agent.id),
    });
    const answer = await where.call("/proxy/lab/things/1", { method: "PUT", token: agent.token, json: {} });
    expect(answer.status).toBe(200);
    await where.drain();
    expect(await callOf(self, agent)).toMatchObject({ outcome: "success" });
  });
});

describe("refusals", () => {
  const counted = (where: World) =>
    where.sent.flatMap((message) => (message.kind === "refusals" ? message.refusals : []));

  it("at our own endpoints are records of an agent that was admitted", async () => {
    const self = world();
    const [agent, other] = [await self.agent(), await self.agent()];
    await self.call(`/agents/${other.id}`, { token: agent.token });
    await self.call("/webhooks/whk_none", { token: agent.token });
    await self.settled();
    const records = (await self.records(agent.id)).filter(({ action }) => action === "request.refused");
    expect(records.toReversed()).toMatchObject([
      { status: 403, method: "GET", path: `/agents/${other.id}`, permission: "*:*:*", outcome: "denied" },
      { status: 404, method: "GET", path: "/webhooks/whk_none", message: "not_found" },
    ]);
    expect(records.every(({ actor, sessionId }) => actor?.id === agent.id && sessionId !== null)).toBe(true);
  });

  it("of strangers, of revoked tokens and of tricks in a path are counted, by address or session", SLOW, async () => {
    const self = world();
    const [agent, admin] = [await self.agent(ALL), await self.admin()];
    self.sent.length = 0;
    const { body } = await self.call("/proxy/lab/things/a%5Cb", { token: agent.token });
    expect(body.status).toBe(400);
    await self.settled();
    const [trick] = counted(self);
    expect(trick).toMatchObject({ agentId: agent.id, subject: expect.stringMatching(/^ses_/), count: 1 });
    const second = world();
    await second.call(`/agents/${agent.id}/revoke-tokens`, { method: "POST", token: admin.token });
    second.sent.length = 0;
    await second.call("/proxy/lab/things/1", { token: agent.token, method: "DELETE" });
    await second.settled();
    expect(counted(second)).toMatchObject([
      { code: "token_revoked", agentId: agent.id, subject: expect.stringMatching(/^ses_/), entry: { status: 401 } },
    ]);
    const third = world();
    await third.call("/proxy/lab/things/1", { ip: "192.0.2.1" });
    await third.settled();
    expect(counted(third)).toMatchObject([{ code: "missing_token", agentId: "", subject: "192.0.2.1", count: 1 }]);
  });
});
