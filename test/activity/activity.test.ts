import { beforeAll, describe, expect, it } from "vitest";
import { countOperations } from "../support/count-operations.ts";
import { world, type Registered } from "../support/world.ts";

const ROWS = 3000;
const counter = countOperations();
const self = world(counter.overrides);
let admin: Registered;
let busy: Registered;
let other: Registered;

beforeAll(async () => {
  [admin, busy, other] = [await self.admin(), await self.agent(), await self.agent()];
  await scheduler.wait(200);
  counter.sends.length = 0;
  await self.env.DB.batch([
    self.env.DB.prepare(
      `INSERT INTO activity (id, agent_id, at, ip_address, status, message, batch)
       SELECT printf('act_%032x', value), iif(value % 10 = 0, ?3, ?2), 1700000000000 + value, '10.0.0.1',
              iif(value % 100 = 0, 'failure', 'success'), printf('call %d', value), 'seed'
       FROM (WITH RECURSIVE n (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < ?1) SELECT value FROM n)`,
    ).bind(ROWS, busy.id, other.id),
    self.env.DB.prepare(
      `INSERT INTO activity_counts (agent_id, status, total)
       SELECT agent_id, status, COUNT(*) FROM activity GROUP BY 1, 2
       UNION ALL SELECT '', status, COUNT(*) FROM activity GROUP BY 2`,
    ),
  ]);
});

/** Lets the queue deliver what was sent, each message so many times at once, and once more after that. */
async function deliver(times = 1): Promise<void> {
  await scheduler.wait(200);
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
      timestamp: "2023-11-14T22:13:22.999Z",
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
    const end = await read(`/agents/${other.id}/activity?limit=100&before=act_${(500).toString(16).padStart(32, "0")}`);
    expect(end.body.pagination.has_more).toBe(false);
    expect(end.body.activity).toHaveLength(49);
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

  it("stays readable for admins after the agent is deleted", async () => {
    const gone = await self.agent();
    await deliver();
    await self.call(`/agents/${gone.id}`, { method: "DELETE", token: admin.token });
    expect((await read(`/agents/${gone.id}/activity`)).body.pagination.total).toBe(2);
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
    expect(Object.keys(all).sort()).toEqual(["activity", "pagination", "success"]);
    expect((await read("/activity?agent_id=agt_none")).body.pagination.total).toBe(0);
  });

  it.each([
    ["/activity", 120],
    ["/activity?status=failure", 120],
    ["/activity?limit=10&before=act_00000000000000000000000000000500", 40],
    ["AGENT", 120],
    ["AGENT&status=failure&limit=10", 40],
    ["AGENT&before=act_00000000000000000000000000000500&limit=10", 40],
  ])("reads no more rows than the page needs: %s", async (path, most) => {
    const { status, rowsRead } = await read(path.replace("AGENT", `/activity?agent_id=${other.id}`));
    expect(status).toBe(200);
    expect(rowsRead).toBeLessThanOrEqual(most);
  });
});
