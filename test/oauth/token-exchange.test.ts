import { env } from "cloudflare:workers";
import { decodeJwt, importJWK, SignJWT, type JWK } from "jose";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { ROUTES } from "../../src/app.ts";
import { modern } from "../mcp/client.ts";
import { ENDS } from "../security/route-walk.ts";
import { countOperations } from "../support/count-operations.ts";
import { failing } from "../support/bindings.ts";
import { SLOW, few } from "../support/extents.ts";
import { world, type Answer, type Registered, type World } from "../support/world.ts";
import { asserted, assertion, basic, ISSUER, post, registerKey, secretOf, token } from "./clients.ts";
import { ACCESS_TOKEN, actorToken, delegated, exchange, exchangeOf } from "./exchange.ts";
import { AUDIENCE, issue, newIssuer, newIssuerKey, present } from "./issuers.ts";

const unlimited = { limit: async () => ({ success: true }) };
const SETTINGS = { STANDING_TTL_SECONDS: "0", RATE_FREE: unlimited, RATE_VERIFY: unlimited };
const self = world(SETTINGS);
/** A deployment that lets tokens be handed on as far as possible. */
const deep = world({ ...SETTINGS, DELEGATION_DEPTH: "4" });
const THINGS = ["lab:things:read", "lab:things:write"];

let admin: Registered;
let agent: Registered;
let actor: Registered;
let other: Registered;
beforeAll(async () => {
  admin = await self.admin();
  [agent, actor, other] = [await self.agent(THINGS), await self.agent(THINGS), await self.agent(THINGS)];
});
afterEach(() => void vi.useRealTimers());

const read = (access: string, path = "/proxy/lab/things/1") => self.call(path, { token: access });
const write = (access: string) => self.call("/proxy/lab/things/1", { method: "DELETE", token: access });
const codeOf = ({ status, body }: Answer) => (status === 200 ? 200 : body.code);
const refusal = ({ status, body }: Answer) => [status, body.error];
const clientToken = async (of: Registered, more: Record<string, string> = {}): Promise<string> =>
  (await token(self, { grant_type: "client_credentials", ...secretOf(of), ...more })).body.access_token;
/** The claims of a delegated token, to be changed. */
interface Claims extends Record<string, unknown> {
  sub: string;
  act: Record<string, unknown>;
  chain: [Record<string, unknown>, Record<string, unknown>];
}

/** A token with these claims, signed by the deployment's own key: what nobody but a fault of ours could make. */
async function signed(claims: Record<string, unknown>): Promise<string> {
  const [jwk] = (JSON.parse(self.env.SIGNING_KEYS) as { keys: (JWK & { kid: string })[] }).keys;
  const key = await importJWK({ ...jwk!, alg: "ES256" }, "ES256");
  const payload = JSON.parse(JSON.stringify(claims)) as Record<string, unknown>;
  // One of the two signatures of a text is refused; which comes, chance decides.
  for (;;) {
    const text = await new SignJWT({ ...payload, jti: crypto.randomUUID() })
      .setProtectedHeader({ alg: "ES256", typ: "at+jwt", kid: jwk!.kid })
      .sign(key);
    if (Buffer.from(text.split(".")[2]!, "base64url")[32]! < 0x7f) return text;
  }
}

describe("an exchange", () => {
  it("gives the client a token to act for the agent, which both faces of the gateway take", async () => {
    const { status, headers, body } = await exchange(self, actor, agent.token, { scope: "lab:things:read" });
    expect([status, headers.get("cache-control")]).toEqual([200, "no-store"]);
    expect(body).toEqual({
      access_token: expect.any(String),
      issued_token_type: ACCESS_TOKEN,
      token_type: "Bearer",
      expires_in: expect.any(Number),
      scope: "lab:things:read",
    });
    const [claims, subject] = [decodeJwt(body.access_token), decodeJwt(agent.token)];
    expect(claims).toMatchObject({
      iss: ISSUER,
      aud: ISSUER,
      sub: agent.id,
      client_id: actor.id,
      act: { sub: actor.id },
      chain: [
        { sub: agent.id, ver: 1, sid: subject.sid },
        { sub: actor.id, ver: 1, key_id: expect.any(String) },
      ],
      auth_time: subject.auth_time,
    });
    expect([claims.sid, claims.key_id, claims.ver]).toEqual([undefined, undefined, undefined]);
    expect(claims.exp).toBeLessThanOrEqual(subject.exp!);
    expect((await read(body.access_token)).status).toBe(200);
    expect(codeOf(await write(body.access_token))).toBe("insufficient_permissions");
    const tool = await modern(self, "tools/list", {}, { token: body.access_token });
    expect(tool.status).toBe(200);
    const names = tool.body.result.tools.map((one: { name: string }) => one.name) as string[];
    expect(names).not.toContain("my_activity");
    expect(names.some((name) => name.startsWith("lab_"))).toBe(true);
    const own = await modern(self, "tools/call", { name: "my_activity", arguments: {} }, { token: body.access_token });
    expect(own.body.error.message).toContain("There is no tool");
  });

  it("lets the agent hand its token to the agent of actor_token, or to a sub-agent that it names", SLOW, async () => {
    const handed = await delegated(self, agent, agent.token, actorToken(actor.token));
    expect(decodeJwt(handed)).toMatchObject({ sub: agent.id, client_id: agent.id, act: { sub: actor.id } });
    expect((await read(handed)).status).toBe(200);
    const named = await delegated(self, agent, agent.token, { sub_agent: "reader-1" });
    expect(decodeJwt(named)).toMatchObject({ sub: agent.id, act: { sub: `${agent.id}#reader-1` } });
    expect((await write(named)).status).toBe(200);
    // It ends with what its actor has proved itself with: here the session of actor_token, there the key of the client.
    const one = await self.agent(THINGS);
    const byToken = await delegated(self, agent, agent.token, actorToken(await clientToken(one)));
    const bySession = await delegated(self, agent, agent.token, actorToken(one.token));
    await post(self, "/oauth/revoke", { token: one.token, ...secretOf(one) });
    expect([codeOf(await read(bySession)), (await read(byToken)).status]).toEqual(["token_revoked", 200]);
  });

  it("narrows the resource, the scope and the limits, and never widens them", SLOW, async () => {
    const narrow = await clientToken(agent, { scope: "lab:things:read", resource: `${ISSUER}/proxy/lab` });
    const kept = await exchange(self, actor, narrow);
    expect([kept.body.scope, decodeJwt(kept.body.access_token).aud]).toEqual([
      "lab:things:read",
      `${ISSUER}/proxy/lab`,
    ]);
    expect(codeOf(await read(kept.body.access_token, "/proxy/github/repos/o/r/issues"))).toBe("invalid_token");
    const cases: [string, Record<string, string>, string][] = [
      [narrow, { scope: "lab:things:write" }, "invalid_scope"],
      [narrow, { scope: "lab:*:*" }, "invalid_scope"],
      [narrow, { scope: "*:*:*" }, "invalid_scope"],
      [narrow, { resource: `${ISSUER}/proxy/github` }, "invalid_target"],
      [narrow, { resource: `${ISSUER}/mcp` }, "invalid_target"],
      [narrow, { resource: ISSUER }, "invalid_target"],
      [narrow, { audience: "https://other.example" }, "invalid_target"],
      [agent.token, { scope: "github:issues:read" }, "invalid_scope"],
      [agent.token, { resource: "https://other.example" }, "invalid_target"],
      [
        narrow,
        { authorization_details: JSON.stringify([{ type: "agentauth_grant", permission: "lab:things:write" }]) },
        "invalid_authorization_details",
      ],
    ];
    for (const [subject, more, error] of cases) {
      expect([more, ...refusal(await exchange(self, actor, subject, more))]).toEqual([more, 400, error]);
    }
    const many = await clientToken(agent, {});
    const two = await token(self, [
      ...Object.entries({ grant_type: "client_credentials", ...secretOf(agent) }),
      ["resource", `${ISSUER}/proxy/lab`],
      ["resource", `${ISSUER}/mcp`],
    ]);
    const both = await delegated(self, actor, two.body.access_token);
    expect(decodeJwt(both).aud).toEqual([`${ISSUER}/proxy/lab`, `${ISSUER}/mcp`]);
    const single = await delegated(self, actor, two.body.access_token, { resource: `${ISSUER}/mcp` });
    expect([decodeJwt(single).aud, codeOf(await read(single))]).toEqual([`${ISSUER}/mcp`, "invalid_token"]);
    expect(decodeJwt(await delegated(self, actor, many, { resource: `${ISSUER}/proxy/lab` })).aud).toBe(
      `${ISSUER}/proxy/lab`,
    );
  });

  it("gives no more than the actor has, and nothing if they have nothing in common", SLOW, async () => {
    const reader = await self.agent(["lab:things:read"]);
    const { body } = await exchange(self, reader, agent.token);
    expect(body.scope).toBe("lab:things:read");
    expect(codeOf(await write(body.access_token))).toBe("insufficient_permissions");
    const stranger = await self.agent(["lab:notes:read"]);
    expect(refusal(await exchange(self, stranger, agent.token))).toEqual([400, "invalid_scope"]);
    // A token of the actor that is narrower than the actor narrows as well.
    const narrow = await clientToken(actor, { scope: "lab:things:read", resource: `${ISSUER}/proxy/lab` });
    const handed = await delegated(self, agent, agent.token, actorToken(narrow));
    expect(decodeJwt(handed)).toMatchObject({ scope: "lab:things:read", aud: `${ISSUER}/proxy/lab` });
  });

  it("lives no longer than any token that was given for it, and than the grants in it", async () => {
    const short = (
      await self.call("/agents/verify", {
        method: "POST",
        json: { agent_id: agent.id, api_key: agent.apiKey, expires_in: 60 },
      })
    ).body.token.access_token;
    const { body } = await exchange(self, actor, short);
    expect(body.expires_in).toBeLessThanOrEqual(60);
    expect(decodeJwt(body.access_token).exp).toBeLessThanOrEqual(decodeJwt(short).exp!);
    const handed = await delegated(self, actor, actor.token, actorToken(short));
    expect(decodeJwt(handed).exp).toBeLessThanOrEqual(decodeJwt(short).exp!);
  });

  it("copies the last proof of the agent, so that delegation makes no proof recent", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() });
    const one = await self.agent(THINGS);
    vi.setSystemTime(Date.now() + 400_000);
    const handed = await delegated(self, actor, one.token);
    expect(decodeJwt(handed).auth_time).toBe(decodeJwt(one.token).auth_time);
  });
});

describe("an exchange is refused", () => {
  const wrong = async (
    name: string,
    client: Registered,
    subject: string,
    more: Record<string, string> = {},
    error = "invalid_request",
  ) => {
    const answer = await exchange(self, client, subject, more);
    expect([name, ...refusal(answer)]).toEqual([name, 400, error]);
    expect(JSON.stringify(answer.body)).not.toContain(subject.slice(-40));
    return answer.body.error_description as string;
  };

  few(1).each(Object.entries(ENDS))("for tokens that are ended: %s", async (name, end) => {
    const one = await self.agent(THINGS);
    await end(self, one, admin);
    await wrong(name, actor, one.token);
    await wrong(`actor_token: ${name}`, agent, agent.token, actorToken(one.token));
  });

  it("for tokens that are expired, of nobody, of another kind or of another deployment", SLOW, async () => {
    const text = `${agent.token.slice(0, -4)}AAAA`;
    for (const subject of [text, "garbage", agent.refreshToken, agent.apiKey, `${agent.token} `, "a.b.c"]) {
      await wrong(subject.slice(0, 5), actor, subject);
      await wrong(`actor_token ${subject.slice(0, 5)}`, agent, agent.token, actorToken(subject));
    }
    const foreign = world({ ...SETTINGS, ISSUER: "https://other.example.com" });
    expect(refusal(await exchange(foreign, actor, agent.token))).toEqual([400, "invalid_request"]);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 3601_000 });
    expect(await wrong("expired", actor, agent.token)).toContain("has expired");
  });

  it("for an actor that has not proved itself, that is another one's, or that would act for itself", async () => {
    await wrong("an actor_token of somebody else", actor, agent.token, actorToken(other.token));
    await wrong("self-exchange", agent, agent.token);
    await wrong("self-exchange by actor_token", agent, agent.token, actorToken(await clientToken(agent)));
    await wrong("the same token twice", actor, agent.token, actorToken(agent.token));
    await wrong("a sub-agent of another agent", actor, agent.token, { sub_agent: "one" });
    await wrong("two actors", agent, agent.token, { sub_agent: "one", ...actorToken(actor.token) });
    for (const name of ["", " ", "a#b", "a/b", "é", "x".repeat(65), `${actor.id}#x`]) {
      if (name === "") continue;
      await wrong(`the name ${name}`, agent, agent.token, { sub_agent: name });
    }
    const handed = await delegated(self, actor, agent.token);
    await wrong("a delegated token as actor_token", other, other.token, actorToken(handed));
    // `act` in the request is nothing that anybody asks for.
    const forged = await delegated(self, actor, agent.token, { act: JSON.stringify({ sub: admin.id }), sub: admin.id });
    expect(decodeJwt(forged)).toMatchObject({ sub: agent.id, act: { sub: actor.id } });
  });

  it("for parameters that are missing, doubled, or ask for another type", async () => {
    const types = "urn:ietf:params:oauth:token-type:";
    const cases: [string, Record<string, string>][] = [
      ["another type", { requested_token_type: `${types}refresh_token` }],
      ["a JWT", { requested_token_type: `${types}jwt` }],
      ["a subject of another type", { subject_token_type: `${types}jwt` }],
      ["no type", { subject_token_type: "" }],
      ["a type of no actor", { actor_token_type: ACCESS_TOKEN }],
      ["an actor without type", { actor_token: actor.token }],
      ["no token", { subject_token: "", subject_token_type: "" }],
    ];
    for (const [name, more] of cases) await wrong(name, actor, agent.token, more);
    const twice = [...Object.entries(exchangeOf(actor, agent.token)), ["subject_token", other.token]] as [
      string,
      string,
    ][];
    expect(refusal(await token(self, twice))).toEqual([400, "invalid_request"]);
    const unproven = { ...exchangeOf(actor, agent.token), client_secret: other.apiKey } as Record<string, string>;
    expect(refusal(await token(self, unproven))).toEqual([401, "invalid_client"]);
    const { client_id: _, client_secret: __, ...bare } = exchangeOf(actor, agent.token) as Record<string, string>;
    expect(refusal(await token(self, bare))).toEqual([401, "invalid_client"]);
  });

  it("if may_act of the token names another agent, or is none that can be checked", async () => {
    const claims = decodeJwt(agent.token);
    const [theirs, ours] = [
      await signed({ ...claims, may_act: { sub: other.id } }),
      await signed({ ...claims, may_act: { sub: actor.id } }),
    ];
    expect(await wrong("may_act", actor, theirs)).toContain("may_act");
    expect((await exchange(self, actor, ours)).status).toBe(200);
    for (const may_act of ["x", null, {}, [actor.id], { sub: actor.id, iss: "https://other.example" }]) {
      expect(codeOf(await read(await signed({ ...claims, may_act })))).toBe("invalid_token");
    }
  });

  it("from an address that the agent may not be used from", SLOW, async () => {
    const one = await self.agent(THINGS);
    const update = { method: "PATCH", token: admin.token, json: { allowed_ips: ["10.0.0.0/8"] } };
    expect((await self.call(`/agents/${one.id}`, update)).status).toBe(200);
    const outside = await exchange(self, actor, one.token, {}, { ip: "192.0.2.1" });
    expect(refusal(outside)).toEqual([400, "invalid_request"]);
    const handed = await delegated(self, actor, one.token);
    const answer = await self.call("/proxy/lab/things/1", { token: handed, ip: "192.0.2.1" });
    expect(codeOf(answer)).toBe("address_not_allowed");
    // Those of the actor's key hold as well.
    const key = await registerKey(self, other, "ES256", { allowed_ips: ["10.0.0.0/8"] });
    const { client_id: _, client_secret: __, ...parameters } = exchangeOf(other, agent.token) as Record<string, string>;
    const byKey = await token(self, { ...parameters, ...asserted(await assertion(other.id, key)) });
    expect(byKey.status).toBe(200);
    const access = { token: byKey.body.access_token as string };
    expect((await self.call("/proxy/lab/things/1", access)).status).toBe(200);
    const away = await self.call("/proxy/lab/things/1", { ...access, ip: "192.0.2.1" });
    expect(codeOf(away)).toBe("address_not_allowed");
  });

  it("and is recorded of the client, without any token", async () => {
    self.sent.length = 0;
    await wrong("self-exchange", agent, agent.token);
    expect(self.entries.at(-1)).toMatchObject({ action: "token.refused", outcome: "denied", agentId: agent.id });
    expect(JSON.stringify(self.sent)).not.toContain(agent.token);
  });
});

describe("a delegated token", () => {
  it("is refused by every route of the REST face, whoever the agents are, and may end itself", SLOW, async () => {
    const powerful = await self.admin();
    const handed = await delegated(self, powerful, admin.token);
    expect(decodeJwt(handed).scope).toBe("*:*:*");
    expect((await read(handed)).status).toBe(200);
    let refused = 0;
    for (const { method, path, auth } of ROUTES) {
      if (auth === "none" || path.startsWith("/proxy/") || path.startsWith("/oauth/")) continue;
      const at = path.replace("{id}", admin.id).replace(/\{\w+\}/g, "x_0");
      const answer = await self.call(at, { method, token: handed, ...(method !== "GET" && { body: "{}" }) });
      const wanted = auth === "bootstrap" ? 401 : 403;
      expect([method, path, answer.status]).toEqual([method, path, wanted]);
      if (answer.body.code === "delegated_token") refused++;
    }
    expect(refused).toBeGreaterThan(30);
    const bearer = { authorization: `Bearer ${handed}` };
    expect(refusal(await post(self, "/oauth/introspect", { token: handed }, { headers: bearer }))).toEqual([
      403,
      "insufficient_scope",
    ]);
    expect(refusal(await post(self, "/oauth/revoke", { token: agent.token }, { headers: bearer }))).toEqual([
      403,
      "insufficient_scope",
    ]);
    expect((await read(agent.token)).status).toBe(200);
    const narrow = await delegated(self, actor, agent.token, { resource: `${ISSUER}/proxy/lab` });
    const own = { authorization: `Bearer ${narrow}` };
    expect((await post(self, "/oauth/revoke", { token: narrow }, { headers: own })).status).toBe(200);
    expect(codeOf(await read(narrow))).toBe("token_revoked");
    expect((await read(agent.token)).status).toBe(200);
  });

  it("ends with whatever ends one of its agents, and with the token that it was exchanged from", SLOW, async () => {
    for (const [at, [name, end]] of Object.entries(ENDS).entries()) {
      const one = await self.agent(THINGS);
      // In turn, the agent that is acted for and the one that acts.
      const handed =
        at % 2 === 0
          ? await delegated(self, actor, one.token)
          : await delegated(self, agent, agent.token, actorToken(one.token));
      expect((await read(handed)).status).toBe(200);
      await end(self, one, admin);
      expect([name, codeOf(await read(handed)), codeOf(await write(handed))]).toEqual([
        name,
        "token_revoked",
        "token_revoked",
      ]);
    }
    const alone = await clientToken(agent);
    const handed = await delegated(self, actor, alone);
    await post(self, "/oauth/revoke", { token: alone, ...secretOf(agent) });
    expect(codeOf(await read(handed))).toBe("token_revoked");
    // The key by which the actor has proved itself.
    const rotated = await self.agent(THINGS);
    const byKey = await delegated(self, rotated, agent.token);
    await self.call(`/agents/${rotated.id}/rotate-key`, {
      method: "POST",
      token: rotated.token,
      json: { overlap_seconds: 0 },
    });
    expect(codeOf(await read(byKey))).toBe("token_revoked");
  });

  it("is ended by each of its agents, and by nobody else", SLOW, async () => {
    for (const [who, status] of [
      [agent, 200],
      [actor, 200],
      [admin, 200],
      [other, 400],
    ] as const) {
      const handed = await delegated(self, actor, agent.token);
      const answer = await post(self, "/oauth/revoke", { token: handed }, { headers: basic(who.id, who.apiKey) });
      expect([answer.status, (await read(handed)).status]).toEqual([status, status === 200 ? 401 : 200]);
    }
    expect((await read(agent.token)).status).toBe(200);
  });

  it("is no wider than what each of its agents has now", SLOW, async () => {
    const [one, two] = [await self.agent(THINGS), await self.agent(THINGS)];
    const handed = await delegated(self, two, one.token);
    const put = (id: string, permissions: string[]) =>
      self.call(`/agents/${id}/permissions`, { method: "PUT", token: admin.token, json: { permissions } });
    expect((await write(handed)).status).toBe(200);
    await put(two.id, ["lab:things:read"]);
    expect([(await read(handed)).status, codeOf(await write(handed))]).toEqual([200, "insufficient_permissions"]);
    await put(two.id, THINGS);
    await put(one.id, ["lab:things:read"]);
    expect([(await read(handed)).status, codeOf(await write(handed))]).toEqual([200, "insufficient_permissions"]);
    await put(one.id, ["lab:*:*"]);
    expect([(await write(handed)).status, codeOf(await read(handed, "/proxy/lab/things/1/notes"))]).toEqual([
      200,
      "insufficient_permissions",
    ]);
  });

  it("is shown by introspection with its actors, and only to those whom it concerns", async () => {
    const handed = await delegated(self, actor, agent.token, { resource: `${ISSUER}/proxy/lab` });
    const ask = async (who: Registered) =>
      (await post(self, "/oauth/introspect", { token: handed }, { headers: basic(who.id, who.apiKey) })).body;
    expect(await ask(admin)).toMatchObject({
      active: true,
      sub: agent.id,
      client_id: actor.id,
      act: { sub: actor.id },
      scope: "lab:things:read lab:things:write",
    });
    const introspector = await self.agent(["agentauth:tokens:introspect"]);
    expect(await ask(introspector)).toEqual({ active: false });
    await self.call(`/agents/${actor.id}/permissions`, {
      method: "PUT",
      token: admin.token,
      json: { permissions: ["lab:things:read", "agentauth:tokens:introspect"] },
    });
    expect(await ask(actor)).toMatchObject({ active: true, scope: "lab:things:read" });
    await self.call(`/agents/${actor.id}/permissions`, {
      method: "PUT",
      token: admin.token,
      json: { permissions: THINGS },
    });
  });

  it("is charged to the limit of each of its agents, the actor's first", SLOW, async () => {
    // Of its own: whose limit is used up is remembered beyond this test, by its clock.
    const [of, by] = [await self.agent(THINGS), await self.agent(THINGS)];
    const asked: string[] = [];
    const limit = { limit: async ({ key }: { key: string }) => ({ success: asked.push(key) > 0 && key !== full }) };
    let full = "";
    const counted = world({ ...SETTINGS, RATE_FREE: limit });
    const handed = await delegated(counted, by, of.token);
    const agentsOf = () => asked.splice(0).filter((key) => key.startsWith("agt_"));
    agentsOf();
    const call = () => counted.call("/proxy/lab/things/1", { token: handed });
    expect([(await call()).status, agentsOf()]).toEqual([200, [by.id, of.id]]);
    full = by.id;
    expect([codeOf(await call()), agentsOf()]).toEqual(["rate_limited", [by.id]]);
    full = of.id;
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 2000 });
    expect([codeOf(await call()), agentsOf()]).toEqual(["rate_limited", [by.id, of.id]]);
    // What is known to be used up is not asked for again, by whichever token.
    expect([codeOf(await call()), agentsOf()]).toEqual(["rate_limited", []]);
    const named = await delegated(counted, other, other.token, { sub_agent: "one" });
    agentsOf();
    expect([(await counted.call("/proxy/lab/things/1", { token: named })).status, agentsOf()]).toEqual([
      200,
      [other.id],
    ]);
  });

  it("records each call of every agent, with the whole chain, and a write before it is sent", SLOW, async () => {
    const [one, two] = [await self.agent(THINGS), await self.agent(THINGS)];
    const handed = await delegated(self, two, one.token);
    self.sent.length = 0;
    expect((await write(handed)).status).toBe(200);
    const records = async ({ id }: Registered) =>
      (await self.records(id)).filter(({ action }) => action === "gateway.call" || action === "token.exchanged");
    for (const who of [one, two]) {
      const [call] = await records(who);
      expect(call).toMatchObject({
        action: "gateway.call",
        agentId: who.id,
        actor: { type: "agent", id: two.id },
        act: [{ sub: two.id }, { sub: one.id }],
        outcome: "success",
        keyId: decodeJwt<{ chain: { key_id?: string }[] }>(handed).chain[1]!.key_id,
        method: "DELETE",
        status: 200,
      });
    }
    // The owner of the agent that is acted for does not see from where.
    const { body } = await self.call("/audit?action=gateway.call", { token: one.token });
    expect(body.records[0]).toMatchObject({ act: [{ sub: two.id }, { sub: one.id }], ip_address: null });
  });

  it("records the exchange of each of them", SLOW, async () => {
    const [one, two] = [await self.agent(THINGS), await self.agent(THINGS)];
    self.sent.length = 0;
    await delegated(self, two, one.token, { scope: "lab:things:read" });
    const found = self.entries.filter(({ action }) => action === "token.exchanged");
    expect(found.map(({ agentId }) => agentId)).toEqual([two.id, one.id]);
    for (const entry of found) {
      expect(entry).toMatchObject({
        actor: { type: "agent", id: two.id },
        act: [{ sub: two.id }, { sub: one.id }],
        after: { scope: ["lab:things:read"] },
      });
    }
    expect(JSON.stringify(found)).not.toContain("eyJ");
    self.sent.length = 0;
    const refused = await self.call("/agents", { token: await delegated(self, two, one.token) });
    expect(refused.body.code).toBe("delegated_token");
  });

  it("is ended while the database is asked: a write is sent on the condition that each link stands", async () => {
    const [one, two] = [await self.agent(THINGS), await self.agent(THINGS)];
    const handed = await delegated(self, two, one.token);
    let isEnded = false;
    const racing = world({
      ...SETTINGS,
      DB: new Proxy(self.env.DB, {
        get(db, name) {
          const value = Reflect.get(db, name) as unknown;
          if (name !== "batch") return typeof value === "function" ? value.bind(db) : value;
          return async (statements: D1PreparedStatement[]) => {
            const result = await db.batch(statements);
            // After the status was read, and before the intent is written.
            if (!isEnded) {
              isEnded = true;
              await db.prepare("UPDATE agents SET status = 'suspended' WHERE id = ?1").bind(one.id).run();
            }
            return result;
          };
        },
      }),
    });
    const answer = await racing.call("/proxy/lab/things/1", { method: "DELETE", token: handed });
    expect([isEnded, codeOf(answer)]).toEqual([true, "token_revoked"]);
  });

  it.each<[string, (claims: Claims) => void]>([
    ["no chain", (claims) => void Reflect.deleteProperty(claims, "chain")],
    ["no act", (claims) => void Reflect.deleteProperty(claims, "act")],
    ["an actor that has no link", (claims) => void (claims.act = { sub: "agt_other" })],
    ["an actor beyond its links", (claims) => void (claims.act.act = { sub: "agt_other" })],
    ["a cycle", (claims) => void (claims.chain[1].sub = claims.act.sub = claims.sub)],
    ["another subject than its first link", (claims) => void (claims.sub = "agt_other")],
    ["claims of a token of the agent itself", (claims) => void (claims.sid = claims.chain[0].sid)],
    ["a version of its own", (claims) => void (claims.ver = 1)],
    ["a link without a version", (claims) => delete claims.chain[1].ver],
    ["a version that is a text", (claims) => void (claims.chain[1].ver = "1")],
    ["a link that stands on nothing", (claims) => delete claims.chain[1].key_id],
    ["a link that stands on two things", (claims) => void (claims.chain[1].sid = claims.chain[0].sid)],
    ["a first link that says that it was exchanged", (claims) => void (claims.chain[0].token = "x")],
    ["a last link that names another token", (claims) => void (claims.chain[1].token = "x")],
    ["a chain that is no list", (claims) => void Object.assign(claims, { chain: { ...claims.chain, length: 2 } })],
    ["an act that is a list", (claims) => void Object.assign(claims, { act: [claims.act] })],
    [
      "five steps",
      (claims) =>
        void (claims.act = { sub: "a", act: { sub: "b", act: { sub: "c", act: { sub: "d", act: claims.act } } } }),
    ],
    [
      "grants by their ids",
      (claims) => void (claims.authorization_details = [{ type: "agentauth_grant_reference", ids: [] }]),
    ],
  ])("with %s is no token, whoever has signed it", async (_, change) => {
    const claims = decodeJwt(await delegated(self, actor, agent.token)) as unknown as Claims;
    expect((await read(await signed(claims))).status).toBe(200);
    change(claims);
    expect(codeOf(await read(await signed(claims)))).toBe("invalid_token");
  });
});

describe("a chain", () => {
  it("has one step unless DELEGATION_DEPTH allows more", async () => {
    const handed = await delegated(self, actor, agent.token);
    const again = await exchange(self, other, handed);
    expect([...refusal(again), again.body.error_description]).toEqual([
      400,
      "invalid_request",
      expect.stringContaining("DELEGATION_DEPTH"),
    ]);
  });

  it(
    "has four steps at most, names each of them, and ends with each token, session and agent in it",
    SLOW,
    async () => {
      const agents: Registered[] = [];
      for (let at = 0; at < 6; at++) agents.push(await deep.agent(THINGS));
      const build = async () => {
        const tokens = [await clientToken(agents[0]!)];
        for (let at = 1; at <= 4; at++) tokens.push(await delegated(deep, agents[at]!, tokens.at(-1)!));
        return tokens;
      };
      const tokens = await build();
      const ids = agents.map(({ id }) => id);
      const claims = decodeJwt<{ act: object; chain: { sub: string }[] }>(tokens[4]!);
      expect(claims.act).toEqual({
        sub: ids[4],
        act: { sub: ids[3], act: { sub: ids[2], act: { sub: ids[1] } } },
      });
      expect(claims.chain.map((link) => link.sub)).toEqual(ids.slice(0, 5));
      expect((await read(tokens[4]!)).status).toBe(200);
      expect(refusal(await exchange(deep, agents[5]!, tokens[4]!))).toEqual([400, "invalid_request"]);
      for (const one of agents.slice(0, 4)) {
        expect(refusal(await exchange(deep, one, tokens[3]!))).toEqual([400, "invalid_request"]);
      }
      // A token that is ended takes with it what was exchanged from it, and nothing above it.
      for (const at of [0, 2, 4]) {
        const line = await build();
        await post(deep, "/oauth/revoke", { token: line[at]! }, { headers: basic(agents[at]!.id, agents[at]!.apiKey) });
        const statuses = [];
        for (const one of line) statuses.push((await read(one)).status);
        expect(statuses).toEqual(line.map((_, index) => (index < at ? 200 : 401)));
      }
      const last = (await build())[4]!;
      await self.call(`/agents/${ids[2]}/status`, { method: "PUT", token: admin.token, json: { status: "suspended" } });
      expect(codeOf(await read(last))).toBe("token_revoked");
    },
  );

  it(
    "ends within the bound for reads, whichever of its links has ended, and at once where KV knows of it",
    SLOW,
    async () => {
      vi.useFakeTimers({ toFake: ["Date"], now: Date.now() });
      const bound = world({ ...SETTINGS, DELEGATION_DEPTH: "4", STANDING_TTL_SECONDS: "5" });
      const offline = world({ ...SETTINGS, DB: failing(env.DB), STANDING_TTL_SECONDS: "1" });
      const [one, two, three] = [await bound.agent(THINGS), await bound.agent(THINGS), await bound.agent(THINGS)];
      const first = await delegated(bound, two, one.token);
      const chains = [];
      for (let at = 0; at < 5; at++) chains.push(await delegated(bound, three, first));
      const through = (where: World, access: string) => where.call("/proxy/lab/things/1", { token: access });
      const records = [
        [`below:${one.id}`, "2"],
        [`below:${two.id}`, "2"],
        [`below:${three.id}`, "2"],
        [`ended:${decodeJwt(one.token).sid as string}`, "1"],
        [`ended:${decodeJwt(first).jti}`, "1"],
      ];
      for (const [at, [key, value]] of records.entries()) {
        expect([key, codeOf(await through(offline, chains[at]!))]).toEqual([key, "standing_unknown"]);
        await env.REVOCATIONS.put(key!, value!);
        expect([key, codeOf(await through(offline, chains[at]!))]).toEqual([key, "token_revoked"]);
        await env.REVOCATIONS.delete(key!);
      }
      const last = await delegated(bound, three, first);
      expect((await through(bound, last)).status).toBe(200);
      await env.DB.prepare("UPDATE sessions SET ended_at = 1 WHERE agent_id = ?1").bind(one.id).run();
      vi.setSystemTime(Date.now() + 4999);
      expect((await through(bound, last)).status).toBe(200);
      vi.setSystemTime(Date.now() + 1);
      expect(codeOf(await through(bound, last))).toBe("token_revoked");
    },
  );

  it("may begin and end with a token of a trusted issuer, and is none once that is trusted no more", SLOW, async () => {
    const [issuer, key] = [newIssuer(), await newIssuerKey("one")];
    await issuer.publish(key);
    const rules = [{ agent: agent.id, claims: { repository_id: "1296269" } }];
    const trust = { issuer: issuer.url, audience: AUDIENCE, id_claims: ["repository_id"], rules };
    const trusting = world({ ...SETTINGS, TRUSTED_ISSUERS: [trust] });
    const job = (await present(trusting, await issue(issuer.url, key))).body.access_token as string;
    const chains = [
      await delegated(trusting, actor, job),
      await delegated(trusting, other, other.token, actorToken(job)),
    ];
    for (const one of chains) {
      expect((await trusting.call("/proxy/lab/things/1", { token: one })).status).toBe(200);
      expect(codeOf(await read(one))).toBe("invalid_token");
    }
    await post(trusting, "/oauth/revoke", { token: job, ...secretOf(agent) });
    for (const one of chains) {
      expect(codeOf(await trusting.call("/proxy/lab/things/1", { token: one }))).toBe("token_revoked");
    }
  });

  it("may go by sub-agents, which no other agent may name", SLOW, async () => {
    const [one, two] = [await deep.agent(THINGS), await deep.agent(THINGS)];
    const named = await delegated(deep, one, one.token, { sub_agent: "plan" });
    const again = await delegated(deep, one, named, { sub_agent: "read" });
    expect(decodeJwt(again).act).toEqual({ sub: `${one.id}#read`, act: { sub: `${one.id}#plan` } });
    expect(refusal(await exchange(deep, one, again, { sub_agent: "plan" }))).toEqual([400, "invalid_request"]);
    expect(refusal(await exchange(deep, two, again, { sub_agent: "steal" }))).toEqual([400, "invalid_request"]);
    const theirs = await delegated(deep, two, again);
    expect((await read(theirs)).status).toBe(200);
    await post(deep, "/oauth/revoke", { token: named, ...secretOf(one) });
    expect([codeOf(await read(again)), codeOf(await read(theirs)), (await read(one.token)).status]).toEqual([
      "token_revoked",
      "token_revoked",
      200,
    ]);
  });
});

describe("what delegation costs", () => {
  it("is two round trips of an exchange, none of a read that is remembered, and two of a write", SLOW, async () => {
    const counter = countOperations({ DELEGATION_DEPTH: "4" });
    const counted = world(counter.overrides);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() });
    const [one, two, three] = [await counted.agent(THINGS), await counted.agent(THINGS), await counted.agent(THINGS)];
    const first = await counter.run(() => exchange(counted, two, one.token));
    expect([first.result.status, first.awaited.d1, first.awaited.queueSends]).toEqual([200, 2, 0]);
    const second = await counter.run(() => exchange(counted, three, first.result.body.access_token));
    expect([second.result.status, second.awaited.d1]).toEqual([200, 2]);
    const access = second.result.body.access_token as string;
    const get = () => counted.call("/proxy/lab/things/1", { token: access });
    const asked = await counter.run(get);
    // KV is asked at the same time, and nobody waits for it.
    expect([asked.result.status, asked.awaited.d1]).toEqual([200, 1]);
    const remembered = await counter.run(get);
    expect([remembered.result.status, remembered.awaited]).toEqual([
      200,
      expect.objectContaining({ d1: 0, kvReads: 0, queueSends: 0, rateLimits: 3 }),
    ]);
    expect(remembered.later).toMatchObject({ d1: 0, queueSends: 1 });
    const written = await counter.run(() => counted.call("/proxy/lab/things/1", { method: "DELETE", token: access }));
    expect([written.result.status, written.awaited.d1, written.awaited.rowsWritten]).toEqual([200, 2, 3]);
  });
});
