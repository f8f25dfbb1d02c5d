import { createLocalJWKSet, decodeProtectedHeader, jwtVerify } from "jose";
import { afterEach, describe, expect, it, vi } from "vitest";
import { WRONG_API_KEY } from "../support/secrets.ts";
import { world, type World } from "../support/world.ts";

const CHALLENGE =
  'Bearer realm="agentauth", resource_metadata="https://auth.example.com/.well-known/oauth-protected-resource"';

afterEach(() => void vi.useRealTimers());

const verify = (where: World, id: unknown, apiKey: unknown) =>
  where.call("/agents/verify", { method: "POST", json: { agent_id: id, api_key: apiKey } });

describe("verify", () => {
  it("answers with exactly the agent and its tokens", async () => {
    const self = world();
    const { id, apiKey } = await self.agent();
    const { status, body, headers } = await verify(self, id, apiKey);
    expect(status).toBe(200);
    expect(Object.keys(body).sort()).toEqual(["agent", "message", "success", "token"]);
    expect(Object.keys(body.token).sort()).toEqual(["access_token", "expires_in", "refresh_token", "token_type"]);
    expect(body.token).toMatchObject({ token_type: "Bearer", expires_in: 3600 });
    expect(headers.get("cache-control")).toBe("no-store");
  });

  it("gives a token that anybody can verify with the published keys", async () => {
    const self = world();
    const { id, token } = await self.agent(["lab:things:read", "github:issues:read"]);
    const keys = createLocalJWKSet((await self.call("/.well-known/jwks.json")).body);
    const { payload, protectedHeader } = await jwtVerify(token, keys, {
      issuer: "https://auth.example.com",
      audience: "https://auth.example.com",
      typ: "at+jwt",
      algorithms: ["ES256"],
    });
    expect(protectedHeader).toEqual({ alg: "ES256", typ: "at+jwt", kid: decodeProtectedHeader(token).kid });
    expect(payload).toMatchObject({
      sub: id,
      client_id: id,
      scope: "github:issues:read lab:things:read",
      tier: "free",
      jti: expect.stringMatching(/^\w{22}$/),
    });
    expect(payload.exp! - payload.iat!).toBe(3600);
  });

  it("fails with one body for an unknown agent, a wrong key and another agent's key", async () => {
    const self = world();
    const [agent, other] = [await self.agent(), await self.agent()];
    const bodies = [];
    for (const [id, key] of [
      ["agt_000000000000000000000000", agent.apiKey],
      [agent.id, WRONG_API_KEY],
      [agent.id, other.apiKey],
    ]) {
      const { status, headers, body } = await verify(self, id, key);
      expect([status, headers.get("www-authenticate")]).toEqual([401, CHALLENGE]);
      const { request_id, ...rest } = body;
      expect(request_id).toBeTruthy();
      bodies.push(rest);
    }
    for (const body of bodies) {
      expect(body).toEqual({
        error: "Invalid credentials",
        title: "Invalid credentials",
        message: bodies[0].message,
        status: 401,
        code: "invalid_credentials",
      });
    }
  });

  it("records a failure on an agent that exists, and sends an event", async () => {
    const self = world();
    const { id } = await self.agent();
    self.sent.length = 0;
    await self.call("/agents/verify", {
      method: "POST",
      json: { agent_id: id, api_key: WRONG_API_KEY },
      ip: "192.0.2.9",
    });
    const [record] = await self.records(id);
    expect(record).toMatchObject({
      action: "token.refused",
      agentId: id,
      actor: null,
      outcome: "denied",
      ipAddress: "192.0.2.9",
      message: "verification failed",
    });
    const event = await self.env.DB.prepare("SELECT data FROM events WHERE agent_id = ? AND event = ?")
      .bind(id, "agent.verification_failed")
      .first<string>("data");
    expect(JSON.parse(event!)).toEqual({ agent_id: id, failed_at: expect.any(String), ip_address: "192.0.2.9" });
    expect(JSON.stringify(record)).not.toContain(WRONG_API_KEY);
  });

  it.each([
    [undefined, "k"],
    ["a", undefined],
    [7, "k"],
    ["a", {}],
    ["", "k"],
    ["a", ""],
    ["a".repeat(129), "k"],
    ["a", "k".repeat(257)],
  ])("gives 400 for %j and %j", async (id, key) => {
    expect((await verify(world(), id, key)).status).toBe(400);
  });
});

describe("an access token", () => {
  it("ends with its lifetime, also while it is cached", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const self = world({ ACCESS_TOKEN_TTL_SECONDS: "100" });
    const { token } = await self.agent();
    const read = () => self.call("/proxy/lab/things/1", { token });
    expect((await read()).status).toBe(200);
    vi.setSystemTime(Date.now() + 98_000);
    expect((await read()).status).toBe(200);
    vi.setSystemTime(Date.now() + 2_000);
    expect((await read()).body.code).toBe("token_expired");
    expect((await read()).headers.get("www-authenticate")).toContain('error="invalid_token"');
  });
});
