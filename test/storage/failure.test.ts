import { env } from "cloudflare:workers";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import type { Route } from "../../src/access/route.ts";
import { ROUTES } from "../../src/app.ts";
import { NEEDED_BINDINGS } from "../../src/config/bindings.ts";
import { databaseFailure } from "../../src/storage/failure.ts";
import { migrationOf, NEEDED } from "../../src/storage/migrations.ts";
import { failing, held } from "../support/bindings.ts";
import { countOperations } from "../support/count-operations.ts";
import { SLOW } from "../support/extents.ts";
import { testEnv, world, type Registered } from "../support/world.ts";

const PASSING = [
  "D1_ERROR: Network connection lost.",
  "D1_ERROR: D1 DB is overloaded. Requests queued for too long.",
  "D1_ERROR: D1 DB is overloaded. Too many requests queued.",
  "D1_ERROR: D1 DB storage operation exceeded timeout which caused object to be reset.",
  "D1_ERROR: D1 DB reset because its code was updated.",
  "D1_ERROR: Internal error in D1 DB storage caused object to be reset.",
  "D1_ERROR: Internal error while starting up D1 DB storage caused object to be reset.",
  "D1_ERROR: Cannot resolve D1 DB due to transient issue on remote node.",
  "D1_ERROR: D1 DB exceeded its CPU time limit and was reset.",
  "D1_ERROR: database is locked: SQLITE_BUSY",
  "D1_ERROR: disk I/O error: SQLITE_IOERR",
  "Network connection lost.",
  "internal error; reference = 7e6b1d0c",
];
const FULL = ["D1_ERROR: database or disk is full: SQLITE_FULL", "D1_ERROR: Exceeded maximum DB size"];
const OURS = [
  'D1_ERROR: near "SELCT": syntax error at offset 0: SQLITE_ERROR',
  "D1_ERROR: UNIQUE constraint failed: agents.id: SQLITE_CONSTRAINT",
  "D1_ERROR: malformed JSON: SQLITE_ERROR",
  "D1_ERROR: too many SQL variables: SQLITE_ERROR",
  "D1_ERROR: Wrong number of parameter bindings for SQL query.",
  "D1_TYPE_ERROR: Type 'undefined' not supported for value 'undefined'",
  "Cannot read properties of undefined (reading 'id')",
];

const kindOf = (message: string) => databaseFailure(new Error(message))?.kind;

let agent: Registered;
let admin: Registered;
beforeAll(async () => {
  [agent, admin] = [await world().agent(), await world().admin()];
});

describe("a failure of the database", () => {
  it.each(PASSING)("%s may pass", (message) => expect(kindOf(message)).toBe("unavailable"));
  it.each(FULL)("%s says that there is no room", (message) => expect(kindOf(message)).toBe("full"));
  it.each(OURS)("%s is a bug, or not the database's", (message) => expect(kindOf(message)).toBeUndefined());
  it("may be told by its properties only", () => {
    expect(databaseFailure(Object.assign(new Error("x"), { retryable: true }))).toEqual({ kind: "unavailable" });
    expect(databaseFailure(Object.assign(new Error("x"), { overloaded: true }))).toEqual({ kind: "unavailable" });
    expect(databaseFailure("D1_ERROR: x")).toBeUndefined();
  });
});

describe("every endpoint that asks the database", () => {
  const bodies: Record<string, object> = {
    "POST /agents/register": { name: "An agent", owner_email: "owner@example.com" },
    "POST /agents/refresh": { refresh_token: "" },
    "POST /agents/verify": {},
    "POST /people/bootstrap": { email: "first@example.com" },
    "PUT /agents/{id}/tier": { tier: "pro" },
    "PUT /agents/{id}/status": { status: "suspended" },
    "PUT /agents/{id}/permissions": { permissions: ["lab:notes:read"] },
    "POST /webhooks": { url: "https://hooks.example.com/", events: ["agent.verified"] },
  };
  const OFFLINE = new Set(["GET /webhooks/events", "GET /permissions/list"]);
  // OAuth's endpoints have errors of their own: test/oauth has them. People sign in with what these tests do not make.
  const asking = ROUTES.filter(
    ({ method, path }) =>
      !OFFLINE.has(`${method} ${path}`) && !/^\/(?:oauth|\.well-known|sign-in|sign-out)\b/.test(path),
  );
  const OF_PEOPLE: readonly Route["auth"][] = ["person", "oneself", "enrolling", "administrator"];
  const AS_PERSON = { cookie: "__Host-agentauth=ps_x", origin: "https://auth.example.com", "x-agentauth-console": "1" };

  async function answersWith(message: string): Promise<unknown[]> {
    const self = world({ DB: failing(testEnv().DB, message) });
    const answers: unknown[] = [];
    for (const { method, path, auth } of asking) {
      const name = `${method} ${path}`;
      const json = {
        ...bodies[name],
        ...(name === "POST /agents/refresh" && { refresh_token: agent.refreshToken }),
        ...(name === "POST /agents/verify" && { agent_id: agent.id, api_key: agent.apiKey }),
      };
      const isPersons = OF_PEOPLE.includes(auth);
      const tokens = { none: undefined, registration: undefined, bootstrap: self.env.ADMIN_BOOTSTRAP_TOKEN };
      const token = isPersons ? undefined : auth in tokens ? tokens[auth as keyof typeof tokens] : admin.token;
      const answer = await self.call(path.replace("{id}", agent.id).replace(/\{\w+\}/g, "x"), {
        method,
        ...(token && { token }),
        ...(isPersons && { headers: AS_PERSON }),
        ...(method !== "GET" && { json }),
      });
      answers.push([name, answer.status, answer.headers.get("retry-after"), answer.body.code ?? answer.body.status]);
    }
    return answers;
  }

  const expected = (code: string, status: number, retryAfter: string | null) =>
    asking.map(({ method, path, auth }) => {
      const name = `${method} ${path}`;
      if (path === "/health") return [name, 503, "5", "unhealthy"];
      const isClosed = !["none", "registration", "bootstrap", ...OF_PEOPLE].includes(auth);
      return [
        name,
        status,
        retryAfter,
        isClosed && code === "database_unavailable" && status === 503 ? "standing_unknown" : code,
      ];
    });

  it("says that it is temporary, and when to try again", async () => {
    expect(await answersWith("D1_ERROR: D1 DB is overloaded. Requests queued for too long.")).toEqual(
      expected("database_unavailable", 503, "1"),
    );
  });

  it("names the migration that is missing, and the command", SLOW, async () => {
    expect(await answersWith("D1_ERROR: no such table: agents: SQLITE_ERROR")).toEqual(
      expected("misconfigured", 503, "30"),
    );
  });

  it("does not call its own bug temporary", SLOW, async () => {
    expect(await answersWith('D1_ERROR: near "SELCT": syntax error: SQLITE_ERROR')).toEqual(
      expected("internal_error", 500, null),
    );
  });

  it("says so if there is no room", async () => {
    const self = world({ DB: failing(testEnv().DB, FULL[0]) });
    const { status, body, headers } = await self.call("/agents/register", {
      method: "POST",
      json: bodies["POST /agents/register"],
    });
    expect([status, body.code, headers.get("retry-after")]).toEqual([503, "database_unavailable", "30"]);
    expect(body.message).toContain("no room");
  });
});

describe("a schema that is not complete", () => {
  const rename = (from: string, to: string) => env.DB.prepare(`ALTER TABLE ${from} RENAME TO ${to}`).run();
  afterEach(async () => {
    await rename("hidden_webhooks", "webhooks").catch(() => undefined);
  });

  it("is told with the table, the migration and the command, and is unhealthy", async () => {
    await rename("webhooks", "hidden_webhooks");
    const self = world();
    const told = vi.spyOn(console, "error").mockImplementation(() => undefined);
    const { status, body } = await self.call("/webhooks", { token: agent.token });
    expect([status, body.code]).toEqual([503, "misconfigured"]);
    expect(body.message).toContain("The database has no webhooks, which migrations/0001_initial.sql adds.");
    expect(body.details[0].message).toContain("wrangler d1 migrations apply DB --remote");
    const health = await self.call("/health");
    expect([health.status, health.body.status, health.body.database]).toEqual([503, "unhealthy", "disconnected"]);
    expect(told.mock.calls.join()).toContain("migrations/0001_initial.sql");
    told.mockRestore();
  });

  it("names columns by the migration that adds them, under whatever alias", () => {
    expect(migrationOf("agents.token_version")).toBe("0004_sessions.sql");
    expect(migrationOf("a.token_version")).toBe("0004_sessions.sql");
    expect(migrationOf("token_version")).toBe("0004_sessions.sql");
    expect(migrationOf("nothing")).toBeUndefined();
    const missing = (message: string) => databaseFailure(new Error(message));
    expect(missing("D1_ERROR: table webhooks has no column named host: SQLITE_ERROR")).toEqual({
      kind: "not_migrated",
      missing: "webhooks.host",
    });
    expect(missing("D1_ERROR: no such column: a.token_version at offset 7: SQLITE_ERROR")).toEqual({
      kind: "not_migrated",
      missing: "a.token_version",
    });
  });

  it("is known by a list of what the migrations add, each with its own", async () => {
    const files = new Map(env.TEST_MIGRATIONS.map(({ name, queries }) => [name, queries.join("\n")]));
    const { results } = await env.DB.prepare(
      "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT GLOB '_cf_*' AND name <> 'd1_migrations'",
    ).all<{ name: string }>();
    expect(NEEDED.filter((one) => !one.includes(".")).toSorted()).toEqual(results.map(({ name }) => name).toSorted());
    const added = [...files.values()].join("\n").matchAll(/ALTER TABLE (\w+) ADD COLUMN (\w+)/g);
    const columns = Array.from(added, ([, table, column]) => `${table}.${column}`);
    // The third migration's column of `api_keys` went with the table that the fourth one made anew.
    expect(columns.filter((one) => !NEEDED.includes(one))).toEqual(["api_keys.change_id"]);
    for (const one of NEEDED) {
      const [table, column] = one.split(".");
      const text = files.get(migrationOf(one)!)!;
      const pattern = column ? `ALTER TABLE ${table} ADD COLUMN ${column}\\b` : `(CREATE TABLE|RENAME TO) ${table}\\b`;
      expect([one, new RegExp(pattern).test(text)]).toEqual([one, true]);
    }
  });
});

describe("a binding that is missing", () => {
  it.each(NEEDED_BINDINGS)("%s is told by name, with what to do", async (name) => {
    const { status, body, headers } = await world({ [name]: undefined }).call("/agents/register", { method: "POST" });
    expect([status, body.code, headers.get("retry-after")]).toEqual([503, "misconfigured", "30"]);
    expect(body.details).toEqual([
      { message: expect.stringMatching(new RegExp(`^The binding ${name} is missing\\..*wrangler`)) },
    ]);
    expect((await world({ [name]: undefined }).call("/health")).status).toBe(503);
  });
});

describe("/health", () => {
  afterEach(() => void vi.useRealTimers());

  it("reads the database every five seconds at the most, whether it is healthy or not", SLOW, async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const counter = countOperations();
    const self = world(counter.overrides);
    const ask = () => self.call("/health");
    const { awaited, statements } = await counter.run(ask);
    expect([awaited.d1, statements.length]).toEqual([1, 1]);
    expect((await counter.run(() => Promise.all(Array.from({ length: 100 }, ask)))).awaited.d1).toBe(0);
    vi.setSystemTime(Date.now() + 5000);
    expect((await counter.run(ask)).awaited.d1).toBe(1);

    let asked = 0;
    const real = testEnv().DB;
    const DB = {
      prepare: (sql: string) => {
        asked++;
        return failing(real.prepare(sql));
      },
      batch: real.batch.bind(real),
    };
    const broken = world({ DB });
    for (let n = 0; n < 20; n++) expect((await broken.call("/health")).body.status).toBe("unhealthy");
    expect(asked).toBe(1);
  });

  it("begins one check at a time, however many ask, and a slow database is no reason for more", SLOW, async () => {
    const { binding, release } = held(testEnv().DB);
    let asked = 0;
    const DB = { prepare: (sql: string) => (asked++, binding.prepare(sql)), batch: binding.batch };
    const self = world({ DB });
    const answers = Array.from({ length: 50 }, () => self.call("/health"));
    await scheduler.wait(60);
    release();
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual(Array<number>(50).fill(200));
    expect(asked).toBe(1);
  });
});
