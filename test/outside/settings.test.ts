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
    const queues = [...read("wrangler.toml").matchAll(/^queue = "([^"]+)"/gm)].map(([, name]) => name!);
    expect(made.length).toBeGreaterThan(20);
    expect([...made, ...queues].filter((name) => !page.includes(`\`${name}\``))).toEqual([]);
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
    expect(NEEDED_BINDINGS.toSorted()).toEqual(bound.filter((name) => name !== "ASSETS").toSorted());
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
