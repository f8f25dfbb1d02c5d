import * as z from "zod/mini";
import { beforeAll, describe, expect, it } from "vitest";
import type { Route } from "../../src/access/route.ts";
import { ROUTES } from "../../src/app.ts";
import { nearestName } from "../../src/validation/nearest-name.ts";
import { unknownKeys } from "../../src/validation/unknown-keys.ts";
import { OF_PEOPLE } from "../security/route-walk.ts";
import { firstAdministrator, type SignedInPerson } from "../support/people.ts";
import { world, type Registered } from "../support/world.ts";
import { SLOW } from "../support/extents.ts";

const self = world({ RATE_FREE: { limit: async () => ({ success: true }) } });
let agent: Registered;
let admin: Registered;
let person: SignedInPerson;
beforeAll(async () => {
  [agent, admin] = [await self.agent(), await self.admin()];
  person = await firstAdministrator(self);
});

const byAdmin = (method: string, path: string, json?: unknown) => self.call(path, { method, token: admin.token, json });
/** By who may call the route. */
const byCaller = ({ method, auth }: Route, path: string, json?: unknown) =>
  OF_PEOPLE.has(auth)
    ? person.call(path.replace(agent.id, person.id), { method, json })
    : self.call(path, { method, token: auth === "bootstrap" ? self.env.ADMIN_BOOTSTRAP_TOKEN : admin.token, json });

describe("every route", () => {
  const pathOf = (path: string) => path.replace("{id}", agent.id).replace(/\{\w+\}/g, "dlv_0");
  const documents = ROUTES.filter(({ ignoresInput }) => ignoresInput);
  // Signing in follows WebAuthn, whose members browsers add to.
  const strict = ROUTES.filter(({ ignoresInput, form, path }) => !ignoresInput && !form && !path.startsWith("/sign-"));

  it("takes no parameter that it does not declare", SLOW, async () => {
    for (const route of strict) {
      const { method, path, query } = route;
      const { status, body } = await byCaller(route, `${pathOf(path)}?zzzz=1`, method === "GET" ? undefined : {});
      const known = Object.keys((query?.() as z.ZodMiniObject | undefined)?._zod.def.shape ?? {});
      expect([method, path, status, body.code]).toEqual([method, path, 400, "unknown_parameter"]);
      expect(body.details[0].field).toBe("zzzz");
      for (const name of known) expect(body.message).toContain(name);
    }
  });

  it("takes no field that it does not declare, in a body or in place of none", async () => {
    for (const route of strict.filter((one) => one.method !== "GET")) {
      const { method, path } = route;
      const { status, body } = await byCaller(route, pathOf(path), { zzzz: { zzzz: 1 } });
      expect([method, path, status, body.code]).toEqual([method, path, 400, "unknown_field"]);
      expect(body.details).toEqual([
        { field: "zzzz", message: expect.stringContaining("is not a field of this request") },
      ]);
    }
  });

  it("is strict but for published documents, OAuth's endpoints and answers of a provider, whose standards say ignore", async () => {
    expect(documents.map(({ path }) => path)).toEqual([
      "/.well-known/jwks.json",
      "/.well-known/oauth-authorization-server",
      "/.well-known/oauth-protected-resource",
      "/.well-known/oauth-protected-resource/proxy/{service}",
      "/.well-known/oauth-protected-resource/mcp",
      "/oauth/authorize",
      "/sign-in/oidc",
      "/sign-in/oidc/callback",
    ]);
    const answer = await self.call("/.well-known/jwks.json?v=2&v=3");
    expect([answer.status, Object.keys(answer.body)]).toEqual([200, ["keys"]]);
  });
});

describe("a name that is almost one", () => {
  it.each([
    ["PUT", "/agents/{id}/tier", { teir: "pro" }, "teir is not a field of this request. Did you mean tier?"],
    ["POST", "/agents/{id}/rotate-key", { overlap: 0 }, "Did you mean overlap_seconds?"],
    ["POST", "/agents/register", { nmae: "An agent" }, "Did you mean name?"],
    ["POST", "/agents/verify", { agentId: "agt_x", api_key: "ak_x" }, "Did you mean agent_id?"],
    ["POST", "/webhooks", { url: "https://a.example", events: [], isActive: true }, "isActive is not a field"],
  ])("%s %s %j is told the right one, before what else is wrong", async (method, path, json, told) => {
    const { status, body } = await byAdmin(method, path.replace("{id}", agent.id), json);
    expect([status, body.code]).toEqual([400, "unknown_field"]);
    expect(body.message).toContain(told);
    expect(body.error).toBe(body.message);
  });

  it.each([
    ["/agents?agentid=x", "agentid is not a parameter of this request."],
    ["/activity?agentid=x", "Did you mean agent_id?"],
    ["/agents?Limit=5", "Did you mean limit?"],
    ["/agents?limit[]=5", "Did you mean limit?"],
    ["/agents?__proto__=x", "__proto__ is not a parameter"],
    ["/agents?=x", '"" is not a parameter of this request.'],
  ])("%s is told the right one", async (path, told) => {
    const { status, body } = await byAdmin("GET", path);
    expect([status, body.code]).toEqual([400, "unknown_parameter"]);
    expect(body.message).toContain(told);
  });

  it("changes nothing: a rotation with a misspelt overlap keeps the key", async () => {
    const { id, token, apiKey } = await self.agent();
    for (const json of [{ overlap: 0 }, { overlap_seconds: 0, overlap: 0 }, { __proto__x: 1 }]) {
      expect((await self.call(`/agents/${id}/rotate-key`, { method: "POST", token, json })).status).toBe(400);
    }
    const body = '{"overlap_seconds":60,"__proto__":{"overlap_seconds":0}}';
    const headers = { "content-type": "application/json" };
    const refused = await self.call(`/agents/${id}/rotate-key`, { method: "POST", token, body, headers });
    expect([refused.status, refused.body.code]).toEqual([400, "unknown_field"]);
    const row = await self.env.DB.prepare("SELECT COUNT(*) AS n FROM api_keys WHERE agent_id = ?1").bind(id).first();
    expect(row).toEqual({ n: 1 });
    const json = { agent_id: id, api_key: apiKey };
    expect((await self.call("/agents/verify", { method: "POST", json })).status).toBe(200);
  });
});

describe("what comes with a request that takes nothing", () => {
  const send = (body: string, type = "application/json") =>
    self.call("/agents/revoke-tokens", { method: "POST", token: agent.token, body, headers: { "content-type": type } });

  it("is refused unless it is nothing", async () => {
    const codes = async (body: string, type?: string) => (await send(body, type)).body.code as string;
    expect(await codes('{"all":true}')).toBe("unknown_field");
    expect(await codes("[]")).toBe("validation_error");
    expect(await codes("{")).toBe("malformed_json");
    expect(await codes("all=true", "application/x-www-form-urlencoded")).toBe("unsupported_media_type");
  });

  it("may be an object without fields, or null, as some clients send", SLOW, async () => {
    for (const body of ["", "{}", "null"]) {
      const { id, token } = await self.agent();
      const headers = { "content-type": "application/json" };
      expect((await self.call(`/agents/${id}/revoke`, { method: "POST", token, body, headers })).status).toBe(200);
    }
  });
});

describe("a parameter that is given twice", () => {
  it.each(["limit=5&limit=6", "limit=5&limit=5", "status=active&limit=5&status=suspended"])(
    "%s is refused",
    async (query) => {
      const { status, body } = await byAdmin("GET", `/agents?${query}`);
      expect([status, body.code]).toEqual([400, "validation_error"]);
      expect(body.details).toEqual([{ field: query.split("=")[0], message: "is given more than once" }]);
    },
  );
});

describe("the names that a schema knows", () => {
  const schema = z._default(
    z.object({
      name: z.string(),
      list: z.optional(z.array(z.object({ a: z.number() }))),
      either: z.optional(z.union([z.string(), z.object({ b: z.number() }), z.object({ c: z.number() })])),
      any: z.optional(z.record(z.string(), z.object({ d: z.number() }))),
      free: z.optional(z.looseObject({ e: z.number() })),
      piped: z.nullish(
        z.pipe(
          z.object({ f: z.number() }),
          z.transform((value) => value),
        ),
      ),
    }),
    { name: "x" },
  );
  const pathsOf = (value: unknown) => unknownKeys(schema, value).map(({ path }) => path.join("."));

  it("are found in lists, records, alternatives and pipes", () => {
    expect(pathsOf({ name: 1, list: [{ a: 1 }, { x: 1 }], either: { b: 1, c: 1 }, any: { z: { d: 1 } } })).toEqual([
      "list.1.x",
    ]);
    expect(pathsOf({ either: { d: 1 }, any: { z: { x: 1 } }, free: { x: 1 }, piped: { x: 1 } })).toEqual([
      "either.d",
      "any.z.x",
      "piped.x",
    ]);
    for (const odd of [null, undefined, 1, "x", [], [{ x: 1 }], { either: "x", list: "x", piped: null }]) {
      expect(pathsOf(odd)).toEqual([]);
    }
  });

  it("are told of up to a bound, and shown cut", async () => {
    const many = Object.fromEntries(Array.from({ length: 500 }, (_, n) => [`field_number_${n}`, n]));
    const { body } = await byAdmin("PUT", `/agents/${agent.id}/tier`, { ...many, ["x".repeat(9000)]: 1 });
    expect(body.details).toHaveLength(20);
    const long = await byAdmin("PUT", `/agents/${agent.id}/tier`, { ["x".repeat(9000)]: 1 });
    expect(long.body.details[0].field).toBe(`${"x".repeat(40)}…`);
  });

  it("are like a misspelt one, or like its beginning", () => {
    const names = ["limit", "offset", "overlap_seconds", "agent_id"];
    expect(
      ["limt", "overlap", "agent_ids", "overlap_seconds_long", "x", "off", "seconds"].map((one) =>
        nearestName(one, names),
      ),
    ).toEqual(["limit", "overlap_seconds", "agent_id", "overlap_seconds", undefined, undefined, undefined]);
  });
});
