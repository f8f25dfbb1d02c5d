import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { firstAdministrator, invite, type SignedInPerson } from "../support/people.ts";
import { world } from "../support/world.ts";

/** What the console reads for people: the agents of an owner, and the log again and again. */
const self = world();
let admin: SignedInPerson;
let owner: SignedInPerson;
let own: string;
let other: string;

const idsOf = ({ body }: { body: { agents: { agent_id: string }[] } }) => body.agents.map(({ agent_id }) => agent_id);

beforeAll(async () => {
  admin = await firstAdministrator(self);
  owner = await invite(self, admin, "owner");
  own = (await self.agent(["github:issues:read"])).id;
  other = (await self.agent(["github:issues:read"])).id;
  const given = await admin.call(`/agents/${own}`, { method: "PATCH", json: { owner_person_id: owner.id } });
  expect(given.status).toBe(200);
});

describe("GET /agents", () => {
  it("shows an owner the agents that are theirs, and an administrator those of a person", async () => {
    const { status, body } = await owner.call("/agents");
    expect(status).toBe(200);
    expect([idsOf({ body }), body.total]).toEqual([[own], 1]);
    expect(idsOf(await owner.call("/agents?status=active&permission=github:issues:read"))).toEqual([own]);
    expect(idsOf(await owner.call("/agents?status=suspended"))).toEqual([]);
    expect(idsOf(await admin.call(`/agents?owner_person_id=${owner.id}`))).toEqual([own]);
    expect(idsOf(await admin.call("/agents"))).toEqual(expect.arrayContaining([own, other]));
  });

  it("shows an owner nobody else's agents, however they ask", async () => {
    for (const query of [`owner_person_id=${admin.id}`, "owner_person_id=per_0"]) {
      expect((await owner.call(`/agents?${query}`)).body.code, query).toBe("role_required");
    }
    // A search and an offset know no owner.
    for (const query of ["q=agent", `q=${other}`, "offset=0", `offset=0&owner_person_id=${owner.id}`]) {
      expect((await owner.call(`/agents?${query}`)).status, query).toBe(400);
    }
    expect((await owner.call(`/agents/${other}`)).status).toBe(403);
    const { token } = await self.agent(["github:issues:read"]);
    expect((await self.call("/agents", { token })).status).toBe(403);
  });

  it("shows an owner an agent no longer that is given to somebody else", async () => {
    await admin.call(`/agents/${own}`, { method: "PATCH", json: { owner_person_id: null } });
    expect(idsOf(await owner.call("/agents"))).toEqual([]);
    await admin.call(`/agents/${own}`, { method: "PATCH", json: { owner_person_id: owner.id } });
    expect(idsOf(await owner.call("/agents"))).toEqual([own]);
  });
});

describe("a page that shows the log live", () => {
  const readings = () => self.entries.filter(({ action }) => action === "audit.read").length;

  afterEach(() => void vi.useRealTimers());

  it("is one record of a minute, and another view is another record", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: Math.ceil(Date.now() / 60_000) * 60_000 });
    const before = readings();
    for (let turn = 0; turn < 3; turn++) expect((await admin.call("/audit?limit=5")).status).toBe(200);
    expect(readings()).toBe(before + 1);
    await admin.call("/audit?limit=5&outcome=denied");
    await owner.call("/audit?limit=5");
    expect(readings()).toBe(before + 3);
  });
});
