import { calculateJwkThumbprint, decodeJwt, exportJWK, generateKeyPair, SignJWT } from "jose";
import { afterEach, describe, expect, it, vi } from "vitest";
import { WRONG_API_KEY } from "../support/secrets.ts";
import { world, type Answer, type World } from "../support/world.ts";
import { SLOW, few } from "../support/extents.ts";

const refresh = (where: World, token: unknown): Promise<Answer> =>
  where.call("/agents/refresh", { method: "POST", json: { refresh_token: token } });

const later = (seconds: number) => vi.setSystemTime(Date.now() + seconds * 1000);

afterEach(() => void vi.useRealTimers());

const DAY = 86_400;

describe("refresh", () => {
  it("gives the next pair, and only that", async () => {
    const self = world();
    await self.agent();
    const { id, token, refreshToken } = await self.agent();
    const { status, body } = await refresh(self, refreshToken);
    expect(status).toBe(200);
    expect(Object.keys(body).sort()).toEqual(["message", "success", "token"]);
    expect(Object.keys(body.token).sort()).toEqual(["access_token", "expires_in", "refresh_token", "token_type"]);
    expect(body.token.refresh_token).toMatch(/^rt_[\w-]{100,150}$/);
    expect(body.token.refresh_token).not.toBe(refreshToken);
    expect(body.token.access_token).not.toBe(token);
    expect((await self.call(`/agents/${id}`, { token: body.token.access_token })).status).toBe(200);
    const recorded = (await self.records(id)).filter(({ action }) => action === "token.refreshed");
    expect(recorded).toMatchObject([
      { message: "token refreshed", actor: { type: "agent", id }, sessionId: decodeJwt(token).sid },
    ]);
  });

  it("gives a token with what the agent holds at that time", SLOW, async () => {
    const self = world();
    const admin = await self.admin();
    const { id, refreshToken } = await self.agent(["lab:things:read"]);
    await self.call(`/agents/${id}/permissions`, {
      method: "PUT",
      token: admin.token,
      json: { permissions: ["lab:things:read", "lab:notes:read"] },
    });
    const { body } = await refresh(self, refreshToken);
    const answer = await self.call("/proxy/lab/things/1/notes", { token: body.token.access_token });
    expect(answer.status).toBe(200);
  });

  it("gives 50 concurrent refreshes of one token one successor", SLOW, async () => {
    const self = world();
    const { id, refreshToken } = await self.agent();
    const answers = await Promise.all(Array.from({ length: 50 }, () => refresh(self, refreshToken)));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect(new Set(answers.map(({ body }) => body.token.refresh_token)).size).toBe(1);
    const { results } = await self.env.DB.prepare("SELECT generation FROM sessions WHERE agent_id = ?1").bind(id).all();
    expect(results).toEqual([{ generation: 2 }]);
  });

  it("gives the valid token again within the grace, also once the successor was used: never one that is spent", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const self = world();
    const { refreshToken } = await self.agent();
    const first = await refresh(self, refreshToken);
    const second = await refresh(self, first.body.token.refresh_token);
    later(10);
    const again = await refresh(self, refreshToken);
    expect(again.status).toBe(200);
    expect(again.body.token.refresh_token).toBe(second.body.token.refresh_token);
  });

  few(3).each([
    [2000, 200],
    [2001, 401],
  ])(
    "takes a rotation that seems to lie %d ms ahead for recent, or not: %d, and ends no session for it",
    async (ahead, status) => {
      vi.useFakeTimers({ toFake: ["Date"] });
      const self = world();
      const { id, refreshToken } = await self.agent();
      const { body } = await refresh(self, refreshToken);
      await self.env.DB.prepare("UPDATE sessions SET rotated_at = rotated_at + ?2 WHERE agent_id = ?1")
        .bind(id, ahead)
        .run();
      expect((await refresh(self, refreshToken)).status).toBe(status);
      expect((await refresh(self, body.token.refresh_token)).status).toBe(200);
    },
  );

  it("does not lengthen the grace with each replay", SLOW, async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const self = world();
    const { refreshToken } = await self.agent();
    await refresh(self, refreshToken);
    later(6);
    expect((await refresh(self, refreshToken)).status).toBe(200);
    later(6);
    expect((await refresh(self, refreshToken)).body.code).toBe("refresh_token_reused");
  });

  it("ends the whole session for a token used again after the grace, and records it once", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const self = world();
    const { id, token, refreshToken } = await self.agent();
    const other = await self.call("/agents/verify", { method: "POST", json: { agent_id: id, api_key: WRONG_API_KEY } });
    expect(other.status).toBe(401);
    const hook = { url: "https://hooks.example.com/", events: ["token.reuse_detected"] };
    expect((await self.call("/webhooks", { method: "POST", token, json: hook })).status).toBe(201);
    const next = await refresh(self, refreshToken);
    later(11);
    const reused = await refresh(self, refreshToken);
    expect(reused.status).toBe(401);
    expect(reused.body).toMatchObject({ code: "refresh_token_reused", status: 401 });
    const ended = await refresh(self, next.body.token.refresh_token);
    expect(ended.body.code).toBe("session_ended");
    for (const access of [token, next.body.token.access_token]) {
      expect((await self.call(`/agents/${id}`, { token: access })).status).toBe(401);
    }
    await refresh(self, refreshToken);
    const { results } = await self.env.DB.prepare(
      "SELECT event, data FROM events WHERE agent_id = ? AND event = 'token.reuse_detected'",
    )
      .bind(id)
      .all<{ event: string; data: string }>();
    expect(results.map(({ event }) => event)).toEqual(["token.reuse_detected"]);
    expect(JSON.parse(results[0]!.data)).toEqual({
      agent_id: id,
      detected_at: new Date().toISOString(),
      ip_address: expect.any(String),
    });
    // Who used it again is not known: the agent, or a thief.
    const recorded = (await self.records(id)).filter(({ action }) => action === "token.reuse_detected");
    expect(recorded).toMatchObject([{ agentId: id, outcome: "denied", actor: null, sessionId: decodeJwt(token).sid }]);
  });

  it("leaves the agent's other sessions alone when one is ended", SLOW, async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const self = world();
    const { id, apiKey, refreshToken } = await self.agent();
    const other = await self.call("/agents/verify", { method: "POST", json: { agent_id: id, api_key: apiKey } });
    await refresh(self, refreshToken);
    later(11);
    await refresh(self, refreshToken);
    expect((await refresh(self, other.body.token.refresh_token)).status).toBe(200);
  });

  it("refuses a token that was not used for its life", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const self = world();
    const { refreshToken } = await self.agent();
    later(30 * DAY);
    const { status, body } = await refresh(self, refreshToken);
    expect(status).toBe(401);
    expect(body.code).toBe("refresh_token_expired");
  });

  it("ends a session after its absolute life, however often it was refreshed", SLOW, async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const self = world();
    let { refreshToken } = await self.agent();
    for (const days of [25, 25, 25, 14]) {
      later(days * DAY);
      const { status, body } = await refresh(self, refreshToken);
      expect(status).toBe(200);
      refreshToken = body.token.refresh_token;
    }
    later(DAY);
    const { status, body } = await refresh(self, refreshToken);
    expect(status).toBe(401);
    expect(body.code).toBe("refresh_token_expired");
  });

  it("refuses what is no refresh token of ours, and records nothing", async () => {
    const self = world();
    const { token, apiKey } = await self.agent();
    self.sent.length = 0;
    for (const guess of [
      "rt_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
      token.slice(0, 200),
      apiKey,
      "' OR 1=1 --",
    ]) {
      const { status, headers, body } = await refresh(self, guess);
      expect(status).toBe(401);
      expect(body.code).toBe("invalid_refresh_token");
      expect(headers.get("www-authenticate")).toMatch(/^Bearer /);
    }
    expect(self.entries).toEqual([]);
  });

  few(2).each([[undefined], [null], [7], [{}], [""], ["x".repeat(257)]])("gives 400 for %j", async (guess) => {
    expect((await refresh(world(), guess)).status).toBe(400);
  });

  it("is refused from an address that the agent, or the key of the session, may not be used from, and costs no token", async () => {
    const self = world();
    const { id, refreshToken } = await self.agent();
    const from = (ip: string, token: string) =>
      self.call("/agents/refresh", { method: "POST", json: { refresh_token: token }, ip });
    let token = refreshToken;
    for (const [table, key] of [
      ["agents", "id"],
      ["sessions", "agent_id"],
    ]) {
      const allow = (list: string | null) =>
        self.env.DB.prepare(`UPDATE ${table} SET allowed_ips = ?2 WHERE ${key} = ?1`).bind(id, list).run();
      await allow('["203.0.113.0/24"]');
      const refused = await from("203.0.114.1", token);
      expect([table, refused.status, refused.body.code]).toEqual([table, 403, "address_not_allowed"]);
      const { status, body } = await from("203.0.113.1", token);
      expect([table, status]).toEqual([table, 200]);
      token = body.token.refresh_token;
      await allow(null);
    }
  });

  it("of a session that is bound to a key needs a proof of that key, and is refused without costing the token", async () => {
    const self = world();
    const { id, refreshToken } = await self.agent();
    const newKey = async () => {
      const { publicKey, privateKey } = await generateKeyPair("ES256", { extractable: true });
      const jwk = await exportJWK(publicKey);
      const proof = () =>
        new SignJWT({ jti: crypto.randomUUID(), htm: "POST", htu: "https://auth.example.com/agents/refresh" })
          .setProtectedHeader({ typ: "dpop+jwt", alg: "ES256", jwk })
          .setIssuedAt()
          .sign(privateKey);
      return { jkt: await calculateJwkThumbprint(jwk), proof };
    };
    const [own, other] = [await newKey(), await newKey()];
    await self.env.DB.prepare("UPDATE sessions SET dpop_jkt = ?2 WHERE agent_id = ?1").bind(id, own.jkt).run();
    const by = async (headers: Record<string, string>) =>
      (await self.call("/agents/refresh", { method: "POST", json: { refresh_token: refreshToken }, headers })).status;
    expect([await by({}), await by({ dpop: await other.proof() }), await by({ dpop: await own.proof() })]).toEqual([
      401, 401, 200,
    ]);
  });

  it("gives no tokens with a database that does not answer", async () => {
    const self = world();
    const { refreshToken } = await self.agent();
    const failing = world({
      DB: {
        prepare: () => {
          throw new Error("D1_ERROR: no database");
        },
      },
    });
    const { status, body } = await refresh(failing, refreshToken);
    expect(status).toBeGreaterThanOrEqual(500);
    expect(body.token).toBeUndefined();
  });
});
