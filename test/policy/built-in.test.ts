import { describe, expect, inject, it } from "vitest";
import { SLOW } from "../support/extents.ts";
import { world } from "../support/world.ts";

const upstream = inject("upstream");
const at = (name: string, token = `${name}-credential-of-the-company`) => ({
  [`UPSTREAMS.${name}.base_url`]: upstream,
  [`UPSTREAM_${name.toUpperCase()}_TOKEN`]: token,
});

describe("a HubSpot object that is created with associations", () => {
  const path = "/proxy/hubspot/crm/v3/objects/contacts";
  const json = { properties: { email: "a@example.com" }, associations: [{ to: { id: "7" } }] };

  it("needs the whole service: its other end may be of any type", async () => {
    const { agent, call } = world(at("hubspot"));
    const { token } = await agent(["hubspot:contacts:write", "hubspot:deals:write"]);
    const { status, body } = await call(path, { method: "POST", token, json });
    expect(status).toBe(403);
    expect(body).toMatchObject({ code: "insufficient_permissions", required: "hubspot:*:*" });
    expect(body.message).toContain("covers associations, so it needs hubspot:*:*");
    const batch = { inputs: [json] };
    expect((await call(`${path}/batch/create`, { method: "POST", token, json: batch })).status).toBe(403);
    expect((await call(path, { method: "POST", token, json: { ...json, associations: [] } })).status).toBe(200);
  });

  it("is created by who holds the service, as is what no rule covers", async () => {
    const { agent, call } = world(at("hubspot"));
    const { token } = await agent(["hubspot:*:*"]);
    for (const one of [path, "/proxy/hubspot/crm/v3/objects/notes"]) {
      const { status, body } = await call(one, { method: "POST", token, json });
      expect(status).toBe(200);
      expect(JSON.parse(body.body)).toEqual(json);
    }
  });
});

describe("a HubSpot search", () => {
  const path = "/proxy/hubspot/crm/v3/objects/contacts/search";
  const filters = [{ propertyName: "associations.deal", operator: "EQ", value: "7" }];

  it.each<[string, object]>([
    ["filters by an association", { filterGroups: [{ filters }] }],
    ["filters by one without groups", { filters }],
    ["sorts by one", { sorts: [{ propertyName: "associations.deal" }] }],
    ["sorts by the name of one", { sorts: ["-associations.deal"] }],
    ["asks for one as a property", { properties: ["email", "associations.deal"] }],
  ])("that %s needs the whole service", async (_, json) => {
    const { agent, call } = world(at("hubspot"));
    const { token } = await agent(["hubspot:contacts:read", "hubspot:deals:read"]);
    const { status, body } = await call(path, { method: "POST", token, json });
    expect([status, body.required]).toEqual([403, "hubspot:*:*"]);
  });

  it("may look for the word in what objects contain", async () => {
    const { agent, call } = world(at("hubspot"));
    const { token } = await agent(["hubspot:contacts:read"]);
    const json = {
      query: "associations",
      filterGroups: [{ filters: [{ propertyName: "city", value: "associations" }] }],
    };
    expect((await call(path, { method: "POST", token, json })).status).toBe(200);
  });
});

describe("presets of built-in services", () => {
  const on = (name: string, ...presets: string[]) => ({
    ...at(name),
    [`UPSTREAMS.${name}.presets`]: JSON.stringify(presets),
  });

  it("that upload files stream them as they are, and take none that the upstream would parse", async () => {
    const { agent, call } = world(on("zendesk", "uploads"));
    const { token } = await agent(["zendesk:uploads:write"]);
    const post = (type: string, body: string) =>
      call("/proxy/zendesk/api/v2/uploads?filename=a", {
        method: "POST",
        token,
        headers: { "content-type": type },
        body,
      });
    expect((await post("image/svg+xml", "<svg/>")).body.body).toBe("<svg/>");
    for (const type of ["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]) {
      const { status, body } = await post(type, "{}");
      expect([status, body.code]).toEqual([415, "body_type_refused"]);
      expect(body.message).toContain("send it as application/binary");
    }
  });

  it("that refund money give out no other resource by a form's expand", SLOW, async () => {
    const { agent, call } = world(on("stripe", "refunds"));
    const { token } = await agent(["stripe:refunds:write"]);
    const headers = { "content-type": "application/x-www-form-urlencoded" };
    const post = (body: string) => call("/proxy/stripe/v1/refunds", { method: "POST", token, headers, body });
    expect((await post("charge=ch_1&amount=5")).body.body).toBe("charge=ch_1&amount=5");
    for (const name of ["expand[]", "expand[0]", "Expand", "expand.0", "[expand]"]) {
      expect((await post(`charge=ch_1&${name}=charge.customer`)).body.required).toBe("stripe:*:*");
    }
  });
});

describe("a body that a Rails upstream merges with the query", () => {
  const path = "/proxy/zendesk/api/v2/tickets";
  const ticket = { ticket: { subject: "a", include: "b" } };

  it("loads further resources only for who holds the whole service", async () => {
    const { agent, call } = world(at("zendesk"));
    const { token } = await agent(["zendesk:tickets:write"]);
    const denied = await call(path, { method: "POST", token, json: { ...ticket, include: "organizations" } });
    expect([denied.status, denied.body.required]).toEqual([403, "zendesk:*:*"]);
    const refused = await call(path, { method: "POST", token, json: { ...ticket, access_token: "mine" } });
    expect([refused.status, refused.body.code]).toEqual([400, "parameter_refused"]);
    const sent = await call(path, { method: "POST", token, json: ticket });
    expect(JSON.parse(sent.body.body)).toEqual(ticket);
    const { token: owner } = await agent(["zendesk:*:*"]);
    const json = { ...ticket, include: "organizations" };
    expect((await call(path, { method: "POST", token: owner, json })).status).toBe(200);
  });
});

describe("a form to Stripe", () => {
  it("holds what Stripe's forms hold, and nothing that acts as another account, method or version", SLOW, async () => {
    const { agent, call } = world(at("stripe"));
    const { token } = await agent(["stripe:*:*"]);
    const headers = { "content-type": "application/x-www-form-urlencoded" };
    const post = (body: string) => call("/proxy/stripe/v1/payouts", { method: "POST", token, headers, body });
    expect((await post("amount=1&method=instant&token=tok_1")).body.body).toBe("amount=1&method=instant&token=tok_1");
    for (const name of ["_method", "_stripe_account", "_stripe_version", "key", "[_stripe_account]"]) {
      expect((await post(`amount=1&${name}=x`)).body.code).toBe("parameter_refused");
    }
  });
});

describe("Stripe's version", () => {
  it.each([
    ["2026-10-28.endive", "2026-10-28.endive"],
    ["2024-06-20", "2024-06-20"],
    ["2026-10-28.preview; feature=v1", "2026-10-28.preview; feature=v1"],
    ["2022-08-01", "2026-10-28.endive"],
    ["2019-12-03", "2026-10-28.endive"],
    ["2026-10-28.endive, 2019-12-03", "2026-10-28.endive"],
    ["latest", "2026-10-28.endive"],
  ])("%s is sent as %s: older ones put other resources into an answer", async (sent, got) => {
    const { agent, call } = world(at("stripe"));
    const { token } = await agent(["stripe:payments:read"]);
    const { body } = await call("/proxy/stripe/v1/charges", { token, headers: { "stripe-version": sent } });
    expect(body.headers["stripe-version"]).toBe(got);
  });
});

describe("what reveals the credential's scopes", () => {
  it("is kept from the agent whatever the upstream is", async () => {
    const { agent, call } = world();
    const { token } = await agent();
    const { headers } = await call("/proxy/lab/lab/headers/x", { token });
    expect(headers.get("x-ratelimit-remaining")).toBe("42");
    expect(headers.get("x-oauth-scopes")).toBeNull();
  });
});

describe("a credential", () => {
  it("is what was meant where a line's end was pasted with it, also to the search for it", async () => {
    const { agent, call } = world({ UPSTREAM_LAB_TOKEN: "pasted-credential-of-the-company\n" });
    const { token } = await agent();
    const { body } = await call("/proxy/lab/things/7", { token });
    expect([...body.headers.authorization].toReversed().join("")).toBe("Bearer pasted-credential-of-the-company");
    const echo = await call("/proxy/lab/lab/credential/x", { token });
    expect([echo.status, echo.body.code]).toEqual([502, "credential_echo"]);
  });

  it.each(["two\nlines-of-the-company", "größe-of-the-company", "nul\0of-the-company"])(
    "that no header can carry is 503, and told to nobody: %j",
    async (secret) => {
      const { agent, call } = world({ UPSTREAM_LAB_TOKEN: secret });
      const { token } = await agent();
      const { status, body } = await call("/proxy/lab/things/7", { token });
      expect([status, body.code]).toEqual([503, "upstream_not_configured"]);
      expect(JSON.stringify(body)).not.toContain("of-the-company");
    },
  );
});
