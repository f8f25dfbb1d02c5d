import { expect } from "vitest";
import { admin, atLeast, call, exactly, isError, newAgent } from "./client.ts";
import type { Check, Endpoint } from "./contract.ts";

const FORM = { "content-type": "application/x-www-form-urlencoded" };
const post = (path: string, form: Record<string, string>) =>
  call("POST", path, { raw: new URLSearchParams(form).toString(), headers: FORM });

const metadata = async () => (await call("GET", "/.well-known/oauth-authorization-server")).body;

export const oauthEndpoints = {
  async "GET /.well-known/oauth-authorization-server"() {
    const answer = await call("GET", "/.well-known/oauth-authorization-server");
    atLeast(answer, 200, "issuer token_endpoint jwks_uri response_types_supported grant_types_supported");
    expect(answer.body.token_endpoint).toBe(`${answer.body.issuer}/oauth/token`);
  },

  async "GET /.well-known/oauth-protected-resource"() {
    const { issuer } = await metadata();
    const answer = await call("GET", "/.well-known/oauth-protected-resource");
    atLeast(answer, 200, "resource authorization_servers");
    expect(answer.body).toMatchObject({ resource: issuer, authorization_servers: [issuer] });
  },

  async "GET /.well-known/oauth-protected-resource/mcp"() {
    const answer = await call("GET", "/.well-known/oauth-protected-resource/mcp");
    atLeast(answer, 200, "resource authorization_servers bearer_methods_supported");
    expect(answer.body.resource).toBe(`${(await metadata()).issuer}/mcp`);
  },

  async "POST /mcp"() {
    const { token } = await newAgent();
    const headers = { "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/list" };
    const _meta = {
      "io.modelcontextprotocol/protocolVersion": "2026-07-28",
      "io.modelcontextprotocol/clientCapabilities": {},
    };
    const json = { jsonrpc: "2.0", id: 1, method: "tools/list", params: { _meta } };
    const answer = await call("POST", "/mcp", { token, headers, json });
    exactly(answer, 200, "jsonrpc id result");
    const names = answer.body.result.tools.map(({ name }: { name: string }) => name);
    expect(names).toEqual(expect.arrayContaining(["explain", "my_activity"]));
  },

  async "GET /.well-known/oauth-protected-resource/proxy/{service}"() {
    const { issuer } = await metadata();
    const answer = await call("GET", "/.well-known/oauth-protected-resource/proxy/github");
    expect(answer.body).toMatchObject({ resource: `${issuer}/proxy/github`, authorization_servers: [issuer] });
    expect((await call("GET", "/.well-known/oauth-protected-resource/proxy/nothing")).status).toBe(404);
  },

  async "GET /oauth/authorize"() {
    const answer = await call("GET", "/oauth/authorize?response_type=code");
    expect([answer.status, answer.body.error]).toEqual([400, "unsupported_response_type"]);
  },

  async "POST /oauth/token"() {
    const { id, apiKey } = await newAgent();
    const form = { grant_type: "client_credentials", client_id: id, client_secret: apiKey };
    const answer = await post("/oauth/token", form);
    atLeast(answer, 200, "access_token token_type expires_in scope");
    expect((await call("GET", `/agents/${id}`, { token: answer.body.access_token })).status).toBe(200);
    const refused = await post("/oauth/token", { ...form, client_secret: "wrong" });
    expect([refused.status, refused.body.error]).toEqual([401, "invalid_client"]);
    expect((await call("GET", "/oauth/token")).status).toBe(405);
  },

  async "POST /oauth/introspect"() {
    const { id, apiKey, token } = await newAgent();
    const introspect = (by: { id: string; apiKey: string }) =>
      post("/oauth/introspect", { client_id: by.id, client_secret: by.apiKey, token });
    expect((await introspect(admin)).body).toMatchObject({ active: true, sub: id, client_id: id });
    const refused = await introspect({ id, apiKey });
    expect([refused.status, refused.body.error]).toEqual([403, "insufficient_scope"]);
    await call("POST", "/agents/revoke-tokens", { token });
    expect((await introspect(admin)).body).toEqual({ active: false });
  },

  async "POST /oauth/device_authorization"() {
    const begun = await post("/oauth/device_authorization", { client_id: "agentauth-cli" });
    exactly(begun, 200, "device_code user_code verification_uri expires_in interval");
    const { device_code } = begun.body;
    const grant_type = "urn:ietf:params:oauth:grant-type:device_code";
    const waiting = await post("/oauth/token", { grant_type, device_code, client_id: "agentauth-cli" });
    expect([waiting.status, waiting.body.error]).toEqual([400, "authorization_pending"]);
  },

  async "POST /oauth/revoke"() {
    const { id, apiKey, token, refreshToken } = await newAgent();
    const revoke = (text: string) => post("/oauth/revoke", { client_id: id, client_secret: apiKey, token: text });
    for (const text of ["unknown", refreshToken]) {
      const answer = await revoke(text);
      expect([answer.status, answer.body]).toEqual([200, {}]);
    }
    isError(await call("GET", `/agents/${id}`, { token }), 401, "token_revoked");
  },
} satisfies Partial<Record<Endpoint, Check>>;
