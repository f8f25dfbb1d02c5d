import { beforeAll, describe, expect, it } from "vitest";
import { agentEndpoints } from "./agents.ts";
import { admin, call, isError, newAgent, RECEIVER, withAdmin, type Agent } from "./client.ts";
import { ENDPOINTS, isOfPeople, requestOf, type Auth, type Check, type Endpoint } from "./contract.ts";
import { oauthEndpoints } from "./oauth.ts";
import { signInEndpoints } from "./sign-in.ts";
import { serviceEndpoints } from "./service.ts";
import { tokenEndpoints } from "./tokens.ts";
import { webhookEndpoints } from "./webhooks.ts";

/** Complete: an endpoint without its check does not compile. */
const CHECKS: Record<Endpoint, Check> = {
  ...agentEndpoints,
  ...tokenEndpoints,
  ...webhookEndpoints,
  ...serviceEndpoints,
  ...oauthEndpoints,
  ...signInEndpoints,
};

withAdmin();

describe("every endpoint", () => {
  it.each(Object.entries(CHECKS))("%s", (_, check) => check());
});

describe("who may call", () => {
  let owner: Agent;
  let stranger: Agent;
  let ids: Record<string, string>;
  beforeAll(async () => {
    [owner, stranger] = [await newAgent(), await newAgent()];
    const json = { url: RECEIVER, events: ["agent.verified"] };
    const { body } = await call("POST", "/webhooks", { token: owner.token, json });
    ids = { agent: owner.id, webhook: body.webhook.id };
  });

  const at = (endpoint: string) => {
    const id = endpoint.includes("/webhooks/") ? ids.webhook : ids.agent;
    return requestOf(endpoint, { ...(id && { id }) });
  };
  const OPEN: ReadonlySet<Auth> = new Set(["none", "client"]);
  const closed = Object.entries(ENDPOINTS).filter(([, auth]) => !OPEN.has(auth) && !isOfPeople(auth));

  it.each(closed)("%s: not without a good token", async (endpoint) => {
    const { method, path } = at(endpoint);
    const bare = await call(method, path);
    isError(bare, 401);
    expect(bare.headers.get("www-authenticate")).toMatch(/^Bearer\b/);
    const { refreshToken, token } = owner;
    const bad = ["garbage", "", refreshToken, `${token.slice(0, -4)}AAAA`, token.split(".").slice(0, 2).join(".")];
    for (const sent of bad) isError(await call(method, path, { token: sent }), 401);
    for (const scheme of ["Basic", "Token", "DPoP"]) {
      isError(await call(method, path, { headers: { authorization: `${scheme} ${token}` } }), 401);
    }
  });

  const NOT_THEIRS: Partial<Record<Auth, number>> = { self: 403, admin: 403, own: 404 };

  it.each(closed.filter(([, auth]) => NOT_THEIRS[auth]))("%s: not by another agent", async (endpoint, auth) => {
    const { method, path } = at(endpoint);
    const bodies: Record<string, object> = {
      tier: { tier: "pro" },
      status: { status: "active" },
      permissions: { permissions: ["*:*:*"] },
    };
    const json = bodies[path.split("/").at(-1)!] ?? { is_active: false };
    const refused = await call(method, path, { token: stranger.token, ...(method === "PUT" && { json }) });
    isError(refused, NOT_THEIRS[auth]!);
    if (auth !== "own") expect(refused.body).toMatchObject({ error: "Insufficient permissions", required: "*:*:*" });
  });

  const ofPeople = Object.entries(ENDPOINTS).filter(([, auth]) => isOfPeople(auth));

  it.each(ofPeople)("%s: not a stranger and no agent, an administrator among them", async (endpoint, auth) => {
    const { method, path } = at(endpoint);
    const [unknown, refused] = auth === "bootstrap" ? ["missing_token", 401] : ["sign_in_required", 403];
    const json = method === "GET" || method === "DELETE" ? undefined : { email: "person@example.com", role: "admin" };
    const bare = await call(method, path, { json });
    isError(bare, 401, unknown as string);
    expect(bare.headers.get("www-authenticate")).toMatch(/^Bearer\b/);
    const code = auth === "bootstrap" ? "invalid_token" : "person_required";
    for (const { token } of [owner, admin]) isError(await call(method, path, { token, json }), refused as number, code);
    const cookie = { cookie: `__Host-agentauth=${"x".repeat(43)}; agentauth=${"x".repeat(43)}` };
    isError(await call(method, path, { headers: cookie, json }), 401);
  });

  it("matches the scheme without regard to case", async () => {
    for (const scheme of ["bearer", "BEARER", "Bearer"]) {
      const headers = { authorization: `${scheme} ${owner.token}` };
      expect((await call("GET", `/agents/${owner.id}`, { headers })).status).toBe(200);
    }
  });
});
