import { beforeAll, describe, expect, it } from "vitest";
import { countOperations } from "../support/count-operations.ts";
import { WRONG_API_KEY } from "../support/secrets.ts";
import { world, type Registered } from "../support/world.ts";
import { SLOW } from "../support/extents.ts";

const ROWS = 3000;
const SEEDED_AT = 1_700_000_000_000;
const counter = countOperations();
const self = world(counter.overrides);
let admin: Registered;
let busy: Registered;
let other: Registered;

beforeAll(async () => {
  [admin, busy, other] = [await self.admin(), await self.agent(), await self.agent()];
  await self.settled();
  counter.sends.length = 0;
  await self.env.DB.prepare("DELETE FROM audit_outbox").run();
  const { AUDIT_DB } = self.env;
  await AUDIT_DB.batch([
    AUDIT_DB.prepare(
      `INSERT INTO records (agent_id, id, part, at, action, outcome, ip_address, message, random, batch)
       SELECT iif(value % 10 = 0, ?3, ?2), printf('aud_%012x%020x', ?4 + 100 * value, value), 1, ?4 + 100 * value, 'gateway.call',
              iif(value % 100 = 0, 'failed', 'success'), '10.0.0.1', printf('call %d', value), '00', 'seed'
       FROM (WITH RECURSIVE n (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < ?1) SELECT value FROM n)`,
    ).bind(ROWS, busy.id, other.id, SEEDED_AT),
    AUDIT_DB.prepare("INSERT INTO record_minutes SELECT DISTINCT at / 60000, agent_id FROM records"),
    AUDIT_DB.prepare(
      `INSERT INTO record_counts (agent_id, is_success, total)
       SELECT agent_id, outcome = 'success', COUNT(*) FROM records GROUP BY 1, 2
       UNION ALL SELECT '*', outcome = 'success', COUNT(*) FROM records GROUP BY 2`,
    ),
  ]);
});

/** The id of a seeded row, of which there are ten a second. */
const seededId = (value: number) =>
  `act_${(SEEDED_AT + 100 * value).toString(16).padStart(12, "0")}${value.toString(16).padStart(20, "0")}`;

/** Lets the queue deliver what was sent, each message so many times at once, and once more after that. */
async function deliver(times = 1): Promise<void> {
  await self.settled();
  const messages = counter.sends.splice(0) as typeof self.sent;
  for (const copies of [times, 1]) {
    for (let i = 0; i < copies; i++) self.sent.push(...messages);
    await self.drain();
  }
}

const read = async (path: string, who = admin) => {
  const { result, awaited } = await counter.run(() => self.call(path, { token: who.token }));
  return { ...result, rowsRead: awaited.rowsRead };
};
const messages = (body: { activity: { message: string }[] }) => body.activity.map(({ message }) => message);

describe("an agent's activity", () => {
  it("has exactly its keys, newest first", async () => {
    const { status, body } = await read(`/agents/${busy.id}/activity?limit=2`, busy);
    expect(status).toBe(200);
    expect(Object.keys(body).sort()).toEqual(["activity", "agent_id", "pagination", "success"]);
    expect(body.pagination).toEqual({ total: 2700, limit: 2, offset: 0, has_more: true });
    expect(body.activity[0]).toEqual({
      id: expect.stringMatching(/^act_[0-9a-f]{32}$/),
      agent_id: busy.id,
      timestamp: "2023-11-14T22:18:19.900Z",
      ip_address: "10.0.0.1",
      status: "success",
      message: "call 2999",
    });
    expect(messages(body)).toEqual(["call 2999", "call 2998"]);
  });

  it("pages by offset and by the last row's id alike, over both statuses", async () => {
    const first = await read(`/agents/${other.id}/activity?limit=20`);
    const byOffset = await read(`/agents/${other.id}/activity?limit=20&offset=20`);
    const byKey = await read(`/agents/${other.id}/activity?limit=20&before=${first.body.activity.at(-1).id}`);
    expect(messages(byKey.body)).toEqual(messages(byOffset.body));
    expect(messages(first.body)).toEqual(Array.from({ length: 20 }, (_, i) => `call ${3000 - 10 * i}`));
    const end = await read(`/agents/${other.id}/activity?limit=100&before=${seededId(500)}`);
    expect(end.body.pagination.has_more).toBe(false);
    expect(end.body.activity).toHaveLength(49);
  });

  it("pages by a cursor, which alone adds next_cursor to the response", SLOW, async () => {
    const path = `/agents/${other.id}/activity?limit=100`;
    const rows: string[] = [];
    for (let cursor: string | null = ""; cursor !== null;) {
      const { status, body } = await read(`${path}&cursor=${cursor}`, other);
      expect([status, Object.keys(body).sort()]).toEqual([
        200,
        ["activity", "agent_id", "next_cursor", "pagination", "success"],
      ]);
      rows.push(...messages(body));
      cursor = body.next_cursor;
    }
    expect(rows.slice(0, 3)).toEqual(["call 3000", "call 2990", "call 2980"]);
    expect(new Set(rows).size).toBe(300);
    expect((await read("/activity?limit=1")).body).toMatchObject({ next_cursor: expect.stringMatching(/^act_/) });
    // A cursor of another agent's list is only a position.
    const foreign = (await read(`/agents/${busy.id}/activity?limit=1&cursor=`, busy)).body.next_cursor;
    const { body } = await read(`${path}&cursor=${foreign}`, other);
    expect(body.activity.every(({ agent_id }: { agent_id: string }) => agent_id === other.id)).toBe(true);
    expect((await read(`/agents/${busy.id}/activity?cursor=${foreign}`, await self.agent())).status).toBe(403);
  });

  it.each([
    "cursor=1",
    "cursor=msg_00000000000000000000000000000000",
    `offset=0&cursor=act_${"0".repeat(32)}`,
    `before=act_${"0".repeat(32)}&cursor=act_${"0".repeat(32)}`,
  ])("refuses %s", async (query) => {
    for (const path of [`/agents/${busy.id}/activity`, "/activity"]) {
      expect((await read(`${path}?${query}`)).body.code).toBe("validation_error");
    }
  });

  it("comes in through the queue: what agents do, once, with their address", async () => {
    const agent = await self.agent();
    await self.call("/proxy/lab/things/1", { token: agent.token, ip: "192.0.2.7" });
    await self.call("/proxy/lab/things/1", { token: agent.token, ip: "192.0.2.7", method: "DELETE" });
    await self.call("/agents?q=secret", { token: agent.token, ip: "192.0.2.7" });
    await deliver(2);
    const { body } = await read(`/agents/${agent.id}/activity`, agent);
    expect(body.pagination.total).toBe(5);
    expect(messages(body).slice(0, 3).sort()).toEqual([
      "GET /agents → denied, needs *:*:*",
      "lab DELETE /things/1 → denied, needs lab:things:write",
      "lab GET /things/1 → 200",
    ]);
    expect(body.activity[0].ip_address).toBe("192.0.2.7");
  });

  it("is its own and the admins'", async () => {
    expect((await read(`/agents/${busy.id}/activity`, await self.agent())).status).toBe(403);
    expect((await read(`/agents/${busy.id}/activity`, admin)).status).toBe(200);
    expect((await read("/agents/agt_none/activity")).status).toBe(404);
  });

  it("stays readable for admins after the agent is deleted", SLOW, async () => {
    const gone = await self.agent();
    await deliver();
    await self.call(`/agents/${gone.id}`, { method: "DELETE", token: admin.token });
    expect(messages((await read(`/agents/${gone.id}/activity`)).body)).toEqual([
      `deleted by ${admin.id}`,
      "verified",
      "registered",
    ]);
  });

  it("has what it did just before it was deleted, and its refused calls", SLOW, async () => {
    const gone = await self.agent();
    await self.call("/proxy/lab/things/1", { token: gone.token });
    await self.call("/proxy/lab/things/1", { token: gone.token, method: "DELETE" });
    await self.call("/agents/verify", { method: "POST", json: { agent_id: gone.id, api_key: WRONG_API_KEY } });
    expect((await self.call(`/agents/${gone.id}`, { method: "DELETE", token: admin.token })).status).toBe(200);
    await deliver(2);
    const { status, body } = await read(`/agents/${gone.id}/activity`);
    expect(status).toBe(200);
    expect(body.pagination.total).toBe(6);
    expect(messages(body).sort()).toEqual([
      `deleted by ${admin.id}`,
      "lab DELETE /things/1 → denied, needs lab:things:write",
      "lab GET /things/1 → 200",
      "registered",
      "verification failed",
      "verified",
    ]);
  });

  it("does not show the agent from where somebody else acted on it; administrators see it", SLOW, async () => {
    const [agent, other] = [await self.agent(), await self.agent()];
    const from = { ip: "203.0.113.77" };
    const put = (what: string, json: unknown) =>
      self.call(`/agents/${agent.id}/${what}`, { method: "PUT", token: admin.token, json, ...from });
    const json = { url: "https://hooks.example.com/", events: ["agent.revoked"] };
    const { webhook } = (await self.call("/webhooks", { method: "POST", token: agent.token, json, ip: "192.0.2.7" }))
      .body;
    const answers = [
      await put("tier", { tier: "pro" }),
      await put("permissions", { permissions: ["lab:things:read", "lab:notes:read"] }),
      await self.call(`/agents/${agent.id}/rotate-key`, {
        method: "POST",
        token: admin.token,
        json: { overlap_seconds: 60 },
        ...from,
      }),
      await self.call(`/webhooks/${webhook.id}`, {
        method: "PUT",
        token: admin.token,
        json: { is_active: false },
        ...from,
      }),
      await self.call(`/webhooks/${webhook.id}/regenerate-secret`, { method: "POST", token: admin.token, ...from }),
      await self.call(`/webhooks/${webhook.id}`, { method: "DELETE", token: admin.token, ...from }),
    ];
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    await self.call(`/agents/${agent.id}/rotate-key`, {
      method: "POST",
      token: agent.token,
      json: { overlap_seconds: 60, api_key: agent.apiKey },
      ip: "192.0.2.7",
    });
    await self.call("/agents/verify", {
      method: "POST",
      json: { agent_id: agent.id, api_key: other.apiKey },
      ip: "198.51.100.3",
    });
    await deliver();

    type Row = { message: string; ip_address: string };
    const addresses = (body: { activity: Row[] }) =>
      Object.fromEntries(body.activity.map(({ message, ip_address }) => [message, ip_address]));
    const own = await read(`/agents/${agent.id}/activity`, agent);
    expect(JSON.stringify(own.body)).not.toContain(from.ip);
    expect(addresses(own.body)).toMatchObject({
      [`tier is pro, set by ${admin.id}`]: "",
      [`permissions are lab:things:read lab:notes:read, set by ${admin.id}`]: "",
      [`API key rotated by ${admin.id}`]: "",
      [`webhook ${webhook.id} changed by ${admin.id}`]: "",
      [`webhook ${webhook.id} deleted by ${admin.id}`]: "",
      [`secret of webhook ${webhook.id} regenerated by ${admin.id}`]: "",
      [`API key rotated by ${agent.id}`]: "192.0.2.7",
      [`webhook ${webhook.id} registered`]: "192.0.2.7",
      // A stranger's is of use to the owner.
      "verification failed": "198.51.100.3",
    });
    for (const path of [`/agents/${agent.id}/activity`, `/activity?agent_id=${agent.id}`]) {
      const seen = addresses((await read(path)).body);
      expect(seen[`tier is pro, set by ${admin.id}`]).toBe(from.ip);
      expect(Object.values(seen).filter((address) => address === from.ip)).toHaveLength(6);
    }
  });

  it("does not show it from where it was registered, unless nobody in particular did it", SLOW, async () => {
    const register = async (token?: string) => {
      const made = { name: "registered", owner_email: "owner@example.com", permissions: ["lab:things:read"] };
      const { body } = await self.call("/agents/register", {
        method: "POST",
        json: made,
        ip: "203.0.113.78",
        ...(token && { token }),
      });
      const proof = { agent_id: body.agent.agent_id, api_key: body.credentials.api_key };
      const verified = await self.call("/agents/verify", { method: "POST", json: proof });
      await deliver();
      const { activity } = (
        await self.call(`/agents/${proof.agent_id}/activity`, { token: verified.body.token.access_token })
      ).body;
      return activity.find(({ message }: { message: string }) => message === "registered").ip_address;
    };
    expect(await register()).toBe("203.0.113.78");
    expect(await register(admin.token)).toBe("");
    expect(await register(self.env.ADMIN_BOOTSTRAP_TOKEN)).toBe("");
  });

  it.each(["limit=0", "limit=101", "offset=-1", "offset=10001", "before=act_x", "before=' OR 1=1"])(
    "refuses %s",
    async (query) => {
      expect((await read(`/agents/${busy.id}/activity?${query}`, busy)).status).toBe(400);
    },
  );
});

describe("everybody's activity", () => {
  it("is for admins", async () => {
    expect((await read("/activity", await self.agent())).status).toBe(403);
    expect((await self.call("/activity")).status).toBe(401);
  });

  it("filters by agent and status, with totals of exactly those", async () => {
    const all = (await read("/activity?limit=1")).body;
    const failures = (await read("/activity?status=failure&limit=100")).body;
    const others = (await read(`/activity?agent_id=${other.id}&limit=1`)).body;
    const both = (await read(`/activity?agent_id=${other.id}&status=success&limit=1`)).body;
    expect(all.pagination.total).toBeGreaterThanOrEqual(ROWS);
    expect(failures.activity.every(({ status }: { status: string }) => status === "failure")).toBe(true);
    expect(others.pagination.total).toBe(300);
    expect(both.pagination.total).toBe(270);
    expect(Object.keys(all).sort()).toEqual(["activity", "next_cursor", "pagination", "success"]);
    expect((await read("/activity?agent_id=agt_none")).body.pagination.total).toBe(0);
  });

  it.each([
    ["/activity", 700],
    ["/activity?status=success", 700],
    ["/activity?status=failure", 150],
    [`/activity?limit=10&before=${seededId(1280)}`, 130],
    ["AGENT", 120],
    ["AGENT&status=failure&limit=10", 40],
    [`AGENT&before=${seededId(1280)}&limit=10`, 40],
  ])("reads no more rows than the page needs: %s", async (path, most) => {
    const { status, rowsRead } = await read(path.replace("AGENT", `/activity?agent_id=${other.id}`));
    expect(status).toBe(200);
    expect(rowsRead).toBeLessThanOrEqual(most);
  });
});
