import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "smol-toml";
import { describe, expect, it } from "vitest";
import { LIMIT_BINDINGS, TIER_LIMITS } from "../../src/access/agent-limit.ts";
import { ADDRESS_LIMIT, RATE_LIMIT_PERIOD_SECONDS, VERIFY_LIMIT } from "../../src/access/rate-limit.ts";
import { RATE_LIMITS } from "../../src/agents/agent.ts";

import { localIssuer, PORT } from "../../scripts/local.ts";
import { NEEDED_BINDINGS } from "../../src/config/bindings.ts";

const ROOT = join(import.meta.dirname, "../..");
const read = (name: string) => readFileSync(join(ROOT, name), "utf8");

/** What environments of wrangler.toml have from its top: https://developers.cloudflare.com/workers/wrangler/configuration/#inheritable-keys */
const INHERITED = [
  "name",
  "main",
  "compatibility_date",
  "compatibility_flags",
  "minify",
  "keep_names",
  "preview_urls",
  "limits",
  "build",
  "assets",
  "migrations",
  "triggers",
  "observability",
];

describe("what is written in two places", () => {
  it.each([
    ["schema.sql", "migrations"],
    ["audit.sql", "migrations-audit"],
  ])("is the same in %s and the migrations", (schema, folder) => {
    const migrations = readdirSync(join(ROOT, folder)).toSorted();
    expect(migrations.map((name) => read(`${folder}/${name}`)).join("")).toBe(read(schema));
  });

  it("is named in docs/storage.md: every table, index and queue", () => {
    const page = read("docs/storage.md");
    const schema = read("schema.sql") + read("audit.sql");
    const made = [...schema.matchAll(/^CREATE (?:UNIQUE )?(?:TABLE|INDEX) (\w+)/gm)]
      .map(([, name]) => name!)
      // A migration that rebuilds a table gives the new one the name of the old one.
      .filter((name) => !schema.includes(`ALTER TABLE ${name} RENAME TO`));
    const { queues } = parse(read("wrangler.toml")) as { queues: { consumers: { queue: string }[] } };
    const consumed = queues.consumers.map(({ queue }) => queue);
    expect(made.length).toBeGreaterThan(20);
    expect([...made, ...consumed].filter((name) => !page.includes(`\`${name}\``))).toEqual([]);
  });

  it("is one issuer in npm start and in .dev.vars, and localhost if that says none", () => {
    expect(localIssuer({ ISSUER: "" })).toBe(`http://localhost:${PORT}`);
    expect(localIssuer({})).toBe(`http://localhost:${PORT}`);
    expect(localIssuer({ ISSUER: "http://localhost:9000" })).toBe("http://localhost:9000");
    expect(read("scripts/start.ts")).toContain("`ISSUER:${issuer}`");
  });

  it("is the same in the bindings of wrangler.toml and in those that the Worker asks for", () => {
    const bound = [...read("wrangler.toml").matchAll(/^(?:binding|name) = "([A-Z_0-9]+)"/gm)].map(([, name]) => name!);
    expect(bound.length).toBeGreaterThan(5);
    const optional = new Set(["ASSETS", "METRICS"]);
    expect(NEEDED_BINDINGS.toSorted()).toEqual(bound.filter((name) => !optional.has(name)).toSorted());
  });

  it.each(["production", "staging"])("is the same at the top of wrangler.toml and in its environment %s", (name) => {
    const { env, ...top } = parse(read("wrangler.toml")) as Record<string, unknown> & {
      env: Record<string, Record<string, unknown>>;
    };
    const { [name]: own } = env;
    // What an environment inherits, and what is its own.
    for (const key of Object.keys(top).filter((key) => !(key in own!))) expect(INHERITED).toContain(key);
    const { name: worker, vars, placement, workers_dev, routes: _routes, ...bindings } = own!;
    expect([typeof worker, placement, typeof workers_dev]).toEqual(["string", { mode: "smart" }, "boolean"]);
    expect(Object.keys(vars as object).toSorted()).toEqual(expect.arrayContaining(["ISSUER", "REGISTRATION"]));
    // The names of its stores and queues begin with that of its Worker; its rate limits have numbers of their own.
    const renamed = JSON.stringify(bindings, (key, value: unknown) => (key === "id" ? undefined : value))
      .replaceAll(`"${String(worker)}`, '"agentauth')
      .replaceAll('"dataset":"agentauth_staging"', '"dataset":"agentauth"')
      .replace(/"namespace_id":"\d(\d{3})"/g, '"namespace_id":"1$1"');
    const expected = Object.fromEntries(Object.keys(bindings).map((key) => [key, top[key]]));
    expect(JSON.parse(renamed)).toEqual(JSON.parse(JSON.stringify(expected)));
  });

  it("has stores, queues and rate limits of its own in each environment", () => {
    const { env } = parse(read("wrangler.toml")) as { env: Record<string, object> };
    const [production, staging] = ["production", "staging"].map((name) =>
      [
        ...JSON.stringify(env[name]).matchAll(
          /"(?:name|database_name|bucket_name|queue|dataset|namespace_id)":"([^"]+)"/g,
        ),
      ]
        .map(([, value]) => value!)
        .filter((value) => !/^[A-Z_0-9]*[A-Z][A-Z_0-9]*$/.test(value)),
    );
    expect(production!.length).toBeGreaterThan(20);
    expect(production!.filter((value) => staging!.includes(value))).toEqual([]);
  });

  it("is the same in the rate limits of wrangler.toml and in the response to a refused caller", () => {
    const { ratelimits } = parse(read("wrangler.toml")) as {
      ratelimits: { name: string; namespace_id: string; simple: { limit: number; period: number } }[];
    };
    const limits = Object.fromEntries(ratelimits.map(({ name, simple }) => [name, simple]));
    const told = (limit: number) => ({ limit, period: RATE_LIMIT_PERIOD_SECONDS });
    expect(limits).toEqual({
      ...Object.fromEntries(RATE_LIMITS.map((limit) => [LIMIT_BINDINGS[limit], told(limit)])),
      RATE_ADDRESS: told(ADDRESS_LIMIT),
      RATE_VERIFY: told(VERIFY_LIMIT),
    });
    for (const limit of Object.values(TIER_LIMITS)) expect(RATE_LIMITS).toContain(limit);
    expect(new Set(ratelimits.map(({ namespace_id }) => namespace_id)).size).toBe(ratelimits.length);
  });
});
