import { env } from "cloudflare:workers";
import { base64url, decodeJwt } from "jose";
import { afterEach, describe, expect, it, vi } from "vitest";
import { hmac } from "../../src/crypto/hmac.ts";
import { toHex } from "../../src/crypto/random.ts";
import { firstRefreshToken, nextRefreshToken, readRefreshToken } from "../../src/tokens/refresh-token.ts";
import { testEnv, world, type Answer, type Registered, type World } from "../support/world.ts";
import { SLOW, few } from "../support/extents.ts";

const unlimited = { limit: async () => ({ success: true }) };
const self = world({ RATE_FREE: unlimited, RATE_ADDRESS: unlimited });
afterEach(() => void vi.useRealTimers());

const refresh = (token: string, where: World = self): Promise<Answer> =>
  where.call("/agents/refresh", { method: "POST", json: { refresh_token: token } });
const verify = (agent: Pick<Registered, "id" | "apiKey">, more: object = {}, where: World = self): Promise<Answer> =>
  where.call("/agents/verify", { method: "POST", json: { agent_id: agent.id, api_key: agent.apiKey, ...more } });
const later = (seconds: number) => vi.setSystemTime(Date.now() + seconds * 1000);
const rowOf = (id: string) =>
  self.env.DB.prepare("SELECT * FROM sessions WHERE id = ?1").bind(id).first<Record<string, never>>();
const sidOf = (token: string) => decodeJwt(token).sid as string;
const reads = async ({ id }: Pick<Registered, "id">, token: string) =>
  (await self.call(`/agents/${id}`, { token })).status;

describe("a session", () => {
  it("is one row, however often it is refreshed, and shows no token", async () => {
    const agent = await self.agent();
    const [first, ...rest] = [agent.refreshToken];
    const texts: string[] = [first!, ...rest];
    for (let n = 0; n < 5; n++) texts.push((await refresh(texts.at(-1)!)).body.token.refresh_token);
    const { results } = await self.env.DB.prepare("SELECT * FROM sessions WHERE agent_id = ?1").bind(agent.id).all();
    expect(results).toHaveLength(1);
    expect(results[0]).toMatchObject({ id: sidOf(agent.token), generation: 6, pepper_id: "1", ended_at: null });
    for (const text of texts) expect(JSON.stringify(results)).not.toContain(text.slice(-20));
    for (const table of ["refresh_families", "refresh_tokens"]) {
      expect(await self.env.DB.prepare(`SELECT count(*) AS n FROM ${table}`).first("n")).toBe(0);
    }
  });

  it("survives three lost answers in a row", SLOW, async () => {
    const { refreshToken } = await self.agent();
    const answers = [await refresh(refreshToken)];
    for (let n = 0; n < 3; n++) answers.push(await refresh(refreshToken));
    const [valid, ...others] = new Set(answers.map(({ body }) => body.token.refresh_token as string));
    expect(others).toEqual([]);
    expect((await refresh(valid!)).status).toBe(200);
  });

  it("gives 50 refreshes at once, by Workers of clocks 3 s apart, one successor that can be used", SLOW, async () => {
    const agent = await self.agent();
    const real = Date.now;
    let n = 0;
    const clock = vi.spyOn(Date, "now").mockImplementation(() => real() + ((n++ % 3) - 1) * 3000);
    const answers = await Promise.all(Array.from({ length: 50 }, () => refresh(agent.refreshToken)));
    clock.mockRestore();
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    const [valid, ...others] = new Set(answers.map(({ body }) => body.token.refresh_token as string));
    expect(others).toEqual([]);
    expect((await refresh(valid!)).status).toBe(200);
  });

  it(
    "is its own for each of 25 processes that share a key for an hour, lose answers, and start anew",
    SLOW,
    async () => {
      vi.useFakeTimers({ toFake: ["Date"] });
      const agent = await self.agent();
      const start = async () => (await verify(agent, { expires_in: 300 })).body.token as Answer["body"];
      const processes = await Promise.all(Array.from({ length: 25 }, start));
      const ids = new Set(processes.map(({ access_token }) => sidOf(access_token)));
      expect(ids.size).toBe(25);
      for (let minute = 4; minute <= 60; minute += 4) {
        later(240);
        await Promise.all(
          processes.map(async (token, index) => {
            // Every fifth does not get its first answer, and one of them has been started anew.
            if ((index + minute) % 5 === 0) await refresh(token.refresh_token);
            processes[index] = index === 7 ? await start() : (await refresh(token.refresh_token)).body.token;
          }),
        );
        const answers = await Promise.all(processes.map(({ access_token }) => reads(agent, access_token)));
        expect(new Set(answers)).toEqual(new Set([200]));
      }
      const { results } = await self.env.DB.prepare("SELECT ended_at FROM sessions WHERE agent_id = ?1")
        .bind(agent.id)
        .all();
      // One more is that by which the agent was made, and 15 are those of the process that was started again and again.
      expect(results).toHaveLength(25 + 1 + 15);
      expect(results.every(({ ended_at }) => ended_at === null)).toBe(true);
    },
  );

  it("ends for any generation that is older than the grace covers, and for nothing else", async () => {
    const agent = await self.agent();
    const texts = [agent.refreshToken];
    for (let n = 0; n < 3; n++) texts.push((await refresh(texts.at(-1)!)).body.token.refresh_token);
    // Two generations back, within the grace of both rotations.
    expect((await refresh(texts[1]!)).body.token.refresh_token).toBe(texts[3]);
    expect((await refresh(texts[0]!)).body.code).toBe("refresh_token_reused");
    expect((await refresh(texts[3]!)).body.code).toBe("session_ended");
    expect(await reads(agent, agent.token)).toBe(401);
  });

  it("is not touched by who knows its id: a token without our MAC asks no database", SLOW, async () => {
    const agent = await self.agent();
    const second = (await refresh(agent.refreshToken)).body.token.refresh_token as string;
    await refresh(second);
    const before = await rowOf(sidOf(agent.token));
    const bytes = base64url.decode(agent.refreshToken.slice(3));
    const forgeries = Array.from({ length: bytes.length }, (_, at) => {
      const forged = Uint8Array.from(bytes);
      forged[at]! ^= 1;
      return `rt_${base64url.encode(forged)}`;
    });
    const blind = world({ DB: { prepare: () => expect.unreachable("the database is asked") } });
    const foreign = await firstRefreshToken(sidOf(agent.token), { id: "1", secret: "x".repeat(32) });
    for (const forged of [...forgeries, foreign.text, `${agent.refreshToken}A`, agent.refreshToken.slice(0, -1)]) {
      expect((await refresh(forged, blind)).body.code).toBe("invalid_refresh_token");
    }
    expect(await rowOf(sidOf(agent.token))).toEqual(before);
  });

  it("writes nothing for a generation that a restored database has not heard of", async () => {
    const agent = await self.agent();
    const before = await rowOf(sidOf(agent.token));
    const second = (await refresh(agent.refreshToken)).body.token.refresh_token as string;
    const third = (await refresh(second)).body.token.refresh_token as string;
    const columns = Object.keys(before!).filter((name) => name !== "id");
    await self.env.DB.prepare(
      `UPDATE sessions SET ${columns.map((name, n) => `${name} = ?${n + 2}`).join()} WHERE id = ?1`,
    )
      .bind(before!.id, ...columns.map((name) => before![name]))
      .run();
    expect((await refresh(third)).body.code).toBe("invalid_refresh_token");
    expect(await rowOf(sidOf(agent.token))).toEqual(before);
    // The generation that the backup has goes on, and the one that the client had by then is the same again.
    expect((await refresh(agent.refreshToken)).body.token.refresh_token).toBe(second);
    expect((await refresh(second)).body.token.refresh_token).toBe(third);
  });
});

describe("the peppers", () => {
  const [old, fresh] = [
    { id: "1", secret: testEnv().SECRET_PEPPER },
    { id: "2026-b", secret: "fresh-pepper-0123456789-0123456789-0123" },
  ];
  const limits = { RATE_FREE: unlimited, RATE_ADDRESS: unlimited };
  const rotated = world({ ...limits, SECRET_PEPPER: JSON.stringify({ keys: [fresh, old] }) });
  const retired = world({ ...limits, SECRET_PEPPER: JSON.stringify({ keys: [fresh] }) });
  const keyOf = (id: string) =>
    self.env.DB.prepare("SELECT hash, pepper_id, hint FROM api_keys WHERE agent_id = ?1")
      .bind(id)
      .first<Record<string, string>>();

  it("rotate without ending a session: answers that were lost on the way are derived under the peppers of their time", async () => {
    const agent = await self.agent();
    const second = (await refresh(agent.refreshToken)).body.token.refresh_token as string;
    const third = (await refresh(second, rotated)).body.token.refresh_token as string;
    expect(await rowOf(sidOf(agent.token))).toMatchObject({ pepper_id: "2026-b", previous_pepper_id: "1" });
    for (const text of [agent.refreshToken, second]) {
      expect((await refresh(text, rotated)).body.token.refresh_token).toBe(third);
    }
    const fourth = (await refresh(third, rotated)).body.token.refresh_token as string;
    expect((await refresh(fourth, retired)).status).toBe(200);
    // A Worker that has not heard of the new pepper refuses, and writes nothing.
    expect((await refresh(fourth)).body.code).toBe("invalid_refresh_token");
  });

  it("hash an API key anew with its next use, and then the old one can go", async () => {
    const agent = await self.agent();
    const before = await keyOf(agent.id);
    expect(before).toMatchObject({ pepper_id: "1", hint: agent.apiKey.slice(-4) });
    expect((await verify(agent, {}, retired)).status).toBe(401);
    expect((await verify(agent, {}, rotated)).status).toBe(200);
    const after = await keyOf(agent.id);
    expect(after).toMatchObject({ pepper_id: "2026-b" });
    expect(after!.hash).not.toBe(before!.hash);
    expect((await verify(agent, {}, retired)).status).toBe(200);
    expect((await verify(agent)).status).toBe(401);
  });

  it("complete a key of a former version, and leave it alone from then on", async () => {
    const agent = await self.agent();
    await self.env.DB.prepare("UPDATE api_keys SET pepper_id = NULL, hint = '' WHERE agent_id = ?1")
      .bind(agent.id)
      .run();
    expect((await verify(agent)).status).toBe(200);
    expect(await keyOf(agent.id)).toMatchObject({ pepper_id: "1", hint: agent.apiKey.slice(-4) });
  });
});

describe("more sessions than SESSIONS_PER_AGENT", () => {
  const capped = world({ RATE_FREE: unlimited, SESSIONS_PER_AGENT: "2" });
  const eventsOf = async (id: string) =>
    (
      await self.env.DB.prepare("SELECT data FROM events WHERE agent_id = ?1 AND event = 'session.limit_reached'")
        .bind(id)
        .all<{ data: string }>()
    ).results.map(({ data }) => JSON.parse(data));

  it("take the refresh token, and nothing else, from the one used least recently; told once", SLOW, async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const agent = await capped.agent();
    later(1);
    const second = (await verify(agent, {}, capped)).body.token;
    later(1);
    const again = (await refresh(agent.refreshToken, capped)).body.token;
    expect(await eventsOf(agent.id)).toEqual([]);
    later(1);
    const third = (await verify(agent, {}, capped)).body.token;
    // The second was used least recently: the first has been refreshed since.
    expect((await refresh(second.refresh_token, capped)).body.code).toBe("refresh_token_expired");
    expect(await reads(agent, second.access_token)).toBe(200);
    expect(await eventsOf(agent.id)).toEqual([
      { agent_id: agent.id, limit: 2, reached_at: new Date().toISOString(), ip_address: expect.any(String) },
    ]);
    for (let n = 0; n < 3; n++) {
      later(60);
      await verify(agent, {}, capped);
    }
    expect(await eventsOf(agent.id)).toHaveLength(1);
    for (const token of [again, third]) {
      expect((await refresh(token.refresh_token, capped)).status).toBe(401);
      expect(await reads(agent, token.access_token)).toBe(200);
    }
  });

  it("are not sessions that a revocation has ended: these make room", SLOW, async () => {
    const agent = await capped.agent();
    let { token } = agent;
    const alive: string[] = [];
    for (let n = 0; n < 6; n++) {
      await capped.call("/agents/revoke-tokens", { method: "POST", token });
      const opened = (await verify(agent, {}, capped)).body.token;
      token = opened.access_token;
      alive.push(opened.refresh_token);
    }
    expect((await refresh(alive.at(-1)!, capped)).status).toBe(200);
    expect(await eventsOf(agent.id)).toEqual([]);
    const { results } = await self.env.DB.prepare(
      "SELECT expires_at FROM sessions WHERE agent_id = ?1 ORDER BY created_at",
    )
      .bind(agent.id)
      .all<{ expires_at: number }>();
    // The sweep takes them an hour later, and not after a month.
    expect(results.filter(({ expires_at }) => expires_at > Date.now())).toHaveLength(1);
  });
});

describe("a narrower and shorter token", () => {
  const scopeOf = (token: string) => decodeJwt(token).scope;

  few(2).each<[string, unknown, string]>([
    ["a list", ["lab:things:read"], "lab:things:read"],
    ["a text", "lab:notes:read  lab:things:read", "lab:notes:read lab:things:read"],
    ["one that a wildcard covers", ["lab:things:write"], "lab:things:write"],
    ["twice the same", ["lab:things:read", "lab:things:read"], "lab:things:read"],
  ])("is given by %s, and stays as narrow when it is refreshed", async (_, scope, granted) => {
    const agent = await self.agent(["lab:things:*", "lab:notes:read"]);
    const { body } = await verify(agent, { scope, expires_in: 60 });
    expect(body.token.expires_in).toBe(60);
    const next = (await refresh(body.token.refresh_token)).body.token;
    for (const { access_token: token, expires_in } of [body.token, next]) {
      expect(scopeOf(token)).toBe(granted);
      const { iat, exp } = decodeJwt(token);
      expect([exp! - iat!, expires_in]).toEqual([60, 60]);
    }
  });

  few(3).each<[string, object, string]>([
    ["what the agent does not have", { scope: ["lab:notes:write"] }, "scope"],
    ["all of a resource, of which it has a part", { scope: ["lab:notes:*"] }, "scope"],
    ["everything", { scope: "*:*:*" }, "scope"],
    ["what nobody can have", { scope: ["lab:nothing:read"] }, "scope"],
    ["a longer life", { expires_in: 3601 }, "expires_in"],
  ])("is not given for %s, and opens no session", async (_, more, field) => {
    const agent = await self.agent(["lab:things:*", "lab:notes:read"]);
    const count = () =>
      self.env.DB.prepare("SELECT count(*) AS n FROM sessions WHERE agent_id = ?1").bind(agent.id).first("n");
    const { status, body } = await verify(agent, more);
    expect([status, body.code, body.details[0].field]).toEqual([400, "invalid_scope", field]);
    expect(await count()).toBe(1);
    // Whoever does not have the key learns nothing of what the agent has.
    if (field === "scope") {
      const stranger = await verify({ id: agent.id, apiKey: "ak_x" }, more);
      expect([401, 400]).toContain(stranger.status);
      expect(JSON.stringify(stranger.body)).not.toContain("not granted to the agent");
    }
  });

  it("loses what its agent loses meanwhile, and gains nothing", SLOW, async () => {
    const [agent, admin] = [await self.agent(["lab:things:read", "lab:notes:read"]), await self.admin()];
    const { body } = await verify(agent, { scope: ["lab:things:read"] });
    const put = (permissions: string[]) =>
      self.call(`/agents/${agent.id}/permissions`, { method: "PUT", token: admin.token, json: { permissions } });
    await put(["lab:*:*"]);
    const wider = (await refresh(body.token.refresh_token)).body.token;
    expect(scopeOf(wider.access_token)).toBe("lab:things:read");
    await put(["lab:notes:read"]);
    expect(scopeOf((await refresh(wider.refresh_token)).body.token.access_token)).toBe("");
  });

  few(2).each([[{ scope: [] }], [{ scope: " " }], [{ scope: 7 }], [{ expires_in: 0 }], [{ expires_in: "60" }]])(
    "is 400 for %j",
    async (more) => {
      expect((await verify(await self.agent(), more)).status).toBe(400);
    },
  );
});

describe("a session of the former format", () => {
  const pepper = testEnv().SECRET_PEPPER;
  const derive = async (text: string) => {
    const mac = await hmac(pepper, "refresh-token", text, "SHA-512");
    return { hash: toHex(mac.subarray(0, 32)), successor: `rt_${base64url.encode(mac.subarray(32))}` };
  };
  /** As a Worker of the former version opened it, an hour ago. */
  async function open(): Promise<{ agent: Registered; id: string; text: string }> {
    const agent = await self.agent();
    const id = `fam_${agent.id.slice(4)}`;
    const text = `rt_${base64url.encode(crypto.getRandomValues(new Uint8Array(32)))}`;
    await self.env.DB.batch([
      self.env.DB.prepare("DELETE FROM sessions WHERE agent_id = ?1").bind(agent.id),
      self.env.DB.prepare(
        "INSERT INTO refresh_families (id, agent_id, issued_at, expires_at) VALUES (?1, ?2, ?3, ?4)",
      ).bind(id, agent.id, Math.floor(Date.now() / 1000) - 3600, Date.now() + 1e9),
      insertToken(id, (await derive(text)).hash, null),
    ]);
    return { agent, id, text };
  }
  const insertToken = (family: string, hash: string, usedAt: number | null) =>
    self.env.DB.prepare(
      "INSERT INTO refresh_tokens (hash, family_id, expires_at, used_at) VALUES (?1, ?2, ?3, ?4)",
    ).bind(hash, family, Date.now() + 1e8, usedAt);
  const rows = async () =>
    await self.env.DB.prepare(
      "SELECT (SELECT count(*) FROM refresh_tokens) + (SELECT count(*) FROM refresh_families) AS n",
    ).first("n");

  it("is converted by its next refresh, keeps its id, and writes no row of the former format", async () => {
    const { agent, id, text } = await open();
    const before = await rows();
    const { status, body } = await refresh(text);
    expect(status).toBe(200);
    expect(body.token.refresh_token).toMatch(/^rt_[\w-]{100,150}$/);
    const claims = decodeJwt(body.token.access_token);
    expect(claims).toMatchObject({ sid: id, ver: 1 });
    expect(claims.iat! - (claims.auth_time as number)).toBeGreaterThanOrEqual(3599);
    expect(await reads(agent, body.token.access_token)).toBe(200);
    const next = await refresh(body.token.refresh_token);
    expect(sidOf(next.body.token.access_token)).toBe(id);
    expect(await rows()).toBe(before);
    expect(await rowOf(id)).toMatchObject({ generation: 2, key_id: null });
  });

  it(
    "gives 20 refreshes at once one successor, also when that has been used, and ends for a later use",
    SLOW,
    async () => {
      vi.useFakeTimers({ toFake: ["Date"] });
      const { id, text } = await open();
      const answers = await Promise.all(Array.from({ length: 20 }, () => refresh(text)));
      const [valid, ...others] = new Set(answers.map(({ body }) => body.token.refresh_token as string));
      expect(others).toEqual([]);
      const next = (await refresh(valid!)).body.token.refresh_token;
      expect((await refresh(text)).body.token.refresh_token).toBe(next);
      later(11);
      expect((await refresh(text)).body.code).toBe("refresh_token_reused");
      expect((await refresh(next)).body.code).toBe("session_ended");
      expect(await rowOf(id)).toMatchObject({ ended_at: expect.any(Number) });
      const { results } = await self.env.DB.prepare(
        "SELECT event FROM events WHERE event = 'token.reuse_detected' AND agent_id = (SELECT agent_id FROM sessions WHERE id = ?1)",
      )
        .bind(id)
        .all();
      expect(results).toHaveLength(1);
    },
  );

  it("that a Worker of the former version has rotated a moment ago gets that successor again, which then converts it", async () => {
    const { id, text } = await open();
    const { hash, successor } = await derive(text);
    await self.env.DB.batch([
      self.env.DB.prepare("UPDATE refresh_tokens SET used_at = ?2 WHERE hash = ?1").bind(hash, Date.now()),
      insertToken(id, (await derive(successor)).hash, null),
    ]);
    expect((await refresh(text)).body.token.refresh_token).toBe(successor);
    expect(await rowOf(id)).toBeNull();
    expect((await refresh(successor)).status).toBe(200);
    expect(await rowOf(id)).toMatchObject({ generation: 1 });
  });

  it("ends with its agent's tokens, by a Worker of either version", SLOW, async () => {
    for (const change of ["token_version = token_version + 1, not_before = 9999999999", "not_before = 9999999999"]) {
      const { agent, text } = await open();
      await self.env.DB.prepare(`UPDATE agents SET ${change} WHERE id = ?1`).bind(agent.id).run();
      expect((await refresh(text)).body.code).toBe("session_ended");
    }
  });

  few(2).each([
    ["whose session was ended", "UPDATE refresh_families SET revoked_at = 1 WHERE agent_id = ?1", "session_ended"],
    ["of an agent that is suspended", "UPDATE agents SET status = 'suspended' WHERE id = ?1", "session_ended"],
    ["of an agent whose tokens must be bound", "UPDATE agents SET dpop_required = 1 WHERE id = ?1", "session_ended"],
    [
      "from another address than the agent's",
      `UPDATE agents SET allowed_ips = '["192.0.2.0/24"]' WHERE id = ?1`,
      "address_not_allowed",
    ],
    [
      "that was not used for its life",
      "UPDATE refresh_tokens SET expires_at = 1 WHERE family_id IN (SELECT id FROM refresh_families WHERE agent_id = ?1)",
      "refresh_token_expired",
    ],
    [
      "at the end of its session",
      "UPDATE refresh_families SET expires_at = 1 WHERE agent_id = ?1",
      "refresh_token_expired",
    ],
  ])("is not converted by a token %s, which stays as it is", async (_, change, code) => {
    const { agent, id, text } = await open();
    const { hash } = await derive(text);
    await self.env.DB.prepare(change).bind(agent.id).run();
    expect((await refresh(text)).body.code).toBe(code);
    expect(await rowOf(id)).toBeNull();
    const usedAt = self.env.DB.prepare("SELECT used_at FROM refresh_tokens WHERE hash = ?1").bind(hash);
    expect(await usedAt.first("used_at")).toBeNull();
  });

  it("is converted by its present token only, and not by an older one that was used a moment ago", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const { id, text } = await open();
    const { hash, successor } = await derive(text);
    const second = await derive(successor);
    await self.env.DB.batch([
      self.env.DB.prepare("UPDATE refresh_tokens SET used_at = ?2 WHERE hash = ?1").bind(hash, Date.now() - 4000),
      insertToken(id, second.hash, null),
    ]);
    expect((await refresh(successor)).status).toBe(200);
    const { generation, hash: present } = (await rowOf(id)) as unknown as { generation: number; hash: string };
    // Its successor of the former format was used since: which token the session has now, cannot be derived from this one.
    expect((await refresh(text)).body.code).toBe("invalid_refresh_token");
    expect(await rowOf(id)).toMatchObject({ generation, hash: present, ended_at: null });
  });

  it("ends for its token that is used again after the grace, and no other session with it", SLOW, async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const [{ agent, id, text }, other] = [await open(), await open()];
    const { refresh_token: next } = (await refresh(text)).body.token;
    const otherNext = (await refresh(other.text)).body.token.refresh_token;
    later(10);
    // At the end of the grace, the answer is the same again.
    expect((await refresh(text)).body.token.refresh_token).toBe(next);
    later(0.001);
    expect((await refresh(text)).body.code).toBe("refresh_token_reused");
    expect((await refresh(next)).body.code).toBe("session_ended");
    expect(await rowOf(id)).toMatchObject({ ended_at: Date.now() });
    expect(await rowOf(other.id)).toMatchObject({ ended_at: null });
    expect((await refresh(otherNext)).status).toBe(200);
    const records = await self.records(agent.id);
    expect(records.filter(({ action }) => action === "token.reuse_detected")).toHaveLength(1);
    // Who has converted it is its agent.
    const refreshed = records.filter(({ action }) => action === "token.refreshed").map(({ actor }) => actor?.id);
    expect(refreshed).toEqual([agent.id]);
  });

  it("is not converted by an older token where none is left that was not used", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const { id, text } = await open();
    const { hash, successor } = await derive(text);
    await self.env.DB.batch([
      self.env.DB.prepare("UPDATE refresh_tokens SET used_at = ?2 WHERE hash = ?1").bind(hash, Date.now() - 4000),
      insertToken(id, (await derive(successor)).hash, Date.now() - 1000),
    ]);
    await refresh(text);
    expect(await rowOf(id)).toBeNull();
  });
});

describe("a refresh token", () => {
  const pepper = { id: "p".repeat(32), secret: "s".repeat(32) };

  it("is none without our MAC over all of it, or with ids and a length that no token of ours has", async () => {
    const own = { id: "1", secret: "p".repeat(32) };
    const encoder = new TextEncoder();
    /** With a MAC of ours, whatever the bytes say. */
    const made = async (body: readonly number[]): Promise<string> => {
      const mac = await hmac(own.secret, "session-token-mac", base64url.encode(Uint8Array.from(body)));
      return `rt_${base64url.encode(Uint8Array.from([...body, ...mac.subarray(0, 16)]))}`;
    };
    const id = (text: string) => [text.length, ...encoder.encode(text)];
    const end = [0, 0, 0, 1, ...Array<number>(32).fill(7)];
    const reads = async (text: string) => (await readRefreshToken(text, [own]))?.sessionId;
    for (const session of ["ses_a", "s".repeat(64)]) {
      expect(await reads(await made([1, ...id("1"), ...id(session), ...end]))).toBe(session);
    }
    const good = await made([1, ...id("1"), ...id("ses_abcdefghijkl"), ...end]);
    expect(await reads(`ak_${good.slice(3)}`)).toBeUndefined();
    const bytes = base64url.decode(good.slice(3));
    for (const at of bytes.keys()) {
      const changed = bytes.with(at, bytes[at]! ^ 1);
      expect([at, await reads(`rt_${base64url.encode(changed)}`)]).toEqual([at, undefined]);
    }
    for (const body of [
      [2, ...id("1"), ...id("ses_a"), ...end],
      [1, ...id("2"), ...id("ses_a"), ...end],
      [1, ...id(""), ...id("ses_a"), ...end],
      [1, ...id("1"), ...id(""), ...end, 0, 0, 0],
      [1, ...id("1"), ...id("s".repeat(65)), ...end],
      [1, ...id("1"), ...id("ses a"), ...end],
      [1, ...id("1"), ...id("ses_a"), ...end, 0],
      [1, ...id("1"), ...id("ses_abc"), ...end.slice(1)],
    ]) {
      expect([body, await reads(await made(body))]).toEqual([body, undefined]);
    }
  });

  it("says who it is, and is read in one spelling only", async () => {
    const first = await firstRefreshToken("ses_0123456789abcdefghijABCD", pepper);
    const second = await nextRefreshToken(first, pepper);
    expect(second).toMatchObject({ sessionId: first.sessionId, generation: 2, pepperId: pepper.id });
    expect(await readRefreshToken(second.text, [pepper])).toEqual(second);
    expect(second).toEqual(await nextRefreshToken(first, pepper));
    expect(second.text.length).toBeLessThan(256);
    for (const text of [`${second.text}=`, ` ${second.text}`, second.text.toLowerCase(), "rt_", ""]) {
      expect(await readRefreshToken(text, [pepper])).toBeUndefined();
    }
    expect(await readRefreshToken(second.text, [{ ...pepper, id: "q" }])).toBeUndefined();
  });
});

describe("an agent with very many sessions", () => {
  it("is deleted in bounded steps, and nothing of it is left", SLOW, async () => {
    const [agent, admin] = [await self.agent(), await self.admin()];
    const many = `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)`;
    await self.env.DB.batch([
      self.env.DB.prepare(
        `${many} INSERT INTO sessions (id, agent_id, token_version, generation, hash, pepper_id, created_at, last_refreshed_at,
           expires_at, absolute_expires_at, auth_time, ip_address)
         SELECT 'ses_many_' || i, ?1, 1, 1, 'h', '1', 0, 0, 9e15, 9e15, 0, '' FROM n`,
      ).bind(agent.id),
      self.env.DB.prepare(
        `${many} INSERT INTO refresh_families (id, agent_id, issued_at, expires_at) SELECT 'fam_many_' || i, ?1, 0, 9e15 FROM n`,
      ).bind(agent.id),
      self.env.DB.prepare(
        `${many} INSERT INTO refresh_tokens (hash, family_id, expires_at) SELECT 'many_' || i, 'fam_many_' || i, 9e15 FROM n`,
      ),
    ]);
    const written: number[] = [];
    const counting = {
      prepare: (text: string) => self.env.DB.prepare(text),
      async batch(statements: D1PreparedStatement[]) {
        const results = await self.env.DB.batch(statements);
        written.push(...results.map(({ meta }) => meta.rows_written));
        return results;
      },
    };
    const { status } = await world({ DB: counting }).call(`/agents/${agent.id}`, {
      method: "DELETE",
      token: admin.token,
    });
    expect(status).toBe(200);
    // A row of sessions has two indexes, and one of families or tokens as well.
    expect(Math.max(...written)).toBeLessThanOrEqual(3 * 2000 * 2);
    expect(written.length).toBeGreaterThan(6);
    for (const table of ["sessions", "refresh_families"]) {
      expect(
        await env.DB.prepare(`SELECT count(*) AS n FROM ${table} WHERE agent_id = ?1`).bind(agent.id).first("n"),
      ).toBe(0);
    }
    expect(await env.DB.prepare("SELECT count(*) AS n FROM refresh_tokens WHERE hash LIKE 'many_%'").first("n")).toBe(
      0,
    );
    const told = await env.DB.prepare(
      "SELECT count(*) AS n FROM events WHERE agent_id = ?1 AND event = 'agent.deleted'",
    )
      .bind(agent.id)
      .first("n");
    expect(told).toBe(1);
  });
});
