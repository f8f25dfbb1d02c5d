import { describe, expect, it } from "vitest";
import { world } from "../support/world.ts";
import { ISSUER } from "./clients.ts";

const self = world({ STANDING_TTL_SECONDS: "0" });

describe("the metadata of the authorization server", () => {
  it("names what there is, under the issuer, whatever the host of the request", async () => {
    for (const at of ["", "https://other.example.com"]) {
      const { status, headers, body } = await self.call(`${at}/.well-known/oauth-authorization-server?ignored=1`);
      expect([status, headers.get("cache-control")]).toEqual([200, "public, max-age=60"]);
      expect(body).toMatchObject({
        issuer: ISSUER,
        token_endpoint: `${ISSUER}/oauth/token`,
        jwks_uri: `${ISSUER}/.well-known/jwks.json`,
        response_types_supported: [],
        grant_types_supported: [
          "client_credentials",
          "refresh_token",
          "urn:ietf:params:oauth:grant-type:token-exchange",
          "urn:ietf:params:oauth:grant-type:jwt-bearer",
          "urn:ietf:params:oauth:grant-type:device_code",
        ],
        token_endpoint_auth_methods_supported: ["client_secret_basic", "client_secret_post", "private_key_jwt"],
        token_endpoint_auth_signing_alg_values_supported: ["ES256", "EdDSA", "Ed25519", "RS256", "PS256"],
      });
      expect(body.scopes_supported).toContain("github:issues:write");
      expect(body.protected_resources).toContain(`${ISSUER}/proxy/lab`);
    }
  });

  it("has an authorization endpoint that refuses every response type", async () => {
    const { status, body } = await self.call("/oauth/authorize?response_type=code");
    expect([status, body.error]).toEqual([400, "unsupported_response_type"]);
  });
});

describe("the metadata of a protected resource", () => {
  it("has the URL of the resource, and nothing of a service that is not", async () => {
    for (const path of ["", "/proxy/github", "/proxy/lab", "/mcp"]) {
      const { status, body } = await self.call(`/.well-known/oauth-protected-resource${path}`);
      expect([status, body.resource, body.authorization_servers]).toEqual([200, `${ISSUER}${path}`, [ISSUER]]);
    }
    for (const path of ["/proxy/git", "/proxy/GitHub", "/proxy/constructor", "/proxy", "/agents"]) {
      const { status } = await self.call(`/.well-known/oauth-protected-resource${path}`);
      expect([path, status]).toEqual([path, 404]);
    }
  });
});

describe("every 401 and 403", () => {
  const METADATA = `${ISSUER}/.well-known/oauth-protected-resource`;

  it("leads to the metadata of what was asked for", async () => {
    const agent = await self.agent(["lab:things:read"]);
    const cases: [string, string | undefined, number, string][] = [
      ["/agents", undefined, 401, `resource_metadata="${METADATA}"`],
      ["/agents", "garbage", 401, `error="invalid_token", resource_metadata="${METADATA}"`],
      ["/agents", agent.token, 403, `error="insufficient_scope", scope="*:*:*", resource_metadata="${METADATA}"`],
      ["/proxy/lab/things/1", undefined, 401, `resource_metadata="${METADATA}/proxy/lab"`],
      ["/proxy/nothing/x", undefined, 401, `resource_metadata="${METADATA}"`],
      [
        "/proxy/lab/things/1/notes",
        agent.token,
        403,
        `scope="lab:notes:read", resource_metadata="${METADATA}/proxy/lab"`,
      ],
    ];
    for (const [path, token, status, expected] of cases) {
      const answer = await self.call(path, { ...(token !== undefined && { token }) });
      const challenge = answer.headers.get("www-authenticate");
      expect([path, answer.status, challenge]).toEqual([path, status, expect.stringContaining(expected)]);
      expect(challenge).toMatch(/^Bearer realm="agentauth", /);
    }
  });

  it("names an older proof as RFC 9470 does, and no address that would be allowed", async () => {
    const agent = await self.agent(["lab:things:read"]);
    await self.env.DB.prepare("UPDATE sessions SET auth_time = auth_time - 400000 WHERE agent_id = ?1")
      .bind(agent.id)
      .run();
    const refreshed = await self.call("/agents/refresh", {
      method: "POST",
      json: { refresh_token: agent.refreshToken },
    });
    const old = refreshed.body.token.access_token as string;
    const answer = await self.call(`/agents/${agent.id}/keys`, { method: "POST", token: old, json: {} });
    expect([answer.status, answer.headers.get("www-authenticate")]).toEqual([
      403,
      expect.stringContaining('error="insufficient_user_authentication", max_age="300"'),
    ]);
    const admin = await self.admin();
    const json = { allowed_ips: ["192.0.2.0/24"] };
    await self.call(`/agents/${agent.id}`, { method: "PATCH", token: admin.token, json });
    const elsewhere = await self.call(`/agents/${agent.id}`, { token: agent.token, ip: "198.51.100.1" });
    expect([elsewhere.body.code, elsewhere.headers.get("www-authenticate")]).toEqual([
      "address_not_allowed",
      `Bearer realm="agentauth", resource_metadata="${METADATA}"`,
    ]);
  });
});
