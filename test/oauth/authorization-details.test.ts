import { decodeJwt } from "jose";
import { beforeAll, expect, it, describe } from "vitest";
import { world, type Registered } from "../support/world.ts";
import { secretOf, token } from "./clients.ts";
import { SLOW } from "../support/extents.ts";

const self = world({ STANDING_TTL_SECONDS: "0", RATE_FREE: { limit: async () => ({ success: true }) } });
const type = "agentauth_grant";
const [HELLO, ANY] = [{ "path.owner": "octo", "path.repo": "hello" }, { "path.owner": "octo" }];
const HOUR_MS = 3_600_000;
const inMs = (ms: number) => new Date(Date.now() + ms).toISOString();
const end = inMs(2 * HOUR_MS);
let admin: Registered;
let agent: Registered;
beforeAll(async () => {
  admin = await self.admin();
  agent = await self.agent(["lab:things:read"]);
  await put(agent, [
    { permission: "github:issues:write", where: ANY },
    { permission: "github:issues:read" },
    { permission: "github:repos:read", where: ANY, expires_at: end },
    { permission: "lab:things:read" },
    { permission: "lab:notes:*" },
  ]);
});

const put = (who: Registered, grants: object[]) =>
  self.call(`/agents/${who.id}/grants`, { method: "PUT", token: admin.token, json: { grants } });
const ask = (details: unknown, more: Record<string, string> = {}, who = agent) =>
  token(self, {
    grant_type: "client_credentials",
    ...secretOf(who),
    authorization_details: typeof details === "string" ? details : JSON.stringify(details),
    ...more,
  });
const write = (access: string, repo: string) =>
  self.call(`/proxy/github/repos/octo/${repo}/issues`, { method: "POST", token: access, json: { title: "x" } });
const EQ_HELLO = { "path.owner": { eq: "octo" }, "path.repo": { eq: "hello" } };

describe("authorization_details of a request for a token", () => {
  it("narrows a limited grant, and is in the answer, in the token and in force", async () => {
    const { status, body } = await ask([{ type, permission: "github:issues:write", where: HELLO }]);
    const details = [{ type, permission: "github:issues:write", where: EQ_HELLO }];
    expect([status, body.scope, body.authorization_details]).toEqual([200, "", details]);
    expect(decodeJwt(body.access_token)).toMatchObject({ scope: "", authorization_details: details });
    expect((await write(body.access_token, "hello")).status).toBe(200);
    expect((await write(body.access_token, "other")).body.code).toBe("constraint_violated");
    // Nothing else is in the token.
    expect((await self.call("/proxy/lab/things/1", { token: body.access_token })).status).toBe(403);
    const answer = await self.call("/oauth/introspect", {
      method: "POST",
      token: admin.token,
      body: new URLSearchParams({ token: body.access_token }),
    });
    expect(answer.body).toMatchObject({ active: true, scope: "", authorization_details: details });
  });

  it("limits what the agent has without limits, and stands beside scope", async () => {
    const limited = { type, permission: "github:issues:read", where: HELLO };
    const { body } = await ask([limited], { scope: "lab:things:read" });
    expect(body).toMatchObject({ scope: "lab:things:read", authorization_details: [{ ...limited, where: EQ_HELLO }] });
    const whole = await ask([{ type, permission: "lab:things:read" }]);
    expect([whole.body.scope, whole.body.authorization_details]).toEqual(["lab:things:read", undefined]);
    const wildcard = await ask([{ type, permission: "lab:notes:*", expires_at: end }]);
    expect(wildcard.body.authorization_details).toEqual([
      { type, permission: "lab:notes:read", expires_at: end },
      { type, permission: "lab:notes:write", expires_at: end },
    ]);
  });

  it("ends with the grant, or earlier, and the token with it", async () => {
    const permission = "github:repos:read";
    const without = await ask([{ type, permission, where: HELLO }]);
    expect(without.body.authorization_details).toEqual([{ type, permission, where: EQ_HELLO, expires_at: end }]);
    const early = inMs(HOUR_MS / 2);
    const { body } = await ask([{ type, permission, where: HELLO, expires_at: early }]);
    expect(body.authorization_details[0].expires_at).toBe(early);
    expect(body.expires_in).toBeLessThanOrEqual(1800);
    for (const expires_at of [inMs(3 * HOUR_MS), inMs(200_000), inMs(-1000)]) {
      const refused = await ask([{ type, permission, where: HELLO, expires_at }]);
      expect([refused.status, refused.body.error]).toEqual([400, "invalid_authorization_details"]);
    }
  });

  it("is never wider than what the agent has when the token is used", SLOW, async () => {
    const one = await self.agent();
    await put(one, [{ permission: "github:issues:write" }]);
    const { body } = await ask([{ type, permission: "github:issues:write", where: ANY }], {}, one);
    expect((await write(body.access_token, "hello")).status).toBe(200);
    await put(one, [{ permission: "github:issues:write", where: { "path.owner": "octo", "path.repo": "other" } }]);
    expect((await write(body.access_token, "hello")).body.code).toBe("constraint_violated");
    expect((await write(body.access_token, "other")).status).toBe(200);
  });

  const permission = "github:issues:write";
  it.each<[string, unknown, RegExp]>([
    ["a detail without the limits of its grant", [{ type, permission }], /no grant of github:issues:write/],
    ["other limits", [{ type, permission, where: { "path.repo": "hello" } }], /no grant/],
    ["another value", [{ type, permission, where: { "path.owner": "evil" } }], /no grant/],
    ["a permission that the agent does not have", [{ type, permission: "lab:things:write" }], /no grant/],
    ["everything", [{ type, permission: "*:*:*" }], /no grant/],
    ["a service", [{ type, permission: "github:*:*" }], /no grant/],
    [
      "one good and one that is not",
      [
        { type, permission, where: HELLO },
        { type, permission },
      ],
      /no grant/,
    ],
    ["an unknown field", [{ type, permission, where: { "path.nope": "x" } }], /\[0\]\.where/],
    ["no permission", [{ type, where: HELLO }], /permission is missing/],
    ["a permission that is no text", [{ type, permission: [permission], where: HELLO }], /permission is missing/],
    ["an unknown permission", [{ type, permission: "nope" }], /\[0\]\.permission/],
    ["another type", [{ type: "payment", permission }], /type must be agentauth_grant/],
    ["the type of a reference", [{ type: "agentauth_grant_reference", ids: ["gra_x"] }], /type must be/],
    ["a member that nobody knows", [{ type, permission, where: HELLO, locations: [] }], /locations/],
    ["an end that is no time", [{ type, permission, where: HELLO, expires_at: "soon" }], /RFC 3339/],
    ["an end in another form", [{ type, permission, where: HELLO, expires_at: "2030-01-01" }], /RFC 3339/],
    [
      "a wildcard that is too long once it stands expanded",
      [
        {
          type,
          permission: "github:issues:*",
          where: { "path.owner": { in: Array.from({ length: 50 }, (_, n) => `${"x".repeat(36)}${n}`) } },
        },
      ],
      /wildcards stand expanded/,
    ],
    ["no list", { type, permission, where: HELLO }, /list/],
    ["an empty list", [], /list/],
    ["no objects", ["x", null], /type must be/],
    ["broken JSON", "[{", /list/],
    ["more than 20", Array.from({ length: 21 }, () => ({ type, permission, where: HELLO })), /list/],
    ["more than 4,000 characters", `[${" ".repeat(4000)}]`, /list/],
  ])("is refused: %s", async (_, details, said) => {
    const { status, body } = await ask(details);
    expect([status, body.error]).toEqual([400, "invalid_authorization_details"]);
    expect(body.error_description).toMatch(said);
  });

  it("is no way to widen or narrow a session", async () => {
    const { status, body } = await token(self, {
      grant_type: "refresh_token",
      refresh_token: agent.refreshToken,
      ...secretOf(agent),
      authorization_details: JSON.stringify([{ type, permission: "lab:things:read" }]),
    });
    expect([status, body.error]).toEqual([400, "invalid_authorization_details"]);
  });
});
