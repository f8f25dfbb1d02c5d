import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { world } from "../support/world.ts";
import { SLOW } from "../support/extents.ts";

afterEach(() => void vi.useRealTimers());

describe("POST /proxy/_explain", () => {
  const { admin, agent, call } = world({ RATE_FREE: { limit: async () => ({ success: true }) } });
  let token: string;
  beforeAll(async () => {
    ({ token } = await admin());
  });
  const explain = (json: unknown) => call("/proxy/_explain", { method: "POST", json, token });

  it("says what a request needs and whether the permissions reach it, and calls nothing", async () => {
    const ask = { service: "lab", method: "DELETE", path: "/things/%37?x=1", headers: { "X-Foo": "1", accept: "*/*" } };
    expect((await explain({ ...ask, permissions: ["lab:things:read"] })).body).toEqual({
      service: "lab",
      method: "DELETE",
      path: "/things/7",
      required: "lab:things:write",
      all_required: ["lab:things:write"],
      decision: "deny",
      code: "insufficient_permissions",
      dropped: ["x-foo"],
      rule: "* /things/{id} things",
      lacking: ["lab:things:write"],
      limitable: [],
      limits: [],
      violations: [],
      message: "It needs lab:things:write.",
    });
    expect((await explain({ ...ask, permissions: ["lab:things:*"] })).body).toMatchObject({
      decision: "allow",
      code: "allowed",
    });
    expect((await explain(ask)).body).toMatchObject({ decision: "deny" });
  });

  it("distinguishes an uncovered path from a refusal", async () => {
    const { body } = await explain({ service: "github", method: "GET", path: "/graphql", permissions: ["github:*:*"] });
    expect(body).toMatchObject({
      required: null,
      all_required: ["github:*:*"],
      rule: null,
      decision: "allow",
      path: "/graphql",
    });
    for (const [ask, code, dropped] of [
      [{ service: "github", method: "GET", path: "/a/../b" }, "dot_segment", []],
      [{ service: "github", method: "get", path: "/a" }, "method_not_allowed", []],
      [{ service: "nothing", method: "GET", path: "/a" }, "unknown_service", []],
      [{ service: "github", method: "GET", path: "/a#b" }, "fragment", []],
      [
        { service: "github", method: "GET", path: "/a?token=x", headers: { cookie: "a" } },
        "parameter_refused",
        ["cookie", "token"],
      ],
      [{ service: "github", method: "GET", path: "/a", headers: { Upgrade: "h2c" } }, "upgrade_refused", ["upgrade"]],
      [
        { service: "github", method: "GET", path: "/a/../b", headers: { "a b": "1", c: "\n1" } },
        "dot_segment",
        ["a b", "c"],
      ],
    ] as const) {
      expect((await explain({ ...ask, permissions: ["*:*:*"] })).body).toMatchObject({
        decision: "refuse",
        code,
        path: null,
        required: null,
        all_required: [],
        dropped: code === "dot_segment" && "headers" in ask ? expect.arrayContaining(["a b"]) : dropped,
      });
    }
  });

  const issue = {
    service: "github",
    method: "PATCH",
    path: "/repos/octo/other/issues/5",
    headers: { "content-type": "application/json" },
    body: '{"state":"open"}',
  };
  const hello = { permission: "github:issues:write", where: { "path.repo": "hello" } };

  it("says what grants may limit, which limits there are, and which are not met", SLOW, async () => {
    expect((await explain({ ...issue, grants: [hello] })).body).toMatchObject({
      decision: "deny",
      code: "constraint_violated",
      limitable: ["path.owner", "path.repo", "path.issue_number", "body.state"],
      limits: [{ permission: "github:issues:write", any_of: [{ "path.repo": { eq: "hello" } }] }],
      violations: [{ field: "path.repo", constraint: { eq: "hello" }, actual: "other" }],
      lacking: [],
      message: 'It is outside the limits of github:issues:write: path.repo is "other" and has to meet {"eq":"hello"}.',
    });
    const state = { permission: "github:issues:write", where: { "body.state": { not_in: ["closed"] } } };
    expect((await explain({ ...issue, grants: [hello, state] })).body).toMatchObject({
      decision: "allow",
      limits: [{ any_of: [{ "path.repo": { eq: "hello" } }, { "body.state": { not_in: ["closed"] } }] }],
      violations: [],
    });
    expect((await explain({ ...issue, body: '{"state":"closed"}', grants: [state] })).body).toMatchObject({
      code: "constraint_violated",
      violations: [{ field: "body.state", actual: "closed" }],
    });
    expect((await explain({ ...issue, body: "state=open", grants: [state] })).body).toMatchObject({
      decision: "refuse",
      code: "bad_body",
    });
    expect((await explain({ ...issue, permissions: ["github:issues:write"], grants: [hello] })).body).toMatchObject({
      decision: "allow",
      limits: [],
    });
    const associations = {
      service: "hubspot",
      method: "POST",
      path: "/crm/v3/objects/contacts",
      headers: issue.headers,
      body: '{"associations":[{"to":{"id":"7"}}]}',
      permissions: ["hubspot:contacts:write"],
    };
    expect((await explain(associations)).body).toMatchObject({ decision: "deny", lacking: ["hubspot:*:*"] });
    expect((await explain({ ...associations, body: "{}" })).body).toMatchObject({ decision: "allow" });
  });

  it("judges the grants that an agent has, also those that have ended", SLOW, async () => {
    const { id } = await agent();
    const put = (grants: object[]) => call(`/agents/${id}/grants`, { method: "PUT", token, json: { grants } });
    const asked = () =>
      call("/proxy/_explain", { method: "POST", token, json: { ...issue, agent_id: id } }).then(({ body }) => body);
    await put([hello]);
    expect(await asked()).toMatchObject({ code: "constraint_violated" });
    const end = Date.now() + 60_000;
    await put([{ permission: "github:issues:write", expires_at: new Date(end).toISOString() }]);
    expect(await asked()).toMatchObject({ code: "allowed" });
    vi.useFakeTimers({ toFake: ["Date"], now: end });
    expect(await asked()).toMatchObject({ code: "grant_expired", lacking: ["github:issues:write"] });
  });

  it("refuses grants that nobody could have, and an agent that does not exist", async () => {
    const wrong = { permission: "github:issues:write", where: { "path.x": 1 } };
    expect(await explain({ ...issue, grants: [wrong] })).toMatchObject({
      status: 400,
      body: { code: "unknown_constraint_field" },
    });
    expect((await explain({ ...issue, agent_id: "agt_nobody" })).status).toBe(404);
  });

  it("is an administrator's, and no service of that name", async () => {
    const holder = await agent(["lab:*:*"]);
    const json = { service: "lab", method: "GET", path: "/things/7" };
    expect((await call("/proxy/_explain", { method: "POST", json, token: holder.token })).status).toBe(403);
    expect((await call("/proxy/_explain", { method: "POST", json })).status).toBe(401);
    expect((await call("/proxy/_explain", { token: holder.token })).status).toBe(405);
    expect((await call("/proxy/_explain/x", { token: holder.token })).status).toBe(404);
    expect((await explain({ service: "lab" })).status).toBe(400);
  });
});
