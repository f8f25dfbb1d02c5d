import { describe, expect, it, vi } from "vitest";
import { ConfigError, loadConfig, unknownSettings } from "../../src/config/config.ts";
import { testEnv, world } from "../support/world.ts";

function faultsOf(overrides: Record<string, unknown>): readonly string[] {
  try {
    loadConfig(testEnv(overrides));
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
  return [];
}

describe("the configuration", () => {
  it("has the contract's defaults", () => {
    expect(loadConfig(testEnv({ REGISTRATION: undefined }))).toMatchObject({
      registration: "approval",
      accessTokenTtl: 3600,
      refreshTokenTtl: 2_592_000,
      refreshFamilyTtl: 7_776_000,
      refreshGrace: 10,
      standingTtl: 5,
      bodyTimeoutMs: 600_000,
      activityRetentionDays: 90,
      auditRetentionDays: null,
      corsOrigins: [],
      webhookAllowLoopback: false,
    });
  });

  it.each(["SIGNING_KEYS", "WEBHOOK_KEYS", "SECRET_PEPPER"])("names a missing %s and what to do", (name) => {
    const [fault] = faultsOf({ [name]: undefined });
    expect(fault).toContain(`${name} is not set`);
    expect(fault).toContain("npm run keys");
  });

  it("has no AUDIENCE that tokens for one service, or for the MCP server, have", () => {
    const ISSUER = "https://auth.example.com";
    for (const path of ["/mcp", "/proxy/github", "/proxy/none", "/MCP/../mcp", "/mcp?x=1"]) {
      expect(faultsOf({ ISSUER, AUDIENCE: ISSUER + path })).toEqual([expect.stringMatching(/^AUDIENCE is the URL/)]);
    }
    expect(faultsOf({ ISSUER, AUDIENCE: "HTTPS://Auth.example.com/mcp" })).toHaveLength(1);
    for (const AUDIENCE of ["", ISSUER, `${ISSUER}/`, "https://api.example.com/mcp", "agents", `${ISSUER}/mcps`]) {
      expect(faultsOf({ ISSUER, AUDIENCE })).toEqual([]);
    }
  });

  it("keeps the audit log without end unless AUDIT_RETENTION_DAYS is a number of days", () => {
    expect(loadConfig(testEnv({ AUDIT_RETENTION_DAYS: "" })).auditRetentionDays).toBe(null);
    expect(loadConfig(testEnv({ AUDIT_RETENTION_DAYS: "400" })).auditRetentionDays).toBe(400);
    for (const wrong of ["0", "-1", "forever", "1.5"])
      expect(faultsOf({ AUDIT_RETENTION_DAYS: wrong }).join()).toContain("AUDIT_RETENTION_DAYS");
  });

  it("sends records over https, or to this machine in development", () => {
    const development = { ENVIRONMENT: "development", ISSUER: "" };
    expect(loadConfig(testEnv({ OTLP_ENDPOINT: "" })).otlp).toBe(null);
    for (const [endpoint, url] of [
      ["https://otlp.example.com", "https://otlp.example.com/v1/logs"],
      ["https://otlp.example.com/a/", "https://otlp.example.com/a/v1/logs"],
      ["https://otlp.example.com/v1/logs", "https://otlp.example.com/v1/logs"],
    ])
      expect(loadConfig(testEnv({ OTLP_ENDPOINT: endpoint })).otlp).toEqual({ url, headers: {} });
    expect(faultsOf({ ...development, OTLP_ENDPOINT: "http://127.0.0.1:4318" })).toEqual([]);
    expect(faultsOf({ OTLP_ENDPOINT: "http://127.0.0.1:4318" }).join()).toContain("OTLP_ENDPOINT");
    for (const wrong of [
      "http://otlp.example.com",
      "https://u:p@otlp.example.com",
      "https://otlp.example.com?k=1",
      "x",
    ])
      expect(faultsOf({ ...development, OTLP_ENDPOINT: wrong }).join()).toContain("OTLP_ENDPOINT must be an https URL");
  });

  it("reads OTLP_HEADERS as OpenTelemetry's exporters do, and never shows them", () => {
    const headers = (text: string) =>
      loadConfig(testEnv({ OTLP_ENDPOINT: "https://otlp.example.com", OTLP_HEADERS: text })).otlp!.headers;
    expect(headers("")).toEqual({});
    expect(headers("Authorization=Basic%20c2VjcmV0, x-team = audit")).toEqual({
      authorization: "Basic c2VjcmV0",
      "x-team": "audit",
    });
    for (const wrong of ["s3cret", "a b=s3cret", "a=", "a=s3cret%0d%0ax: y", "a=%zzs3cret"]) {
      const faults = faultsOf({ OTLP_HEADERS: wrong }).join();
      expect(faults).toContain("OTLP_HEADERS must be name=value pairs");
      expect(faults).not.toContain("s3cret");
    }
  });

  it("insists on a public origin outside development", () => {
    expect(faultsOf({ ENVIRONMENT: undefined, ISSUER: "" }).join()).toContain("ISSUER is not set");
    expect(faultsOf({ ENVIRONMENT: undefined, ISSUER: "https://auth.example.com" })).toEqual([]);
  });

  it.each(["", "http://localhost:8787", "http://127.0.0.1:8787", "https://localhost", "http://[::1]:8787"])(
    "lets development issue for this machine: %j",
    (issuer) => {
      expect(faultsOf({ ENVIRONMENT: "development", ISSUER: issuer })).toEqual([]);
    },
  );

  it.each([
    "https://auth.example.com",
    "http://localhost.example.com:8787",
    "http://127.0.0.1.nip.io",
    "http://10.0.0.1:8787",
    "http://0.0.0.0:8787",
  ])("lets development issue for nobody else, whatever else is set: %s", async (issuer) => {
    const overrides = {
      ENVIRONMENT: "development",
      ISSUER: issuer,
      AUDIENCE: "http://localhost:8787",
      CORS_ORIGINS: `${issuer}, *`,
      WEBHOOK_ALLOW_LOOPBACK: "true",
    };
    expect(faultsOf(overrides)).toEqual([expect.stringMatching(/ENVIRONMENT is development, and ISSUER is not/)]);
    for (const path of ["http://localhost:8787/health", `${issuer}/health`, `${issuer}/proxy/lab/things`]) {
      const { status, body } = await world(overrides).call(path);
      expect([status, body.code, body.details.length]).toEqual([503, "misconfigured", 1]);
    }
  });

  it.each([
    ["ISSUER", "https://auth.example.com/path"],
    ["REGISTRATION", "everybody"],
    ["STANDING_TTL_SECONDS", "soon"],
    ["ACCESS_TOKEN_TTL_SECONDS", "0"],
    ["REFRESH_GRACE_SECONDS", "-1"],
    ["CORS_ORIGINS", "not an origin"],
    ["SIGNING_KEYS", "{"],
    ["SIGNING_KEYS", '{"keys":[]}'],
    ["SECRET_PEPPER", "short"],
    ["ADMIN_BOOTSTRAP_TOKEN", "short"],
    ["UPSTREAMS", "[]"],
    ["UPSTREAMS.x", '{"base_url":'],
    ["UPSTREAMS.BAD", "{}"],
  ])("refuses %s = %j, by name", (name, value) => {
    expect(faultsOf({ [name]: value }).join()).toContain(name);
  });

  it.each([
    ["SIGNING_KEYS", '{"keys": }', "SIGNING_KEYS is not valid JSON (at character 10). Make it with `npm run keys"],
    ["SIGNING_KEYS", "{'keys': []}", "SIGNING_KEYS is not valid JSON (at character 2). Make it with `npm run keys"],
    ["SIGNING_KEYS", '{"keys": [', "SIGNING_KEYS is not valid JSON (it ends too early). Make it with `npm run keys"],
    ["SIGNING_KEYS", "[]", "SIGNING_KEYS must be an object. Make it with `npm run keys"],
    [
      "SIGNING_KEYS",
      '{"keys":[{"kty":"EC"}]}',
      "SIGNING_KEYS (at keys.0.crv) must be P-256. Make it with `npm run keys",
    ],
    ["WEBHOOK_KEYS", '{"keys":[]} x', "WEBHOOK_KEYS is not valid JSON (at character 13). Make it with `npm run keys"],
    ["WEBHOOK_KEYS", "", "WEBHOOK_KEYS is not set. Make it with `npm run keys"],
    ["UPSTREAMS", '{"orders": {"base_url": x}}', "UPSTREAMS: is not valid JSON (at character 25)."],
    ["UPSTREAMS.orders", '{"rules": [1,]}', "UPSTREAMS.orders: is not valid JSON (at character 14)."],
    ["UPSTREAMS.orders.rules", '["GET /a"', "UPSTREAMS.orders.rules: is not valid JSON (it ends too early)."],
  ])("says what is wrong with %s = %j, where, and what to do", (name, value, expected) => {
    expect(faultsOf({ [name]: value }).join("\n")).toContain(expected);
  });

  it("warns of variables that it does not read, and goes on", () => {
    const env = { ISSUER: "", ISUER: "", SECRET_PEPER: "x", UPSTREAM_GITHUB_TOKN: "x", OURS: "x", DB: {} };
    expect(unknownSettings({ ...env, UPSTREAM_GITHUB_TOKEN: "x", "UPSTREAMS.lab.base_url": "x" }, ["github"])).toEqual([
      "ISUER is not a setting of AgentAuth. Did you mean ISSUER?",
      "SECRET_PEPER is not a setting of AgentAuth. Did you mean SECRET_PEPPER?",
      "UPSTREAM_GITHUB_TOKN is not a setting of AgentAuth. Did you mean UPSTREAM_GITHUB_TOKEN?",
      "OURS is not a setting of AgentAuth.",
    ]);
    expect(faultsOf({ ISUER: "x" })).toEqual([]);
  });

  it("logs these warnings once, when the Worker first reads its settings", async () => {
    const warnings = vi.spyOn(console, "warn").mockImplementation(() => undefined);
    const { call } = world({ STANDING_TTL: "1" });
    for (let n = 0; n < 3; n++) expect((await call("/permissions/list")).status).toBe(200);
    const text = warnings.mock.calls.flat().map(String);
    warnings.mockRestore();
    const message = "STANDING_TTL is not a setting of AgentAuth. Did you mean STANDING_TTL_SECONDS?";
    expect(text.filter((line) => line.includes("STANDING_TTL"))).toEqual([
      JSON.stringify({ event: "warning", message }),
    ]);
  });

  it("shows no value of a secret in a fault", () => {
    const value = "a-secret-that-is-wrong";
    const faults = faultsOf({ SIGNING_KEYS: value, WEBHOOK_KEYS: value, SECRET_PEPPER: "a-secret" }).join();
    expect(faults).not.toContain("a-secret");
  });

  it("answers nothing but what to fix until it is right", async () => {
    const { call } = world({ SECRET_PEPPER: "", ENVIRONMENT: "production", ISSUER: "" });
    for (const path of ["/health", "/agents/register", "/proxy/github/user/repos"]) {
      const { status, body } = await call(path);
      expect(status).toBe(503);
      expect(body.code).toBe("misconfigured");
      expect(JSON.stringify(body.details)).toContain("SECRET_PEPPER");
    }
  });
});

describe("TRUSTED_ISSUERS", () => {
  const GITHUB = "https://token.actions.githubusercontent.com";
  const agent = "agt_0123456789abcdefghijABCD";
  const good = {
    issuer: GITHUB,
    audience: "https://auth.example.com",
    rules: [{ agent, claims: { repository_id: "1296269", ref: "refs/heads/main" } }],
  };

  it("are tables, or JSON, with their defaults", () => {
    const read = {
      issuer: GITHUB,
      audience: "https://auth.example.com",
      jwksUri: null,
      maxTokenLife: 3600,
      timeoutMs: 5000,
      rules: [{ agentId: agent, claims: { repository_id: "1296269", ref: "refs/heads/main" } }],
    };
    for (const value of [[good], JSON.stringify([good])]) {
      expect(loadConfig(testEnv({ TRUSTED_ISSUERS: value })).trustedIssuers).toEqual([read]);
    }
    for (const none of [undefined, "", []]) {
      expect(loadConfig(testEnv({ TRUSTED_ISSUERS: none })).trustedIssuers).toEqual([]);
    }
  });

  const rule = (claims: object) => ({ ...good, rules: [{ agent, claims }] });
  const KUBERNETES = { "kubernetes.io": { serviceaccount: { uid: "1" } } };
  it.each<[string, object]>([
    ["an owner's id", rule({ repository_owner_id: "1" })],
    ["a project of GitLab", { ...rule({ project_id: "22" }), issuer: "https://gitlab.com" }],
    ["a service account", { ...rule(KUBERNETES), issuer: "https://oidc.eks.eu-west-1.amazonaws.com/id/X" }],
    ["the sub of another issuer", { ...rule({ sub: "1234" }), issuer: "https://accounts.google.com" }],
    ["a claim that the operator calls an id", { ...rule({ tenant: { id: 5 } }), id_claims: ["tenant/id"] }],
    ["an issuer of this machine", { ...rule({ sub: "x" }), issuer: "http://127.0.0.1:9000/issuer" }],
  ])("may name %s", (_, one) => {
    expect(faultsOf({ TRUSTED_ISSUERS: [one] })).toEqual([]);
  });

  it.each<[string, unknown, RegExp]>([
    [
      "a repository by its name",
      rule({ repository: "octo/hello", sub: "repo:octo/hello" }),
      /0\.rules\.0\.claims.*repository_id or repository_owner_id/,
    ],
    [
      "a project by its name",
      { ...rule({ sub: "project_path:x" }), issuer: "https://gitlab.com" },
      /project_id or namespace_id/,
    ],
    [
      "a service account by its name",
      { ...rule({ sub: "system:serviceaccount:ci:bot" }), issuer: "https://k8s.example.com" },
      /serviceaccount\/uid/,
    ],
    ["an object for an id", rule({ repository_id: { a: 1 } }), /repository_id/],
    ["a list", rule({ repository_id: ["1"] }), /compared by equality/],
    ["no claims", rule({}), /must name a claim/],
    ["no agent", { ...good, rules: [{ agent: "bot", claims: { repository_id: "1" } }] }, /begins with agt_/],
    ["no rules", { ...good, rules: [] }, /0\.rules/],
    ["no audience", { ...good, audience: undefined }, /0\.audience/],
    ["the audience of everybody", { ...good, audience: "sts.amazonaws.com" }, /for others too/],
    ["GitHub's own audience", { ...good, audience: "https://github.com/octo" }, /for others too/],
    ["the issuer as the audience", { ...good, audience: GITHUB }, /issuer's own URL/],
    ["an http issuer", { ...good, issuer: "http://idp.example.com" }, /https URL/],
    ["keys over http", { ...good, jwks_uri: "http://idp.example.com/keys" }, /https URL/],
    ["a setting that there is not", { ...good, jwks_url: "https://idp.example.com/keys" }, /has no setting jwks_url/],
    ["a life of two days", { ...good, max_token_life_seconds: 172_800 }, /at most 86400/],
    [
      "this deployment",
      { ...rule({ sub: "x" }), issuer: "https://auth.example.com", audience: "x" },
      /this deployment itself/,
    ],
  ])("are refused: %s", (_, one, said) => {
    const faults = faultsOf({ TRUSTED_ISSUERS: [one] });
    expect(faults.join()).toMatch(said);
    expect(faults.join()).toContain("TRUSTED_ISSUERS");
  });

  it("are refused if one is named twice, and if they are no list", () => {
    expect(faultsOf({ TRUSTED_ISSUERS: [good, good] }).join()).toContain("names an issuer twice");
    expect(faultsOf({ TRUSTED_ISSUERS: "[{" }).join()).toMatch(/TRUSTED_ISSUERS is not valid JSON/);
    expect(faultsOf({ TRUSTED_ISSUERS: { issuer: GITHUB } }).join()).toContain("TRUSTED_ISSUERS must be an array");
  });
});
