import { describe, expect, it } from "vitest";
import { world } from "../support/world.ts";

describe("a request through the gateway", () => {
  it("carries the real credential to the upstream and nothing of it to the agent", async () => {
    const { agent, call } = world();
    const { token } = await agent(["lab:things:read"]);
    const { status, headers, body } = await call("/proxy/lab/things/7?page=2", { token });
    expect(status).toBe(200);
    expect(body).toMatchObject({ method: "GET", url: "/things/7?page=2" });
    expect([...body.headers.authorization].toReversed().join("")).toBe("Bearer lab-real-credential-of-the-company");
    expect(JSON.stringify([...headers])).not.toContain("lab-real-credential");
  });

  it("says what is required and granted when the permission is lacking", async () => {
    const { agent, call } = world();
    const { token } = await agent(["lab:things:read"]);
    const { status, body } = await call("/proxy/lab/things/7", { method: "DELETE", token });
    expect(status).toBe(403);
    expect(body).toMatchObject({
      error: "Insufficient permissions",
      required: "lab:things:write",
      granted: ["lab:things:read"],
      code: "insufficient_permissions",
    });
  });

  it.each([
    ["/lab/headers/0", "private, max-age=60"],
    ["/things/7", "private, no-cache"],
  ])("of %s is answered for this agent alone: %s", async (path, expected) => {
    const { agent, call } = world();
    const { token } = await agent(["lab:things:read"]);
    const { status, headers } = await call(`/proxy/lab${path}`, { token });
    expect([status, headers.get("cache-control"), headers.get("vary")]).toEqual([
      200,
      expected,
      expect.stringMatching(/\bAuthorization\b/),
    ]);
  });
});
