import { expect } from "vitest";
import {
  admin,
  atLeast,
  call,
  credentialsOf,
  exactly,
  isActivity,
  isRecord,
  isAgent,
  isCredentials,
  isError,
  isPagination,
  newAgent,
  register,
} from "./client.ts";
import type { Check, Endpoint } from "./contract.ts";

const byAdmin = (method: string, path: string, json?: unknown) => call(method, path, { token: admin.token, json });

/** Asks until the answer has what the queue writes a moment after the request that caused it, or gives the last answer. */
async function eventually(
  ask: () => ReturnType<typeof call>,
  isThere: (answer: Awaited<ReturnType<typeof call>>) => boolean,
): ReturnType<typeof call> {
  for (let tries = 0; ; tries++) {
    const answer = await ask();
    if (isThere(answer) || tries === 400) return answer;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** Activity comes through a queue. */
const activityOf = (id: string): ReturnType<typeof call> =>
  eventually(
    () => byAdmin("GET", `/agents/${id}/activity`),
    ({ body }) => body.activity?.length > 0,
  );

/** Records come through a queue, all of them. */
const recordsOf = (id: string): ReturnType<typeof call> =>
  eventually(
    () => byAdmin("GET", `/audit?agent_id=${id}`),
    ({ body }) => body.records?.length > 1,
  );

async function change(field: string, value: unknown, shown = value): Promise<void> {
  const { id } = await newAgent();
  const answer = await byAdmin("PUT", `/agents/${id}/${field}`, { [field]: value });
  atLeast(answer, 200, "success message agent");
  isAgent(answer.body.agent);
  expect(answer.body.agent[field]).toEqual(shown);
  isError(await byAdmin("PUT", `/agents/${id}/${field}`, { [field]: "nonsense" }), 400);
  isError(await byAdmin("PUT", `/agents/${id}/${field}`, {}), 400);
  isError(await byAdmin("PUT", `/agents/agt_000000000000000000000000/${field}`, { [field]: value }), 404);
}

/** The Key object: exactly these keys. */
const KEY = "allowed_ips created_at created_by expires_at hint id label last_used_at type".split(" ");
const GRANT = "created_at created_by expires_at id permission where".split(" ");
const SESSION = "act created_at dpop_jkt expires_at id ip_address key_id last_refreshed_at scope".split(" ");

export const agentEndpoints = {
  async "POST /agents/register"() {
    const answer = await register(["github:issues:read", "slack:messages:*"]);
    exactly(answer, 201, "success message agent credentials");
    isAgent(answer.body.agent);
    isCredentials(answer.body.credentials);
    expect(answer.body.agent.permissions).toEqual(["github:issues:read", "slack:messages:*"]);
    const bad = { name: "ab", owner_email: "nobody", permissions: ["github:nothing:read", "*:tickets:read"] };
    isError(await byAdmin("POST", "/agents/register", bad), 400);
    const unknown = {
      name: "Conformance",
      owner_email: "c@example.com",
      permissions: ["github:nothing:read", "*:tickets:read"],
    };
    const refused = await byAdmin("POST", "/agents/register", unknown);
    isError(refused, 400);
    const named = refused.body.details.map((one: { permission?: string }) => one.permission);
    expect(named).toEqual(unknown.permissions);
  },

  async "GET /agents"() {
    const { id } = await newAgent();
    const answer = await byAdmin("GET", `/agents?limit=1&offset=0&status=active&q=${id}`);
    atLeast(answer, 200, "success agents total limit offset has_more");
    expect(answer.body).toMatchObject({ total: 1, limit: 1, offset: 0, has_more: false });
    expect(answer.body.agents.map((one: { agent_id: string }) => one.agent_id)).toEqual([id]);
    isAgent(answer.body.agents[0]);
    isError(await byAdmin("GET", "/agents?limit=101"), 400);
    isError(await byAdmin("GET", "/agents?status=nonsense"), 400);
  },

  async "GET /agents/{id}"() {
    const { id, token } = await newAgent();
    const own = await call("GET", `/agents/${id}`, { token });
    atLeast(own, 200, "success agent");
    isAgent(own.body.agent);
    expect(own.body.agent.agent_id).toBe(id);
    expect((await byAdmin("GET", `/agents/${id}`)).body.agent).toEqual(own.body.agent);
    isError(await byAdmin("GET", "/agents/agt_000000000000000000000000"), 404);
  },

  async "PATCH /agents/{id}"() {
    const { id, token } = await newAgent();
    // When it verified itself is written through the queue: not between the answers that are compared.
    const read = () => call("GET", `/agents/${id}`, { token });
    await eventually(read, ({ body }) => body.details.last_verified_at !== null);
    const json = { name: "Renamed", description: "What it is for", metadata: { team: "billing" } };
    const answer = await call("PATCH", `/agents/${id}`, { token, json });
    atLeast(answer, 200, "success message agent details");
    isAgent(answer.body.agent);
    expect(answer.body.agent.name).toBe("Renamed");
    expect(answer.body.details).toMatchObject({ description: json.description, metadata: json.metadata });
    expect((await read()).body.details).toEqual(answer.body.details);
    isError(await call("PATCH", `/agents/${id}`, { token, json: { rate_limit: 3000 } }), 403);
    const limits = await byAdmin("PATCH", `/agents/${id}`, { rate_limit: 120, allowed_ips: ["0.0.0.0/0", "::/0"] });
    expect(limits.body.details).toMatchObject({ rate_limit: 120, allowed_ips: ["0.0.0.0/0", "::/0"] });
    isError(await byAdmin("PATCH", `/agents/${id}`, { rate_limit: 61 }), 400);
    isError(await byAdmin("PATCH", "/agents/agt_000000000000000000000000", { name: "Nobody" }), 404);
  },

  async "POST /agents/{id}/revoke"() {
    const { id, token, refreshToken, apiKey } = await newAgent();
    const answer = await call("POST", `/agents/${id}/revoke`, { token });
    atLeast(answer, 200, "success message agent");
    isAgent(answer.body.agent);
    expect(answer.body.agent.status).toBe("revoked");
    isError(await call("GET", `/agents/${id}`, { token }), 401);
    isError(await call("POST", "/agents/refresh", { json: { refresh_token: refreshToken } }), 401);
    isError(await call("POST", "/agents/verify", { json: { agent_id: id, api_key: apiKey } }), 401);
    isError(await byAdmin("PUT", `/agents/${id}/status`, { status: "active" }), 409);
  },

  async "GET /agents/{id}/activity"() {
    const { id, token } = await newAgent();
    const answer = await activityOf(id);
    exactly(answer, 200, "success agent_id activity pagination");
    expect(answer.body.agent_id).toBe(id);
    for (const row of answer.body.activity) isActivity(row);
    isPagination(answer.body.pagination);
    expect(answer.body.pagination).toMatchObject({ limit: 50, offset: 0 });
    const page = await call("GET", `/agents/${id}/activity?limit=1&offset=0`, { token });
    exactly(page, 200, "success agent_id activity pagination");
    expect(page.body.activity.length).toBeLessThanOrEqual(1);
    for (const query of ["limit=0", "limit=101", "limit=x", "offset=-1"]) {
      isError(await call("GET", `/agents/${id}/activity?${query}`, { token }), 400);
    }
  },

  "PUT /agents/{id}/tier": () => change("tier", "pro"),
  "PUT /agents/{id}/status": () => change("status", "suspended"),
  "PUT /agents/{id}/permissions": () => change("permissions", ["github:*:*"]),

  async "POST /agents/{id}/rotate-key"() {
    const { id, token, apiKey } = await newAgent();
    const answer = await call("POST", `/agents/${id}/rotate-key`, { token, json: { overlap_seconds: 60 } });
    atLeast(answer, 200, "success message credentials previous_key_expires_at");
    isCredentials(answer.body.credentials);
    expect(Date.parse(answer.body.previous_key_expires_at)).toBeGreaterThan(Date.now() - 60_000);
    for (const key of [apiKey, answer.body.credentials.api_key]) {
      expect((await call("POST", "/agents/verify", { json: { agent_id: id, api_key: key } })).status).toBe(200);
    }
  },

  async "GET /agents/{id}/grants"() {
    const { id } = await newAgent(["github:issues:read"]);
    const answer = await byAdmin("GET", `/agents/${id}/grants`);
    atLeast(answer, 200, "success grants grants_version");
    expect(answer.body.grants).toHaveLength(1);
    expect(Object.keys(answer.body.grants[0]).toSorted()).toEqual("created_at created_by id permission".split(" "));
    expect(answer.body.grants[0]).toMatchObject({
      id: expect.stringMatching(/^gra_/),
      permission: "github:issues:read",
    });
    isError(await byAdmin("GET", "/agents/agt_000000000000000000000000/grants"), 404);
  },

  async "PUT /agents/{id}/grants"() {
    const { id } = await newAgent(["github:issues:read"]);
    const expires_at = new Date(Date.now() + 86_400_000).toISOString();
    const limited = { permission: "github:issues:write", where: { "path.owner": "octo" }, expires_at };
    const answer = await byAdmin("PUT", `/agents/${id}/grants`, { grants: [limited], grants_version: 1 });
    atLeast(answer, 200, "success message grants grants_version");
    expect(Object.keys(answer.body.grants[0]).toSorted()).toEqual(GRANT);
    expect(answer.body.grants[0]).toMatchObject({ ...limited, where: { "path.owner": { eq: "octo" } } });
    const { agent } = (await byAdmin("GET", `/agents/${id}`)).body;
    isAgent(agent);
    expect(agent.permissions).toEqual(["github:issues:write"]);
    // What was read can be written back, by the list of permissions too, which never widens a limit.
    const { body } = await byAdmin("PUT", `/agents/${id}/grants`, { grants: answer.body.grants });
    expect(body.grants).toEqual(answer.body.grants);
    isError(await byAdmin("PUT", `/agents/${id}/permissions`, { permissions: [] }), 409);
    isError(await byAdmin("PUT", `/agents/${id}/grants`, { grants: [], grants_version: 1 }), 409);
    for (const wrong of [
      { where: { "path.nothing": "x" } },
      { where: { "path.owner": { like: "x" } } },
      { expires_at: "Friday" },
    ]) {
      isError(await byAdmin("PUT", `/agents/${id}/grants`, { grants: [{ ...limited, ...wrong }] }), 400);
    }
  },

  async "GET /keys"() {
    const { id } = await newAgent();
    await byAdmin("POST", `/agents/${id}/keys`, { expires_in: 60 });
    const answer = await byAdmin("GET", "/keys?days=1");
    atLeast(answer, 200, "success keys details next_cursor");
    expect(Object.keys(answer.body.keys[0]).toSorted()).toEqual(KEY);
    expect(Object.keys(answer.body.details[answer.body.keys[0].id]).toSorted()).toEqual(["agent_id", "agent_name"]);
  },

  async "GET /agents/{id}/keys"() {
    const { id, token } = await newAgent();
    const answer = await call("GET", `/agents/${id}/keys`, { token });
    atLeast(answer, 200, "success keys next_cursor");
    expect(Object.keys(answer.body.keys[0]).toSorted()).toEqual(KEY);
    expect(answer.body.keys[0]).toMatchObject({ type: "secret", expires_at: null, allowed_ips: null });
    isError(await byAdmin("GET", "/agents/agt_000000000000000000000000/keys"), 404);
  },

  async "POST /agents/{id}/keys"() {
    const { id, token } = await newAgent();
    const answer = await call("POST", `/agents/${id}/keys`, { token, json: { label: "Second", expires_in: 3600 } });
    atLeast(answer, 201, "success message key credentials");
    isCredentials(answer.body.credentials);
    expect(Object.keys(answer.body.key).toSorted()).toEqual(KEY);
    expect(answer.body.key).toMatchObject({ label: "Second", hint: answer.body.credentials.api_key.slice(-4) });
    const { api_key } = answer.body.credentials;
    expect((await call("POST", "/agents/verify", { json: { agent_id: id, api_key } })).status).toBe(200);
  },

  async "DELETE /agents/{id}/keys/{key_id}"() {
    const { id, token } = await newAgent();
    const { key, credentials } = (await call("POST", `/agents/${id}/keys`, { token })).body;
    atLeast(await call("DELETE", `/agents/${id}/keys/${key.id}`, { token }), 200, "success message");
    isError(await call("DELETE", `/agents/${id}/keys/${key.id}`, { token }), 404);
    isError(await call("POST", "/agents/verify", { json: { agent_id: id, api_key: credentials.api_key } }), 401);
  },

  async "GET /agents/{id}/sessions"() {
    const { id, token } = await newAgent();
    const answer = await call("GET", `/agents/${id}/sessions`, { token });
    atLeast(answer, 200, "success sessions next_cursor");
    expect(Object.keys(answer.body.sessions[0]).toSorted()).toEqual(SESSION);
  },

  async "DELETE /agents/{id}/sessions/{session_id}"() {
    const { id, token, refreshToken } = await newAgent();
    const [{ id: session }] = (await call("GET", `/agents/${id}/sessions`, { token })).body.sessions;
    atLeast(await call("DELETE", `/agents/${id}/sessions/${session}`, { token }), 200, "success message");
    isError(await call("GET", `/agents/${id}`, { token }), 401);
    isError(await call("POST", "/agents/refresh", { json: { refresh_token: refreshToken } }), 401);
  },

  async "POST /agents/{id}/revoke-tokens"() {
    const { id, token, apiKey } = await newAgent();
    atLeast(await byAdmin("POST", `/agents/${id}/revoke-tokens`), 200, "success message revoked_at");
    isError(await call("GET", `/agents/${id}`, { token }), 401);
    expect((await call("POST", "/agents/verify", { json: { agent_id: id, api_key: apiKey } })).status).toBe(200);
  },

  async "POST /agents/bulk-revoke"() {
    const { id, token } = await newAgent();
    const owner_email = `${id.toLowerCase()}@example.com`;
    await byAdmin("PATCH", `/agents/${id}`, { owner_email });
    const dry = await byAdmin("POST", "/agents/bulk-revoke", { filter: { owner_email } });
    atLeast(dry, 200, "success message matched revoked");
    expect(dry.body).toMatchObject({ matched: 1, revoked: 0 });
    const json = { filter: { owner_email }, dry_run: false };
    isError(await byAdmin("POST", "/agents/bulk-revoke", { ...json, expected: 2 }), 409);
    isError(await byAdmin("POST", "/agents/bulk-revoke", { ...json, filter: {}, expected: 1 }), 400);
    const done = await byAdmin("POST", "/agents/bulk-revoke", { ...json, expected: 1 });
    expect(done.body).toMatchObject({ matched: 1, revoked: 1 });
    isError(await call("GET", `/agents/${id}`, { token }), 401);
  },

  async "DELETE /agents/{id}"() {
    const { agent_id: id, api_key } = credentialsOf(await register());
    exactly(await byAdmin("DELETE", `/agents/${id}`), 200, "success message");
    isError(await byAdmin("GET", `/agents/${id}`), 404);
    isError(await byAdmin("DELETE", `/agents/${id}`), 404);
    isError(await call("POST", "/agents/verify", { json: { agent_id: id, api_key } }), 401);
  },

  async "GET /activity"() {
    const { id } = await newAgent();
    await activityOf(id);
    const answer = await byAdmin("GET", `/activity?agent_id=${id}&status=success&limit=5`);
    atLeast(answer, 200, "success activity pagination");
    isPagination(answer.body.pagination);
    for (const row of answer.body.activity) {
      isActivity(row);
      expect([row.agent_id, row.status]).toEqual([id, "success"]);
    }
    atLeast(await byAdmin("GET", "/activity"), 200, "success activity pagination");
    isError(await byAdmin("GET", "/activity?status=nonsense"), 400);
  },

  async "GET /audit"() {
    const { id, token } = await newAgent();
    await recordsOf(id);
    for (const answer of [
      await byAdmin("GET", `/audit?agent_id=${id}&outcome=success&limit=5`),
      await call("GET", "/audit", { token }),
    ]) {
      exactly(answer, 200, "success records next_cursor");
      expect(answer.body.records.length).toBeGreaterThan(0);
      for (const record of answer.body.records) {
        isRecord(record);
        expect(record.agent_id).toBe(id);
      }
    }
    isError(await byAdmin("GET", "/audit?outcome=nonsense"), 400);
    isError(await byAdmin("GET", "/audit?q=nonsense"), 400);
  },

  async "GET /audit/{id}"() {
    const { id, token } = await newAgent();
    const other = await newAgent();
    await recordsOf(id);
    const { body } = await call("GET", "/audit?limit=1", { token });
    const path = `/audit/${body.records[0].id}`;
    for (const answer of [await call("GET", path, { token }), await byAdmin("GET", path)]) {
      exactly(answer, 200, "success record");
      isRecord(answer.body.record);
      expect(answer.body.record).toEqual(body.records[0]);
    }
    isError(await call("GET", path, { token: other.token }), 404);
  },
} satisfies Partial<Record<Endpoint, Check>>;
