import fc from "fast-check";
import * as z from "zod/mini";
import { beforeAll, describe, expect, it } from "vitest";
import { ROUTES } from "../../src/app.ts";
import { extents } from "../support/extents.ts";
import { world, type Registered } from "../support/world.ts";

const unlimited = { limit: async () => ({ success: true }) };
const self = world({
  RATE_FREE: unlimited,
  RATE_PRO: unlimited,
  RATE_ENTERPRISE: unlimited,
  RATE_ADDRESS: unlimited,
  RATE_VERIFY: unlimited,
});
let agent: Registered;
let admin: Registered;
beforeAll(async () => {
  [agent, admin] = [await self.agent(), await self.admin()];
});

/** Names that some route reads, so that odd values reach what looks at them. */
const FIELDS = [
  "name",
  "owner_email",
  "permissions",
  "description",
  "agent_id",
  "api_key",
  "refresh_token",
  "status",
  "tier",
  "overlap_seconds",
  "url",
  "events",
  "is_active",
  "all_agents",
  "service",
  "method",
  "path",
  "headers",
  "limit",
  "offset",
  "q",
  "cursor",
  "before",
  "__proto__",
  "constructor",
];
const value = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.constantFrom(
    "\u0000",
    "\ud800",
    "a".repeat(5000),
    "1e999",
    -1,
    2 ** 53,
    1.5,
    "*:*:*",
    "🔑",
    "' OR 1=1 --",
    "%",
    "_%",
  ),
  fc.array(fc.constantFrom("github:issues:read", "agent.revoked", "", "*", null), { maxLength: 60 }),
);
/** An object's fields, which become the route's own if it has any, so that they reach what looks at their values. */
const object = fc.record({ fields: fc.array(fc.tuple(fc.constantFrom(...FIELDS), value), { maxLength: 8 }) });
const body = fc.oneof(
  { weight: 4, arbitrary: object },
  { weight: 1, arbitrary: fc.json() },
  { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 200 }) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }) },
);
const segment = fc.oneof(
  fc.constantFrom("agents", "webhooks", "proxy", "lab", "things", "..", ".", "%2e%2e", "%2f", "%00", "%", "%ff", ""),
  fc.webSegment(),
);
const query = fc.array(
  fc.tuple(
    fc.constantFrom(...FIELDS),
    fc.oneof(fc.webQueryParameters(), fc.constantFrom("", "-1", "NaN", "%00", "%ff")),
  ),
  { maxLength: 4 },
);
const header = fc.constantFrom<Record<string, string>>(
  { "content-type": "application/json" },
  { "content-type": "application/json; charset=utf-16" },
  { "content-type": "application/vnd.api+json" },
  { "content-type": "text/plain" },
  { "content-encoding": "gzip", "content-type": "application/json" },
  { "x-http-method-override": "DELETE", "content-type": "application/json" },
  { authorization: "Bearer" },
  { authorization: "Negotiate x" },
);
interface Target {
  readonly method: string;
  readonly path: string;
  /** The names that the route knows. */
  readonly fields: readonly string[];
  readonly parameters: readonly string[];
}

const target: fc.Arbitrary<Target> = fc.oneof(
  fc.tuple(fc.constantFrom(...ROUTES), fc.constantFrom("own", "none", "odd")).map(([route, id]) => {
    const ids: Record<string, string> = { own: agent.id, none: "agt_0", odd: "%00'%22--" };
    const { method, path, body, query } = route;
    const own = path.replace(/\{\w+\}/g, ids[id]!);
    return { method: method as string, path: own, fields: namesOf(body?.()), parameters: namesOf(query?.()) };
  }),
  fc
    .tuple(
      fc.constantFrom<string>("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "PURGE"),
      fc.array(segment),
    )
    .map(([method, segments]) => ({ method, path: `/${segments.join("/")}`, fields: [], parameters: [] })),
);
const namesOf = (schema: z.ZodMiniType | undefined): readonly string[] => {
  const { properties = {} } = schema ? z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) : {};
  return Object.keys(properties);
};

/** Of three names, two become names that the route knows. */
function renamed<T>(pairs: readonly (readonly [string, T])[], known: readonly string[]): [string, T][] {
  return pairs.map(([name, one], index) => {
    const place = FIELDS.indexOf(name) + index;
    return [known.length > 0 && place % 3 > 0 ? known[place % known.length]! : name, one];
  });
}

type Fields = typeof object extends fc.Arbitrary<infer Value> ? Value : never;

/** The fields as JSON, in which a name may stand twice. */
const textOf = ({ fields }: Fields, known: readonly string[]): string =>
  `{${renamed(fields, known)
    .map(([name, one]) => `${JSON.stringify(name)}:${JSON.stringify(one)}`)
    .join(",")}}`;

describe("whatever is sent", () => {
  for (const { numRuns, options } of extents(40, 5000)) {
    it(`is answered in JSON and never by a 5xx: ${numRuns} requests`, options, () => sendAnything(numRuns));
  }

  /** One request for each kind of answer, sent before the random ones: that they reach all kinds is not left to chance. */
  const examples = () => {
    const json = { "content-type": "application/json" };
    const requests: [method: string, path: string, body: string, who: "nobody" | "agent"][] = [
      ["GET", `/agents/${agent.id}`, "", "agent"],
      ["POST", "/agents/register", "{", "nobody"],
      ["GET", `/agents/${agent.id}`, "", "nobody"],
      ["GET", "/agents", "", "agent"],
      ["GET", "/nowhere", "", "nobody"],
      ["PUT", "/agents/register", "{}", "nobody"],
    ];
    type Sent = [Target, [string, string][], string, Record<string, string>, "nobody" | "agent"];
    return requests.map(([method, path, content, who]): [Sent] => [
      [{ method, path, fields: [], parameters: [] }, [], content, json, who],
    ]);
  };

  async function sendAnything(numRuns: number): Promise<void> {
    const statuses = new Map<number, number>();
    const sent = fc.tuple(target, query, body, header, fc.constantFrom("nobody", "agent", "admin"));
    await fc.assert(
      fc.asyncProperty(sent, async ([{ method, path, ...known }, parameters, given, headers, who]) => {
        const search = renamed(parameters, known.parameters)
          .map(([name, one]) => `${name}=${one}`)
          .join("&");
        const content = Object.hasOwn(Object(given) as object, "fields")
          ? textOf(given as Fields, known.fields)
          : given;
        // An administrator that deletes or revokes at random would end the test's own agents.
        const token = who === "agent" ? agent.token : who === "admin" ? admin.token : undefined;
        const ending = /revoke|rotate-key|status|permissions$/.test(path) || method === "DELETE";
        const hasBody = method !== "GET" && method !== "HEAD";
        const answer = await self.fetch(`${path}?${search}`, {
          method,
          headers,
          ...(token !== undefined && !ending && { token }),
          ...(hasBody && { body: content as BodyInit }),
        });
        const text = await answer.text();
        statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
        if (answer.headers.has("x-agentauth-upstream")) return;
        expect(answer.status).toBeLessThan(500);
        expect(answer.status).not.toBe(204);
        if (method === "HEAD") return;
        // An export is lines of JSON, or CSV; metrics are lines of OpenMetrics.
        if ((path === "/audit/export" || path === "/metrics") && answer.status === 200) return;
        expect(answer.headers.get("content-type")).toMatch(/^application\/json\b/);
        const answered = JSON.parse(text) as Record<string, unknown>;
        expect(answered).toBeTypeOf("object");
        if (answer.status >= 400) expect(answered.error).toEqual(expect.any(String));
      }),
      { numRuns, examples: examples() },
    );
    expect([...statuses.keys()]).toEqual(expect.arrayContaining([200, 400, 401, 403, 404, 405]));
  }
});
