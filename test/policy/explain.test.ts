import { describe, expect, it } from "vitest";
import { world } from "../support/world.ts";

describe("POST /proxy/_explain", () => {
  const explain = async (json: unknown) => {
    const { admin, call } = world();
    return call("/proxy/_explain", { method: "POST", json, token: (await admin()).token });
  };

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

  it("is an administrator's, and no service of that name", async () => {
    const { agent, call } = world();
    const { token } = await agent(["lab:*:*"]);
    const json = { service: "lab", method: "GET", path: "/things/7" };
    expect((await call("/proxy/_explain", { method: "POST", json, token })).status).toBe(403);
    expect((await call("/proxy/_explain", { method: "POST", json })).status).toBe(401);
    expect((await call("/proxy/_explain", { token })).status).toBe(405);
    expect((await call("/proxy/_explain/x", { token })).status).toBe(404);
    expect((await explain({ service: "lab" })).status).toBe(400);
  });
});
