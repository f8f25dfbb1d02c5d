import fc from "fast-check";
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
const object = fc.array(fc.tuple(fc.constantFrom(...FIELDS), value), { maxLength: 8 }).map((pairs) => {
  const text = pairs.map(([name, one]) => `${JSON.stringify(name)}:${JSON.stringify(one)}`).join(",");
  return `{${text}}`;
});
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
const query = fc
  .array(
    fc.tuple(
      fc.constantFrom(...FIELDS),
      fc.oneof(fc.webQueryParameters(), fc.constantFrom("", "-1", "NaN", "%00", "%ff")),
    ),
    {
      maxLength: 4,
    },
  )
  .map((pairs) => pairs.map(([name, one]) => `${name}=${one}`).join("&"));
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
const target: fc.Arbitrary<{ method: string; path: string }> = fc.oneof(
  fc.tuple(fc.constantFrom(...ROUTES), fc.constantFrom("own", "none", "odd")).map(([{ method, path }, id]) => {
    const ids: Record<string, string> = { own: agent.id, none: "agt_0", odd: "%00'%22--" };
    return { method: method as string, path: path.replace(/\{\w+\}/g, ids[id]!) };
  }),
  fc
    .tuple(
      fc.constantFrom<string>("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "PURGE"),
      fc.array(segment),
    )
    .map(([method, segments]) => ({ method, path: `/${segments.join("/")}` })),
);

describe("whatever is sent", () => {
  for (const { numRuns, options } of extents(400, 5000)) {
    it(`is answered in JSON and never by a 5xx: ${numRuns} requests`, options, () => sendAnything(numRuns));
  }

  /** One request for each kind of answer, sent before the random ones: that they reach all kinds is not left to chance. */
  const examples = () => {
    const json = { "content-type": "application/json" };
    const requests: [{ method: string; path: string }, string, string, Record<string, string>, "nobody" | "agent"][] = [
      [{ method: "GET", path: `/agents/${agent.id}` }, "", "", json, "agent"],
      [{ method: "POST", path: "/agents/register" }, "", "{", json, "nobody"],
      [{ method: "GET", path: `/agents/${agent.id}` }, "", "", json, "nobody"],
      [{ method: "GET", path: "/agents" }, "", "", json, "agent"],
      [{ method: "GET", path: "/nowhere" }, "", "", json, "nobody"],
      [{ method: "PUT", path: "/agents/register" }, "", "{}", json, "nobody"],
    ];
    return requests.map((request): [typeof request] => [request]);
  };

  async function sendAnything(numRuns: number): Promise<void> {
    const statuses = new Map<number, number>();
    const sent = fc.tuple(target, query, body, header, fc.constantFrom("nobody", "agent", "admin"));
    await fc.assert(
      fc.asyncProperty(sent, async ([{ method, path }, search, content, headers, who]) => {
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
