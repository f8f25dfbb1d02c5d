import { createLocalJWKSet, jwtVerify } from "jose";
import { expect } from "vitest";
import { atLeast, call, exactly, isAgent, isError, isToken, newAgent } from "./client.ts";
import type { Check, Endpoint } from "./contract.ts";

const refresh = (refresh_token: unknown) => call("POST", "/agents/refresh", { json: { refresh_token } });

export const tokenEndpoints = {
  async "POST /agents/verify"() {
    const { id, apiKey } = await newAgent();
    const { apiKey: wrongKey } = await newAgent();
    const answer = await call("POST", "/agents/verify", { json: { agent_id: id, api_key: apiKey } });
    exactly(answer, 200, "success message agent token");
    isAgent(answer.body.agent);
    isToken(answer.body.token);
    const wrong = await call("POST", "/agents/verify", { json: { agent_id: id, api_key: wrongKey } });
    const unknown = await call("POST", "/agents/verify", {
      json: { agent_id: "agt_000000000000000000000000", api_key: apiKey },
    });
    for (const refused of [wrong, unknown]) {
      isError(refused, 401);
      expect({ ...refused.body, request_id: "" }).toEqual({ ...wrong.body, request_id: "" });
      expect(refused.body.error).toBe("Invalid credentials");
    }
    isError(await call("POST", "/agents/verify", { json: { agent_id: id } }), 400);
  },

  async "POST /agents/refresh"() {
    const { refreshToken } = await newAgent();
    const answer = await refresh(refreshToken);
    exactly(answer, 200, "success message token");
    isToken(answer.body.token);
    expect(answer.body.token.refresh_token).not.toBe(refreshToken);
    // A lost answer costs nobody the session.
    const replayed = await refresh(refreshToken);
    exactly(replayed, 200, "success message token");
    expect(replayed.body.token.refresh_token).toBe(answer.body.token.refresh_token);
    isError(await refresh(`rt_${"x".repeat(43)}`), 401);
    isError(await refresh(undefined), 400);
  },

  async "POST /agents/revoke-tokens"() {
    const { id, token, refreshToken, apiKey } = await newAgent();
    const answer = await call("POST", "/agents/revoke-tokens", { token });
    atLeast(answer, 200, "success message revoked_at");
    expect(Date.parse(answer.body.revoked_at)).toBeGreaterThan(0);
    isError(await call("GET", `/agents/${id}`, { token }), 401);
    isError(await refresh(refreshToken), 401);
    const again = await call("POST", "/agents/verify", { json: { agent_id: id, api_key: apiKey } });
    const fresh: string = again.body.token.access_token;
    expect((await call("GET", `/agents/${id}`, { token: fresh })).status).toBe(200);
  },

  async "GET /.well-known/jwks.json"() {
    const { id, token } = await newAgent();
    const answer = await call("GET", "/.well-known/jwks.json");
    exactly(answer, 200, "keys");
    expect(answer.headers.get("cache-control")).toContain("max-age=");
    for (const key of answer.body.keys) expect(Object.keys(key)).not.toContain("d");
    const { payload, protectedHeader } = await jwtVerify(token, createLocalJWKSet(answer.body), { typ: "at+jwt" });
    expect(payload).toMatchObject({ sub: id, client_id: id, scope: "github:issues:read", tier: "free" });
    for (const claim of ["iss", "aud", "iat", "exp", "jti"]) expect(payload).toHaveProperty(claim);
    expect(protectedHeader.kid).toEqual(expect.any(String));
  },
} satisfies Partial<Record<Endpoint, Check>>;
