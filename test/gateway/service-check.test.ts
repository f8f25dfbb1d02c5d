import { describe, expect, inject, it } from "vitest";
import { world } from "../support/world.ts";
import { SLOW, few } from "../support/extents.ts";

/** Whether a credential works, found out by one small request on purpose. */
const upstream = inject("upstream");
const SECRET = "a-token-that-nobody-sees";

/** A service whose base URL does what a check shall find. */
const at = (path: string, settings: Record<string, unknown> = {}) => ({
  "UPSTREAMS.orders": {
    base_url: `${upstream}${path}`,
    credential: { scheme: "bearer" },
    resources: { orders: ["read"] },
    rules: ["GET /orders orders"],
  },
  UPSTREAM_ORDERS_TOKEN: SECRET,
  ...settings,
});

async function check(overrides: Record<string, unknown>, name = "orders") {
  const self = world(overrides);
  const admin = await self.admin();
  const answer = await self.call(`/services/${name}/check`, { method: "POST", token: admin.token });
  expect(JSON.stringify(answer.body)).not.toContain(SECRET);
  return { ...answer, self, admin };
}

describe("POST /services/{name}/check", () => {
  few(1).each([
    ["/lab/status/401", { outcome: "refused", upstream_status: 401 }],
    ["/lab/status/200", { outcome: "unclear", upstream_status: 200 }],
    ["/lab/status/500", { outcome: "unclear", upstream_status: 500 }],
    ["/lab/hangup/now", { outcome: "unreachable", upstream_status: null }],
  ])("of an upstream of the operator's own at %s", async (path, found) => {
    const { status, body } = await check(at(path));
    expect(status).toBe(200);
    expect(body).toMatchObject({ success: true, path: `${path}/`, ...found });
  });

  it("does not follow a redirect, which could take the credential to another host", async () => {
    const { body } = await check(
      at(`/lab/redirect/${encodeURIComponent(encodeURIComponent(`${upstream}/lab/status/401`))}`),
    );
    expect(body).toMatchObject({ outcome: "unclear", upstream_status: 302 });
  });

  it("names the setting that is missing, and sends nothing", async () => {
    const { body } = await check(at("/lab/status/200", { UPSTREAM_ORDERS_TOKEN: undefined }));
    expect(body).toMatchObject({
      outcome: "not_configured",
      path: null,
      upstream_status: null,
      message: expect.stringContaining("UPSTREAM_ORDERS_TOKEN is not set"),
    });
  });

  it("sends a vendor's own request with the credential, and is recorded", async () => {
    const { body, self } = await check({ UPSTREAM_GITHUB_TOKEN: "ghp_check" }, "github");
    expect(body).toMatchObject({ outcome: "works", path: "/rate_limit", upstream_status: 200 });
    expect(self.entries.filter(({ action }) => action === "service.checked")).toEqual([
      expect.objectContaining({ service: "github", path: "/rate_limit", outcome: "success", upstreamStatus: 200 }),
    ]);
  });

  it("is for administrators, and there is nothing to find out about others", async () => {
    const self = world(at("/lab/status/200"));
    const { token } = await self.agent(["orders:orders:read"]);
    expect((await self.call("/services/orders/check", { method: "POST", token })).status).toBe(403);
    expect((await self.call("/services", { token })).status).toBe(403);
    expect((await self.call("/services/orders", { token })).status).toBe(403);
  });
});

describe("GET /services", () => {
  it("says what is connected, and the names of secrets only", async () => {
    const self = world(at("/api"));
    const { token } = await self.admin();
    const { body } = await self.call("/services", { token });
    expect(JSON.stringify(body)).not.toContain(SECRET);
    expect(body.services.find(({ name }: { name: string }) => name === "orders")).toEqual({
      name: "orders",
      built_in: false,
      base_url: `${upstream}/api`,
      credential: "bearer",
      secrets: ["UPSTREAM_ORDERS_TOKEN"],
      resources: { orders: ["read"] },
      rule_count: 1,
    });
  });

  it("shows the rules of one, with what each needs and what a grant may limit", SLOW, async () => {
    const self = world();
    const { token } = await self.admin();
    const { body } = await self.call("/services/github", { token });
    const rules: { rule: string; required: string[]; limitable: string[] }[] = body.rules;
    const issues = rules.find(
      ({ rule, required }) =>
        rule.includes("/repos/{owner}/{repo}/issues ") && required.includes("github:issues:write"),
    );
    expect(issues?.limitable).toEqual(expect.arrayContaining(["path.owner", "path.repo"]));
    expect((await self.call("/services/constructor", { token })).status).toBe(404);
  });
});
