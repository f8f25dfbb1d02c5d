import { beforeAll, describe, expect, it } from "vitest";
import { firstAdministrator, invite, type SignedInPerson } from "../support/people.ts";
import { world, type Registered } from "../support/world.ts";
import { SLOW } from "../support/extents.ts";

const self = world({ BOOTSTRAP: "keep" });
let admin: SignedInPerson;
let owner: SignedInPerson;
let auditor: SignedInPerson;
let agents: readonly Registered[];
let foreign: Registered;

const ADMIN_ADDRESS = "203.0.113.77";
type Shown = { id: string; agent_id: string; action: string; ip_address: string | null; actor: { id: string } };
const records = async (who: SignedInPerson, query = ""): Promise<Shown[]> => {
  const { status, body } = await who.call(`/audit?${query}`);
  expect([status, body.code]).toEqual([200, undefined]);
  return body.records;
};
const ids = (found: readonly Shown[]): string[] => found.map(({ id }) => id);

beforeAll(async () => {
  admin = await firstAdministrator(self);
  [owner, auditor] = [await invite(self, admin, "owner"), await invite(self, admin, "auditor")];
  agents = [await self.agent(), await self.agent()];
  foreign = await self.agent();
  for (const { id } of agents) {
    const json = { owner_person_id: owner.id };
    expect((await admin.call(`/agents/${id}`, { method: "PATCH", json, ip: ADMIN_ADDRESS })).status).toBe(200);
  }
  for (const { token } of [...agents, foreign, ...agents]) {
    await self.call("/proxy/lab/things/1", { token, ip: "192.0.2.7" });
  }
  const json = { status: "suspended" };
  expect(
    (await owner.call(`/agents/${agents[1]!.id}/status`, { method: "PUT", json, ip: "198.51.100.9" })).status,
  ).toBe(200);
  await self.drain();
});

describe("an owner", () => {
  it("reads what is about their agents and nothing else, newest first, in pages", async () => {
    const all = await records(owner);
    const everybodys = await records(auditor, "limit=200");
    const own = new Set(agents.map(({ id }) => id));
    expect(ids(all)).toEqual(ids(everybodys.filter(({ agent_id }) => own.has(agent_id))));
    expect(new Set(all.map(({ agent_id }) => agent_id))).toEqual(own);
    const paged: string[] = [];
    for (let cursor = ""; ;) {
      const { body } = await owner.call(`/audit?limit=3${cursor && `&cursor=${cursor}`}`);
      paged.push(...ids(body.records));
      if (body.next_cursor === null) break;
      cursor = body.next_cursor;
    }
    expect(paged).toEqual(ids(all));
    expect(ids(await records(owner, `agent_id=${agents[0]!.id}`))).toEqual(
      ids(all.filter(({ agent_id }) => agent_id === agents[0]!.id)),
    );
    expect((await records(owner, "action=gateway.call")).length).toBe(4);
  });

  it("is refused somebody else's agent in the words in which one that does not exist is", async () => {
    for (const query of ["", "&q=x", "&ip=192.0.2.7"]) {
      const answers = [];
      for (const id of [foreign.id, "agt_000000000000000000000000"]) {
        const { status, body } = await owner.call(`/audit?agent_id=${id}${query}`);
        answers.push([status, body.code, body.message]);
      }
      expect(answers[0]).toEqual([403, "role_required", expect.any(String)]);
      expect(answers[1]).toEqual(answers[0]);
    }
  });

  it("reads one record of their agents, and of no other", SLOW, async () => {
    const [record] = await records(owner, `agent_id=${agents[0]!.id}&limit=1`);
    expect((await owner.call(`/audit/${record!.id}`)).body.record).toEqual(record);
    const [other] = await records(auditor, `agent_id=${foreign.id}&limit=1`);
    const [ofNobody] = (await records(auditor, "action=audit.read")).concat(
      await records(auditor, "action=request.refused"),
    );
    for (const id of [other!.id, ofNobody?.id ?? `aud_${"0".repeat(32)}`, `aud_${"0".repeat(32)}`]) {
      expect((await owner.call(`/audit/${id}`)).status).toBe(404);
    }
  });

  it("sees their own address and that of their agents, and no administrator's, by no filter either", async () => {
    const all = await records(owner);
    const addressOf = (action: string) => all.find((record) => record.action === action)!.ip_address;
    expect([addressOf("agent.updated"), addressOf("agent.status_updated"), addressOf("gateway.call")]).toEqual([
      null,
      "198.51.100.9",
      "192.0.2.7",
    ]);
    expect(await records(owner, `ip=${ADMIN_ADDRESS}`)).toEqual([]);
    expect(await records(owner, `ip=${ADMIN_ADDRESS}&agent_id=${agents[0]!.id}`)).toEqual([]);
    expect(await records(owner, "ip=198.51.100.9")).toHaveLength(1);
    expect(await records(auditor, `ip=${ADMIN_ADDRESS}&agent_id=${agents[0]!.id}`)).toHaveLength(1);
  });

  it("is recorded as a reader of the log", async () => {
    self.sent.length = 0;
    await records(owner, "outcome=success");
    expect(self.entries).toMatchObject([
      { action: "audit.read", agentId: null, actor: { type: "person", id: owner.id }, after: { outcome: "success" } },
    ]);
  });

  it("exports nothing", async () => {
    expect((await owner.call("/audit/export")).body.code).toBe("role_required");
  });

  it("reads no more of an agent that is theirs no more, and nothing once they have none", SLOW, async () => {
    const given = (id: string, to: string | null) =>
      admin.call(`/agents/${id}`, { method: "PATCH", json: { owner_person_id: to } });
    await given(agents[0]!.id, null);
    expect(new Set((await records(owner)).map(({ agent_id }) => agent_id))).toEqual(new Set([agents[1]!.id]));
    expect((await owner.call(`/audit?agent_id=${agents[0]!.id}`)).status).toBe(403);
    await given(agents[1]!.id, null);
    expect(await records(owner)).toEqual([]);
    for (const { id } of agents) await given(id, owner.id);
  });
});

describe("an auditor", () => {
  it("exports the log with a passkey's confirmation of exactly this export, once", async () => {
    const path = "/audit/export?format=jsonl&action=gateway.call";
    const asked = await auditor.call(path);
    expect([asked.status, asked.body.code]).toEqual([403, "reauthentication_required"]);
    const confirmation = await auditor.authenticator.confirm(asked.body.assertion);
    const repeat = (where: string) => auditor.call(where, { headers: { "agentauth-assertion": confirmation } });
    expect((await repeat(path.replace("gateway.call", "agent.registered"))).body.code).toBe("assertion_refused");
    const again = await auditor.call(path);
    const good = await auditor.authenticator.confirm(again.body.assertion);
    const exported = await auditor.call(path, { headers: { "agentauth-assertion": good } });
    expect([exported.status, exported.headers.get("content-type")]).toEqual([200, "application/jsonl; charset=utf-8"]);
    expect(exported.body.trim().split("\n")).toHaveLength(6);
    expect((await auditor.call(path, { headers: { "agentauth-assertion": good } })).body.code).toBe(
      "assertion_refused",
    );
    await self.drain();
    expect(await records(auditor, "action=audit.exported")).toMatchObject([{ actor: { id: auditor.id }, count: 5 }]);
  });
});
