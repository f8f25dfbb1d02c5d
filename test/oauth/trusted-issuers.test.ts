import { base64url, calculateJwkThumbprint, decodeJwt, SignJWT } from "jose";
import * as oauth from "oauth4webapi";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { AgentAuthClient } from "../../src/client/index.ts";
import { SLOW, few } from "../support/extents.ts";
import { world, type Registered, type World } from "../support/world.ts";
import { assertion, asserted, basic, ISSUER, post, registerKey, secretOf, token } from "./clients.ts";
import {
  AUDIENCE,
  issue,
  newIssuer,
  newIssuerKey,
  JWT_BEARER,
  present,
  type Issuer,
  type IssuerKey,
} from "./issuers.ts";

const base = world();
const issuer = newIssuer();
const SETTINGS = { STANDING_TTL_SECONDS: "0", RATE_FREE: { limit: async () => ({ success: true }) } };
const NO_LIMIT = { limit: async () => ({ success: true }) };
const CLAIMS = { repository_id: "1296269", ref: "refs/heads/main" };
let self: World;
let agent: Registered;
let other: Registered;
let admin: Registered;
let key: IssuerKey;
/** A Worker that trusts an issuer. */
const trusting = (more: object, rules: object[] = [{ agent: agent.id, claims: CLAIMS }], settings: object = {}) =>
  world({
    ...SETTINGS,
    RATE_VERIFY: NO_LIMIT,
    TRUSTED_ISSUERS: [{ issuer: issuer.url, audience: AUDIENCE, id_claims: ["repository_id"], rules, ...more }],
    ...settings,
  });
beforeAll(async () => {
  [agent, other, admin] = [
    await base.agent(["lab:things:read", "lab:notes:read"]),
    await base.agent(),
    await base.admin(),
  ];
  key = await newIssuerKey("one");
  await issuer.publish(key);
  self = trusting({});
});
afterEach(() => void vi.useRealTimers());

const read = (access: string, where = self) => where.call("/proxy/lab/things/1", { token: access });
const refusal = ({ status, body }: { status: number; body: { error: string } }) => [status, body.error];
const job = (claims: Record<string, unknown> = {}, header: Record<string, unknown> = {}, by = key) =>
  issue(issuer.url, by, claims, header);

/** A key for DPoP (RFC 9449), and proofs of it for the token endpoint. */
async function dpopProofs() {
  const dpopKey = await newIssuerKey("proof", "ES256");
  const { kty, crv, x, y } = dpopKey.jwk;
  const jkt = await calculateJwkThumbprint({ kty: kty!, crv: crv!, x: x!, y: y! });
  const proof = () =>
    new SignJWT({
      jti: crypto.randomUUID(),
      htm: "POST",
      htu: `${ISSUER}/oauth/token`,
      iat: Math.floor(Date.now() / 1000),
    })
      .setProtectedHeader({ typ: "dpop+jwt", alg: "ES256", jwk: { kty: kty!, crv: crv!, x: x!, y: y! } })
      .sign(dpopKey.privateKey);
  return { jkt, proof };
}

describe("a token of a trusted issuer", () => {
  it("becomes one of the rule's agent, which stands on no key, is recorded, and ends like others", async () => {
    const { status, headers, body } = await present(self, await job());
    expect([status, headers.get("cache-control")]).toEqual([200, "no-store"]);
    expect(body).toEqual({
      access_token: expect.any(String),
      token_type: "Bearer",
      expires_in: 3600,
      scope: "lab:notes:read lab:things:read",
    });
    const claims = decodeJwt(body.access_token);
    expect(claims).toMatchObject({ iss: ISSUER, sub: agent.id, aud: ISSUER, ver: 1, key_id: `issuer:${issuer.url}` });
    expect([claims.sid, claims.auth_time]).toEqual([undefined, undefined]);
    expect((await read(body.access_token)).status).toBe(200);
    expect(self.sent).toContainEqual(
      expect.objectContaining({
        entry: expect.objectContaining({
          action: "token.issued",
          agentId: agent.id,
          keyId: `issuer:${issuer.url}`,
          message: `token issued: jwt-bearer, ${issuer.url} "repo:octo/hello:ref:refs/heads/main"`,
        }),
        event: expect.objectContaining({ name: "agent.verified", agentId: agent.id }),
      }),
    );
    const introspect = () =>
      post(self, "/oauth/introspect", { token: body.access_token }, { headers: basic(admin.id, admin.apiKey) });
    expect((await introspect()).body).toMatchObject({ active: true, client_id: agent.id });
    await post(self, "/oauth/revoke", { token: body.access_token }, { headers: basic(agent.id, agent.apiKey) });
    expect((await introspect()).body).toEqual({ active: false });
    expect((await read(body.access_token)).body.code).toBe("token_revoked");
  });

  it("is no proof by key: nobody makes a key with it that lasts, or ends the agent", async () => {
    const { body } = await present(self, await job());
    const at = (path: string, json: object) =>
      self.call(`/agents/${agent.id}${path}`, { method: "POST", token: body.access_token, json });
    expect((await at("/keys", {})).body.code).toBe("reauthentication_required");
    expect((await at("/rotate-key", {})).body.code).toBe("reauthentication_required");
  });

  it("is good for one token, of two requests at once too, with its jti or without", SLOW, async () => {
    const once = await job();
    const answers = await Promise.all([present(self, once), present(self, once)]);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 400]);
    expect(refusal(await present(self, once))).toEqual([400, "invalid_grant"]);
    const jti = crypto.randomUUID();
    expect((await present(self, await job({ jti }))).status).toBe(200);
    expect((await present(self, await job({ jti, extra: 1 }))).body.error_description).toContain("used before");

    // Of one text, ECDSA has two signatures.
    const ec = await newIssuerKey("ec", "ES256");
    await issuer.publish(key, ec);
    const where = trusting({ jwks_uri: `${issuer.url}/keys` });
    const bare = await job({ jti: undefined }, {}, ec);
    expect((await present(where, bare)).status).toBe(200);
    const N = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
    const [signed, signature] = [bare.slice(0, bare.lastIndexOf(".")), base64url.decode(bare.split(".")[2]!)];
    const s = BigInt(`0x${[...signature.subarray(32)].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`);
    const hex = (N - s).toString(16).padStart(64, "0");
    signature.set(
      hex.match(/../g)!.map((one) => parseInt(one, 16)),
      32,
    );
    for (const text of [bare, `${signed}.${base64url.encode(signature)}`]) {
      expect((await present(where, text)).body.error_description).toContain("used before");
    }
  });

  it("is used up by the agent that gets the token, and not by a request that is refused", SLOW, async () => {
    const text = await job();
    expect((await present(self, text, { scope: "lab:things:write" })).body.error).toBe("invalid_scope");
    expect((await present(self, text, { client_id: other.id })).body.error).toBe("invalid_grant");
    expect((await present(self, text, { resource: "https://api.github.com" })).body.error).toBe("invalid_target");
    expect((await present(self, text)).status).toBe(200);
  });

  it("is narrowed like every other one, and may be bound to a key", async () => {
    const { body } = await present(self, await job(), { scope: "lab:notes:read", resource: `${ISSUER}/proxy/lab` });
    expect(decodeJwt(body.access_token)).toMatchObject({ scope: "lab:notes:read", aud: `${ISSUER}/proxy/lab` });
    const details = JSON.stringify([{ type: "agentauth_grant", permission: "lab:things:read" }]);
    expect((await present(self, await job(), { authorization_details: details })).body.scope).toBe("lab:things:read");
    const { jkt, proof } = await dpopProofs();
    // An assertion that is bound itself is good with this key only.
    for (const claims of [{}, { cnf: { jkt } }]) {
      const bound = await present(self, await job(claims), {}, { headers: { dpop: await proof() } });
      expect([bound.body.token_type, decodeJwt(bound.body.access_token ?? "").cnf]).toEqual(["DPoP", { jkt }]);
    }
  });

  it("is refused where its agent may not be used, and while it is not active", SLOW, async () => {
    const one = await base.agent();
    const where = trusting({}, [{ agent: one.id, claims: CLAIMS }]);
    const patch = { method: "PATCH", token: admin.token, json: { allowed_ips: ["10.1.0.0/16"] } };
    await base.call(`/agents/${one.id}`, patch);
    expect(refusal(await present(where, await job(), {}, { ip: "10.2.0.1" }))).toEqual([400, "unauthorized_client"]);
    const { body } = await present(where, await job(), {}, { ip: "10.1.0.1" });
    expect((await where.call("/proxy/lab/things/1", { token: body.access_token, ip: "10.2.0.1" })).status).toBe(403);
    const suspend = { method: "PUT", token: admin.token, json: { status: "suspended" } };
    await base.call(`/agents/${one.id}/status`, suspend);
    const refused = await present(where, await job(), {}, { ip: "10.1.0.1" });
    expect(refused.body.error_description).toContain("suspended");
    const nobody = trusting({}, [{ agent: "agt_000000000000000000000000", claims: CLAIMS }]);
    expect((await present(nobody, await job())).body.error_description).toContain("no such agent");
  });

  it("ends once its issuer is trusted no more, or not for this agent", async () => {
    const { body } = await present(self, await job());
    expect((await read(body.access_token, trusting({}))).status).toBe(200);
    const elsewhere = trusting({}, [{ agent: other.id, claims: CLAIMS }]);
    for (const where of [base, elsewhere]) {
      expect((await read(body.access_token, where)).body.code).toBe("invalid_token");
    }
  });
});

describe("others' clients and agents", () => {
  it("is sent by oauth4webapi, which knows the issuer alone", async () => {
    const options = {
      [oauth.customFetch]: (url: string, init: object) => self.fetch(url, init),
    };
    const found = await oauth.discoveryRequest(new URL(ISSUER), { algorithm: "oauth2", ...options });
    const as = await oauth.processDiscoveryResponse(new URL(ISSUER), found);
    const client = { client_id: agent.id };
    const parameters = { assertion: await job(), scope: "lab:things:read" };
    const answer = await oauth.genericTokenEndpointRequest(as, client, oauth.None(), JWT_BEARER, parameters, options);
    const { access_token, scope } = await oauth.processGenericTokenEndpointResponse(as, client, answer);
    expect([scope, (await read(access_token)).status]).toEqual(["lab:things:read", 200]);
  });

  it("can be handed on, and what was handed on ends with the trust", async () => {
    const subject = (await present(self, await job())).body.access_token as string;
    const { body } = await token(self, {
      grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
      subject_token: subject,
      subject_token_type: "urn:ietf:params:oauth:token-type:access_token",
      ...secretOf(other),
    });
    expect(decodeJwt(body.access_token)).toMatchObject({ sub: agent.id, act: { sub: other.id } });
    expect((await read(body.access_token)).status).toBe(200);
    const elsewhere = trusting({}, [{ agent: other.id, claims: CLAIMS }]);
    for (const where of [base, elsewhere]) {
      expect((await read(body.access_token, where)).body.code).toBe("invalid_token");
    }
  });
});

describe("a token of a trusted issuer as subject_token", () => {
  const exchange = (client: Registered, subject: string, more: Record<string, string> = {}, where = self) =>
    token(where, {
      grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
      subject_token: subject,
      subject_token_type: "urn:ietf:params:oauth:token-type:jwt",
      ...secretOf(client),
      ...more,
    });
  let actor: Registered;
  beforeAll(async () => {
    actor = await base.agent(["lab:things:read"]);
  });

  it("lets the client act for the agent of its rule, and ends with it", async () => {
    const exp = Math.floor(Date.now() / 1000) + 90;
    const { status, body } = await exchange(actor, await job({ exp }));
    expect([status, body.scope, body.refresh_token]).toEqual([200, "lab:things:read", undefined]);
    const claims = decodeJwt(body.access_token);
    expect(claims).toMatchObject({ sub: agent.id, client_id: actor.id, act: { sub: actor.id }, exp });
    expect(claims.chain).toEqual([
      { sub: agent.id, ver: 1, key_id: `issuer:${issuer.url}`, jti: expect.any(String) },
      { sub: actor.id, ver: 1, key_id: expect.any(String) },
    ]);
    expect(claims.auth_time).toBeUndefined();
    expect((await read(body.access_token)).status).toBe(200);
    for (const where of [base, trusting({}, [{ agent: other.id, claims: CLAIMS }])]) {
      expect((await read(body.access_token, where)).body.code).toBe("invalid_token");
    }
  });

  it("is what the SDK exchanges if it is told that the subject is a JWT", async () => {
    const client = new AgentAuthClient({
      baseUrl: ISSUER,
      agentId: actor.id,
      apiKey: actor.apiKey,
      fetch: (url, init) => self.fetch(url, init),
    });
    const given = await client.exchange({ subjectToken: await job(), subjectTokenType: "jwt" });
    expect(decodeJwt(given.access_token)).toMatchObject({ sub: agent.id, act: { sub: actor.id } });
    const refused = client.exchange({ subjectToken: await job() });
    await expect(refused).rejects.toMatchObject({ status: 400, code: "invalid_request" });
  });

  it("is good with a proof of its key only, if it is bound to one, and so is what it is exchanged for", async () => {
    const { jkt, proof } = await dpopProofs();
    const form = {
      grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
      subject_token: await job({ cnf: { jkt } }),
      subject_token_type: "urn:ietf:params:oauth:token-type:jwt",
      ...secretOf(actor),
    };
    expect(refusal(await token(self, form))).toEqual([400, "invalid_request"]);
    const wrong = (await dpopProofs()).proof;
    expect(refusal(await post(self, "/oauth/token", form, { headers: { dpop: await wrong() } }))).toEqual([
      400,
      "invalid_request",
    ]);
    const { body } = await post(self, "/oauth/token", form, { headers: { dpop: await proof() } });
    expect([body.token_type, decodeJwt(body.access_token).cnf]).toEqual(["DPoP", { jkt }]);
  });

  it("is used up by it, as by jwt-bearer, and by nobody who has not authenticated itself", SLOW, async () => {
    const subject = await job();
    expect(refusal(await exchange(actor, subject, { client_secret: other.apiKey }))).toEqual([401, "invalid_client"]);
    const answers = await Promise.all([exchange(actor, subject), exchange(actor, subject)]);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 400]);
    expect(refusal(await exchange(actor, subject))).toEqual([400, "invalid_request"]);
    expect(refusal(await present(self, subject))).toEqual([400, "invalid_grant"]);
    const presented = await job();
    expect((await present(self, presented)).status).toBe(200);
    expect((await exchange(actor, presented)).body.error_description).toContain("used before");
  });

  it("is refused if it is for nobody, for the client itself, for several, or says more", SLOW, async () => {
    const stranger = await newIssuerKey("one");
    const cases: [string, Promise<string>][] = [
      ["meets no rule", job({ repository_id: "1" })],
      ["No key", job({}, {}, stranger)],
      ["aud", job({ aud: "https://other.example.com" })],
      ["expired", job({ exp: Math.floor(Date.now() / 1000) - 1 })],
      ["another kind", job({}, { typ: "at+jwt" })],
      ["ID-JAG", job({ client_id: agent.id }, { typ: "oauth-id-jag+jwt" })],
      ["says more", job({ may_act: { sub: other.id } })],
      ["says more", job({ scope: "lab:notes:read" })],
      ["bound to a key", job({ cnf: { jkt: "x" } })],
      ["TRUSTED_ISSUERS", Promise.resolve(agent.token)],
    ];
    for (const [reason, subject] of cases) {
      const answer = await exchange(actor, await subject);
      expect([reason, ...refusal(answer)]).toEqual([reason, 400, "invalid_request"]);
      expect(answer.body.error_description).toContain(reason);
    }
    expect((await exchange(agent, await job())).body.error_description).toContain("of the client itself");
    const rules = [agent, other].map(({ id }) => ({ agent: id, claims: CLAIMS }));
    expect((await exchange(actor, await job(), {}, trusting({}, rules))).body.error_description).toContain("several");
    const named = await exchange(actor, await job(), { sub_agent: "one" });
    expect(refusal(named)).toEqual([400, "invalid_request"]);
    expect(refusal(await exchange(actor, await job(), { scope: "lab:notes:read" }))).toEqual([400, "invalid_scope"]);
  });
});

describe("a rule", () => {
  it("compares claims by equality of value and type, and takes no token of a fork", async () => {
    const cases: Record<string, unknown>[] = [
      { repository_id: "99999999" },
      { repository_id: 1296269 },
      { repository_id: ["1296269"] },
      { repository_id: "1296269 " },
      { repository_id: undefined },
      { ref: "refs/heads/main2" },
      { ref: "refs/heads/MAIN" },
      { ref: undefined },
    ];
    for (const claims of cases) {
      const answer = await present(self, await job(claims));
      expect([JSON.stringify(claims), ...refusal(answer)]).toEqual([JSON.stringify(claims), 400, "invalid_grant"]);
      expect(answer.body.error_description).toContain("meets no rule");
    }
    expect(self.sent.at(-1)).toMatchObject({
      entry: {
        action: "token.refused",
        outcome: "denied",
        agentId: null,
        message: expect.stringContaining("octo/hello"),
      },
    });
    expect(self.sent.at(-1)).not.toHaveProperty("event");
  });

  it("looks into claims that are objects, as those of Kubernetes", async () => {
    const uid = "0f1b9c7e-0000-4000-8000-000000000001";
    const claims = {
      "kubernetes.io": { namespace: "ci", serviceaccount: { uid } },
      sub: "system:serviceaccount:ci:bot",
    };
    const where = trusting({ id_claims: undefined }, [{ agent: agent.id, claims }]);
    const token = (more: object) => job({ ...claims, ...more });
    expect((await present(where, await token({}))).status).toBe(200);
    const recreated = { "kubernetes.io": { namespace: "ci", serviceaccount: { uid: "another" } } };
    expect(refusal(await present(where, await token(recreated)))).toEqual([400, "invalid_grant"]);
    expect(refusal(await present(where, await token({ "kubernetes.io": "ci" })))).toEqual([400, "invalid_grant"]);
  });

  it("is chosen by client_id where the token meets those of several agents", SLOW, async () => {
    const where = trusting({}, [
      { agent: agent.id, claims: CLAIMS },
      { agent: other.id, claims: { repository_id: "1296269" } },
    ]);
    expect((await present(where, await job())).body.error_description).toContain("name one as client_id");
    for (const client_id of [agent.id, other.id]) {
      expect(decodeJwt((await present(where, await job(), { client_id })).body.access_token).sub).toBe(client_id);
    }
    expect((await present(where, await job({ ref: "x" }), { client_id: agent.id })).body.error).toBe("invalid_grant");
    expect((await present(where, await job({ ref: "x" }))).status).toBe(200);
  });

  it("is for a client that authenticates itself as this agent and no other", async () => {
    const own = await registerKey(base, agent);
    const text = await job();
    const wrong: Record<string, string>[] = [
      secretOf(other),
      { client_id: agent.id, client_secret: other.apiKey },
      asserted(await assertion(agent.id, { ...own, privateKey: key.privateKey, alg: "RS256" })),
    ];
    for (const credentials of wrong) {
      expect((await present(self, text, credentials)).body.error).toMatch(/invalid_(grant|client)/);
    }
    const { status, body } = await present(self, text, asserted(await assertion(agent.id, own)));
    expect([status, body.error_description]).toEqual([200, undefined]);
    // It stands on the client's key.
    expect(decodeJwt(body.access_token).key_id).toBe(own.keyId);
  });
});

describe("an assertion that is not good", () => {
  it.each<[string, Record<string, unknown>, RegExp]>([
    ["another audience", { aud: "https://github.com/octo" }, /aud/],
    ["a look-alike of the audience", { aud: `${AUDIENCE}.evil.example` }, /aud/],
    ["an audience with a slash", { aud: `${AUDIENCE}/` }, /aud/],
    ["several audiences", { aud: [AUDIENCE, "https://other.example"] }, /aud/],
    ["no audience", { aud: undefined }, /aud/],
    ["an end in the past", { exp: 1 }, /expired/],
    ["no end", { exp: undefined }, /exp/],
    ["an end after more than an hour", { exp: Math.floor(Date.now() / 1000) + 4000 }, /longer than 3600/],
    ["no iat", { iat: undefined }, /iat/],
    ["an iat of long ago", { iat: 1 }, /longer/],
    ["an iat of the future", { iat: Math.floor(Date.now() / 1000) + 120 }, /future/],
    ["an nbf of the future", { nbf: Math.floor(Date.now() / 1000) + 120 }, /future/],
    ["an nbf that is a text", { nbf: "1" }, /nbf/],
    ["no sub", { sub: undefined }, /sub/],
    ["an empty sub", { sub: "" }, /sub/],
    ["a sub that is no text", { sub: 5 }, /sub/],
    ["a jti that is no text", { jti: 5 }, /jti/],
    ["an empty jti", { jti: "" }, /jti/],
    ["a jti of 513 characters", { jti: "x".repeat(513) }, /jti/],
  ])("is refused: %s", async (_, claims, said) => {
    const answer = await present(self, await job(claims));
    expect(refusal(answer)).toEqual([400, "invalid_grant"]);
    expect(answer.body.error_description).toMatch(said);
  });

  it("is of no issuer that only looks like a trusted one", async () => {
    for (const iss of [
      `${issuer.url}/`,
      issuer.url.toUpperCase(),
      `${issuer.url}?`,
      ` ${issuer.url}`,
      `${issuer.url}.evil.example`,
      agent.id,
      ISSUER,
      [issuer.url],
    ]) {
      const answer = await present(self, await job({ iss }));
      expect([iss, ...refusal(answer)]).toEqual([iss, 400, "invalid_grant"]);
    }
  });

  it("is signed by a key of its issuer with this key's algorithm", SLOW, async () => {
    const stranger = await newIssuerKey("one");
    const asPs = await newIssuerKey("one", "PS256");
    const secret = new TextEncoder().encode(JSON.stringify(key.jwk));
    const good = await job();
    const [head, payload] = good.split(".");
    const none = base64url.encode(JSON.stringify({ alg: "none", typ: "JWT" }));
    const own = await registerKey(base, agent);
    const cases: [string, string][] = [
      ["a stranger's key", await job({}, {}, stranger)],
      ["another algorithm", await job({}, {}, asPs)],
      ["HMAC with the public key", await job({}, {}, { ...key, alg: "HS256", privateKey: secret as never })],
      ["none", `${none}.${payload}.`],
      ["no signature", `${head}.${payload}.`],
      ["an unknown kid", await job({}, { kid: "two" })],
      ["the key in its own header", await job({}, { jwk: stranger.jwk, kid: "two" }, stranger)],
      ["a key of the agent", await issue(issuer.url, own)],
      [
        "critical headers",
        `${base64url.encode(JSON.stringify({ alg: "RS256", kid: "one", crit: ["b64"], b64: false }))}.${payload}.${good.split(".")[2]}`,
      ],
      ["an access token of ours", agent.token],
      ["a client assertion", await assertion(agent.id, own)],
      ["the type of an access token", await job({}, { typ: "at+jwt" })],
      ["the type of a proof", await job({}, { typ: "dpop+jwt" })],
      ["more than 8 KB", await job({ pad: "x".repeat(8000) })],
      ["garbage", "garbage"],
    ];
    for (const [what, text] of cases)
      expect([what, ...refusal(await present(self, text))]).toEqual([what, 400, "invalid_grant"]);
    expect(refusal(await present(self, ""))).toEqual([400, "invalid_request"]);
    // And it is nothing else: no client assertion, and no access token.
    const client = await token(self, { grant_type: "client_credentials", ...asserted(await job({ sub: agent.id })) });
    expect(refusal(client)).toEqual([401, "invalid_client"]);
    expect((await read(await job())).body.code).toBe("invalid_token");
  });

  it("without a kid, is of any key of its issuer", async () => {
    expect((await present(self, await job({}, { kid: undefined }))).status).toBe(200);
  });

  it("is told apart from one that could be good: nobody is told which issuers are trusted", async () => {
    const answer = await present(base, await job());
    expect(refusal(answer)).toEqual([400, "invalid_grant"]);
    expect(answer.body.error_description).not.toContain(issuer.url);
  });
});

describe("the keys of an issuer", () => {
  const fresh = async (...keys: IssuerKey[]): Promise<[Issuer, World]> => {
    const one = newIssuer();
    await one.publish(...keys);
    return [one, trusting({ issuer: one.url })];
  };
  const METADATA = ".well-known/openid-configuration";

  it(
    "are found by its metadata, fetched once, and again for a key that is not among them, but not for every one",
    SLOW,
    async () => {
      vi.useFakeTimers({ toFake: ["Date"] });
      const [one, where] = await fresh(key);
      const tokens = await Promise.all(Array.from({ length: 4 }, () => issue(one.url, key)));
      const answers = await Promise.all(tokens.map((text) => present(where, text)));
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
      expect(await one.asked()).toEqual([METADATA, "keys"]);
      const next = await newIssuerKey("next");
      await one.publish(key, next);
      expect(refusal(await present(where, await issue(one.url, next)))).toEqual([400, "invalid_grant"]);
      expect(await one.asked()).toHaveLength(2);
      vi.setSystemTime(Date.now() + 31_000);
      expect((await present(where, await issue(one.url, next))).status).toBe(200);
      for (const kid of ["a", "b", "c"]) await present(where, await issue(one.url, { ...next, kid }));
      expect(await one.asked()).toHaveLength(4);
      // Later, a key that the issuer has withdrawn is good no more.
      await one.publish(next);
      vi.setSystemTime(Date.now() + 601_000);
      expect(refusal(await present(where, await issue(one.url, key)))).toEqual([400, "invalid_grant"]);
    },
  );

  it("are used for an hour if the issuer is gone, and nobody waits for it again and again", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const [one, where] = await fresh(key);
    expect((await present(where, await issue(one.url, key))).status).toBe(200);
    await one.serve({});
    vi.setSystemTime(Date.now() + 601_000);
    for (let i = 0; i < 3; i++) expect((await present(where, await issue(one.url, key))).status).toBe(200);
    expect(await one.asked()).toEqual([METADATA, "keys", METADATA]);
    vi.setSystemTime(Date.now() + 3_600_000);
    const gone = await present(where, await issue(one.url, key));
    expect([gone.status, gone.body.error, gone.headers.has("retry-after")]).toEqual([
      503,
      "temporarily_unavailable",
      true,
    ]);
    await one.publish(key);
    expect((await present(where, await issue(one.url, key))).status).toBe(503);
    vi.setSystemTime(Date.now() + 10_000);
    expect((await present(where, await issue(one.url, key))).status).toBe(200);
  });

  few(4).each<[string, (keys: string) => Parameters<Issuer["serve"]>[0]]>([
    ["is slow", (keys) => ({ [METADATA]: { text: keys, late: 1_000_000 } })],
    [
      "has a slow key set",
      (keys) => ({
        [METADATA]: { text: '{"issuer":"SELF","jwks_uri":"SELF/keys"}' },
        keys: { text: keys, late: 1_000_000 },
      }),
    ],
    ["is gone", () => ({})],
    [
      "fails",
      (keys) => ({
        [METADATA]: { status: 500, text: '{"issuer":"SELF","jwks_uri":"SELF/keys"}' },
        keys: { text: keys },
      }),
    ],
    ["redirects", () => ({ [METADATA]: { status: 302, location: "/issuer/elsewhere/keys" } })],
    [
      "redirects its keys",
      () => ({
        [METADATA]: { text: '{"issuer":"SELF","jwks_uri":"SELF/moved"}' },
        moved: { status: 307, location: "keys" },
      }),
    ],
    [
      "names another issuer",
      (keys) => ({
        [METADATA]: { text: '{"issuer":"https://evil.example","jwks_uri":"SELF/keys"}' },
        keys: { text: keys },
      }),
    ],
    [
      "names keys that everybody on the way could replace",
      () => ({ [METADATA]: { text: '{"issuer":"SELF","jwks_uri":"http://evil.example/keys"}' } }),
    ],
    ["has no key set", () => ({ [METADATA]: { text: '{"issuer":"SELF"}' } })],
    ["is not JSON", () => ({ [METADATA]: { text: "<html>" } })],
    [
      "has a key set that is none",
      () => ({ [METADATA]: { text: '{"issuer":"SELF","jwks_uri":"SELF/keys"}' }, keys: { text: "[]" } }),
    ],
    [
      "is huge",
      () => ({
        [METADATA]: { text: '{"issuer":"SELF","jwks_uri":"SELF/keys"}' },
        keys: { text: `{"keys":[]}${" ".repeat(300_000)}` },
      }),
    ],
  ])("are not had of one that %s: 503, and nobody gets a token", async (what, pages) => {
    const one = newIssuer();
    await one.serve(pages(JSON.stringify({ keys: [key.jwk] })));
    const where = trusting({ issuer: one.url, ...(what.includes("slow") && { timeout_ms: 100 }) });
    const answer = await present(where, await issue(one.url, key));
    expect(refusal(answer)).toEqual([503, "temporarily_unavailable"]);
    expect(answer.body.error_description).not.toContain(one.url);
  });

  it("are those of which one may make signatures here: others beside them do no harm", SLOW, async () => {
    const small = {
      kty: "RSA",
      n: base64url.encode(new Uint8Array(128).fill(255)),
      e: "AQAB",
      kid: "small",
      alg: "RS256",
    };
    const one = newIssuer();
    const { alg: _, ...bare } = (await newIssuerKey("bare")).jwk;
    const withoutAlg = await newIssuerKey("plain");
    const keys = [
      null,
      { kty: "EC", crv: "P-384" },
      small,
      { kty: "oct", k: "AAAA", kid: "one" },
      { ...bare, use: "enc" },
      { ...withoutAlg.jwk, alg: undefined, x5c: ["x"] },
    ];
    await one.serve({ keys: { text: JSON.stringify({ keys }) } });
    const where = trusting({ issuer: one.url, jwks_uri: `${one.url}/keys` });
    expect((await present(where, await issue(one.url, withoutAlg))).status).toBe(200);
    expect(refusal(await present(where, await issue(one.url, key)))).toEqual([400, "invalid_grant"]);
  });
});

describe("an ID-JAG", () => {
  const typ = "oauth-id-jag+jwt";
  const RESOURCE = `${ISSUER}/proxy/lab`;
  const grant = (claims: Record<string, unknown> = {}) =>
    job({ client_id: agent.id, sub: "user-1", ...claims }, { typ });
  const rules = () => [
    { agent: agent.id, claims: { client_id: agent.id } },
    { agent: other.id, claims: { client_id: other.id } },
  ];
  let where: World;
  beforeAll(() => void (where = trusting({ id_claims: ["client_id"] }, rules())));

  it("is good from the client that it names, once, within its scope and for its resource", async () => {
    const text = await grant({ scope: "lab:things:read", resource: RESOURCE });
    const { status, body } = await present(where, text, secretOf(agent));
    expect([status, body.error_description]).toEqual([200, undefined]);
    const claims = decodeJwt(body.access_token);
    expect(claims).toMatchObject({ sub: agent.id, scope: "lab:things:read", aud: RESOURCE });
    expect(claims.key_id).toMatch(/^key_/);
    expect((await present(where, text, secretOf(agent))).body.error_description).toContain("used before");
    const whole = await present(where, await grant(), secretOf(agent));
    expect(whole.body.scope).toBe("lab:notes:read lab:things:read");
  });

  it("is nobody else's, and not wider than it says", SLOW, async () => {
    expect(refusal(await present(where, await grant()))).toEqual([401, "invalid_client"]);
    expect(refusal(await present(where, await grant(), { client_id: agent.id }))).toEqual([401, "invalid_client"]);
    expect(refusal(await present(where, await grant(), secretOf(other)))).toEqual([400, "invalid_grant"]);
    expect(refusal(await present(where, await grant({ client_id: undefined }), secretOf(agent)))).toEqual([
      400,
      "invalid_grant",
    ]);
    expect(refusal(await present(where, await grant({ jti: undefined }), secretOf(agent)))).toEqual([
      400,
      "invalid_grant",
    ]);
    const cases: [Record<string, unknown>, Record<string, string>, string][] = [
      [{ scope: "lab:things:read" }, { scope: "lab:notes:read" }, "invalid_scope"],
      [{ scope: "lab:things:read" }, { scope: "lab:things:read lab:notes:read" }, "invalid_scope"],
      [{ scope: "*:*:*" }, {}, "invalid_scope"],
      [{ scope: "" }, {}, "invalid_scope"],
      [{ scope: 5 }, {}, "invalid_scope"],
      [{ resource: RESOURCE }, { resource: `${ISSUER}/proxy/github` }, "invalid_target"],
      [{ resource: RESOURCE }, { resource: ISSUER }, "invalid_target"],
      [{ resource: "https://other.example" }, {}, "invalid_target"],
      [{ resource: [] }, {}, "invalid_target"],
      [{ resource: [] }, { resource: RESOURCE }, "invalid_target"],
    ];
    for (const [claims, form, error] of cases) {
      const answer = await present(where, await grant(claims), { ...secretOf(agent), ...form });
      expect([JSON.stringify(claims), JSON.stringify(form), answer.body.error]).toEqual([
        JSON.stringify(claims),
        JSON.stringify(form),
        error,
      ]);
    }
  });

  it("limits what is asked for by authorization_details too, and is refused if it has its own", SLOW, async () => {
    const details = (permission: string) => ({
      authorization_details: JSON.stringify([{ type: "agentauth_grant", permission }]),
    });
    const claims = { scope: "lab:things:read" };
    const wider = { ...secretOf(agent), ...details("lab:notes:read") };
    expect(refusal(await present(where, await grant(claims), wider))).toEqual([400, "invalid_authorization_details"]);
    const within = await present(where, await grant(claims), { ...secretOf(agent), ...details("lab:things:read") });
    expect([within.status, within.body.scope]).toEqual([200, "lab:things:read"]);
    const end = new Date(Date.now() + 600_000).toISOString();
    const limited = { type: "agentauth_grant", permission: "lab:things:read", expires_at: end };
    const narrow = { ...secretOf(agent), authorization_details: JSON.stringify([limited]) };
    expect((await present(where, await grant(claims), narrow)).body).toMatchObject({
      scope: "",
      authorization_details: [limited],
    });
    for (const own of [[{ type: "agentauth_grant", permission: "lab:things:read" }], [], "x", null]) {
      const answer = await present(where, await grant({ authorization_details: own }), secretOf(agent));
      expect([own, ...refusal(answer)]).toEqual([own, 400, "invalid_grant"]);
    }
  });

  it("that is bound to a key is good with a proof of that key only", async () => {
    const text = await grant({ cnf: { jkt: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" } });
    expect((await present(where, text, secretOf(agent))).body.error_description).toContain("bound to a key");
    expect((await present(where, await grant({ cnf: {} }), secretOf(agent))).body.error).toBe("invalid_grant");
  });
});
