import { decodeJwt } from "jose";
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi, type TestOptions } from "vitest";
import { loadConfig } from "../../src/config/config.ts";
import { announceAndSweepGrants } from "../../src/grants/due.ts";
import { runScheduledJobs } from "../../src/jobs/run-jobs.ts";
import { world, type Registered } from "../support/world.ts";
import { SLOW } from "../support/extents.ts";

const self = world({ RATE_FREE: { limit: async () => ({ success: true }) } });
let admin: Registered;
beforeAll(async () => {
  admin = await self.admin();
});
afterEach(() => void vi.useRealTimers());

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const inMs = (ms: number) => new Date(Date.now() + ms).toISOString();

const get = (id: string, token = admin.token) => self.call(`/agents/${id}/grants`, { token });
const put = (id: string, grants: unknown, more: object = {}, token = admin.token) =>
  self.call(`/agents/${id}/grants`, { method: "PUT", token, json: { grants, ...more } });
const putPermissions = (id: string, permissions: string[], token = admin.token) =>
  self.call(`/agents/${id}/permissions`, { method: "PUT", token, json: { permissions } });
const verify = ({ id, apiKey }: Registered, more: object = {}) =>
  self.call("/agents/verify", { method: "POST", json: { agent_id: id, api_key: apiKey, ...more } });
const refresh = (token: string) => self.call("/agents/refresh", { method: "POST", json: { refresh_token: token } });
const read = async (id: string, token = admin.token) => (await self.call(`/agents/${id}`, { token })).body.agent;
/** What a token gives. */
const claimsOf = (token: string) => {
  const {
    scope,
    authorization_details: details = [],
    iat,
    exp,
  } = decodeJwt<{ authorization_details?: object[] }>(token);
  return { scope, details, life: exp! - iat! };
};
const eventsOf = async (id: string, event: string) => {
  const { results } = await self.env.DB.prepare(
    "SELECT data FROM events WHERE agent_id = ?1 AND event = ?2 ORDER BY id",
  )
    .bind(id, event)
    .all<{ data: string }>();
  return results.map(({ data }) => JSON.parse(data));
};

const LIMITED = { permission: "github:issues:write", where: { "path.owner": "octo", "path.repo": { in: ["a", "b"] } } };

describe("GET and PUT /agents/{id}/grants", () => {
  let unchanged: Registered | undefined;
  it("show and set what an agent may do, how far and until when", SLOW, async () => {
    const { id } = await self.agent(["github:issues:read"]);
    const before = await get(id);
    expect(before.body).toMatchObject({ grants_version: 1, grants: [{ permission: "github:issues:read" }] });
    const end = inMs(2 * DAY_MS);
    const { status, body } = await put(id, [
      { permission: "github:issues:read" },
      LIMITED,
      { permission: "lab:things:read", expires_at: end },
    ]);
    expect(status).toBe(200);
    expect(Object.keys(body).toSorted()).toEqual(["grants", "grants_version", "message", "success"]);
    const created = {
      created_by: { type: "agent", id: admin.id, name: expect.any(String) },
      created_at: expect.any(String),
    };
    expect(body.grants).toEqual([
      before.body.grants[0],
      {
        id: expect.stringMatching(/^gra_[0-9A-Za-z]{24}$/),
        permission: "github:issues:write",
        where: { "path.owner": { eq: "octo" }, "path.repo": { in: ["a", "b"] } },
        ...created,
      },
      { id: expect.stringMatching(/^gra_/), permission: "lab:things:read", expires_at: end, ...created },
    ]);
    expect(body.grants_version).toBe(2);
    expect((await get(id)).body).toEqual({ success: true, grants: body.grants, grants_version: 2 });
    expect((await read(id)).permissions).toEqual(["github:issues:read", "github:issues:write", "lab:things:read"]);
    // What was read can be written back, and changes nothing.
    const again = await put(id, body.grants, { grants_version: 2 });
    expect(again.body).toMatchObject({
      grants: body.grants,
      grants_version: 2,
      message: expect.stringMatching(/^Nothing/),
    });
    // The same limits in another order are the same.
    const reordered = { ...LIMITED, where: { "path.repo": { in: ["a", "b"] }, "path.owner": { eq: "octo" } } };
    const some = await put(id, [reordered, reordered, { permission: "lab:*:*" }]);
    expect(some.body.grants.map((one: { id: string }) => one.id)).toEqual([body.grants[1].id, expect.any(String)]);
    expect((await put(id, [])).body.grants).toEqual([]);
    expect((await read(id)).permissions).toEqual([]);
  });

  it("send the event to webhooks, once for a change", async () => {
    const { id } = await self.agent();
    await self.env.DB.prepare(
      `INSERT INTO webhooks (id, agent_id, url, events, secret, created_at, updated_at)
       VALUES (?1, ?2, 'https://x.example', '["agent.permissions_updated"]', '{"kid":"x"}', 0, 0)`,
    )
      .bind(`wh_${id}`, id)
      .run();
    await put(id, [LIMITED]);
    await put(id, [LIMITED]);
    expect(await eventsOf(id, "agent.permissions_updated")).toEqual([
      { agent_id: id, permissions: ["github:issues:write"], updated_at: expect.any(String), updated_by: admin.id },
    ]);
  });

  it("change only what was read, if the caller says which version that is", async () => {
    const { id } = await self.agent();
    const { grants, grants_version } = (await get(id)).body;
    const answers = await Promise.all(
      ["1", "2", "3"].map((repo) =>
        put(id, [...grants, { permission: "github:issues:read", where: { "path.repo": repo } }], { grants_version }),
      ),
    );
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 409, 409]);
    expect(answers.find(({ status }) => status === 409)!.body).toMatchObject({ code: "grants_changed" });
    expect((await get(id)).body.grants).toHaveLength(2);
  });

  it.each<[why: string, grant: object, code: string, named: string]>([
    [
      "an unknown permission",
      { permission: "github:nothing:read" },
      "unknown_permission",
      "github has no resource nothing",
    ],
    [
      "an unknown field",
      { permission: "github:issues:write", where: { "path.org": "x" } },
      "unknown_constraint_field",
      "path.owner",
    ],
    [
      "a field of no request",
      { permission: "github:issues:write", where: { "header.host": "x" } },
      "unknown_constraint_field",
      "path.owner",
    ],
    [
      "a field that is a prototype's",
      JSON.parse('{"permission":"github:issues:write","where":{"__proto__":"x"}}'),
      "unknown_field",
      "__proto__",
    ],
    [
      "an unknown operator",
      { permission: "github:issues:write", where: { "path.repo": { like: "x" } } },
      "unknown_constraint_operator",
      "eq, in",
    ],
    [
      "an operator for other fields",
      { permission: "github:issues:write", where: { "path.repo": { glob: "x*" } } },
      "invalid_constraint",
      "glob",
    ],
    ["no value", { permission: "github:issues:write", where: { "path.repo": null } }, "validation_error", "path.repo"],
    [
      "an empty list",
      { permission: "github:issues:write", where: { "path.repo": { in: [] } } },
      "invalid_constraint",
      "path.repo",
    ],
    ["no condition", { permission: "github:issues:write", where: {} }, "invalid_constraint", "no field"],
    [
      "limits on a whole service",
      { permission: "github:*:*", where: { "path.owner": "x" } },
      "invalid_constraint",
      "no rule describes",
    ],
    [
      "limits on everything",
      { permission: "*:*:*", where: { "path.owner": "x" } },
      "invalid_constraint",
      "no rule describes",
    ],
    [
      "an administrator for a time",
      { permission: "*:*:*", expires_at: inMs(DAY_MS) },
      "invalid_constraint",
      "cannot have an end",
    ],
    [
      "an end in the past",
      { permission: "lab:things:read", expires_at: inMs(-1) },
      "validation_error",
      "lies in the past",
    ],
    [
      "an end that is no time",
      { permission: "lab:things:read", expires_at: "Friday" },
      "validation_error",
      "expires_at",
    ],
    ["an approval", { permission: "lab:things:read", approval: "always" }, "validation_error", "not offered yet"],
    ["an unknown key", { permission: "lab:things:read", until: inMs(DAY_MS) }, "unknown_field", "until"],
    [
      "limits that are too long",
      {
        permission: "github:issues:write",
        where: { "path.repo": { in: Array.from({ length: 20 }, (_, n) => `${n}`.padEnd(300, "x")) } },
      },
      "invalid_constraint",
      "4096",
    ],
  ])("refuse %s", async (_, grant, code, named) => {
    // As nothing changes, one is enough for all.
    const { id } = (unchanged ??= await self.agent());
    const { status, body } = await put(id, [{ permission: "lab:notes:read" }, grant]);
    expect([status, body.code]).toEqual([400, code]);
    expect(JSON.stringify([body.message, body.details])).toContain(named);
    expect(body.details[0].field).toMatch(/^grants\.1/);
    expect((await get(id)).body.grants_version).toBe(1);
  });

  it("refuse more than 50, and more than a row may hold", SLOW, async () => {
    const { id } = await self.agent();
    const many = Array.from({ length: 51 }, (_, n) => ({
      permission: "github:issues:write",
      where: { "path.repo": `${n}` },
    }));
    expect((await put(id, many)).status).toBe(400);
    expect((await put(id, many.slice(1))).body.grants).toHaveLength(50);
    const long = Array.from({ length: 20 }, (_, n) => {
      const repos = [`${n}`, ..."abcdef"].map((one) => one.padEnd(400, "x"));
      return { permission: "github:issues:write", where: { "path.repo": { in: repos } } };
    });
    const { status, body } = await put(id, long);
    expect([status, body.details[0].field]).toEqual([400, "grants"]);
  });

  it("limit a wildcard of a resource by what requests of each of its actions name", SLOW, async () => {
    const { id } = await self.agent();
    expect((await put(id, [{ permission: "github:issues:*", where: { "path.owner": "octo" } }])).status).toBe(200);
    const onlyInWrites = await put(id, [{ permission: "stripe:payments:*", where: { "body.amount": 5 } }]);
    expect(onlyInWrites.body.code).toBe("unknown_constraint_field");
  });

  it("are for administrators, and know no agent that is not there", SLOW, async () => {
    const agent = await self.agent(["github:*:*"]);
    for (const { status } of [await get(agent.id, agent.token), await put(agent.id, [], {}, agent.token)]) {
      expect(status).toBe(403);
    }
    expect((await get("agt_none")).status).toBe(404);
    expect((await put("agt_none", [])).status).toBe(404);
    const { id } = await self.agent();
    await self.call(`/agents/${id}/revoke`, { method: "POST", token: admin.token });
    await self.env.DB.prepare("UPDATE agents SET status = 'revoked' WHERE id = ?1").bind(id).run();
    expect((await put(id, [LIMITED])).body.code).toBe("agent_revoked");
  });

  it("write nothing for an administrator that has lost its authority meanwhile", async () => {
    const [other, { id }] = [await self.admin(), await self.agent()];
    await self.env.DB.prepare(`UPDATE agents SET permissions = '[]' WHERE id = ?1`).bind(other.id).run();
    expect((await put(id, [LIMITED], {}, other.token)).status).toBe(403);
    expect((await get(id)).body.grants_version).toBe(1);
  });
});

describe("PUT /agents/{id}/permissions of an agent with limits", () => {
  let id: string;
  beforeEach(async () => {
    ({ id } = await self.agent());
    await put(id, [
      LIMITED,
      { permission: "lab:things:read" },
      { permission: "lab:notes:read", expires_at: inMs(DAY_MS) },
    ]);
  });
  const HELD = ["github:issues:write", "lab:things:read", "lab:notes:read"];

  it("changes nothing if what was read is written back, in any order", SLOW, async () => {
    const before = (await get(id)).body;
    const { permissions } = await read(id);
    expect(permissions).toEqual(HELD.toSorted());
    for (const list of [permissions, permissions.toReversed(), [...permissions, ...permissions]]) {
      const { status, body } = await putPermissions(id, list);
      expect([status, body.agent.permissions]).toEqual([200, permissions]);
    }
    expect((await get(id)).body).toEqual(before);
  });

  it("adds and takes away what has no limits, and leaves the limits as they are", async () => {
    const before = (await get(id)).body.grants;
    const added = await putPermissions(id, [...HELD, "slack:messages:read"]);
    expect(added.body.agent.permissions).toEqual([...HELD, "slack:messages:read"].toSorted());
    await putPermissions(id, [HELD[0]!, HELD[2]!]);
    const after = (await get(id)).body;
    expect(after.grants).toEqual([before[0], before[2]]);
    expect(after.grants_version).toBe(4);
  });

  const REFUSED: [what: string, list: string[], named: string, options?: TestOptions][] = [
    ["leaves a limited one out", HELD.slice(1), "leaves it out"],
    ["is empty", [], "leaves it out", SLOW],
    ["leaves out one that has an end", HELD.slice(0, 2), "leaves it out", SLOW],
    ["has the wildcard of the resource", [...HELD, "github:issues:*"], "with limits only", SLOW],
    ["has the wildcard of the service", [...HELD, "github:*:*"], "with limits only", SLOW],
    ["has everything", [...HELD, "*:*:*"], "with limits only", SLOW],
  ];
  for (const [what, list, named, options = {}] of REFUSED) {
    it(`is refused if the list ${what}, and back`, options, () => refuse(list, named));
  }

  async function refuse(list: string[], named: string): Promise<void> {
    const before = (await get(id)).body;
    const { status, body } = await putPermissions(id, list);
    expect([status, body.code]).toEqual([409, "limited_grant"]);
    expect(body.message).toContain(named);
    await putPermissions(id, HELD);
    expect((await get(id)).body).toEqual(before);
  }

  it("is refused if it names an action of a wildcard that has limits", SLOW, async () => {
    await put(id, [{ permission: "github:issues:*", where: { "path.owner": "octo" } }]);
    expect((await putPermissions(id, ["github:issues:*", "github:issues:read"])).body.code).toBe("limited_grant");
    expect((await putPermissions(id, ["github:issues:*", "github:repos:read"])).status).toBe(200);
  });

  it("does not grant for ever what has ended since the list was read", SLOW, async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const end = inMs(20 * 60_000);
    await put(id, [{ permission: "lab:notes:read", expires_at: end }]);
    const { permissions } = await read(id);
    vi.setSystemTime(Date.parse(end));
    expect((await read(id)).permissions).toEqual([]);
    for (const wait of [0, 60_000, 29 * DAY_MS]) {
      vi.setSystemTime(Date.parse(end) + wait);
      const { access_token } = (await verify(admin)).body.token;
      await announceAndSweepGrants(self.env.DB, Date.now(), 500);
      expect((await putPermissions(id, permissions, access_token)).body).toMatchObject({
        code: "limited_grant",
        message: expect.stringContaining("has passed"),
      });
    }
    const { access_token } = (await verify(admin)).body.token;
    const { body } = await put(id, [{ permission: "lab:notes:read" }], {}, access_token);
    expect(body.grants.map((one: object) => Object.keys(one))).toEqual([
      ["id", "permission", "created_by", "created_at"],
    ]);
  });
});

describe("a token of an agent with limits", () => {
  it("has in its scope only what has neither limit nor end, and the rest in authorization_details", async () => {
    const agent = await self.agent();
    const end = inMs(2 * DAY_MS);
    await put(agent.id, [
      LIMITED,
      { permission: "github:issues:*", where: { "path.owner": "own" } },
      { permission: "slack:messages:*" },
      { permission: "lab:things:read", expires_at: end },
    ]);
    const { scope, details, life } = claimsOf((await verify(agent)).body.token.access_token);
    expect(scope).toBe("slack:messages:read slack:messages:write");
    expect(life).toBe(3600);
    const type = "agentauth_grant";
    expect(details).toEqual([
      {
        type,
        permission: "github:issues:write",
        where: { "path.owner": { eq: "octo" }, "path.repo": { in: ["a", "b"] } },
      },
      { type, permission: "github:issues:read", where: { "path.owner": { eq: "own" } } },
      { type, permission: "github:issues:write", where: { "path.owner": { eq: "own" } } },
      { type, permission: "lab:things:read", expires_at: end },
    ]);
  });

  it("is narrowed by the scope that verify asks for, with the limits of what it selects", SLOW, async () => {
    const agent = await self.agent();
    await put(agent.id, [
      LIMITED,
      { permission: "github:issues:read" },
      { permission: "lab:*:*", expires_at: inMs(DAY_MS) },
    ]);
    const ask = async (scope: string) => {
      const { status, body } = await verify(agent, { scope });
      return status === 200 ? claimsOf(body.token.access_token) : body.code;
    };
    const limited = expect.objectContaining({ permission: "github:issues:write", where: expect.anything() });
    expect(await ask("github:issues:write")).toMatchObject({ scope: "", details: [limited] });
    expect(await ask("github:issues:*")).toMatchObject({ scope: "github:issues:read", details: [limited] });
    expect(await ask("lab:things:read")).toMatchObject({
      scope: "",
      details: [{ permission: "lab:things:read", expires_at: expect.anything() }],
    });
    for (const wider of ["github:*:*", "*:*:*", "github:repos:read"]) expect(await ask(wider)).toBe("invalid_scope");
  });

  it("lives no longer than the first of its grants, and is without what ends within 300 seconds", SLOW, async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    vi.setSystemTime(1_800_000_000_000);
    const agent = await self.agent();
    const owner = await self.admin();
    await put(
      agent.id,
      [{ permission: "lab:things:read", expires_at: inMs(HOUR_MS / 2) }, { permission: "lab:notes:read" }],
      {},
      owner.token,
    );
    const first = (await verify(agent)).body.token;
    expect(first.expires_in).toBe(1800);
    expect(claimsOf(first.access_token)).toMatchObject({
      life: 1800,
      scope: "lab:notes:read",
      details: [{ permission: "lab:things:read" }],
    });
    vi.setSystemTime(Date.now() + HOUR_MS / 2 - 300_001);
    const second = (await refresh(first.refresh_token)).body.token;
    expect(claimsOf(second.access_token)).toMatchObject({ life: 301, details: [{ permission: "lab:things:read" }] });
    vi.setSystemTime(Date.now() + 1);
    const third = (await refresh(second.refresh_token)).body.token;
    expect(claimsOf(third.access_token)).toEqual({ life: 3600, scope: "lab:notes:read", details: [] });
    // The grant is still in force for what has been issued.
    expect((await self.call("/proxy/lab/things/1", { token: second.access_token })).status).toBe(200);
    vi.setSystemTime(Date.now() + 300_000);
    expect((await read(agent.id, third.access_token)).permissions).toEqual(["lab:notes:read"]);
  });

  it("follows the agent's present grants with its refresh, within the session's scope", async () => {
    const agent = await self.agent(["github:issues:write", "github:issues:read"]);
    const { body } = await verify(agent, { scope: ["github:issues:write"] });
    expect(claimsOf(body.token.access_token)).toMatchObject({ scope: "github:issues:write", details: [] });
    await put(agent.id, [LIMITED, { permission: "github:issues:read" }]);
    const second = (await refresh(body.token.refresh_token)).body.token;
    expect(claimsOf(second.access_token)).toMatchObject({
      scope: "",
      details: [{ permission: "github:issues:write" }],
    });
    await put(agent.id, [{ permission: "github:issues:read" }]);
    const third = (await refresh(second.refresh_token)).body.token;
    expect(claimsOf(third.access_token)).toMatchObject({ scope: "", details: [] });
  });

  it("is no administrator's for a part of everything, and counts for nothing that asks for the whole", async () => {
    const agent = await self.agent(["lab:things:read"]);
    await put(agent.id, [{ permission: "lab:things:read", expires_at: inMs(DAY_MS) }]);
    const { access_token } = (await verify(agent)).body.token;
    const register = (permissions: string[]) =>
      self.call("/agents/register", {
        method: "POST",
        token: access_token,
        json: { name: "Another", owner_email: "o@example.com", permissions },
      });
    // It would have for ever what its registrar has for a day.
    expect((await register(["lab:things:read"])).body.code).toBe("grant_beyond_caller");
    expect((await register(["lab:things:write"])).body.code).toBe("grant_beyond_caller");
  });

  it("fits into a header with 50 grants of 5 limits each: it names them instead of containing them", SLOW, async () => {
    const agent = await self.agent();
    const where = (n: number) => ({
      "path.owner": `owner-${n}`,
      "path.repo": { in: [`repository-${n}`, `another-${n}`] },
    });
    const some = Array.from({ length: 8 }, (_, n) => ({ permission: "github:issues:write", where: where(n) }));
    await put(agent.id, some);
    const contained = (await verify(agent)).body.token.access_token;
    expect(claimsOf(contained).details).toHaveLength(8);
    const many = Array.from({ length: 50 }, (_, n) => ({ permission: "github:issues:write", where: where(n) }));
    const { grants } = (await put(agent.id, many)).body;
    const named = (await verify(agent, { scope: ["github:issues:write"] })).body.token.access_token;
    expect(contained.length).toBeLessThan(8192);
    expect(named.length).toBeLessThan(8192);
    expect(claimsOf(named)).toMatchObject({
      scope: "",
      details: [
        {
          type: "agentauth_grant_reference",
          ids: grants.map((one: { id: string }) => one.id),
          within: ["github:issues:write"],
        },
      ],
    });
  });
});

describe("narrowing at the same time as use", () => {
  const write = (token: string, repo: string) =>
    self.call(`/proxy/github/repos/octo/${repo}/issues`, { method: "POST", token, json: { title: "A title" } });

  it("holds for every token, whether it was issued before, meanwhile or after", SLOW, async () => {
    const agent = await self.agent(["github:issues:write"]);
    const narrowed = [{ permission: "github:issues:write", where: { "path.repo": "a" } }];
    const attempts = [
      verify(agent),
      refresh(agent.refreshToken),
      put(agent.id, narrowed),
      verify(agent),
      verify(agent),
    ];
    const answers = await Promise.all(attempts);
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
    const tokens = answers.flatMap(({ body }): string[] => body.token?.access_token ?? []);
    for (const token of [agent.token, ...tokens]) {
      expect((await write(token, "b")).body.code).toBe("constraint_violated");
      expect((await write(token, "a")).status).toBe(200);
    }
    // What is wider again needs a new token, if the token has the limits.
    const { access_token: limited } = (await verify(agent)).body.token;
    await put(agent.id, [{ permission: "github:issues:write" }]);
    expect((await write(agent.token, "b")).status).toBe(200);
    expect((await write(limited, "b")).body.code).toBe("constraint_violated");
  });

  it("is not undone by a token that names its grants: a grant with other limits has another id", SLOW, async () => {
    const agent = await self.agent();
    const where = (n: number) => ({ "path.owner": "octo", "path.repo": { in: [`repository-${n}`, `another-${n}`] } });
    const many = Array.from({ length: 50 }, (_, n) => ({ permission: "github:issues:write", where: where(n) }));
    await put(agent.id, many);
    const { access_token } = (await verify(agent)).body.token;
    expect(claimsOf(access_token).details).toMatchObject([{ type: "agentauth_grant_reference" }]);
    expect((await write(access_token, "another-7")).status).toBe(200);
    expect((await write(access_token, "another-50")).body.code).toBe("constraint_violated");
    await put(agent.id, [...many.slice(8), { permission: "github:issues:write", where: { "path.owner": "octo" } }]);
    expect((await write(access_token, "another-8")).status).toBe(200);
    // The new grant is wider, and the token does not have it.
    for (const repo of ["another-7", "anything"]) {
      expect((await write(access_token, repo)).body.code).toBe("constraint_violated");
    }
  });
});

describe("the job of ends", () => {
  const job = () => announceAndSweepGrants(self.env.DB, Date.now(), 500);
  const rowOf = (id: string) =>
    self.env.DB.prepare("SELECT grants, permissions, grants_due_at, updated_at FROM agents WHERE id = ?1")
      .bind(id)
      .first<{
        grants: string;
        permissions: string;
        grants_due_at: number | null;
        updated_at: number;
      }>();

  it("announces each end a day before, once, and takes what has ended out of the lists", SLOW, async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    vi.setSystemTime(1_900_000_000_000);
    const owner = await self.admin();
    const { id } = await self.agent();
    await self.env.DB.prepare(
      `INSERT INTO webhooks (id, agent_id, url, events, secret, created_at, updated_at)
       VALUES (?1, ?2, 'https://x.example', '["grant.expiring"]', '{"kid":"x"}', 0, 0)`,
    )
      .bind(`wh_${id}`, id)
      .run();
    const end = inMs(3 * DAY_MS);
    const { body } = await put(
      id,
      [
        { permission: "lab:things:read", expires_at: end },
        { permission: "lab:notes:read", expires_at: inMs(HOUR_MS) },
        { permission: "slack:messages:read" },
      ],
      {},
      owner.token,
    );
    const listed = async (permission: string) => {
      const { results } = await self.env.DB.prepare(
        "SELECT 1 FROM agent_permissions WHERE permission = ?1 AND agent_id = ?2",
      )
        .bind(permission, id)
        .all();
      return results.length;
    };
    await job();
    expect((await rowOf(id))!.grants_due_at).toBe(Date.now() + HOUR_MS);
    expect(await eventsOf(id, "grant.expiring")).toEqual([]);
    expect(await listed("lab:notes:read")).toBe(1);
    vi.setSystemTime(Date.now() + HOUR_MS);
    await job();
    expect(await listed("lab:notes:read")).toBe(0);
    expect((await rowOf(id))!.grants_due_at).toBe(Date.parse(end) - DAY_MS);
    vi.setSystemTime(Date.parse(end) - DAY_MS);
    // Two runs at once, and another later.
    await Promise.all([job(), job()]);
    await job();
    expect(await eventsOf(id, "grant.expiring")).toEqual([
      { agent_id: id, grant_id: body.grants[0].id, permission: "lab:things:read", expires_at: end },
    ]);
    vi.setSystemTime(Date.parse(end));
    await runScheduledJobs(self.env, loadConfig(self.env), Date.now());
    expect(await listed("lab:things:read")).toBe(0);
    expect(await listed("slack:messages:read")).toBe(1);
    vi.setSystemTime(Date.now() + 40 * DAY_MS);
    await job();
    const row = (await rowOf(id))!;
    expect(JSON.parse(row.grants).map((one: { permission: string }) => one.permission)).toEqual([
      "slack:messages:read",
    ]);
    expect(row.grants_due_at).toBeNull();
    expect(row.permissions).toBe('["slack:messages:read"]');
  });

  it("loses to a change of the grants at the same time", SLOW, async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    vi.setSystemTime(1_950_000_000_000);
    const owner = await self.admin();
    const { id } = await self.agent();
    await put(id, [{ permission: "lab:things:read", expires_at: inMs(HOUR_MS / 2) }], {}, owner.token);
    vi.setSystemTime(Date.now() + HOUR_MS / 2);
    const batch = self.env.DB.batch.bind(self.env.DB);
    const between = {
      prepare: (text: string) => self.env.DB.prepare(text),
      async batch(statements: D1PreparedStatement[]) {
        await put(id, [{ permission: "lab:notes:read" }], {}, owner.token);
        return batch(statements);
      },
    } as unknown as D1Database;
    await announceAndSweepGrants(between, Date.now(), 500);
    expect((await read(id, owner.token)).permissions).toEqual(["lab:notes:read"]);
  });
});
