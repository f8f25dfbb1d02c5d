import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { isApiKey } from "../../src/agents/api-key.ts";
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
const create = (who: Registered, json?: unknown, id = who.id) =>
  send("POST", `/agents/${id}/keys`, { token: who.token, json });
const list = (who: Registered, id = who.id, query = "") =>
  send("GET", `/agents/${id}/keys${query}`, { token: who.token });
const remove = (who: Registered, keyId: string, id = who.id, json?: unknown) =>
  send("DELETE", `/agents/${id}/keys/${keyId}`, { token: who.token, json });
const verify = (id: string, apiKey: string, ip?: string) =>
  send("POST", "/agents/verify", { json: { agent_id: id, api_key: apiKey }, ...(ip && { ip }) });
const rotate = (who: Registered, json: unknown) =>
  send("POST", `/agents/${who.id}/rotate-key`, { token: who.token, json });

/** The key in the list that an API key is, by its last four characters. */
const keyOf = async (who: Registered, apiKey: string) =>
  (await list(who)).body.keys.find(({ hint }: { hint: string }) => hint === apiKey.slice(-4));

const eventsOf = async (id: string, event: string) => {
  const { results } = await self.env.DB.prepare(
    "SELECT data FROM events WHERE agent_id = ?1 AND event = ?2 ORDER BY id",
  )
    .bind(id, event)
    .all<{ data: string }>();
  return results.map(({ data }) => JSON.parse(data) as Record<string, unknown>);
};

/** A token of an earlier time: what a refresh, or a thief, has. */
async function aged(who: Registered): Promise<Registered> {
  vi.useFakeTimers({ toFake: ["Date"] });
  vi.setSystemTime(Date.now() + 301_000);
  return who;
}

describe("a key beside the others", () => {
  it("is shown once, listed without its secret, and told to the owner", async () => {
    const agent = await self.agent();
    const { status, body } = await create(agent, {
      label: " Build server ",
      expires_in: 3600,
      allowed_ips: ["10.0.0.1"],
    });
    expect(status).toBe(201);
    expect(Object.keys(body).sort()).toEqual(["credentials", "key", "message", "success"]);
    const apiKey = body.credentials.api_key as string;
    expect(isApiKey(apiKey)).toBe(true);
    expect(body.key).toEqual({
      id: expect.stringMatching(/^key_[0-9A-Za-z]{24}$/),
      type: "secret",
      label: "Build server",
      hint: apiKey.slice(-4),
      created_at: expect.any(String),
      created_by: { type: "agent", id: agent.id, name: expect.any(String) },
      expires_at: expect.any(String),
      last_used_at: null,
      allowed_ips: ["10.0.0.1/32"],
    });
    expect(Math.round((Date.parse(body.key.expires_at) - Date.parse(body.key.created_at)) / 1000)).toBe(3600);
    const listed = await list(agent);
    expect(listed.body.keys).toHaveLength(2);
    expect(await keyOf(agent, apiKey)).toEqual(body.key);
    expect(await keyOf(agent, agent.apiKey)).toMatchObject({ label: null, expires_at: null });
    expect(JSON.stringify(listed.body)).not.toMatch(/ak_|hash|pepper/);
    expect(await eventsOf(agent.id, "agent.key_created")).toEqual([
      {
        agent_id: agent.id,
        key_id: body.key.id,
        label: "Build server",
        created_at: expect.any(String),
        created_by: agent.id,
      },
    ]);
    expect((await self.records(agent.id))[0]!.message).toBe(`API key ${body.key.id} created by ${agent.id}`);
    for (const key of [agent.apiKey, apiKey]) expect((await verify(agent.id, key, "10.0.0.1")).status).toBe(200);
    expect((await send("GET", `/agents/${agent.id}`, { token: agent.token })).body.details.key_count).toBe(2);
  });

  it("needs no body, ends at its time, and is then no longer listed", SLOW, async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const agent = await self.agent();
    const endless = await create(agent);
    const brief = await create(agent, { expires_in: 60 });
    expect([endless.status, endless.body.key.expires_at]).toEqual([201, null]);
    vi.setSystemTime(Date.now() + 60_000);
    expect((await verify(agent.id, brief.body.credentials.api_key)).status).toBe(401);
    expect((await verify(agent.id, endless.body.credentials.api_key)).status).toBe(200);
    expect((await list(agent)).body.keys.map(({ id }: { id: string }) => id)).not.toContain(brief.body.key.id);
  });

  it("opens no session that lasts longer than itself, refreshed or not", SLOW, async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const agent = await self.agent();
    const { key, credentials } = (await create(agent, { expires_in: 7200 })).body;
    const opened = (await verify(agent.id, credentials.api_key)).body.token;
    const refresh = (token: string) => send("POST", "/agents/refresh", { json: { refresh_token: token } });
    const refreshed = await refresh(opened.refresh_token);
    expect(refreshed.status).toBe(200);
    const { sessions } = (await send("GET", `/agents/${agent.id}/sessions`, { token: agent.token })).body;
    const ends = sessions
      .filter((session: { key_id: string }) => session.key_id === key.id)
      .map((session: { expires_at: string }) => session.expires_at);
    expect(ends).toEqual([key.expires_at]);
    vi.setSystemTime(Date.parse(key.expires_at));
    expect((await refresh(refreshed.body.token.refresh_token)).status).toBe(401);
    expect((await refresh(agent.refreshToken)).status).toBe(200);
  });

  it("may be used from its own networks only, and never from more than its agent's", SLOW, async () => {
    const agent = await self.agent(["lab:things:read"]);
    const { body } = await create(agent, { allowed_ips: ["10.1.0.0/16", "10.2.0.0/16"] });
    const apiKey = body.credentials.api_key as string;
    const refused = await verify(agent.id, apiKey, "10.3.0.1");
    expect([refused.status, refused.body.code]).toEqual([403, "address_not_allowed"]);
    expect((await verify(agent.id, "ak_wrong", "10.3.0.1")).body.error).toBe("Invalid credentials");
    expect((await keyOf(agent, apiKey)).last_used_at).toBeNull();
    const { token } = (await verify(agent.id, apiKey, "10.1.0.1")).body;
    const read = (ip: string) => send("GET", "/proxy/lab/things/1", { token: token.access_token, ip });
    const refresh = (refresh_token: string, ip: string) =>
      send("POST", "/agents/refresh", { json: { refresh_token }, ip });
    expect([(await read("10.2.0.1")).status, (await read("10.3.0.1")).body.code]).toEqual([200, "address_not_allowed"]);
    expect((await refresh(token.refresh_token, "10.3.0.1")).body.code).toBe("address_not_allowed");
    const refreshed = await refresh(token.refresh_token, "10.2.0.1");
    expect(refreshed.status).toBe(200);
    expect((await refresh(token.refresh_token, "10.3.0.1")).body.code).toBe("address_not_allowed");
    await send("PATCH", `/agents/${agent.id}`, {
      token: admin.token,
      json: { allowed_ips: ["10.1.0.0/24", "10.3.0.0/16"] },
    });
    for (const [ip, status] of [
      ["10.1.0.1", 200],
      ["10.2.0.1", 403],
      ["10.3.0.1", 403],
    ] as const) {
      expect([ip, (await verify(agent.id, apiKey, ip)).status]).toEqual([ip, status]);
      expect([ip, (await read(ip)).status]).toEqual([ip, status]);
    }
    expect((await refresh(refreshed.body.token.refresh_token, "10.2.0.1")).status).toBe(403);
    expect((await verify(agent.id, agent.apiKey, "10.3.0.1")).status).toBe(200);
    // The list outlives the key in the session that it opened.
    await self.env.DB.prepare("DELETE FROM api_keys WHERE id = ?1").bind(body.key.id).run();
    expect((await read("10.3.0.1")).status).toBe(403);
    expect((await read("10.1.0.1")).status).toBe(200);
  });

  it("of some networks makes no key that is good from others, and proves nothing from there", async () => {
    const agent = await self.agent();
    const [inside, outside] = ["10.1.0.1", "10.3.0.1"];
    const allowed_ips = ["10.1.0.0/16", "10.2.0.0/16"];
    const { key, credentials } = (await create(agent, { allowed_ips })).body;
    const opened = await verify(agent.id, credentials.api_key, inside);
    const token: string = opened.body.token.access_token;
    const keys = `/agents/${agent.id}/keys`;
    const rotation = `/agents/${agent.id}/rotate-key`;
    const ask = (path: string, json: unknown) => send("POST", path, { token, json, ip: inside });

    for (const wider of [["10.0.0.0/8"], [...allowed_ips, "10.3.0.0/16"]]) {
      const refused = await ask(keys, { allowed_ips: wider });
      expect([refused.status, refused.body.details[0].field]).toEqual([400, "allowed_ips"]);
    }
    const own = (await list(agent)).body.keys.find(({ id }: { id: string }) => id !== key.id);
    for (const [path, json, networks] of [
      [keys, {}, allowed_ips],
      [keys, { allowed_ips: ["10.2.0.0/16"] }, ["10.2.0.0/16"]],
      [rotation, { key_id: own.id, overlap_seconds: 3600 }, allowed_ips],
      [rotation, { overlap_seconds: 3600 }, allowed_ips],
    ] as const) {
      const { status, body } = await ask(path, json);
      expect(Math.floor(status / 100)).toBe(2);
      expect(await keyOf(agent, body.credentials.api_key)).toMatchObject({ allowed_ips: networks });
    }

    // Beside a token that is good from everywhere, the key itself is the proof: from its own networks.
    const prove = (ip: string) =>
      send("POST", keys, { token: agent.token, json: { api_key: credentials.api_key }, ip });
    const elsewhere = await prove(outside);
    expect([elsewhere.status, elsewhere.body.code]).toEqual([403, "reauthentication_required"]);
    const proven = await prove(inside);
    expect([proven.status, proven.body.key.allowed_ips]).toEqual([201, allowed_ips]);
    expect((await create(agent)).body.key.allowed_ips).toBeNull();
  });

  it("is no more than twenty at a time, also for two requests at once", SLOW, async () => {
    const agent = await self.agent();
    const added = await Promise.all(Array.from({ length: 25 }, () => create(agent)));
    expect(added.filter(({ status }) => status === 201)).toHaveLength(19);
    expect(added.find(({ status }) => status !== 201)!.body.code).toBe("too_many_keys");
    expect((await list(agent)).body.keys).toHaveLength(20);
    const pages: string[] = [];
    let cursor: string | null = "";
    while (cursor !== null) {
      const { body } = await list(agent, agent.id, `?limit=7${cursor && `&cursor=${cursor}`}`);
      pages.push(...body.keys.map(({ id }: { id: string }) => id));
      cursor = body.next_cursor;
    }
    expect(pages).toEqual((await list(agent)).body.keys.map(({ id }: { id: string }) => id));
    expect((await remove(agent, pages[0]!)).status).toBe(200);
    expect((await create(agent)).status).toBe(201);
    expect(await eventsOf(agent.id, "agent.key_created")).toHaveLength(20);
  });

  it("is refused for an agent that is revoked or is not, and with what has no meaning", SLOW, async () => {
    const agent = await self.agent();
    expect((await create(admin, {}, "agt_000000000000000000000000")).status).toBe(404);
    expect((await list(admin, "agt_000000000000000000000000")).status).toBe(404);
    for (const json of [
      { label: "" },
      { label: "x".repeat(101) },
      { label: "\u200b" },
      { expires_in: 59 },
      { expires_in: 1e12 },
      { expires_in: "3600" },
      { allowed_ips: [] },
      { allowed_ips: ["10.0.0.0/8", "everywhere"] },
      { jwk: { kty: "EC" } },
      { expires: 3600 },
      [],
    ]) {
      expect([json, (await create(agent, json)).status]).toEqual([json, 400]);
    }
    expect((await list(agent, agent.id, "?limit=201")).status).toBe(400);
    expect((await list(agent, agent.id, "?cursor=x")).status).toBe(400);
    expect((await list(agent, agent.id, "?offset=1")).status).toBe(400);
    await send("POST", `/agents/${agent.id}/revoke`, { token: admin.token });
    expect((await create(admin, {}, agent.id)).body.code).toBe("agent_revoked");
  });

  it("remembers its last use to within a minute, at one row for a batch of uses", SLOW, async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const agent = await self.agent();
    const { body } = await create(agent);
    const use = async () => {
      await verify(agent.id, body.credentials.api_key);
      await self.drain();
      return (await keyOf(agent, body.credentials.api_key)).last_used_at;
    };
    const first = new Date().toISOString();
    expect(await use()).toBe(first);
    vi.setSystemTime(Date.now() + 59_000);
    expect(await use()).toBe(first);
    vi.setSystemTime(Date.now() + 1000);
    expect(await use()).toBe(new Date().toISOString());
  });
});

describe("ending a key", () => {
  it("ends the sessions that it opened and no other", async () => {
    const agent = await self.agent();
    const other = await create(agent);
    const opened = (await verify(agent.id, other.body.credentials.api_key)).body.token;
    const { status, body } = await remove(agent, other.body.key.id);
    expect([status, body.message]).toEqual([200, "The key is deleted, and 1 sessions that it opened have ended."]);
    expect((await verify(agent.id, other.body.credentials.api_key)).status).toBe(401);
    expect((await send("GET", `/agents/${agent.id}`, { token: opened.access_token })).body.code).toBe("token_revoked");
    expect((await send("POST", "/agents/refresh", { json: { refresh_token: opened.refresh_token } })).status).toBe(401);
    expect((await send("GET", `/agents/${agent.id}`, { token: agent.token })).status).toBe(200);
    expect(await eventsOf(agent.id, "agent.key_deleted")).toEqual([
      { agent_id: agent.id, key_id: other.body.key.id, deleted_at: expect.any(String), deleted_by: agent.id },
    ]);
    expect((await remove(agent, other.body.key.id)).status).toBe(404);
  });

  it("by two at once is one change", async () => {
    const agent = await self.agent();
    const { key } = (await create(agent)).body;
    const both = await Promise.all([1, 2].map(() => remove(agent, key.id)));
    expect(both.map(({ status }) => status).sort()).toEqual([200, 404]);
    expect(await eventsOf(agent.id, "agent.key_deleted")).toHaveLength(1);
  });

  it("does not reach another agent's key, whoever asks under whichever id", async () => {
    const [agent, thief] = [await self.agent(), await self.agent()];
    const [theirs] = (await list(agent)).body.keys;
    for (const [who, id] of [
      [thief, thief.id],
      [admin, thief.id],
      [admin, admin.id],
    ] as const) {
      expect((await remove(who, theirs.id, id)).status).toBe(404);
    }
    expect((await remove(thief, theirs.id, agent.id)).status).toBe(403);
    expect((await list(thief, agent.id)).status).toBe(403);
    expect((await create(thief, {}, agent.id)).status).toBe(403);
    for (const odd of ["constructor", "__proto__", "' OR 1=1 --", "%00", "key_" + "x".repeat(5000)]) {
      expect((await remove(agent, encodeURIComponent(odd))).status).toBe(404);
    }
    expect((await verify(agent.id, agent.apiKey)).status).toBe(200);
    expect(await eventsOf(agent.id, "agent.key_deleted")).toEqual([]);
  });
});

describe("rotating one of several keys", () => {
  it("leaves the others, and gives the new one the label, the networks and the end of the former", SLOW, async () => {
    const agent = await self.agent();
    const { key, credentials } = (await create(agent, { label: "A", expires_in: 7200, allowed_ips: ["10.0.0.0/8"] }))
      .body;
    const kept = (await create(agent, { label: "B" })).body;
    const rotated = await rotate(agent, { key_id: key.id, overlap_seconds: 60 });
    expect(rotated.status).toBe(200);
    const { keys } = (await list(agent)).body;
    expect(await keyOf(agent, rotated.body.credentials.api_key)).toMatchObject({
      label: "A",
      expires_at: key.expires_at,
      allowed_ips: key.allowed_ips,
    });
    const former = keys.find(({ id }: { id: string }) => id === key.id);
    expect(former.expires_at).toBe(rotated.body.previous_key_expires_at);
    expect(keys.filter(({ expires_at }: { expires_at: unknown }) => expires_at === null)).toHaveLength(2);
    for (const apiKey of [
      credentials.api_key,
      rotated.body.credentials.api_key,
      kept.credentials.api_key,
      agent.apiKey,
    ])
      expect((await verify(agent.id, apiKey, "10.0.0.1")).status).toBe(200);
    expect((await verify(agent.id, rotated.body.credentials.api_key, "11.0.0.1")).status).toBe(403);
  });

  it("without an overlap ends that key with its sessions, and nothing else", SLOW, async () => {
    const agent = await self.agent();
    const { key, credentials } = (await create(agent)).body;
    const opened = (await verify(agent.id, credentials.api_key)).body.token.access_token;
    const rotated = await rotate(agent, { key_id: key.id, overlap_seconds: 0 });
    expect(rotated.body.message).toContain("all tokens that it opened have ended");
    expect((await verify(agent.id, credentials.api_key)).status).toBe(401);
    expect((await send("GET", `/agents/${agent.id}`, { token: opened })).status).toBe(401);
    expect((await send("GET", `/agents/${agent.id}`, { token: agent.token })).status).toBe(200);
    for (const apiKey of [agent.apiKey, rotated.body.credentials.api_key])
      expect((await verify(agent.id, apiKey)).status).toBe(200);
    expect((await rotate(agent, { key_id: key.id, overlap_seconds: 0 })).status).toBe(404);
    const other = await self.agent();
    const [theirs] = (await list(other)).body.keys;
    expect((await rotate(agent, { key_id: theirs.id, overlap_seconds: 0 })).status).toBe(404);
    expect((await verify(other.id, other.apiKey)).status).toBe(200);
  });

  it("without a key_id gives every key the overlap, and with none ends every other key", SLOW, async () => {
    const agent = await self.agent();
    const second = (await create(agent)).body;
    const overlapping = await rotate(agent, { overlap_seconds: 60 });
    const endOf = async (apiKey: string) => (await keyOf(agent, apiKey)).expires_at;
    expect(await endOf(overlapping.body.credentials.api_key)).toBeNull();
    for (const apiKey of [agent.apiKey, second.credentials.api_key])
      expect(await endOf(apiKey)).toBe(overlapping.body.previous_key_expires_at);
    const last = await rotate(agent, { overlap_seconds: 0 });
    for (const apiKey of [agent.apiKey, second.credentials.api_key, overlapping.body.credentials.api_key])
      expect((await verify(agent.id, apiKey)).status).toBe(401);
    expect((await verify(agent.id, last.body.credentials.api_key)).status).toBe(200);
    expect((await send("GET", `/agents/${agent.id}`, { token: agent.token })).status).toBe(401);
  });

  it("again and again leaves no more than a bounded number of keys, and every one without an end", SLOW, async () => {
    const agent = await self.agent();
    let { id } = (await create(agent)).body.key;
    for (let n = 0; n < 24; n++) {
      const { status, body } = await rotate(agent, { key_id: id, overlap_seconds: 3600 });
      expect(status).toBe(200);
      ({ id } = await keyOf(agent, body.credentials.api_key));
    }
    expect((await list(agent)).body.keys).toHaveLength(21);
    expect((await verify(agent.id, agent.apiKey)).status).toBe(200);
  });
});

describe("a token that goes back to an older proof", () => {
  it("changes no keys and loosens no networks, but with the key itself", SLOW, async () => {
    const [fresh, boss] = [await self.agent(), await self.admin()];
    const { key } = (await create(fresh)).body;
    const agent = await aged(fresh);
    const stale = [403, "reauthentication_required"];
    const outcome = ({ status, body }: { status: number; body: { code?: string } }) => [status, body.code];
    expect(outcome(await create(agent))).toEqual(stale);
    expect(outcome(await remove(agent, key.id))).toEqual(stale);
    expect(outcome(await rotate(agent, { key_id: key.id }))).toEqual(stale);
    const lift = { allowed_ips: null };
    const patch = (json: unknown) => send("PATCH", `/agents/${agent.id}`, { token: boss.token, json });
    expect(outcome(await patch(lift))).toEqual(stale);
    expect((await patch({ rate_limit: 120 })).status).toBe(200);
    expect((await patch({ ...lift, api_key: boss.apiKey })).status).toBe(200);
    expect(outcome(await create(agent, { api_key: boss.apiKey }))).toEqual(stale);
    expect((await create(agent, { api_key: agent.apiKey })).status).toBe(201);
    expect((await remove(agent, key.id, agent.id, { api_key: agent.apiKey })).status).toBe(200);
    expect((await list(agent)).status).toBe(200);
  });
});
