import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, it } from "vitest";
import { countOperations } from "../support/count-operations.ts";
import { firstAdministrator, invite, type SignedInPerson } from "../support/people.ts";
import { world } from "../support/world.ts";
import { SLOW } from "../support/extents.ts";

/** The keys that end soon, as the console's first page shows them. */
const AGENTS = 3000;
const DAY = 86_400_000;
const counter = countOperations();
const self = world(counter.overrides);
let admin: SignedInPerson;
let owner: SignedInPerson;
let own: string;

type Listed = { keys: { id: string; expires_at: string }[]; next_cursor: string | null };
const idsOf = ({ keys }: Listed) => keys.map(({ id }) => id);

async function list(person: SignedInPerson, query = "") {
  const { result, awaited, statements } = await counter.run(() => person.call(`/keys${query}`));
  return { ...result, rowsRead: awaited.rowsRead, statements };
}

beforeAll(async () => {
  admin = await firstAdministrator(self);
  owner = await invite(self, admin, "owner");
  own = (await self.agent(["github:issues:read"])).id;
  const given = await admin.call(`/agents/${own}`, { method: "PATCH", json: { owner_person_id: owner.id } });
  expect(given.status).toBe(200);
  // Of each agent one key: of every third without an end, of the others an hour later each. Every tenth agent is revoked.
  await self.env.DB.batch([
    self.env.DB.prepare(
      `INSERT INTO agents (id, name, owner_email, permissions, status, tier, created_at, updated_at)
       SELECT printf('agt_%024d', value), printf('Seeded %05d', value), 'owner@example.com', '[]', iif(value % 10 = 0, 'revoked', 'active'),
         'free', 1700000000000 + value, 1700000000000
       FROM (WITH RECURSIVE n (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < ?1) SELECT value FROM n)`,
    ).bind(AGENTS),
    self.env.DB.prepare(
      `INSERT INTO api_keys (id, agent_id, hash, created_at, expires_at)
       SELECT 'key_' || substr(id, 5), id, id, created_at, iif(value % 3 = 0, NULL, ?1 + value * 3600000)
       FROM (SELECT id, created_at, CAST(substr(id, 5) AS INTEGER) AS value FROM agents WHERE name LIKE 'Seeded %')`,
    ).bind(Date.now()),
  ]);
});

/** The keys that were seeded, by the hours after which they end. */
const seeded = (until: number) =>
  Array.from({ length: until }, (_, index) => index + 1)
    .filter((hours) => hours % 3 !== 0 && hours % 10 !== 0)
    .map((hours) => `key_${String(hours).padStart(24, "0")}`);

describe("GET /keys", () => {
  it("lists what ends within some days, that which ends first at the front, with whose it is", async () => {
    const { status, body } = await list(admin, "?days=1");
    expect(status).toBe(200);
    expect(Object.keys(body).toSorted()).toEqual(["details", "keys", "next_cursor", "success"]);
    expect(idsOf(body)).toEqual(seeded(24));
    expect(body.next_cursor).toBeNull();
    expect(body.details[body.keys[0].id]).toEqual({
      agent_id: `agt_${"1".padStart(24, "0")}`,
      agent_name: "Seeded 00001",
    });
    expect(Object.keys(body.keys[0]).toSorted()).toEqual(
      [
        "id",
        "type",
        "label",
        "hint",
        "created_at",
        "created_by",
        "expires_at",
        "last_used_at",
        "allowed_ips",
      ].toSorted(),
    );
    const times = body.keys.map((key: { expires_at: string }) => Date.parse(key.expires_at));
    expect(times).toEqual(times.toSorted((one: number, other: number) => one - other));
    expect(times.at(-1)).toBeLessThanOrEqual(Date.now() + DAY);
  });

  it("has every one of them once, page by page, by an index, and reads no more than a page needs", SLOW, async () => {
    const found: string[] = [];
    let cursor: string | null = "";
    while (cursor !== null) {
      const { body, rowsRead, statements } = await list(admin, `?limit=40&days=14${cursor && `&cursor=${cursor}`}`);
      expect(body.keys.length).toBeLessThanOrEqual(40);
      // A key and its place in the index, its agent, their places on the page, and the person who asks.
      expect(rowsRead).toBeLessThanOrEqual(41 * 5);
      for (const { sql, bindings } of statements) {
        const { results } = await env.DB.prepare(`EXPLAIN QUERY PLAN ${sql}`)
          .bind(...bindings)
          .all<{ detail: string }>();
        expect(results.map(({ detail }) => detail).filter((detail) => /^SCAN (?!p\b)/.test(detail))).toEqual([]);
      }
      found.push(...idsOf(body));
      cursor = body.next_cursor;
    }
    expect(found).toEqual(seeded(14 * 24));
  });

  it("shows an owner the keys of their own agents only, and an agent without rights none", async () => {
    expect((await list(owner)).body).toMatchObject({ keys: [], next_cursor: null });
    const made = await admin.confirmed(`/agents/${own}/keys`, { method: "POST", json: { expires_in: 3600 } });
    expect(made.status).toBe(201);
    const { body, rowsRead } = await list(owner);
    expect(idsOf(body)).toEqual([made.body.key.id]);
    expect(body.details[made.body.key.id].agent_id).toBe(own);
    expect(rowsRead).toBeLessThan(40);
    expect(JSON.stringify(body)).not.toMatch(/ak_|hash|pepper/);
    // A position in somebody else's list leads an owner to nobody else's keys.
    const { next_cursor: cursor } = (await list(admin, "?limit=1&days=100")).body;
    for (const id of idsOf((await list(owner, `?days=100&cursor=${cursor}`)).body)) expect(id).toBe(made.body.key.id);
    const { token } = await self.agent(["github:issues:read"]);
    expect((await self.call("/keys", { token })).status).toBe(403);
  });

  it.each(["?days=0", "?days=367", "?days=x", "?limit=0", "?cursor=x", "?agent_id=agt_1"])(
    "refuses %s",
    async (query) => {
      expect((await admin.call(`/keys${query}`)).status).toBe(400);
    },
  );
});
