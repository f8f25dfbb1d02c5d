import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK } from "jose";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { DPOP_ALGORITHMS } from "../../src/access/dpop.ts";
import { toBase64Url } from "../../src/crypto/base64.ts";
import { sha256 } from "../../src/crypto/digest.ts";
import { thumbprintOf } from "../../src/crypto/thumbprint.ts";
import { countOperations } from "../support/count-operations.ts";
import { SLOW, few } from "../support/extents.ts";
import { world, type Registered, type World } from "../support/world.ts";
import { modern } from "../mcp/client.ts";
import { basic, ISSUER, post, secretOf } from "./clients.ts";
import { actorToken, delegated, exchange } from "./exchange.ts";

const self = world({ STANDING_TTL_SECONDS: "0", RATE_FREE: { limit: async () => ({ success: true }) } });
const GRANT = { grant_type: "client_credentials" };
const TOKEN_URL = `${ISSUER}/oauth/token`;
const READ_URL = `${ISSUER}/proxy/lab/things/1`;

interface Key {
  readonly jwk: JWK;
  readonly privateKey: CryptoKey;
  readonly jkt: string;
  readonly alg: string;
}

async function newKey(alg = "ES256"): Promise<Key> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = await exportJWK(publicKey);
  return { jwk, privateKey, jkt: await thumbprintOf(jwk as never), alg };
}

/** A proof, good but for what a test changes. */
async function proof(
  { jwk, privateKey, alg }: Key,
  method: string,
  url: string,
  token?: string,
  { claims = {}, header = {} }: { claims?: Record<string, unknown>; header?: Record<string, unknown> } = {},
): Promise<string> {
  const iat = Math.floor(Date.now() / 1000);
  const ath = token === undefined ? undefined : toBase64Url(await sha256(token));
  const payload = { jti: crypto.randomUUID(), htm: method, htu: url, iat, ath, ...claims };
  return new SignJWT(JSON.parse(JSON.stringify(payload)))
    .setProtectedHeader(JSON.parse(JSON.stringify({ typ: "dpop+jwt", alg, jwk, ...header })))
    .sign(privateKey);
}

let admin: Registered;
let agent: Registered;
let key: Key;
let other: Key;
beforeAll(async () => {
  [admin, agent] = [await self.admin(), await self.agent()];
  [key, other] = [await newKey(), await newKey()];
});
afterEach(() => void vi.useRealTimers());

const ask = async (dpop: string | undefined, who = agent, where: World = self) =>
  post(where, "/oauth/token", { ...GRANT, ...secretOf(who) }, { headers: dpop === undefined ? {} : { dpop } });
const boundToken = async (of = key, who = agent) =>
  (await ask(await proof(of, "POST", TOKEN_URL), who)).body.access_token as string;
/** Sends a bound token with a proof. */
const send = (
  token: string,
  dpop: string | undefined,
  { path = "/proxy/lab/things/1", method = "GET", where = self } = {},
) => where.call(path, { method, headers: { authorization: `DPoP ${token}`, ...(dpop !== undefined && { dpop }) } });

const storedProofs = () => self.env.DB.prepare("SELECT count(*) AS n FROM used_proofs").first<number>("n");

describe("a token that was asked for with a proof", () => {
  it("is bound to its key, is taken with a proof of it at every face, and says so to those who ask", async () => {
    const answer = await ask(await proof(key, "POST", TOKEN_URL));
    expect([answer.status, answer.body.token_type]).toEqual([200, "DPoP"]);
    const token = answer.body.access_token as string;
    const at = async (path: string) => send(token, await proof(key, "GET", ISSUER + path, token), { path });
    for (const path of ["/proxy/lab/things/1?page=2", `/agents/${agent.id}`]) {
      expect([path, (await at(path)).status]).toEqual([path, 200]);
    }
    const echoed = (await at("/proxy/lab/things/1")).body.headers as Record<string, string>;
    expect(JSON.stringify(echoed)).not.toContain(token);
    expect(Object.keys(echoed)).not.toContain("dpop");
    const { body } = await post(self, "/oauth/introspect", { token }, { headers: basic(admin.id, admin.apiKey) });
    expect(body).toMatchObject({ active: true, token_type: "DPoP", cnf: { jkt: key.jkt } });
  });

  it("calls tools with a proof of the request to /mcp, each proof once", async () => {
    const token = await boundToken();
    const call = async (dpop: string) =>
      modern(
        self,
        "tools/call",
        { name: "lab_list_things", arguments: {} },
        {
          headers: { authorization: `DPoP ${token}`, dpop },
        },
      );
    const once = await proof(key, "POST", `${ISSUER}/mcp`, token);
    const { status, body } = await call(once);
    expect([status, body.error, body.result?.isError ?? false]).toEqual([200, undefined, false]);
    expect((await call(once)).status).toBe(401);
    expect((await call(await proof(key, "GET", `${ISSUER}/proxy/lab/things`, token))).status).toBe(401);
  });

  few(1).each(["EdDSA", "RS256", "PS256"])("may be bound to a key of %s", async (alg) => {
    const one = await newKey(alg);
    const token = await boundToken(one);
    expect((await send(token, await proof(one, "GET", READ_URL, token))).status).toBe(200);
  });

  it(
    "is worth nothing without the key: as Bearer, without a proof, with one of another key, token, method or URL",
    SLOW,
    async () => {
      const token = await boundToken();
      const second = await boundToken();
      const bearer = await self.call("/proxy/lab/things/1", { token });
      expect([bearer.status, bearer.body.code]).toEqual([401, "invalid_dpop_proof"]);
      expect(bearer.headers.get("www-authenticate")).toMatch(
        /^DPoP realm="agentauth", error="invalid_dpop_proof", resource_metadata="[^"]+", algs="([^"]+)"$/,
      );
      expect(/algs="([^"]+)"/.exec(bearer.headers.get("www-authenticate")!)![1]!.split(" ")).toEqual(DPOP_ALGORITHMS);
      // Nor as Bearer with a good proof, which would not name the token (RFC 9449 §7.2).
      for (const one of [await proof(key, "GET", READ_URL), await proof(key, "GET", READ_URL, token)]) {
        const sent = await self.call("/proxy/lab/things/1", { token, headers: { dpop: one } });
        expect([sent.status, sent.body.code]).toEqual([401, "invalid_dpop_proof"]);
      }
      const proofs = {
        none: undefined,
        "of another key": await proof(other, "GET", READ_URL, token),
        "for another token": await proof(key, "GET", READ_URL, second),
        "for no token": await proof(key, "GET", READ_URL),
        "for another method": await proof(key, "POST", READ_URL, token),
        "for another path": await proof(key, "GET", `${ISSUER}/proxy/lab/things/2`, token),
        "for another host": await proof(key, "GET", READ_URL.replace("auth.", "evil."), token),
        "for no URL": await proof(key, "GET", "things", token),
        "without jti": await proof(key, "GET", READ_URL, token, { claims: { jti: undefined } }),
        "without iat": await proof(key, "GET", READ_URL, token, { claims: { iat: undefined } }),
        "of another type": await proof(key, "GET", READ_URL, token, { header: { typ: "JWT" } }),
        "with another key in its header": await proof(key, "GET", READ_URL, token, { header: { jwk: other.jwk } }),
        "with its private key": await proof(key, "GET", READ_URL, token, {
          header: { jwk: await exportJWK(key.privateKey) },
        }),
        "without a key": await proof(key, "GET", READ_URL, token, { header: { jwk: undefined } }),
        "of a kid": await proof(key, "GET", READ_URL, token, { header: { jwk: undefined, kid: "1" } }),
        "two at once": `${await proof(key, "GET", READ_URL, token)}, ${await proof(key, "GET", READ_URL, token)}`,
        garbage: "garbage",
      };
      for (const [name, one] of Object.entries(proofs)) {
        const { status, body } = await send(token, one);
        expect([name, status, body.code]).toEqual([name, 401, "invalid_dpop_proof"]);
        expect(JSON.stringify(body)).not.toContain(token);
      }
      const scheme = await self.call("/proxy/lab/things/1", {
        headers: { authorization: `Bearer ${token}`, dpop: await proof(key, "GET", READ_URL, token) },
      });
      expect(scheme.body.code).toBe("invalid_dpop_proof");
    },
  );

  it("takes each proof once, also of two requests at once, and not for what was ended", async () => {
    const token = await boundToken();
    const once = await proof(key, "GET", READ_URL, token);
    const answers = await Promise.all([send(token, once), send(token, once)]);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 401]);
    expect((await send(token, once)).body.code).toBe("invalid_dpop_proof");
    const asked = await proof(key, "POST", TOKEN_URL);
    expect((await ask(asked)).status).toBe(200);
    expect((await ask(asked)).body).toMatchObject({ error: "invalid_dpop_proof" });
    await post(self, "/oauth/revoke", { ...secretOf(agent), token });
    const ended = async () => (await send(token, await proof(key, "GET", READ_URL, token))).body.code;
    expect(await ended()).toBe("token_revoked");
    // What is known as revoked stores no proof.
    const before = await storedProofs();
    expect([await ended(), await storedProofs()]).toEqual(["token_revoked", before]);
  });

  it("gives a nonce to whoever's clock is wrong, and takes a proof with it, but with no other", SLOW, async () => {
    const token = await boundToken();
    const now = Math.floor(Date.now() / 1000);
    for (const iat of [now - 400, now + 90]) {
      const claims = { iat };
      const refused = await send(token, await proof(key, "GET", READ_URL, token, { claims }));
      expect([refused.status, refused.body.code]).toEqual([401, "use_dpop_nonce"]);
      expect(refused.headers.get("www-authenticate")).toContain('error="use_dpop_nonce"');
      const nonce = refused.headers.get("dpop-nonce")!;
      const again = await proof(key, "GET", READ_URL, token, { claims: { iat, nonce } });
      expect((await send(token, again)).status).toBe(200);
      expect((await send(token, again)).body.code).toBe("invalid_dpop_proof");
      const asked = await ask(await proof(key, "POST", TOKEN_URL, undefined, { claims }));
      expect([asked.status, asked.body.error, asked.headers.has("dpop-nonce")]).toEqual([400, "use_dpop_nonce", true]);
      vi.useFakeTimers({ toFake: ["Date"] });
      vi.setSystemTime(Date.now() + 601_000);
      const late = await send(token, await proof(key, "GET", READ_URL, token, { claims: { nonce } }));
      expect(late.body.code).toBe("use_dpop_nonce");
      vi.useRealTimers();
    }
    const made = await send(token, await proof(key, "GET", READ_URL, token, { claims: { nonce: "made-up" } }));
    expect(made.body.code).toBe("use_dpop_nonce");
  });

  it("is refused as what it is at the token endpoint, before anything is issued", async () => {
    const cases = {
      "for another URL": await proof(key, "POST", `${ISSUER}/oauth/revoke`),
      "for another method": await proof(key, "GET", TOKEN_URL),
      "with a token": await proof(key, "POST", TOKEN_URL, agent.token),
      "signed symmetrically": await new SignJWT({ jti: "1", htm: "POST", htu: TOKEN_URL, iat: 0 })
        .setProtectedHeader({ typ: "dpop+jwt", alg: "HS256", jwk: key.jwk })
        .sign(new Uint8Array(32)),
    };
    for (const [name, one] of Object.entries(cases)) {
      const { status, body } = await ask(one);
      expect([name, status, body.error]).toEqual([name, 400, "invalid_dpop_proof"]);
    }
  });
});

describe("above a limit, a bound token", () => {
  const LIMIT = 4;
  /** A deployment that remembers who is who for a minute, with agents of few requests. */
  const few = () => {
    const counts = new Map<string, number>();
    const limit = async ({ key: name }: { key: string }) => {
      const count = (counts.get(name) ?? 0) + 1;
      counts.set(name, count);
      return { success: count <= LIMIT };
    };
    return world({ STANDING_TTL_SECONDS: "60", RATE_FREE: { limit } });
  };
  /** Sends twice as many requests as the limit has. Returns their statuses, and how many proofs were stored for them. */
  async function flood(where: World, proofOf: (token: string) => Promise<() => Promise<string>>) {
    const one = await self.agent();
    const token = await boundToken(key, one);
    const next = await proofOf(token);
    const before = (await storedProofs())!;
    const statuses: number[] = [];
    for (let at = 0; at < 2 * LIMIT; at++) statuses.push((await send(token, await next(), { where })).status);
    return { statuses, stored: (await storedProofs())! - before };
  }

  it("stores no proofs", async () => {
    const { statuses, stored } = await flood(few(), async (token) => () => proof(key, "GET", READ_URL, token));
    expect(statuses.slice(0, LIMIT)).toEqual(Array(LIMIT).fill(200));
    expect(new Set(statuses.slice(LIMIT))).toEqual(new Set([429]));
    // That of the first one that is refused, by which the isolate knows that the limit is used up.
    expect(stored).toBe(LIMIT + 1);
  });

  it("is not asked about in the database, however often one proof is sent again", SLOW, async () => {
    const { statuses, stored } = await flood(few(), async (token) => {
      const once = await proof(key, "GET", READ_URL, token);
      return async () => once;
    });
    expect([statuses[0], statuses[1], statuses.at(-1)]).toEqual([200, 401, 429]);
    expect(stored).toBe(1);
  });
});

describe("a token that is bound to no key", () => {
  it("is refused in the scheme of those that are", async () => {
    const { status, headers, body } = await send(agent.token, await proof(key, "GET", READ_URL, agent.token));
    expect([status, body.code, headers.get("www-authenticate")]).toEqual([
      401,
      "invalid_token",
      expect.stringMatching(/^DPoP .*error="invalid_token"/),
    ]);
  });

  it("costs nothing for it, and a bound one costs one round trip", SLOW, async () => {
    const counter = countOperations();
    const where = world({ ...counter.overrides, RATE_FREE: { limit: async () => ({ success: true }) } });
    const plain = (await post(where, "/oauth/token", { ...GRANT, ...secretOf(agent) })).body.access_token as string;
    const token = (await ask(await proof(key, "POST", TOKEN_URL), agent, where)).body.access_token as string;
    const reads = [
      () => where.call("/proxy/lab/things/1", { token: plain }),
      async () => send(token, await proof(key, "GET", READ_URL, token), { where }),
    ];
    const costs: number[] = [];
    for (const read of reads) {
      await read();
      const { result, awaited } = await counter.run(read);
      expect(result.status).toBe(200);
      costs.push(awaited.d1);
    }
    expect(costs).toEqual([0, 1]);
  });
});

describe("a session that was opened with a proof", () => {
  const call = async (path: string, json: unknown, of: Key | undefined) => {
    const dpop = of && (await proof(of, "POST", ISSUER + path));
    return self.call(path, { method: "POST", json, ...(dpop && { headers: { dpop } }) } as never);
  };
  const open = async () => {
    const one = await self.agent();
    const { body } = await call("/agents/verify", { agent_id: one.id, api_key: one.apiKey }, key);
    return { one, ...(body.token as { access_token: string; refresh_token: string; token_type: string }) };
  };
  const refresh = (refresh_token: string, of: Key | undefined) => call("/agents/refresh", { refresh_token }, of);

  it("is opened by a proof once, and leaves no row of a proof for a stranger", SLOW, async () => {
    const one = await self.agent();
    const before = await storedProofs();
    const { apiKey: stranger } = await self.agent();
    for (const json of [
      { agent_id: one.id, api_key: stranger },
      { agent_id: "agt_nobody", api_key: one.apiKey },
    ]) {
      expect((await call("/agents/verify", json, key)).status).toBe(401);
    }
    // A refresh token of the former format names nothing that could be checked without the database.
    for (const text of [`rt_${"x".repeat(43)}`, "rt_x"]) expect((await refresh(text, key)).status).toBe(401);
    expect(await storedProofs()).toBe(before);
    const headers = { dpop: await proof(key, "POST", `${ISSUER}/agents/verify`) };
    const json = { agent_id: one.id, api_key: one.apiKey };
    const verify = () => self.call("/agents/verify", { method: "POST", json, headers });
    const answers = await Promise.all([verify(), verify()]);
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 401]);
    const again = await verify();
    expect([again.status, again.body.code]).toEqual([401, "invalid_dpop_proof"]);
    const { body } = await self.call(`/agents/${one.id}/sessions`, { token: one.token });
    expect(body.sessions).toHaveLength(2);
  });

  it("is bound with its refresh token, which nobody without the key can use or use up", SLOW, async () => {
    const { one, access_token, refresh_token, token_type } = await open();
    expect(token_type).toBe("DPoP");
    expect((await self.call("/proxy/lab/things/1", { token: access_token })).body.code).toBe("invalid_dpop_proof");
    expect((await send(access_token, await proof(key, "GET", READ_URL, access_token))).status).toBe(200);
    const listed = await self.call(`/agents/${one.id}/sessions`, { token: one.token });
    const jkts = listed.body.sessions.map(({ dpop_jkt }: { dpop_jkt: string | null }) => dpop_jkt) as (string | null)[];
    expect(new Set(jkts)).toEqual(new Set([key.jkt, null]));
    for (const of of [undefined, other]) {
      const { status, body } = await refresh(refresh_token, of);
      expect([status, body.code]).toEqual([401, "invalid_dpop_proof"]);
      const headers = of && { dpop: await proof(of, "POST", TOKEN_URL) };
      const form = { grant_type: "refresh_token", refresh_token, ...secretOf(one) };
      const granted = await post(self, "/oauth/token", form, { ...(headers && { headers }) });
      expect([granted.status, granted.body.error]).toEqual([400, "invalid_grant"]);
    }
    const next = await refresh(refresh_token, key);
    expect([next.status, next.body.token.token_type]).toEqual([200, "DPoP"]);
    // Within the grace, the answer is as good as the first one, and so as bound.
    expect((await refresh(refresh_token, other)).body.code).toBe("invalid_dpop_proof");
    expect((await refresh(refresh_token, key)).body.token.refresh_token).toBe(next.body.token.refresh_token);
  });

  it("stays unbound if it was opened without, whatever proof comes later", async () => {
    const one = await self.agent();
    const bound = await refresh(one.refreshToken, key);
    expect(bound.body.token.token_type).toBe("DPoP");
    const plain = await refresh(bound.body.token.refresh_token, undefined);
    expect([plain.status, plain.body.token.token_type]).toEqual([200, "Bearer"]);
  });
});

describe("an agent whose tokens must be bound", () => {
  const patch = (who: Registered, json: object, { token = who.token, of }: { token?: string; of?: Key } = {}) =>
    of
      ? (async () =>
          self.call(`/agents/${who.id}`, {
            method: "PATCH",
            json,
            headers: {
              authorization: `DPoP ${token}`,
              dpop: await proof(of, "PATCH", `${ISSUER}/agents/${who.id}`, token),
            },
          } as never))()
      : self.call(`/agents/${who.id}`, { method: "PATCH", token, json });
  const ON = { dpop_bound_access_tokens: true };
  const OFF = { dpop_bound_access_tokens: false };
  const verify = async (who: Registered, of?: Key) =>
    self.call("/agents/verify", {
      method: "POST",
      json: { agent_id: who.id, api_key: who.apiKey },
      ...(of && { headers: { dpop: await proof(of, "POST", `${ISSUER}/agents/verify`) } }),
    } as never);

  it("gets no other tokens, and those that it has end", SLOW, async () => {
    const one = await self.agent();
    const bound = await boundToken(key, one);
    const plain = (await ask(undefined, one)).body.access_token as string;
    const session = await verify(one, key);
    const { status, body } = await patch(one, ON);
    expect([status, body.details.dpop_bound_access_tokens]).toEqual([200, true]);
    expect((await self.records(one.id))[0]).toMatchObject({
      action: "agent.updated",
      before: { dpop_bound_access_tokens: false },
      after: { dpop_bound_access_tokens: true },
    });
    for (const token of [plain, one.token]) {
      expect((await self.call("/proxy/lab/things/1", { token })).body.code).toBe("token_revoked");
      const { body } = await post(self, "/oauth/introspect", { token }, { headers: basic(admin.id, admin.apiKey) });
      expect(body).toEqual({ active: false });
    }
    expect((await send(bound, await proof(key, "GET", READ_URL, bound))).status).toBe(200);

    const refused = await ask(undefined, one);
    expect([refused.status, refused.body.error]).toEqual([400, "invalid_dpop_proof"]);
    const atRest = await verify(one);
    expect([atRest.status, atRest.body.code]).toEqual([401, "invalid_dpop_proof"]);
    expect(atRest.body.message).toContain("header DPoP");
    expect((await verify(one, key)).status).toBe(200);
    // A thief of the former refresh token does not bind it to a key of their own.
    const dpop = await proof(other, "POST", `${ISSUER}/agents/refresh`);
    const json = { refresh_token: one.refreshToken };
    const stolen = await self.call("/agents/refresh", { method: "POST", json, headers: { dpop } } as never);
    expect([stolen.status, stolen.body.code]).toEqual([401, "session_ended"]);
    const own = await self.call("/agents/refresh", {
      method: "POST",
      json: { refresh_token: session.body.token.refresh_token },
      headers: { dpop: await proof(key, "POST", `${ISSUER}/agents/refresh`) },
    } as never);
    expect(own.status).toBe(200);
    const form = { grant_type: "refresh_token", refresh_token: own.body.token.refresh_token, ...secretOf(one) };
    expect((await post(self, "/oauth/token", form)).body.error).toBe("invalid_dpop_proof");
    const token = own.body.token.access_token as string;
    const path = `/agents/${one.id}/sessions`;
    const listed = await send(token, await proof(key, "GET", ISSUER + path, token), { path });
    expect(new Set(listed.body.sessions.map(({ dpop_jkt }: { dpop_jkt: string }) => dpop_jkt))).toEqual(
      new Set([key.jkt]),
    );
  });

  it("is switched off by a recent proof by key only, and by nobody else's", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const one = await self.agent();
    expect((await patch(one, ON, { token: agent.token })).status).toBe(403);
    expect((await patch(one, ON, { token: admin.token })).status).toBe(200);
    const token = (await verify(one, key)).body.token.access_token as string;
    vi.setSystemTime(Date.now() + 301_000);
    const old = await patch(one, OFF, { token, of: key });
    expect([old.status, old.body.code]).toEqual([403, "reauthentication_required"]);
    expect((await patch(one, ON, { token, of: key })).status).toBe(200);
    const withKey = await patch(one, { ...OFF, api_key: one.apiKey }, { token, of: key });
    expect([withKey.status, withKey.body.details.dpop_bound_access_tokens]).toEqual([200, false]);
    expect((await verify(one)).status).toBe(200);
    // What was issued before is good again.
    expect((await self.call("/proxy/lab/things/1", { token: one.token })).status).toBe(200);
  });
});

describe("an exchange", () => {
  const refused = async (client: Registered, subject: string, dpop: string | undefined, more = {}) => {
    const { status, body } = await exchange(
      self,
      client,
      subject,
      more,
      dpop === undefined ? {} : { headers: { dpop } },
    );
    return [status, body.error];
  };

  it("of a bound token needs a proof of its key, and its result is bound to the same key", async () => {
    const [actor, token] = [await self.agent(), await boundToken()];
    for (const dpop of [undefined, await proof(other, "POST", TOKEN_URL), await proof(key, "GET", TOKEN_URL)]) {
      expect(await refused(actor, token, dpop)).toEqual([400, "invalid_dpop_proof"]);
    }
    const once = await proof(key, "POST", TOKEN_URL);
    const { status, body } = await exchange(self, agent, token, { sub_agent: "one" }, { headers: { dpop: once } });
    expect([status, body.token_type]).toEqual([200, "DPoP"]);
    const handed = body.access_token as string;
    expect((await self.call("/proxy/lab/things/1", { token: handed })).body.code).toBe("invalid_dpop_proof");
    expect((await send(handed, await proof(other, "GET", READ_URL, handed))).status).toBe(401);
    expect((await send(handed, await proof(key, "GET", READ_URL, handed))).status).toBe(200);
    expect(await refused(agent, token, once, { sub_agent: "two" })).toEqual([400, "invalid_dpop_proof"]);
  });

  it("binds its token to the key of the client, but to none that is not the actor's", SLOW, async () => {
    const actor = await self.agent();
    const dpop = await proof(other, "POST", TOKEN_URL);
    const { body } = await exchange(self, actor, agent.token, {}, { headers: { dpop } });
    expect(body.token_type).toBe("DPoP");
    const handed = body.access_token as string;
    expect((await send(handed, await proof(other, "GET", READ_URL, handed))).status).toBe(200);
    // The agent hands its token to an actor whose own token is bound to another key, or to none.
    const theirs = await boundToken(other, actor);
    const own = await proof(key, "POST", TOKEN_URL);
    expect(await refused(agent, agent.token, own, actorToken(theirs))).toEqual([400, "invalid_dpop_proof"]);
    expect(await refused(agent, agent.token, undefined, actorToken(theirs))).toEqual([400, "invalid_dpop_proof"]);
    expect(await refused(agent, agent.token, own, actorToken(actor.token))).toEqual([400, "invalid_request"]);
    const good = { headers: { dpop: await proof(other, "POST", TOKEN_URL) } };
    const bound = await exchange(self, agent, agent.token, actorToken(theirs), good);
    expect([bound.status, bound.body.token_type]).toEqual([200, "DPoP"]);
  });

  it(
    "gives no unbound token of an agent whose tokens must be bound, and such a token ends with the setting",
    SLOW,
    async () => {
      const [admin, one, actor] = [await self.admin(), await self.agent(), await self.agent()];
      const handed = await delegated(self, actor, one.token);
      const read = () => self.call("/proxy/lab/things/1", { token: handed });
      expect((await read()).status).toBe(200);
      const require = async (id: string, dpop_bound_access_tokens: boolean) => {
        const change = { method: "PATCH", token: admin.token, json: { dpop_bound_access_tokens } };
        expect((await self.call(`/agents/${id}`, change)).status).toBe(200);
      };
      for (const { id } of [one, actor]) {
        await require(id, true);
        expect((await read()).status).toBe(401);
        await require(id, false);
        expect((await read()).status).toBe(200);
      }
      await require(actor.id, true);
      expect(await refused(actor, one.token, undefined)).toEqual([400, "invalid_dpop_proof"]);
      expect(await refused(actor, one.token, await proof(key, "POST", TOKEN_URL))).toEqual([200, undefined]);
    },
  );
});
