import { decodeJwt } from "jose";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { WRONG_API_KEY } from "../support/secrets.ts";
import { world, type Registered } from "../support/world.ts";
import {
  assertion,
  asserted,
  basic,
  ISSUER,
  post,
  registerKey,
  secretOf,
  token,
  type RegisteredKey,
} from "./clients.ts";
import { SLOW, few } from "../support/extents.ts";

const self = world({ STANDING_TTL_SECONDS: "0", RATE_FREE: { limit: async () => ({ success: true }) } });
const GRANT = { grant_type: "client_credentials" };
let admin: Registered;
let agent: Registered;
let key: RegisteredKey;
beforeAll(async () => {
  admin = await self.admin();
  agent = await self.agent(["lab:things:read", "lab:notes:read"]);
  key = await registerKey(self, agent);
});
afterEach(() => void vi.useRealTimers());

const read = (access: string, path = "/proxy/lab/things/1") => self.call(path, { token: access });
const refusal = ({ status, body }: { status: number; body: { error: string } }) => [status, body.error];
const setStatus = (id: string, status: string) =>
  self.call(`/agents/${id}/status`, { method: "PUT", token: admin.token, json: { status } });

/** The refused proofs in an agent's own view, the newest first, as soon as it has its answer. */
const refusedIn = async (id: string) => (await self.records(id)).filter(({ action }) => action === "token.refused");

describe("client_credentials", () => {
  it("gives a token that stands on the key, without a refresh token and without a session", async () => {
    const { status, headers, body } = await token(self, GRANT, { headers: basic(agent.id, agent.apiKey) });
    expect([status, headers.get("cache-control"), headers.get("pragma")]).toEqual([200, "no-store", "no-cache"]);
    expect(body).toEqual({
      access_token: expect.any(String),
      token_type: "Bearer",
      expires_in: 3600,
      scope: "lab:notes:read lab:things:read",
    });
    const claims = decodeJwt(body.access_token);
    expect(claims).toMatchObject({ iss: ISSUER, aud: ISSUER, sub: agent.id, client_id: agent.id, ver: 1 });
    expect([typeof claims.key_id, claims.sid]).toEqual(["string", undefined]);
    expect((await read(body.access_token)).status).toBe(200);
    expect((await self.call(`/agents/${agent.id}`, { token: body.access_token })).status).toBe(200);
    expect(self.sent).toContainEqual(
      expect.objectContaining({
        entry: expect.objectContaining({ action: "token.issued", agentId: agent.id, keyId: claims.key_id }),
        event: expect.objectContaining({ name: "agent.verified", agentId: agent.id }),
      }),
    );
    const { sessions } = (await self.call(`/agents/${agent.id}/sessions`, { token: body.access_token })).body;
    expect(sessions).toHaveLength(1);
  });

  it.each<[string, () => Promise<Record<string, string>>]>([
    ["client_secret_post", async () => secretOf(agent)],
    ["private_key_jwt", async () => asserted(await assertion(agent.id, key))],
    [
      "private_key_jwt with client_id",
      async () => ({ client_id: agent.id, ...asserted(await assertion(agent.id, key)) }),
    ],
    ["private_key_jwt without a kid", async () => asserted(await assertion(agent.id, key, {}, { kid: undefined }))],
    [
      "an aud that is the token endpoint, in a list",
      async () => asserted(await assertion(agent.id, key, { aud: [`${ISSUER}/oauth/token`] })),
    ],
  ])("authenticates the client by %s", async (_, credentials) => {
    const { status, body } = await token(self, { ...GRANT, ...(await credentials()), unknown: "is ignored" });
    expect([status, body.error_description]).toEqual([200, undefined]);
    expect((await read(body.access_token)).status).toBe(200);
  });

  few(1).each(["EdDSA", "RS256", "PS256"])("takes assertions of %s", async (alg) => {
    const other = await registerKey(self, agent, alg);
    const answer = await token(self, { ...GRANT, ...asserted(await assertion(agent.id, other)) });
    expect([answer.status, answer.body.error_description]).toEqual([200, undefined]);
    expect(decodeJwt(answer.body.access_token).key_id).toBe(other.keyId);
  });

  it("form-decodes what HTTP Basic carries", async () => {
    const encoded = [...agent.id].map((char) => `%${char.charCodeAt(0).toString(16)}`).join("");
    expect((await token(self, GRANT, { headers: basic(encoded, agent.apiKey) })).status).toBe(200);
  });

  it("ends with the key, with the agent's version, and with its status", SLOW, async () => {
    const one = await self.agent();
    const own = await registerKey(self, one);
    const issue = async () =>
      (await token(self, { ...GRANT, ...asserted(await assertion(one.id, own)) })).body.access_token;
    const first = await issue();
    await self.call(`/agents/${one.id}/keys/${own.keyId}`, { method: "DELETE", token: one.token });
    expect((await read(first)).body.code).toBe("token_revoked");
    expect((await read(one.token)).status).toBe(200);
    const second = (await token(self, { ...GRANT, ...secretOf(one) })).body.access_token;
    await self.call("/agents/revoke-tokens", { method: "POST", token: second });
    expect((await read(second)).body.code).toBe("token_revoked");
    const third = (await token(self, { ...GRANT, ...secretOf(one) })).body.access_token;
    await setStatus(one.id, "suspended");
    expect((await read(third)).body.code).toBe("token_revoked");
  });

  it("narrows the scope, and is never wider than the agent", async () => {
    const narrow = await token(self, { ...GRANT, ...secretOf(agent), scope: "lab:notes:read" });
    expect([narrow.status, narrow.body.scope]).toEqual([200, "lab:notes:read"]);
    expect((await read(narrow.body.access_token)).status).toBe(403);
    for (const scope of ["lab:things:write", "lab:*:*", "*:*:*", "nothing", "lab:notes:read lab:things:write", " "]) {
      const answer = await token(self, { ...GRANT, ...secretOf(agent), scope });
      expect([scope, ...refusal(answer)]).toEqual([scope, 400, "invalid_scope"]);
    }
  });

  it("may only be used from where the agent and its key may be used", async () => {
    const one = await self.agent();
    const own = await registerKey(self, one, "ES256", { allowed_ips: ["10.1.0.0/16"] });
    const ask = async (ip: string) => token(self, { ...GRANT, ...asserted(await assertion(one.id, own)) }, { ip });
    expect(refusal(await ask("10.2.0.1"))).toEqual([400, "unauthorized_client"]);
    const { body } = await ask("10.1.0.1");
    const answer = await self.call("/proxy/lab/things/1", { token: body.access_token, ip: "10.2.0.1" });
    expect([answer.status, answer.body.code]).toEqual([403, "address_not_allowed"]);
  });
});

describe("a client that is refused", () => {
  it(
    "gets one answer for an unknown agent, a wrong key and another agent's key, with the challenge of its scheme",
    SLOW,
    async () => {
      const [other, suspended] = [await self.agent(), await self.agent()];
      await setStatus(suspended.id, "suspended");
      const attempts = [
        ["agt_000000000000000000000000", agent.apiKey],
        [agent.id, WRONG_API_KEY],
        [agent.id, other.apiKey],
        [suspended.id, other.apiKey],
      ] as const;
      const bodies = [];
      for (const [id, secret] of attempts) {
        const answer = await token(self, GRANT, { headers: basic(id, secret) });
        expect([...refusal(answer), answer.headers.get("www-authenticate")]).toEqual([
          401,
          "invalid_client",
          'Basic realm="agentauth", charset="UTF-8"',
        ]);
        bodies.push(JSON.stringify(answer.body));
        expect(refusal(await token(self, { ...GRANT, client_id: id, client_secret: secret }))).toEqual([
          401,
          "invalid_client",
        ]);
      }
      expect(new Set(bodies).size).toBe(1);
      const right = await token(self, GRANT, { headers: basic(suspended.id, suspended.apiKey) });
      expect(right.body.error_description).toContain("the agent is suspended");
      const [named, ...strangers] = await refusedIn(suspended.id);
      expect(named).toMatchObject({ actor: { id: suspended.id }, keyId: expect.any(String) });
      expect(strangers).toMatchObject([
        { actor: null, keyId: null },
        { actor: null, keyId: null },
      ]);
      expect(await refusedIn("agt_000000000000000000000000")).toEqual([]);
    },
  );

  it("is told of two ways to authenticate, of a missing one and of a scheme that is none", async () => {
    const secret = secretOf(agent);
    const both = asserted(await assertion(agent.id, key));
    const cases: [Record<string, string>, Record<string, string> | undefined, number, string][] = [
      [secret, basic(agent.id, agent.apiKey), 400, "invalid_request"],
      [both, basic(agent.id, agent.apiKey), 400, "invalid_request"],
      [{ ...secret, ...both }, undefined, 400, "invalid_request"],
      [{ client_id: "agt_other" }, basic(agent.id, agent.apiKey), 400, "invalid_request"],
      [{ client_assertion: both.client_assertion }, undefined, 400, "invalid_request"],
      [{ ...both, client_assertion_type: "saml" }, undefined, 400, "invalid_request"],
      [{ client_id: agent.id }, undefined, 401, "invalid_client"],
      [{}, undefined, 401, "invalid_client"],
      [{}, { authorization: `Bearer ${agent.token}` }, 401, "invalid_client"],
      [{}, { authorization: "Basic !!!" }, 401, "invalid_client"],
      [{}, { authorization: `Basic ${btoa("nocolon")}` }, 401, "invalid_client"],
      [{}, { authorization: `Basic ${btoa(`${agent.id}:%zz`)}` }, 401, "invalid_client"],
      [{ client_id: agent.id, client_secret: "secret" }, undefined, 401, "invalid_client"],
    ];
    for (const [parameters, headers, status, error] of cases) {
      const answer = await token(self, { ...GRANT, ...parameters }, { ...(headers && { headers }) });
      expect([JSON.stringify(parameters), ...refusal(answer)]).toEqual([JSON.stringify(parameters), status, error]);
    }
  });
});

describe("an assertion", () => {
  const attempt = async (text: string) => token(self, { ...GRANT, ...asserted(text) });

  it("is used once, also of two requests at once, and is not used up by a request that is refused", async () => {
    const once = await assertion(agent.id, key);
    const answers = await Promise.all([attempt(once), attempt(once)]);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 401]);
    const again = await attempt(once);
    expect(again.body.error_description).toContain("used before");
    const wide = await assertion(agent.id, key);
    expect((await token(self, { ...GRANT, ...asserted(wide), scope: "*:*:*" })).body.error).toBe("invalid_scope");
    expect((await attempt(wide)).status).toBe(200);
  });

  it(
    "that is refused is a record in the agent's own view at once, with the key that signed it if it is right",
    SLOW,
    async () => {
      const one = await self.agent();
      const own = await registerKey(self, one);
      const used = await assertion(one.id, own);
      const expired = await assertion(one.id, own, { exp: Math.floor(Date.now() / 1000) - 1 });
      self.sent.length = 0;
      for (const [text, status] of [
        [used, 200],
        [used, 401],
        [expired, 401],
        [await assertion(one.id, { ...key, kid: own.kid }), 401],
      ] as const)
        expect((await attempt(text)).status).toBe(status);
      const by = (keyId: string | null) => ({ actor: keyId && { id: one.id }, keyId, outcome: "denied" });
      const [wrong, late, replayed, ...others] = await refusedIn(one.id);
      expect([wrong, late, others]).toMatchObject([by(null), by(null), []]);
      expect(replayed).toMatchObject(by(expect.any(String) as unknown as string));
      expect(self.entries.filter(({ action }) => action === "token.refused")).toEqual([]);
      const scoped = await attempt(await assertion(one.id, own));
      expect(scoped.status).toBe(200);
      expect(await refusedIn(one.id)).toHaveLength(3);
    },
  );

  it("is not used up by a stranger who knows its jti", SLOW, async () => {
    const jti = "known-to-everybody";
    const other = await self.agent();
    const theirs = await registerKey(self, other);
    expect((await attempt(await assertion(other.id, theirs, { jti }))).status).toBe(200);
    expect((await attempt(await assertion(agent.id, { ...theirs, kid: key.kid }, { jti }))).status).toBe(401);
    expect((await attempt(await assertion(agent.id, key, { jti }))).status).toBe(200);
  });

  it("is refused by every key but that of its agent, and by another algorithm than its key's", SLOW, async () => {
    const other = await self.agent();
    const theirs = await registerKey(self, other);
    const rsa = await registerKey(self, agent, "RS256");
    const hmac = new Uint8Array(32);
    const cases = [
      await assertion(agent.id, theirs),
      await assertion(agent.id, { ...theirs, kid: key.kid }),
      await assertion(other.id, key),
      await assertion(agent.id, { ...rsa, kid: key.kid }),
      await assertion(agent.id, { kid: rsa.kid, alg: "HS256", privateKey: hmac as never }),
      await assertion("agt_000000000000000000000000", key),
      (await assertion(agent.id, key)).replace(/[^.]+$/, ""),
      `${btoa(JSON.stringify({ alg: "none" })).replaceAll("=", "")}.${(await assertion(agent.id, key)).split(".")[1]}.`,
    ];
    const said = new Set<string>();
    for (const text of cases) {
      const answer = await attempt(text);
      expect(refusal(answer)).toEqual([401, "invalid_client"]);
      said.add(answer.body.error_description);
    }
    expect([...said]).toEqual(["No active agent has this client_id and these credentials."]);
  });

  it("says what is wrong to whoever has the key", SLOW, async () => {
    const now = Math.floor(Date.now() / 1000);
    const cases: [Record<string, unknown>, RegExp][] = [
      [{ aud: "https://auth.example.com.evil.example" }, /aud/],
      [{ aud: `${ISSUER}/` }, /aud/],
      [{ aud: [ISSUER, "https://other.example"] }, /aud/],
      [{ aud: [] }, /aud/],
      [{ aud: undefined }, /aud/],
      [{ exp: now - 1 }, /expired/],
      [{ exp: now + 400 }, /at most 300/],
      [{ exp: undefined }, /no exp/],
      [{ iat: now + 60 }, /iat .* future/],
      [{ nbf: now + 60 }, /nbf .* future/],
      [{ iat: now - 310 }, /older/],
      [{ jti: undefined }, /jti/],
      [{ jti: "x".repeat(257) }, /jti/],
    ];
    for (const [claims, said] of cases) {
      const answer = await attempt(await assertion(agent.id, key, claims));
      expect([JSON.stringify(claims), ...refusal(answer)]).toEqual([JSON.stringify(claims), 401, "invalid_client"]);
      expect(answer.body.error_description).toMatch(said);
    }
  });

  it("is none of another kind: an access token, another typ, an iss that is not its sub, more than 8 KB", async () => {
    const cases = [
      agent.token,
      await assertion(agent.id, key, {}, { typ: "at+jwt" }),
      await assertion(agent.id, key, {}, { typ: "dpop+jwt" }),
      await assertion(agent.id, key, { iss: "https://idp.example" }),
      await assertion(agent.id, key, { sub: undefined }),
      await assertion(agent.id, key, { pad: "x".repeat(8000) }),
      "garbage",
    ];
    for (const text of cases) expect(refusal(await attempt(text))).toEqual([401, "invalid_client"]);
    // And none of them is an access token.
    expect((await read(await assertion(agent.id, key, {}, { typ: "at+jwt" }))).body.code).toBe("invalid_token");
  });

  it("costs two round trips at the most, and a stranger's as many", async () => {
    let calls = 0;
    const counted = new Proxy(self.env.DB, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name);
        if (name === "batch") calls++;
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const where = world({ DB: counted });
    expect((await token(where, { ...GRANT, ...asserted(await assertion(agent.id, key)) })).status).toBe(200);
    expect((await token(where, { ...GRANT, ...asserted(await assertion("agt_nobody", key)) })).status).toBe(401);
    expect(calls).toBe(2);
  });
});

describe("resource", () => {
  const ask = (resource: string[], more: [string, string][] = []) =>
    token(self, [
      ...Object.entries({ ...GRANT, ...secretOf(agent) }),
      ...resource.map((one): [string, string] => ["resource", one]),
      ...more,
    ]);

  it("makes a token that is good for exactly these services, and not at the REST face", async () => {
    const { body } = await ask([`${ISSUER}/proxy/lab`]);
    expect(decodeJwt(body.access_token).aud).toBe(`${ISSUER}/proxy/lab`);
    expect((await read(body.access_token)).status).toBe(200);
    for (const path of [`/agents/${agent.id}`, "/proxy/github/repos/o/r/issues", "/webhooks"]) {
      const { status, headers, body: refused } = await self.call(path, { token: body.access_token });
      expect([path, status, refused.code]).toEqual([path, 401, "invalid_token"]);
      expect(headers.get("www-authenticate")).toContain('error="invalid_token"');
    }
    const two = await ask([`${ISSUER}/proxy/lab`, `${ISSUER}/proxy/github`]);
    expect(decodeJwt(two.body.access_token).aud).toEqual([`${ISSUER}/proxy/lab`, `${ISSUER}/proxy/github`]);
    expect((await read(two.body.access_token)).status).toBe(200);
    expect((await self.call(`/agents/${agent.id}`, { token: two.body.access_token })).status).toBe(401);
  });

  it("may be the deployment itself, in any spelling of the URL, and then alone", async () => {
    for (const one of [ISSUER, `${ISSUER}/`, "HTTPS://AUTH.example.com:443"]) {
      const { body } = await ask([one]);
      expect([one, decodeJwt(body.access_token).aud]).toEqual([one, ISSUER]);
    }
    expect(refusal(await ask([ISSUER, `${ISSUER}/proxy/lab`]))).toEqual([400, "invalid_target"]);
  });

  it.each([
    `${ISSUER}/proxy/git`,
    `${ISSUER}/proxy/lab/`,
    `${ISSUER}/proxy/lab#x`,
    `${ISSUER}/proxy/lab?x`,
    `${ISSUER}/proxy/LAB`,
    "https://auth.example.com.evil.example/proxy/lab",
    "https://user@auth.example.com/proxy/lab",
    "http://auth.example.com/proxy/lab",
    "/proxy/lab",
    "lab",
    "https://api.github.com",
  ])("is refused if it is %s", async (resource) => {
    expect(refusal(await ask([resource]))).toEqual([400, "invalid_target"]);
  });
});

describe("refresh_token", () => {
  const refresh = (who: Registered, refreshToken: string, more: Record<string, string> = {}) =>
    token(self, { grant_type: "refresh_token", ...secretOf(who), refresh_token: refreshToken, ...more });

  it("rotates, gives the same successor within the grace, and ends the session afterwards", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const one = await self.agent();
    const first = await refresh(one, one.refreshToken);
    expect(first.status).toBe(200);
    expect(first.body).toMatchObject({ token_type: "Bearer", scope: "lab:things:read" });
    expect((await refresh(one, one.refreshToken)).body.refresh_token).toBe(first.body.refresh_token);
    vi.setSystemTime(Date.now() + 11_000);
    expect(refusal(await refresh(one, one.refreshToken))).toEqual([400, "invalid_grant"]);
    expect(refusal(await refresh(one, first.body.refresh_token))).toEqual([400, "invalid_grant"]);
    expect((await read(first.body.access_token)).body.code).toBe("token_revoked");
  });

  it("is for the client of the session, whose token another client does not use up", SLOW, async () => {
    const [one, other] = [await self.agent(), await self.agent()];
    expect(refusal(await refresh(other, one.refreshToken))).toEqual([400, "invalid_grant"]);
    const bare = await token(self, { grant_type: "refresh_token", refresh_token: one.refreshToken });
    expect(refusal(bare)).toEqual([401, "invalid_client"]);
    const next = await refresh(one, one.refreshToken);
    expect(next.status).toBe(200);
    // Nor does another client get the answer again that the first one may have lost.
    expect(refusal(await refresh(other, one.refreshToken))).toEqual([400, "invalid_grant"]);
    expect((await refresh(one, one.refreshToken)).body.refresh_token).toBe(next.body.refresh_token);
  });

  it("narrows the access token only, and refuses a wider scope without using the token up", SLOW, async () => {
    const one = await self.agent(["lab:things:read", "lab:notes:read"]);
    const verified = await self.call("/agents/verify", {
      method: "POST",
      json: { agent_id: one.id, api_key: one.apiKey, scope: "lab:things:read" },
    });
    const session = verified.body.token.refresh_token as string;
    // Others have what this agent does not.
    await self.agent(["lab:things:write"]);
    const rows = () =>
      self.env.DB.prepare("SELECT id, generation, hash FROM sessions WHERE agent_id = ?1 ORDER BY id")
        .bind(one.id)
        .all()
        .then(({ results }) => results);
    const before = await rows();
    for (const scope of ["lab:notes:read", "lab:notes:read lab:things:read", "*:*:*"]) {
      expect(refusal(await refresh(one, session, { scope }))).toEqual([400, "invalid_scope"]);
    }
    expect(refusal(await refresh(one, one.refreshToken, { scope: "lab:things:write" }))).toEqual([
      400,
      "invalid_scope",
    ]);
    expect(await rows()).toEqual(before);
    const whole = await refresh(one, one.refreshToken, { scope: "lab:notes:read", resource: `${ISSUER}/proxy/lab` });
    expect(decodeJwt(whole.body.access_token)).toMatchObject({ scope: "lab:notes:read", aud: `${ISSUER}/proxy/lab` });
    expect((await refresh(one, whole.body.refresh_token)).body.scope).toBe("lab:notes:read lab:things:read");
    const same = await refresh(one, session, { scope: "lab:things:read" });
    expect([same.status, same.body.scope]).toEqual([200, "lab:things:read"]);
    expect((await refresh(one, same.body.refresh_token)).body.scope).toBe("lab:things:read");
  });

  it.each(["", "rt_guess", "garbage"])("refuses %j", async (text) => {
    const answer = await refresh(agent, text);
    expect(refusal(answer)).toEqual([400, text === "" ? "invalid_request" : "invalid_grant"]);
  });
});

describe("requests that are refused before anybody is known", () => {
  const PATHS = ["/oauth/token", "/oauth/introspect", "/oauth/revoke", "/oauth/device_authorization"];
  /** What a Worker has counted, and how many messages it took. */
  const countedBy = ({ sent }: typeof self) => {
    const all = sent.flatMap((message) => (message.kind === "refusals" ? message.refusals : []));
    return { all, messages: sent.length };
  };

  it.each<[string, string, Record<string, string>, string]>([
    [
      "a secret without the form of one",
      "/oauth/token",
      { ...GRANT, client_id: "agt_1", client_secret: "hunter2" },
      "invalid_client",
    ],
    ["no secret", "/oauth/introspect", { token: "hunter2" }, "invalid_client"],
    [
      "a secret without the form of one",
      "/oauth/revoke",
      { token: "x", client_id: "agt_1", client_secret: "hunter2" },
      "invalid_client",
    ],
    ["an assertion that is none", "/oauth/token", { ...GRANT, ...asserted("hunter2") }, "invalid_client"],
    [
      "an unknown device code",
      "/oauth/token",
      {
        grant_type: "urn:ietf:params:oauth:grant-type:device_code",
        client_id: "agentauth-cli",
        device_code: "hunter2",
      },
      "invalid_grant",
    ],
    [
      "an assertion of nobody",
      "/oauth/token",
      { grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer", assertion: "hunter2" },
      "invalid_grant",
    ],
    ["another command", "/oauth/device_authorization", { client_id: "hunter2" }, "invalid_client"],
    ["an unknown grant", "/oauth/token", { grant_type: "hunter2" }, "unsupported_grant_type"],
    ["no grant", "/oauth/token?token=hunter2", {}, "invalid_request"],
  ])("are counted by their address, without what they said: %s at %s", async (_, path, parameters, error) => {
    const fresh = world();
    const answer = await post(fresh, path, parameters, { ip: "192.0.2.7" });
    expect(answer.body.error).toBe(error);
    expect(countedBy(fresh)).toMatchObject({
      messages: 1,
      all: [
        {
          subject: "192.0.2.7",
          code: error,
          agentId: "",
          count: 1,
          entry: {
            action: "request.refused",
            status: answer.status,
            method: "POST",
            path: path.split("?")[0],
            ipAddress: "192.0.2.7",
          },
        },
      ],
    });
    expect(JSON.stringify(fresh.sent)).not.toContain("hunter2");
  });

  it("are as few messages as they are minutes, however many they are", SLOW, async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const fresh = world({ RATE_ADDRESS: { limit: async () => ({ success: true }) } });
    const ask = (path: string, n: number) =>
      post(fresh, path, { client_id: `agt_${n}`, client_secret: "x", token: `${n}` }, { ip: `192.0.2.${n % 4}` });
    await ask(PATHS[0]!, 0);
    for (let n = 0; n < 40; n++) await ask(PATHS[n % PATHS.length]!, n);
    vi.setSystemTime(Date.now() + 6000);
    await ask(PATHS[0]!, 0);
    const { all, messages } = countedBy(fresh);
    expect(messages).toBe(2);
    expect(all.reduce((sum, { count }) => sum + count, 0)).toBe(42);
    // Of four addresses, and with two codes.
    expect(all.length).toBeLessThanOrEqual(1 + 2 * 4 * 2);
  });

  it("are counted by the agent if a client has proved itself, which sees them", async () => {
    const one = await self.agent();
    const fresh = world();
    expect(
      refusal(await token(fresh, { grant_type: "refresh_token", refresh_token: "rt_guess", ...secretOf(one) })),
    ).toEqual([400, "invalid_grant"]);
    expect(countedBy(fresh).all).toMatchObject([
      { subject: one.id, agentId: one.id, code: "invalid_grant", entry: { actor: { id: one.id } } },
    ]);
    const wider = world();
    await token(wider, { ...GRANT, scope: "lab:things:write", ...secretOf(one) });
    expect(countedBy(wider).all).toMatchObject([{ subject: one.id, code: "invalid_scope" }]);
  });

  it("are not counted again if they have a record of their own, nor while a command waits", async () => {
    const fresh = world();
    await token(fresh, { ...GRANT, client_id: agent.id, client_secret: WRONG_API_KEY });
    const one = await self.agent();
    await self.call("/agents/revoke-tokens", { method: "POST", token: one.token });
    await token(fresh, { grant_type: "refresh_token", refresh_token: one.refreshToken, ...secretOf(one) });
    const begun = await post(fresh, "/oauth/device_authorization", { client_id: "agentauth-cli" });
    const waiting = await token(fresh, {
      grant_type: "urn:ietf:params:oauth:grant-type:device_code",
      client_id: "agentauth-cli",
      device_code: begun.body.device_code,
    });
    expect(waiting.body.error).toBe("authorization_pending");
    await fresh.settled();
    expect(countedBy(fresh).all).toEqual([]);
  });
});

describe("the form", () => {
  few(5).each<[string, string, string, string]>([
    ["JSON", "application/json", '{"grant_type":"client_credentials"}', "invalid_request"],
    [
      "another charset",
      "application/x-www-form-urlencoded; charset=utf-16",
      "grant_type=client_credentials",
      "invalid_request",
    ],
    ["bytes that are not UTF-8", "application/x-www-form-urlencoded", "grant_type=%ff", "invalid_request"],
    [
      "a parameter twice",
      "application/x-www-form-urlencoded",
      "grant_type=client_credentials&grant_type=client_credentials",
      "invalid_request",
    ],
    ["no grant_type", "application/x-www-form-urlencoded", "scope=x", "invalid_request"],
    ["an empty grant_type", "application/x-www-form-urlencoded", "grant_type=", "invalid_request"],
    ["the password grant", "application/x-www-form-urlencoded", "grant_type=password", "unsupported_grant_type"],
    ["a name of every object", "application/x-www-form-urlencoded", "grant_type=constructor", "unsupported_grant_type"],
    [
      "the client in the query",
      "application/x-www-form-urlencoded; charset=UTF-8",
      "grant_type=client_credentials",
      "invalid_client",
    ],
  ])("is refused: %s", async (_, type, body, error) => {
    const {
      status,
      body: answer,
      headers,
    } = await self.call(`/oauth/token?client_id=${agent.id}&client_secret=${agent.apiKey}`, {
      method: "POST",
      headers: { "content-type": type },
      body,
    });
    expect([answer.error, status]).toEqual([error, error === "invalid_client" ? 401 : 400]);
    expect(Object.keys(answer)).toEqual(["error", "error_description"]);
    expect(answer.error_description).toMatch(/^[\x20\x21\x23-\x5b\x5d-\x7e]+$/);
    expect(headers.get("cache-control")).toBe("no-store");
  });

  it("is posted: GET is 405, in the shape of OAuth's errors", async () => {
    for (const method of ["GET", "PUT", "DELETE"]) {
      const { status, body, headers } = await self.call("/oauth/token?grant_type=client_credentials", { method });
      expect([status, body.error, headers.get("allow")]).toEqual([405, "invalid_request", "POST, OPTIONS"]);
    }
  });

  it("may not be larger than a body of this deployment", async () => {
    const answer = await post(self, "/oauth/token", { ...GRANT, pad: "x".repeat(70_000) });
    expect(refusal(answer)).toEqual([400, "invalid_request"]);
  });

  it("is counted against its sender and against the key, as a verification is", async () => {
    const limited = world({ RATE_ADDRESS: { limit: async () => ({ success: false }) } });
    const answer = await token(limited, { ...GRANT, ...secretOf(agent) });
    expect([...refusal(answer), answer.headers.has("retry-after")]).toEqual([429, "temporarily_unavailable", true]);
    const byKey = world({ RATE_FREE: { limit: async () => ({ success: false }) } });
    expect((await token(byKey, { ...GRANT, ...secretOf(agent) })).status).toBe(429);
    expect((await token(byKey, { ...GRANT, ...asserted(await assertion(agent.id, key)) })).status).toBe(429);
    const guessed = world({ RATE_VERIFY: { limit: async () => ({ success: false }) } });
    expect((await token(guessed, { ...GRANT, client_id: agent.id, client_secret: WRONG_API_KEY })).status).toBe(429);
    expect((await token(guessed, { ...GRANT, ...secretOf(agent) })).status).toBe(200);
  });
});
