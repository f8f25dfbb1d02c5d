import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, it } from "vitest";
import { countOperations, type Statement } from "../support/count-operations.ts";
import { SLOW, few } from "../support/extents.ts";
import { world, type Registered } from "../support/world.ts";

const AGENTS = 5000;
const counter = countOperations();
const self = world({ ...counter.overrides, RATE_FREE: { limit: async () => ({ success: true }) } });
let admin: Registered;

beforeAll(async () => {
  // Other files may have left agents.
  await self.env.DB.prepare("DELETE FROM agents").run();
  // Times repeat, so that the id decides; every 50th agent is suspended.
  await self.env.DB.prepare(
    `INSERT INTO agents (id, name, owner_email, permissions, status, tier, last_verified_at, created_at, updated_at)
     SELECT printf('agt_%024d', value), printf('Seeded %05d', value),
            iif(value % 7 = 0, 'Joint@team.example', printf('owner%d@team%d.example', value, value % 10)),
            iif(value % 3 = 0, '["lab:things:read","lab:notes:read"]', '["lab:things:*"]'),
            iif(value % 50 = 0, 'suspended', 'active'), iif(value % 11 = 0, 'pro', 'free'),
            iif(value % 2 = 0, 1700000001000 + value, NULL), 1700000000000 + value / 3, 1700000000000
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

// A scan in the order of an index that stops at its LIMIT is how a page is read; agent_counts has four rows, s what was scanned.
const HARMLESS =
  /^SCAN (agents USING (COVERING )?INDEX agents_by_age|agent_counts|(s|json_each) VIRTUAL TABLE INDEX|matches|page|[ps]|\(subquery-\d+\))( |$)/;

describe("the list of agents", () => {
  it("is newest first and has exactly its keys", async () => {
    const { status, body } = await list("?limit=3");
    expect(status).toBe(200);
    expect(Object.keys(body).sort()).toEqual(
      ["agents", "details", "has_more", "limit", "next_cursor", "offset", "success", "total"].sort(),
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

  few(1).each(["", "&status=suspended", "&status=active", "&q=seeded%2000", "&q=seeded%2000&status=suspended"])(
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

  it("finds by the beginning of name, owner and id, in any case", SLOW, async () => {
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
    ["", 160],
    ["?limit=100", 310],
    ["?status=suspended", 160],
    ["?cursor=loz4xmmp.agt_000000000000000000002000", 160],
    ["?status=active&cursor=loz4xmmp.agt_000000000000000000002000", 160],
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

  /** The same agents by what was seeded. */
  const seeded = (matches: (value: number) => boolean) =>
    Array.from({ length: AGENTS }, (_, index) => AGENTS - index)
      .filter(matches)
      .map((value) => `agt_${String(value).padStart(24, "0")}`);
  const createdAt = (value: number) => 1_700_000_000_000 + Math.floor(value / 3);
  const usedAt = (value: number) => (value % 2 === 0 ? 1_700_000_001_000 + value : createdAt(value));
  const PERMISSION = "lab:notes:read";
  const at = (ms: number) => encodeURIComponent(new Date(ms).toISOString());

  few(4).each<[string, (value: number) => boolean]>([
    ["tier=pro", (value) => value % 11 === 0],
    ["tier=pro&status=suspended", (value) => value % 11 === 0 && value % 50 === 0],
    ["owner_email=joint@TEAM.example", (value) => value % 7 === 0],
    ["owner_email=joint@team.example&status=suspended", (value) => value % 7 === 0 && value % 50 === 0],
    ["owner_email=joint@team.example&tier=pro", (value) => value % 7 === 0 && value % 11 === 0],
    ["owner_email=joint@team.exampl", () => false],
    [`permission=${PERMISSION}`, (value) => value % 3 === 0],
    [`permission=${PERMISSION}&tier=pro&status=suspended`, (value) => value % 33 === 0 && value % 50 === 0],
    ["permission=lab:things:write", () => false],
    [`last_verified_before=${at(1_700_000_000_900)}`, (value) => usedAt(value) < 1_700_000_000_900],
    [`last_verified_before=${at(1_700_000_002_000)}`, (value) => usedAt(value) < 1_700_000_002_000],
    [
      `last_verified_before=${at(1_700_000_000_900)}&permission=${PERMISSION}&owner_email=Joint@team.example&tier=pro`,
      (value) => usedAt(value) < 1_700_000_000_900 && value % 231 === 0,
    ],
    ["permission=*:*:*%27 OR 1=1 --", () => false],
  ])("has exactly the agents of a filter, page by page, within what a page may read: %s", async (filter, matches) => {
    const expected = seeded(matches);
    const found: string[] = [];
    let cursor: string | null = "";
    for (let pages = 0; cursor !== null; pages++) {
      const query = `?limit=100&${filter}${cursor && `&cursor=${cursor}`}`;
      const { status, body, rowsRead, statements } = await list(query);
      expect([status, pages < 100]).toEqual([200, true]);
      expect(rowsRead).toBeLessThanOrEqual(16_000);
      if (pages === 0) {
        expect(body.total).toBeLessThanOrEqual(expected.length);
        expect((await scans(statements)).filter((step) => !HARMLESS.test(step))).toEqual([]);
      }
      found.push(...body.agents.map((agent: { agent_id: string }) => agent.agent_id));
      expect(Object.keys(body.details)).toEqual(body.agents.map((agent: { agent_id: string }) => agent.agent_id));
      cursor = body.next_cursor;
      expect(body.has_more).toBe(cursor !== null);
      // The newest three thousand are enough for the long ones.
      if (found.length >= 1500) break;
    }
    expect(found).toEqual(expected.slice(0, found.length));
    if (found.length < 1500) expect(found).toHaveLength(expected.length);
  });

  few(3).each([
    "?cursor=loz4xmmp.agt_000000000000000000002000&offset=0",
    "?tier=pro&q=seeded",
    "?permission=lab:things:read&offset=50",
    "?tier=gold",
    "?last_verified_before=yesterday",
    "?last_verified_before=1700000000000",
    "?owner_email=",
    "?permission=",
    `?permission=${"x".repeat(101)}`,
  ])("refuses what has no one meaning: %s", async (query) => {
    const { status, body } = await list(query);
    expect([status, body.code]).toEqual([400, "validation_error"]);
  });

  it("has the permissions that agents have now", SLOW, async () => {
    const [one, holder] = [await self.agent(["lab:notes:write"]), "?permission=lab:notes:write"];
    const ids = async (query: string) =>
      (await list(query)).body.agents.map((agent: { agent_id: string }) => agent.agent_id);
    expect(await ids(holder)).toEqual([one.id]);
    const put = (permissions: string[]) =>
      self.call(`/agents/${one.id}/permissions`, { method: "PUT", token: admin.token, json: { permissions } });
    await put(["lab:things:write", "lab:notes:write"]);
    expect([await ids(holder), await ids("?permission=lab:things:write")]).toEqual([[one.id], [one.id]]);
    await put([]);
    expect([await ids(holder), await ids("?permission=lab:things:write")]).toEqual([[], []]);
    await put(["lab:notes:write"]);
    await self.call(`/agents/${one.id}`, { method: "DELETE", token: admin.token });
    const left = await self.env.DB.prepare("SELECT count(*) AS n FROM agent_permissions WHERE agent_id = ?1")
      .bind(one.id)
      .first();
    expect(left).toEqual({ n: 0 });
  });

  it("is for admins", async () => {
    const { token } = await self.agent();
    expect((await self.call("/agents", { token })).status).toBe(403);
    expect((await self.call("/agents")).status).toBe(401);
  });
});
