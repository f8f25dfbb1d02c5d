import { beforeAll, describe, expect, it } from "vitest";
import { admin, call, isError, newAgent, withAdmin, type Agent } from "./client.ts";

withAdmin();

let agent: Agent;
beforeAll(async () => {
  agent = await newAgent(["github:issues:read"]);
});
const explain = (json: object) => call("POST", "/proxy/_explain", { token: admin.token, json });

describe("the gateway", () => {
  it("refuses everybody without a valid token", async () => {
    for (const token of [undefined, "garbage", agent.refreshToken]) {
      isError(await call("GET", "/proxy/github/repos/o/r/issues/5", { token }), 401);
    }
  });

  it("says what is required, and what is granted", async () => {
    const refused = await call("POST", "/proxy/github/repos/o/r/issues", { token: agent.token, json: { title: "x" } });
    isError(refused, 403);
    expect(refused.body).toMatchObject({
      error: "Insufficient permissions",
      required: "github:issues:write",
      granted: ["github:issues:read"],
    });
  });

  it("denies what nothing covers", async () => {
    isError(await call("GET", "/proxy/github/nothing/like/this", { token: agent.token }), 403);
    isError(await call("GET", "/proxy/unheard-of/things", { token: agent.token }), 404);
  });

  it.each([
    "/proxy/github/repos/o/r/issues/%2e%2e/%2e%2e/pulls",
    "/proxy/github/repos/o%2fr/issues",
    "/proxy/github/repos/o/r%5cissues",
    "/proxy/github//repos/o/r/issues",
    "/proxy/github/repos/o/r/issues%00",
  ])("refuses the crafted path %s", async (path) => {
    const { status, body } = await call("GET", path, { token: agent.token });
    expect([400, 403]).toContain(status);
    expect(body.error).toEqual(expect.any(String));
  });

  it("explains what it would do, to administrators, without doing it", async () => {
    const asked = {
      service: "github",
      method: "GET",
      path: "/repos/o/r/issues/5",
      permissions: ["github:issues:read"],
    };
    const { status, body } = await explain(asked);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      service: "github",
      method: "GET",
      path: "/repos/o/r/issues/5",
      required: "github:issues:read",
      all_required: ["github:issues:read"],
      decision: "allow",
      dropped: [],
    });
    expect((await explain({ ...asked, method: "PATCH" })).body).toMatchObject({
      decision: "deny",
      required: "github:issues:write",
    });
    expect((await explain({ ...asked, path: "/repos/o/../r" })).body).toMatchObject({
      decision: "refuse",
      required: null,
    });
    isError(await call("POST", "/proxy/_explain", { token: agent.token, json: asked }), 403);
  });

  it("passes an allowed call on, where the sample upstream stands behind it", async ({ skip }) => {
    const { permissions } = (await call("GET", "/permissions/list")).body;
    skip(!permissions.sample, "no sample upstream here");
    const reader = await newAgent(["sample:orders:read"]);
    const read = await call("GET", "/proxy/sample/orders/1", { token: reader.token });
    expect([read.status, read.body]).toEqual([200, { id: 1, item: "lamp" }]);
    expect(read.headers.get("x-agentauth-upstream")).toBe("sample");
    isError(await call("DELETE", "/proxy/sample/orders/1", { token: reader.token }), 403);
    const absent = await call("GET", "/proxy/sample/orders/999", { token: reader.token });
    expect([absent.status, absent.body]).toEqual([404, { error: "no such order" }]);
  });
});
