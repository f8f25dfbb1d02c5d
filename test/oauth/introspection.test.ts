import { decodeJwt } from "jose";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { failing } from "../support/bindings.ts";
import { world, type Registered, type World } from "../support/world.ts";
import { assertion, asserted, basic, ISSUER, post, registerKey, secretOf, token } from "./clients.ts";
import { SLOW } from "../support/extents.ts";

const self = world({ RATE_FREE: { limit: async () => ({ success: true }) } });
const GRANT = { grant_type: "client_credentials" };
let admin: Registered;
let server: Registered;
let agent: Registered;
beforeAll(async () => {
  admin = await self.admin();
  server = await self.agent(["agentauth:tokens:introspect"]);
  agent = await self.agent(["lab:things:read", "lab:notes:read"]);
});
afterEach(() => void vi.useRealTimers());

const introspect = (by: Registered, text: string, where: World = self) =>
  post(where, "/oauth/introspect", { ...secretOf(by), token: text });
const isActive = async (text: string, by = admin) => (await introspect(by, text)).body.active as boolean;
const revoke = (by: Registered, text: string, more: Record<string, string> = {}) =>
  post(self, "/oauth/revoke", { ...secretOf(by), token: text, ...more });
const issue = async (who: Registered, more: Record<string, string> = {}) =>
  (await token(self, { ...GRANT, ...secretOf(who), ...more })).body.access_token as string;

describe("introspection", () => {
  it("tells a resource server what a token gives now, by the database's word, and lets no cache keep it", async () => {
    const text = await issue(agent);
    const { status, headers, body } = await introspect(server, text);
    const claims = decodeJwt(text);
    expect([status, headers.get("cache-control")]).toEqual([200, "no-store"]);
    expect(body).toEqual({
      active: true,
      scope: "lab:notes:read lab:things:read",
      client_id: agent.id,
      sub: agent.id,
      iss: ISSUER,
      aud: ISSUER,
      token_type: "Bearer",
      iat: claims.iat,
      exp: claims.exp,
      auth_time: claims.auth_time,
      jti: claims.jti,
    });
    await self.call(`/agents/${agent.id}/permissions`, {
      method: "PUT",
      token: admin.token,
      json: { permissions: ["lab:things:read"] },
    });
    expect((await introspect(server, text)).body.scope).toBe("lab:things:read");
  });

  it("is false at once for what was ended, has expired, or was never a token", SLOW, async () => {
    const one = await self.agent();
    const [text, session] = [await issue(one), one.token];
    const active = async () => [
      await isActive(text, server),
      await isActive(session, server),
      await isActive(one.refreshToken),
    ];
    expect(await active()).toEqual([true, true, true]);
    await self.call("/agents/revoke-tokens", { method: "POST", token: one.token });
    expect(await active()).toEqual([false, false, false]);
    for (const odd of ["garbage", "rt_guess", `${text}x`, one.apiKey]) {
      expect((await introspect(admin, odd)).body).toEqual({ active: false });
    }
    const fresh = await issue(one);
    vi.useFakeTimers({ toFake: ["Date"] });
    vi.setSystemTime(Date.now() + 3_601_000);
    expect((await introspect(admin, fresh)).body).toEqual({ active: false });
  });

  it(
    "tells of a token for one service, and of a refresh token, to its client and to administrators only",
    SLOW,
    async () => {
      const narrow = await issue(agent, { resource: `${ISSUER}/proxy/lab` });
      expect(await isActive(narrow, server)).toBe(false);
      expect((await introspect(admin, narrow)).body).toMatchObject({ active: true, aud: [`${ISSUER}/proxy/lab`] });
      const own = await issue(server, { resource: `${ISSUER}/proxy/lab` });
      expect(await isActive(own, server)).toBe(true);
      expect(await isActive(agent.refreshToken, server)).toBe(false);
      expect((await introspect(server, server.refreshToken)).body).toMatchObject({ active: true, sub: server.id });
      const refreshed = await self.call("/agents/refresh", {
        method: "POST",
        json: { refresh_token: agent.refreshToken },
      });
      expect(await isActive(agent.refreshToken)).toBe(false);
      expect(await isActive(refreshed.body.token.refresh_token)).toBe(true);
    },
  );

  it("needs the permission, which a client and an access token have alike", SLOW, async () => {
    const text = await issue(agent);
    const refused = await introspect(agent, text);
    expect([refused.status, refused.body.error]).toEqual([403, "insufficient_scope"]);
    const narrowed = await issue(admin, { scope: "lab:things:read" });
    const attempts: [Record<string, string>, number][] = [
      [{ authorization: `Bearer ${server.token}` }, 200],
      [{ authorization: `Bearer ${admin.token}` }, 200],
      [{ authorization: `Bearer ${agent.token}` }, 403],
      [{ authorization: `Bearer ${narrowed}` }, 403],
      [{ authorization: "Bearer garbage" }, 401],
      [basic(server.id, server.apiKey), 200],
      [{}, 401],
    ];
    for (const [headers, status] of attempts) {
      const answer = await post(self, "/oauth/introspect", { token: text }, { headers });
      expect([JSON.stringify(headers), answer.status]).toEqual([JSON.stringify(headers), status]);
      if (status !== 200) expect(answer.headers.get("www-authenticate")).toMatch(/^(Bearer|Basic) realm="agentauth"/);
    }
    const key = await registerKey(self, server);
    const byKey = { token: text, ...asserted(await assertion(server.id, key)) };
    expect((await post(self, "/oauth/introspect", byKey)).body.active).toBe(true);
    const both = await post(
      self,
      "/oauth/introspect",
      { token: text, ...secretOf(server) },
      {
        headers: { authorization: `Bearer ${server.token}` },
      },
    );
    expect([both.status, both.body.error]).toEqual([400, "invalid_request"]);
    expect((await post(self, "/oauth/introspect", secretOf(server))).body.error).toBe("invalid_request");
  });

  it("records who asks about, or would end, what is not theirs, and counts tokens that are revoked", SLOW, async () => {
    const [one, other] = [await self.agent(), await self.agent()];
    await introspect(one, other.token);
    await revoke(one, other.token);
    const refused = (await self.records(one.id)).filter(({ action }) => action === "request.refused");
    expect(refused.map(({ path, status, permission, message }) => [path, status, permission, message])).toEqual([
      ["/oauth/revoke", 400, null, "unauthorized_client"],
      ["/oauth/introspect", 403, "agentauth:tokens:introspect", "insufficient_scope"],
    ]);
    expect(refused[0]).toMatchObject({ outcome: "denied", method: "POST", actor: { type: "agent", id: one.id } });
    await self.call("/agents/revoke-tokens", { method: "POST", token: one.token });
    // The first refusal of an isolate is sent at once.
    const fresh = world();
    const headers = { authorization: `Bearer ${one.token}` };
    expect((await post(fresh, "/oauth/introspect", { token: other.token }, { headers })).status).toBe(401);
    const counted = fresh.sent.flatMap((message) => (message.kind === "refusals" ? message.refusals : []));
    expect(counted).toMatchObject([{ code: "token_revoked", agentId: one.id, entry: { path: "/oauth/introspect" } }]);
  });

  it("says that it does not know rather than that a token is invalid", async () => {
    const text = await issue(agent);
    const where = world({ DB: failing(self.env.DB) });
    const answer = await post(where, "/oauth/introspect", { ...secretOf(admin), token: text });
    expect([answer.status, answer.body.error]).toEqual([503, "temporarily_unavailable"]);
  });
});

describe("revocation", () => {
  it("ends a session by either of its tokens", async () => {
    for (const which of ["token", "refreshToken"] as const) {
      const one = await self.agent();
      const { status, body } = await revoke(one, one[which], { token_type_hint: "unknown_hint" });
      expect([status, body]).toEqual([200, {}]);
      expect((await self.call(`/agents/${one.id}`, { token: one.token })).body.code).toBe("token_revoked");
      const refreshed = await self.call("/agents/refresh", {
        method: "POST",
        json: { refresh_token: one.refreshToken },
      });
      expect(refreshed.body.code).toBe("session_ended");
      expect((await self.records(one.id)).some(({ action }) => action === "session.ended")).toBe(true);
    }
  });

  it("ends a token without a session, and no other of the same key", SLOW, async () => {
    const where = world({ STANDING_TTL_SECONDS: "5" });
    const [first, second] = [await issue(agent), await issue(agent)];
    const read = async (text: string) => (await where.call("/proxy/lab/things/1", { token: text })).status;
    expect([await read(first), await read(second)]).toEqual([200, 200]);
    expect((await revoke(agent, first)).status).toBe(200);
    vi.useFakeTimers({ toFake: ["Date"] });
    // The other token keeps what is cached of their key fresh, and the revoked one must not live on it.
    for (const seconds of [3, 3]) {
      vi.setSystemTime(Date.now() + seconds * 1000);
      expect(await read(second)).toBe(200);
    }
    expect(await read(first)).toBe(401);
    expect([await isActive(first), await isActive(second)]).toEqual([false, true]);
    expect((await self.call(`/agents/${agent.id}`, { token: second })).status).toBe(200);
  });

  it("of a token without a session is recorded once, with the change, whatever the queue does", async () => {
    const one = await self.agent();
    const text = await issue(one);
    const where = world({ ACTIVITY: failing(self.env.ACTIVITY) });
    const errors = vi.spyOn(console, "error").mockImplementation(() => {});
    const ended = () => post(where, "/oauth/revoke", { ...secretOf(one), token: text });
    const answers = await Promise.all([ended(), ended()]);
    await where.settled();
    errors.mockRestore();
    const { results } = await self.env.DB.prepare(
      "SELECT entry ->> 'message' AS message, entry ->> '$.actor.id' AS actor FROM audit_outbox WHERE agent_id = ?1 AND entry ->> 'action' = 'token.revoked'",
    )
      .bind(one.id)
      .all();
    expect(answers.map(({ status }) => status)).toEqual([200, 200]);
    const { jti } = decodeJwt(text);
    expect(results).toEqual([{ message: `token ${jti} revoked by ${one.id}`, actor: one.id }]);
  });

  it("is 200 for what is unknown, expired or revoked already", SLOW, async () => {
    const one = await self.agent();
    const text = await issue(one);
    for (const odd of ["garbage", "rt_guess", text, text]) expect((await revoke(one, odd)).status).toBe(200);
    expect((await revoke(one, "")).body.error).toBe("invalid_request");
  });

  it("is for the client of the token, and for administrators", SLOW, async () => {
    const one = await self.agent();
    for (const text of [one.token, one.refreshToken, await issue(one)]) {
      const refused = await revoke(agent, text);
      expect([refused.status, refused.body.error]).toEqual([400, "unauthorized_client"]);
      expect(await isActive(text)).toBe(true);
    }
    const bare = await post(self, "/oauth/revoke", { token: one.token });
    expect([bare.status, bare.body.error]).toEqual([401, "invalid_client"]);
    expect((await revoke(admin, one.token)).status).toBe(200);
    expect(await isActive(one.token)).toBe(false);
  });

  it("is done by the token itself", async () => {
    const text = await issue(agent);
    const headers = { authorization: `Bearer ${text}` };
    expect((await post(self, "/oauth/revoke", { token: text }, { headers })).status).toBe(200);
    expect((await post(self, "/oauth/revoke", { token: text }, { headers })).body.error).toBe("invalid_token");
  });
});

describe("the sweep", () => {
  it("deletes proofs and ended tokens once they have expired, and not before", async () => {
    const { sweepProofs } = await import("../../src/tokens/end-token.ts");
    const now = Date.now();
    const rows = () =>
      self.env.DB.prepare(
        "SELECT (SELECT count(*) FROM used_proofs) + (SELECT count(*) FROM ended_tokens) AS n",
      ).first<number>("n");
    await sweepProofs(self.env.DB, now - 3_600_000, 500);
    expect(await rows()).toBeGreaterThan(0);
    await sweepProofs(self.env.DB, now + 86_400_000, 500);
    expect(await rows()).toBe(0);
  });
});

it("reserves the name of AgentAuth's own permissions", async () => {
  const upstream = { base_url: "https://api.example.com", resources: { x: ["read"] }, rules: ["* /x x"] };
  const answer = await world({ "UPSTREAMS.agentauth": upstream }).call("/health");
  expect([answer.status, JSON.stringify(answer.body)]).toEqual([
    503,
    expect.stringContaining("AgentAuth's own permissions"),
  ]);
});
