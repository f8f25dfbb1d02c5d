import { env } from "cloudflare:workers";
import { createLocalJWKSet, decodeJwt, importJWK, jwtVerify, SignJWT, type JSONWebKeySet } from "jose";
import * as oauth from "oauth4webapi";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { loadConfig, type SigningKey } from "../../src/config/config.ts";
import { withLowS } from "../../src/tokens/signature.ts";
import { held } from "../support/bindings.ts";
import { SLOW } from "../support/extents.ts";
import { world, type Registered } from "../support/world.ts";

const self = world();
let admin: Registered;
beforeAll(async () => {
  admin = await self.admin();
});
afterEach(() => void vi.useRealTimers());

const post = (path: string, json: unknown, token?: string) =>
  self.call(path, { method: "POST", json, ...(token !== undefined && { token }) });
const verify = async ({ id, apiKey }: Pick<Registered, "id" | "apiKey">) =>
  (await post("/agents/verify", { agent_id: id, api_key: apiKey })).body.token.access_token as string;
const setStatus = (id: string, status: string) =>
  self.call(`/agents/${id}/status`, { method: "PUT", token: admin.token, json: { status } });
const versionOf = (token: string) => decodeJwt(token).ver;
const read = (token: string, where = self) => where.call("/proxy/lab/things/1", { token });

const ISSUER = "https://auth.example.com";

/** What libraries say to a token at this very second. PyJWT has the same rule: `iat` may not be greater than now. */
async function validateEverywhere(token: string): Promise<void> {
  const jwks = (await self.call("/.well-known/jwks.json")).body as JSONWebKeySet;
  const { payload } = await jwtVerify(token, createLocalJWKSet(jwks), {
    issuer: ISSUER,
    audience: ISSUER,
    typ: "at+jwt",
    maxTokenAge: 3600,
  });
  const now = Date.now() / 1000;
  for (const claim of [payload.iat, payload.nbf ?? 0, payload.auth_time]) expect(claim).toBeLessThanOrEqual(now);
  const request = new Request(`${ISSUER}/`, { headers: { authorization: `Bearer ${token}` } });
  const server = { issuer: ISSUER, jwks_uri: `${ISSUER}/.well-known/jwks.json` };
  const options = { [oauth.customFetch]: async () => Response.json(jwks) };
  const claims = await oauth.validateJwtAccessToken(server, request, ISSUER, options);
  expect(claims.sub).toBe(payload.sub);
}

describe("straight after a revocation", () => {
  const revocations: [string, (agent: Registered) => Promise<unknown>][] = [
    ["revoke-tokens", ({ token }) => post("/agents/revoke-tokens", {}, token)],
    [
      "a rotation without an overlap",
      async (agent) => {
        const rotated = await post(`/agents/${agent.id}/rotate-key`, { overlap_seconds: 0 }, agent.token);
        agent.apiKey = rotated.body.credentials.api_key;
      },
    ],
    [
      "suspend and activate, 25 times",
      async ({ id }) => {
        for (let n = 0; n < 25; n++) for (const status of ["suspended", "active"]) await setStatus(id, status);
      },
    ],
    [
      "a change of status and back",
      async ({ id }) => {
        for (const status of ["inactive", "active"]) await setStatus(id, status);
      },
    ],
  ];

  for (const [what, revoke] of revocations) {
    const options = what.endsWith("25 times") ? SLOW : {};
    it(`${what}: a new token is good for every library, and the old one is not good here`, options, async () => {
      const agent = await self.agent();
      await revoke(agent);
      const fresh = await verify(agent);
      await validateEverywhere(fresh);
      expect(versionOf(fresh)).toBeGreaterThan(versionOf(agent.token) as number);
      expect((await read(fresh)).status).toBe(200);
      expect((await self.call(`/agents/${agent.id}`, { token: agent.token })).body.code).toBe("token_revoked");
    });
  }

  it("a session that was opened while a slow revocation was on its way does not survive it, whatever the clocks say", async () => {
    const agent = await self.agent();
    const slowly = held(env.DB);
    const revoking = world({ DB: slowly.binding }).call("/agents/revoke-tokens", {
      method: "POST",
      token: agent.token,
    });
    const fresh = await verify(agent);
    slowly.release();
    expect((await revoking).status).toBe(200);
    expect((await self.call(`/agents/${agent.id}`, { token: fresh })).status).toBe(401);
  });

  it(
    "a Worker whose clock is ahead issues no token from the future, and one whose clock is behind none that is over",
    SLOW,
    async () => {
      const agent = await self.agent();
      for (const seconds of [-3, 3]) {
        const real = Date.now();
        const clock = vi.spyOn(Date, "now").mockReturnValue(real + seconds * 1000);
        const { iat, auth_time: authTime } = decodeJwt(await verify(agent));
        clock.mockRestore();
        expect(iat).toBeLessThanOrEqual(Date.now() / 1000);
        expect(iat).toBeGreaterThanOrEqual(Math.floor(real / 1000) - 3);
        expect(authTime).toBeLessThanOrEqual(iat!);
      }
    },
  );
});

describe("a token and what an isolate remembers", () => {
  it("of a former version: a newer token asks the database", async () => {
    const agent = await self.agent();
    expect((await read(agent.token)).status).toBe(200);
    await self.env.DB.prepare("UPDATE agents SET token_version = token_version + 1 WHERE id = ?1").bind(agent.id).run();
    // The same session under the new version, so that both tokens share what is remembered.
    const claims = decodeJwt(agent.token);
    const fresh = await sign({ ...claims, ver: 2, jti: "fresh" });
    expect((await read(agent.token)).status).toBe(200);
    expect((await read(fresh)).status).toBe(200);
    // By now the isolate knows the new version: the older token is below it.
    expect((await read(agent.token)).body.code).toBe("token_revoked");
  });

  it("of a revocation: the database is not asked again, and no other token of the session suffers", SLOW, async () => {
    const agent = await self.agent();
    await setStatus(agent.id, "suspended");
    expect((await self.call(`/agents/${agent.id}`, { token: agent.token })).status).toBe(401);
    const failing = world({ DB: { prepare: () => expect.unreachable("the database is asked") } });
    const { status, body } = await failing.call(`/agents/${agent.id}`, { token: agent.token });
    expect([status, body.code]).toEqual([401, "token_revoked"]);
  });

  it("of what KV alone has said: nothing", SLOW, async () => {
    const never = held(env.DB);
    const agent = await self.agent();
    await env.REVOCATIONS.put(`below:${agent.id}`, "2");
    const first = world({ DB: never.binding });
    expect((await read(agent.token, first)).body.code).toBe("token_revoked");
    never.release();
    await env.REVOCATIONS.delete(`below:${agent.id}`);
    expect((await self.call(`/agents/${agent.id}`, { token: agent.token })).status).toBe(200);
  });

  it(
    "above the database's version, which was restored: refused, and good again once the database is",
    SLOW,
    async () => {
      const agent = await self.agent();
      await setStatus(agent.id, "suspended");
      await setStatus(agent.id, "active");
      const fresh = await verify(agent);
      const version = versionOf(fresh);
      const set = (to: unknown) =>
        self.env.DB.prepare("UPDATE agents SET token_version = ?2 WHERE id = ?1").bind(agent.id, to).run();
      await set(1);
      expect((await self.call(`/agents/${agent.id}`, { token: fresh })).body.code).toBe("token_revoked");
      await set(version);
      expect((await self.call(`/agents/${agent.id}`, { token: fresh })).status).toBe(200);
    },
  );
});

describe("KV", () => {
  it("delays no answer that the database has given", async () => {
    const kv = held(env.REVOCATIONS);
    const slowly = world({ REVOCATIONS: kv.binding });
    const agent = await self.agent();
    expect((await read(agent.token, slowly)).status).toBe(200);
    kv.release();
  });

  it("hastens a refusal while the database is slow", async () => {
    const db = held(env.DB);
    const agent = await self.agent();
    await env.REVOCATIONS.put(`ended:${decodeJwt(agent.token).sid}`, "1");
    expect((await read(agent.token, world({ DB: db.binding }))).body.code).toBe("token_revoked");
    db.release();
  });

  it("is waited for a moment if the database has failed", async () => {
    const agent = await self.agent();
    await env.REVOCATIONS.put(`below:${agent.id}`, "9");
    // Read before: how long KV itself takes depends on what else the machine does.
    const entry = await env.REVOCATIONS.get(`below:${agent.id}`);
    const failing = world({
      DB: {
        prepare: () => {
          throw new Error("D1_ERROR: Network connection lost.");
        },
      },
      REVOCATIONS: {
        async get(key: string) {
          await scheduler.wait(5);
          return key === `below:${agent.id}` ? entry : null;
        },
      },
    });
    expect((await read(agent.token, failing)).body.code).toBe("token_revoked");
  });
});

describe("a token without a session", () => {
  it("stands with its key and the version", SLOW, async () => {
    const agent = await self.agent();
    const { sid: _, ...claims } = decodeJwt(agent.token);
    const key = await self.env.DB.prepare("SELECT id FROM api_keys WHERE agent_id = ?1").bind(agent.id).first("id");
    const ofKey = (jti: string) => sign({ ...claims, key_id: key, jti });
    const token = await ofKey("one");
    expect((await self.call(`/agents/${agent.id}`, { token })).status).toBe(200);
    const hook = { url: "https://hooks.example.com/", events: ["agent.verified"] };
    expect((await post("/webhooks", hook, token)).status).toBe(201);
    // Of another agent it proves nothing.
    const other = await self.agent();
    const foreign = await sign({ ...decodeJwt(other.token), sid: undefined, key_id: key, jti: "foreign" });
    expect((await self.call(`/agents/${other.id}`, { token: foreign })).status).toBe(401);
    const expire = (at: number | null) =>
      self.env.DB.prepare("UPDATE api_keys SET expires_at = ?2 WHERE id = ?1").bind(key, at).run();
    await expire(Date.now() - 1);
    expect((await self.call(`/agents/${agent.id}`, { token: await ofKey("two") })).status).toBe(401);
    await expire(null);
    expect((await self.call(`/agents/${agent.id}`, { token: await ofKey("three") })).status).toBe(200);
    await setStatus(agent.id, "suspended");
    await setStatus(agent.id, "active");
    expect((await self.call(`/agents/${agent.id}`, { token: await ofKey("four") })).status).toBe(401);
  });
});

/** A token with any claims under the deployment's own key. */
async function sign(claims: Record<string, unknown>): Promise<string> {
  const [{ kid, ...jwk }] = loadConfig(self.env).signingKeys as unknown as [SigningKey];
  const key = await importJWK({ ...jwk, alg: "ES256" }, "ES256");
  return withLowS(await new SignJWT(claims).setProtectedHeader({ alg: "ES256", typ: "at+jwt", kid }).sign(key));
}
