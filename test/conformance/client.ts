import { afterAll, beforeAll, expect, inject } from "vitest";

const { url: BASE, bootstrapToken, administrator } = inject("target");

/** Where deliveries of these tests go: nobody is there, and nobody is bothered. */
export const RECEIVER = /^http:\/\/(?:127\.0\.0\.1|localhost)\b/.test(BASE)
  ? "http://127.0.0.1:9/agentauth-conformance"
  : "https://agentauth-conformance.example.com/";

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // oxlint-disable-next-line typescript/no-explicit-any -- every endpoint answers in its own shape
  readonly body: any;
}

export interface Sent {
  readonly token?: string | undefined;
  readonly json?: unknown;
  /** Sent as it is, in place of `json`. */
  readonly raw?: string;
  readonly headers?: Record<string, string>;
}

/** One request as the published SDKs send it: `Content-Type: application/json` also without a body. */
export async function call(method: string, path: string, { token, json, raw, headers }: Sent = {}): Promise<Answer> {
  const response = await fetch(BASE + path, {
    method,
    redirect: "manual",
    headers: {
      "content-type": "application/json",
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...headers,
    },
    ...((raw ?? json) !== undefined && { body: raw ?? JSON.stringify(json) }),
  });
  const text = await response.text();
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    body = undefined;
  }
  return { status: response.status, headers: response.headers, text, body };
}

export interface Agent {
  readonly id: string;
  readonly apiKey: string;
  readonly token: string;
  readonly refreshToken: string;
}

const made: string[] = [];
export let admin: Agent;

/** Registers with the bootstrap token, or as the administrator that exists. */
export async function register(permissions: readonly string[] = ["github:issues:read"]): Promise<Answer> {
  const json = { name: "Conformance", owner_email: "conformance@example.com", permissions };
  const token = administrator ? admin.token : bootstrapToken;
  const registered = await call("POST", "/agents/register", { token, json });
  if (registered.status !== 201) throw new Error(`POST /agents/register: ${registered.status} ${registered.text}`);
  made.push(registered.body.agent.agent_id);
  return registered;
}

export const credentialsOf = ({ body }: Answer) => ({
  agent_id: body.agent.agent_id as string,
  api_key: body.credentials.api_key as string,
});

export async function newAgent(permissions?: readonly string[]): Promise<Agent> {
  const registered = await register(permissions);
  const proof = credentialsOf(registered);
  if (registered.body.agent.status !== "active") {
    const path = `/agents/${proof.agent_id}/status`;
    await call("PUT", path, { token: admin.token, json: { status: "active" } });
  }
  return verify(proof);
}

async function verify(proof: { readonly agent_id: string; readonly api_key: string }): Promise<Agent> {
  const { status, text, body } = await call("POST", "/agents/verify", { json: proof });
  if (status !== 200) throw new Error(`POST /agents/verify: ${status} ${text}`);
  const { access_token: token, refresh_token: refreshToken } = body.token;
  return { id: proof.agent_id, apiKey: proof.api_key, token, refreshToken };
}

/** Gives a test file an administrator, and takes away all that the file made. */
export function withAdmin(): void {
  beforeAll(async () => {
    if (administrator) {
      admin = await verify(administrator);
      return;
    }
    if (!bootstrapToken) {
      throw new Error("Set ADMIN_BOOTSTRAP_TOKEN to that of the deployment: the tests register agents with it.");
    }
    admin = await newAgent(["*:*:*"]);
    await call("PUT", `/agents/${admin.id}/tier`, { token: admin.token, json: { tier: "enterprise" } });
  });
  afterAll(async () => {
    const proven = { token: admin.token };
    for (const id of made.splice(0).toReversed()) if (id !== admin.id) await call("DELETE", `/agents/${id}`, proven);
    if (!administrator) await call("DELETE", `/agents/${admin.id}`, proven);
  });
}

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

/** The status, and exactly these top-level keys. */
export function exactly({ status, body, headers }: Answer, expected: number, keys: string): void {
  expect({ status, keys: Object.keys(body).sort() }).toEqual({ status: expected, keys: keys.split(" ").sort() });
  expect(headers.get("content-type")).toMatch(/^application\/json\b/);
  if ("success" in body) expect(body.success).toBe(true);
  if ("message" in body) expect(body.message).toMatch(/\w/);
}

/** The status, and at least these top-level keys: more may stand beside them. */
export function atLeast(answer: Answer, expected: number, keys: string): void {
  expect([answer.status, Object.keys(answer.body)]).toEqual([expected, expect.arrayContaining(keys.split(" "))]);
  if ("success" in answer.body) expect(answer.body.success).toBe(true);
}

const shape = (value: unknown, keys: string) =>
  expect(Object.keys(value as object).sort()).toEqual(keys.split(" ").sort());

export function isAgent(value: Answer["body"]): void {
  shape(value, "agent_id name owner_email permissions status tier created_at updated_at");
  expect(value.agent_id).toMatch(/^agt_.{24,}$/);
  expect(value.permissions).toEqual(expect.any(Array));
  expect(["active", "inactive", "suspended", "revoked"]).toContain(value.status);
  expect(["free", "pro", "enterprise"]).toContain(value.tier);
  for (const time of [value.created_at, value.updated_at]) expect(time).toMatch(TIME);
}

export function isCredentials(value: Answer["body"]): void {
  shape(value, "api_key token_type");
  expect(value.api_key).toMatch(/^ak_.{43,}$/);
  expect(value.token_type).toBe("Bearer");
}

export function isToken(value: Answer["body"]): void {
  shape(value, "access_token refresh_token token_type expires_in");
  expect(value.access_token.split(".")).toHaveLength(3);
  expect(value.refresh_token).toMatch(/^rt_.{43,}$/);
  expect(value.token_type).toBe("Bearer");
  expect(value.expires_in).toBeGreaterThan(0);
}

export function isActivity(value: Answer["body"]): void {
  shape(value, "id agent_id timestamp ip_address status message");
  expect(value.timestamp).toMatch(TIME);
  expect(value.ip_address).toEqual(expect.any(String));
  expect(["success", "failure"]).toContain(value.status);
}

export function isRecord(value: Answer["body"]): void {
  shape(
    value,
    `id at action outcome agent_id actor act ip_address request_id key_id session_id service method path rule permission status
    upstream_status duration_ms bytes_in bytes_out count before after message`
      .split(/\s+/)
      .join(" "),
  );
  expect(value.at).toMatch(TIME);
  expect(value.action).toMatch(/^[a-z]+\.[a-z_]+$/);
  expect(["success", "denied", "failed", "unknown"]).toContain(value.outcome);
  if (value.actor) shape(value.actor, "type id name");
  expect(Array.isArray(value.act)).toBe(true);
}

export function isPagination(value: Answer["body"]): void {
  shape(value, "total limit offset has_more");
  expect([value.total, value.limit, value.offset].every(Number.isInteger)).toBe(true);
  expect(value.has_more).toEqual(expect.any(Boolean));
}

export function isWebhook(value: Answer["body"], secret: "shown" | "hidden"): void {
  shape(value, "id agent_id url events secret created_at");
  expect(value.secret).toMatch(secret === "shown" ? /^whsec_[A-Za-z0-9+/]{43}=$/ : /^\*\*\*$/);
  expect(value.created_at).toMatch(TIME);
}

/** The one shape of errors. */
export function isError({ status, body, headers, text }: Answer, expected: number, code?: string): void {
  expect(status).toBe(expected);
  expect(headers.get("content-type"), text).toMatch(/^application\/json\b/);
  expect(body).toMatchObject({
    error: expect.stringMatching(/\w/),
    message: expect.stringMatching(/\w/),
    status: expected,
    code: code ?? expect.stringMatching(/^[a-z_]+$/),
    request_id: expect.stringMatching(/\w/),
  });
}
