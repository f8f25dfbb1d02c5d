import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { world, type Registered } from "../support/world.ts";
import { SLOW } from "../support/extents.ts";

const self = world({ STANDING_TTL_SECONDS: "0", RATE_FREE: { limit: async () => ({ success: true }) } });
let admin: Registered;
beforeAll(async () => {
  admin = await self.admin();
});
afterEach(() => void vi.useRealTimers());

type Init = { token?: string; json?: unknown; ip?: string };
const send = (method: string, path: string, { json, ...init }: Init = {}) =>
  self.call(path, { method, ...init, ...(json !== undefined && { json }) });
const list = ({ token }: { token: string }, id: string, query = "") =>
  send("GET", `/agents/${id}/sessions${query}`, { token });
const end = ({ token }: { token: string }, id: string, sessionId: string) =>
  send("DELETE", `/agents/${id}/sessions/${encodeURIComponent(sessionId)}`, { token });
const verify = async ({ id, apiKey }: Registered, more: object = {}, ip = "203.0.113.9") =>
  (await send("POST", "/agents/verify", { json: { agent_id: id, api_key: apiKey, ...more }, ip })).body.token;
const refresh = (refresh_token: string) => send("POST", "/agents/refresh", { json: { refresh_token } });
const ids = (body: { sessions: { id: string }[] }) => body.sessions.map(({ id }) => id);

describe("an agent's sessions", () => {
  it("are listed with what they may do and where they came from, newest first, page by page", SLOW, async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const agent = await self.agent(["lab:things:read", "lab:notes:read"]);
    const [key] = (await send("GET", `/agents/${agent.id}/keys`, { token: agent.token })).body.keys;
    vi.setSystemTime(Date.now() + 1000);
    const at = new Date().toISOString();
    await verify(agent, { scope: ["lab:things:read"] });
    const { status, body: whole } = await list(agent, agent.id);
    expect([status, whole.sessions.length, whole.next_cursor]).toEqual([200, 2, null]);
    expect(whole.sessions[0]).toEqual({
      id: expect.stringMatching(/^ses_/),
      key_id: key.id,
      created_at: at,
      last_refreshed_at: at,
      expires_at: new Date(Date.now() + 30 * 86_400_000).toISOString(),
      ip_address: "203.0.113.9",
      scope: ["lab:things:read"],
      dpop_jkt: null,
      act: null,
    });
    expect(whole.sessions[1].scope).toBeNull();
    for (let n = 0; n < 5; n++) await verify(agent);
    const all = ids((await list(admin, agent.id)).body);
    expect(all).toHaveLength(7);
    const paged: string[] = [];
    let cursor: string | null = "";
    while (cursor !== null) {
      const page: string = `?limit=3${cursor && `&cursor=${cursor}`}`;
      const { body } = await list(agent, agent.id, page);
      paged.push(...ids(body));
      cursor = body.next_cursor;
    }
    expect(paged).toEqual(all);
    expect((await send("GET", `/agents/${agent.id}`, { token: agent.token })).body.details.session_count).toBe(7);
    expect(JSON.stringify(whole)).not.toMatch(/rt_|hash|pepper/);
  });

  it("end one by one, and no other with them", SLOW, async () => {
    const agent = await self.agent();
    const opened = await verify(agent);
    const [session, first] = ids((await list(agent, agent.id)).body);
    expect((await end(agent, agent.id, session!)).status).toBe(200);
    expect((await send("GET", `/agents/${agent.id}`, { token: opened.access_token })).body.code).toBe("token_revoked");
    expect((await refresh(opened.refresh_token)).body.code).toBe("session_ended");
    expect(ids((await list(agent, agent.id)).body)).toEqual([first]);
    expect((await end(agent, agent.id, session!)).status).toBe(404);
    expect((await refresh(agent.refreshToken)).status).toBe(200);
    const records = await self.records(agent.id);
    expect(records.some(({ message }) => message === `session ${session} ended by ${agent.id}`)).toBe(true);
    // The last one takes the caller's own token with it.
    expect((await end(agent, agent.id, first!)).status).toBe(200);
    expect((await list(agent, agent.id)).status).toBe(401);
  });

  it("of another agent are out of reach, under whichever id", async () => {
    const [agent, thief] = [await self.agent(), await self.agent()];
    const [session] = ids((await list(agent, agent.id)).body);
    expect((await list(thief, agent.id)).status).toBe(403);
    expect((await end(thief, agent.id, session!)).status).toBe(403);
    expect((await end(thief, thief.id, session!)).status).toBe(404);
    expect((await self.records(thief.id)).filter(({ message }) => message?.includes("ended by"))).toEqual([]);
    expect((await end(admin, thief.id, session!)).status).toBe(404);
    for (const odd of ["constructor", "' OR 1=1 --", "ses_" + "x".repeat(5000)])
      expect((await end(agent, agent.id, odd)).status).toBe(404);
    expect((await list(admin, "agt_000000000000000000000000")).status).toBe(404);
    expect((await refresh(agent.refreshToken)).status).toBe(200);
  });

  it("of the former format are among them, and end like the others", SLOW, async () => {
    const agent = await self.agent();
    const stranger = await self.agent();
    const insert = self.env.DB.prepare(
      "INSERT INTO refresh_families (id, agent_id, issued_at, expires_at) VALUES (?1, ?2, unixepoch(), 4102444800000)",
    );
    const another = `fan_${agent.id.slice(4)}`;
    await self.env.DB.batch([
      insert.bind(`fam_${agent.id.slice(4)}`, agent.id),
      insert.bind(another, agent.id),
      insert.bind(`fam_${stranger.id.slice(4)}`, stranger.id),
    ]);
    const { sessions } = (await list(agent, agent.id)).body;
    const former = sessions.find(({ id }: { id: string }) => id.startsWith("fam_"));
    expect(former).toMatchObject({ key_id: null, ip_address: "", scope: null });
    expect((await end(agent, agent.id, former.id)).status).toBe(200);
    const [own, ...others] = ids((await list(agent, agent.id)).body).filter((id) => id !== another);
    expect(others).toEqual([]);
    // Each ends once, and is recorded with its end.
    const recorded = async () =>
      (await self.records(agent.id)).flatMap(({ message }) => /^session (\S+) ended/.exec(message ?? "")?.[1] ?? []);
    expect(await recorded()).toEqual([former.id]);
    expect((await end(admin, agent.id, own!)).status).toBe(200);
    expect((await recorded()).toSorted()).toEqual([former.id, own].toSorted());
    for (const id of [former.id, own!]) expect((await end(admin, agent.id, id)).status).toBe(404);
    expect(await recorded()).toHaveLength(2);
    // Nothing else has ended with them.
    expect(ids((await list(admin, agent.id)).body)).toEqual([another]);
    expect(ids((await list(admin, stranger.id)).body)).toHaveLength(2);
  });

  it("are those that can be refreshed, and no others, in either format", async () => {
    const agent = await self.agent();
    const db = self.env.DB;
    // The session that the agent has is of the version before.
    await db.prepare("UPDATE agents SET not_before = 100 WHERE id = ?1").bind(agent.id).run();
    const end = 4102444800000;
    const addSession = (id: string, [expiresAt, endedAt, jkt]: [number, number | null, string | null]) =>
      db
        .prepare(
          `INSERT INTO sessions (id, agent_id, token_version, generation, hash, pepper_id, created_at, last_refreshed_at, expires_at,
            absolute_expires_at, auth_time, ip_address, ended_at, dpop_jkt)
          VALUES (?1, ?2, 2, 1, '', '1', 9, 9, ?3, ?3, 9, '', ?4, ?5)`,
        )
        .bind(`${id}_${agent.id}`, agent.id, expiresAt, endedAt, jkt);
    const addFamily = (id: string, [issuedAt, expiresAt, revokedAt]: [number, number, number | null]) =>
      db
        .prepare(
          "INSERT INTO refresh_families (id, agent_id, issued_at, expires_at, revoked_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        )
        .bind(`${id}_${agent.id}`, agent.id, issuedAt, expiresAt, revokedAt);
    await db.batch([
      addSession("bound", [end, null, "jkt"]),
      addSession("converted", [end, null, null]),
      addSession("ended", [end, 1, "jkt"]),
      addSession("expired", [1, null, "jkt"]),
      addFamily("converted", [100, end, null]),
      addFamily("former", [100, end, null]),
      addFamily("former_ended", [100, end, 1]),
      addFamily("former_expired", [100, 1, null]),
      addFamily("former_of_before", [99, end, null]),
    ]);
    const listed = async () => ids((await list(admin, agent.id)).body).map((id) => id.replace(`_${agent.id}`, ""));
    expect(await listed()).toEqual(["former", "converted", "bound"]);
    await db.prepare("UPDATE agents SET dpop_required = 1 WHERE id = ?1").bind(agent.id).run();
    expect(await listed()).toEqual(["bound"]);
    await db.prepare("UPDATE agents SET status = 'suspended' WHERE id = ?1").bind(agent.id).run();
    expect(await listed()).toEqual([]);
  });

  it("all end by an administrator's word, which leaves the keys", SLOW, async () => {
    const agent = await self.agent();
    const path = `/agents/${agent.id}/revoke-tokens`;
    const { status, body } = await send("POST", path, { token: admin.token });
    expect([status, Object.keys(body).sort()]).toEqual([200, ["message", "revoked_at", "success"]]);
    expect((await list(agent, agent.id)).body.code).toBe("token_revoked");
    expect((await refresh(agent.refreshToken)).status).toBe(401);
    expect((await list(admin, agent.id)).body.sessions).toEqual([]);
    const fresh = await verify(agent);
    expect((await list({ token: fresh.access_token }, agent.id)).body.sessions).toHaveLength(1);
    expect((await send("POST", path, { token: fresh.access_token })).status).toBe(403);
    expect((await list(admin, admin.id)).status).toBe(200);
    expect((await send("POST", "/agents/agt_000000000000000000000000/revoke-tokens", admin)).status).toBe(404);
  });
});
