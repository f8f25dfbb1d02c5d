import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, it } from "vitest";
import { countOperations, type Statement } from "../support/count-operations.ts";
import { world, type Registered } from "../support/world.ts";

const AGENTS = 5000;
const counter = countOperations();
const self = world(counter.overrides);
let admin: Registered;

beforeAll(async () => {
  // Times repeat, so that the id decides; every 50th agent is suspended.
  await self.env.DB.prepare(
    `INSERT INTO agents (id, name, owner_email, permissions, status, tier, created_at, updated_at)
     SELECT printf('agt_%024d', value), printf('Seeded %05d', value), printf('owner%d@team%d.example', value, value % 10), '[]',
            iif(value % 50 = 0, 'suspended', 'active'), 'free', 1700000000000 + value / 3, 1700000000000
     FROM (WITH RECURSIVE n (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < ?1) SELECT value FROM n)`,
  )
    .bind(AGENTS)
    .run();
  admin = await self.admin();
});

const list = async (query = "") => {
  const { result, awaited, statements } = await counter.run(() => self.call(`/agents${query}`, { token: admin.token }));
  return { ...result, rowsRead: awaited.rowsRead, statements };
};

/** The steps of a plan that read a whole table or index. */
async function scans(statements: readonly Statement[]): Promise<string[]> {
  const found = [];
  for (const { sql, bindings } of statements) {
    const { results } = await env.DB.prepare(`EXPLAIN QUERY PLAN ${sql}`)
      .bind(...bindings)
      .all<{ detail: string }>();
    found.push(...results.map(({ detail }) => detail).filter((detail) => detail.startsWith("SCAN ")));
  }
  return found;
}

// A scan in the order of an index that stops at its LIMIT is how a page is read; agent_counts has four rows.
const HARMLESS =
  /^SCAN (agents USING (COVERING )?INDEX agents_by_age|agent_counts|(s|json_each) VIRTUAL TABLE INDEX|matches|page|p|\(subquery-\d+\))( |$)/;

describe("the list of agents", () => {
  it("is newest first and has exactly its keys", async () => {
    const { status, body } = await list("?limit=3");
    expect(status).toBe(200);
    expect(Object.keys(body).sort()).toEqual(
      ["agents", "has_more", "limit", "next_cursor", "offset", "success", "total"].sort(),
    );
    expect(Object.keys(body.agents[0]).sort()).toEqual([
      "agent_id",
      "created_at",
      "name",
      "owner_email",
      "permissions",
      "status",
      "tier",
      "updated_at",
    ]);
    expect(body.agents[0].agent_id).toBe(admin.id);
    expect(body).toMatchObject({ total: AGENTS + 1, limit: 3, offset: 0, has_more: true });
  });

  it.each(["", "&status=suspended", "&status=active", "&q=seeded%2000", "&q=seeded%2000&status=suspended"])(
    "shows every agent once, by offset and by cursor alike%s",
    async (filter) => {
      const byOffset: string[] = [];
      const byCursor: string[] = [];
      let cursor = "";
      for (let offset = 0; offset < 300; offset += 100) {
        const one = (await list(`?limit=100&offset=${offset}${filter}`)).body;
        byOffset.push(...one.agents.map((agent: { agent_id: string }) => agent.agent_id));
        const other = (await list(`?limit=100${cursor && `&cursor=${cursor}`}${filter}`)).body;
        byCursor.push(...other.agents.map((agent: { agent_id: string }) => agent.agent_id));
        expect(other.total).toBe(one.total);
        if (other.next_cursor === null) break;
        cursor = other.next_cursor;
      }
      expect(byCursor).toEqual(byOffset.slice(0, byCursor.length));
      expect(new Set(byCursor).size).toBe(byCursor.length);
      expect(byCursor.length).toBeGreaterThanOrEqual(1);
    },
  );

  it("filters by status and counts by it", async () => {
    const { body } = await list("?status=suspended&limit=100&offset=90");
    expect(body).toMatchObject({ total: 100, has_more: false, next_cursor: null });
    expect(body.agents).toHaveLength(10);
    expect(new Set(body.agents.map(({ status }: { status: string }) => status))).toEqual(new Set(["suspended"]));
    expect((await list("?status=revoked")).body).toMatchObject({ total: 0, agents: [], has_more: false });
  });

  it("finds by the beginning of name, owner and id, in any case", async () => {
    const ids = async (q: string) =>
      (await list(`?q=${encodeURIComponent(q)}`)).body.agents.map((agent: { agent_id: string }) => agent.agent_id);
    const one = "agt_000000000000000000001234";
    expect(await ids("SEEDED 01234")).toEqual([one]);
    expect(await ids("owner1234@")).toEqual([one]);
    expect(await ids(one)).toEqual([one]);
    expect(await ids("agt_0000000000000000000012")).toHaveLength(50);
    expect(await ids("agt_")).toEqual([]);
    expect(await ids("%")).toEqual([]);
    expect(await ids("_eeded")).toEqual([]);
    expect(await ids("' OR 1=1 --")).toEqual([]);
  });

  it("bounds what a search reads, and its total with it", async () => {
    const { body, rowsRead } = await list("?q=s&limit=100");
    expect(body).toMatchObject({ total: 500, has_more: true });
    expect(rowsRead).toBeLessThan(5000);
  });

  it.each([
    ["", 120],
    ["?limit=100", 220],
    ["?status=suspended", 120],
    ["?cursor=loz4xmmp.agt_000000000000000000002000", 120],
    ["?status=active&cursor=loz4xmmp.agt_000000000000000000002000", 120],
    ["?q=seeded%2001234", 60],
    ["?q=agt_00000000000000000000123", 120],
  ])("reads rows by an index and no more than the page needs: %s", async (query, most) => {
    const { status, rowsRead, statements } = await list(query);
    expect(status).toBe(200);
    expect(rowsRead).toBeLessThanOrEqual(most);
    expect((await scans(statements)).filter((step) => !HARMLESS.test(step))).toEqual([]);
  });

  it.each([
    "?limit=0",
    "?limit=101",
    "?limit=x",
    "?offset=-1",
    "?offset=10001",
    "?status=gone",
    "?cursor=x",
    "?limit=1&limit=2",
    `?q=${"x".repeat(101)}`,
  ])("refuses %s", async (query) => {
    const { status, body } = await list(query);
    expect(status).toBe(400);
    expect(body.code).toBe("validation_error");
  });

  it("is for admins", async () => {
    const { token } = await self.agent();
    expect((await self.call("/agents", { token })).status).toBe(403);
    expect((await self.call("/agents")).status).toBe(401);
  });
});
