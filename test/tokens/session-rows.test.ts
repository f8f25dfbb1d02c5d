import { env } from "cloudflare:workers";
import { expect, it, vi } from "vitest";
import { loadConfig } from "../../src/config/config.ts";
import { newGrant } from "../../src/grants/grant.ts";
import { BUILT_IN_CATALOGUE } from "../../src/permissions/catalogue.ts";
import { unlimited, type GrantLimits } from "../../src/permissions/grant.ts";
import { delegableGrants, issueDelegated } from "../../src/tokens/exchange.ts";
import { sweepProofs } from "../../src/tokens/end-token.ts";
import { readSessionOf } from "../../src/tokens/store/ended-tokens.ts";
import { signingKey, verificationKey } from "../../src/tokens/keys.ts";
import { cacheSessionEnd } from "../../src/tokens/revocation.ts";
import { failing } from "../support/bindings.ts";
import { post, secretOf } from "../oauth/clients.ts";
import { testEnv, world } from "../support/world.ts";

const NOW = Date.parse("2026-03-01T10:00:00Z");
const END = NOW + 300_000;
const config = loadConfig(testEnv());

it("a session above the bound takes the refresh token of the agent's other one, and of nobody else's", async () => {
  const self = world({ SESSIONS_PER_AGENT: "1" });
  const [agent, other] = [await self.agent(), await self.agent()];
  const json = { agent_id: agent.id, api_key: agent.apiKey };
  await self.call("/agents/revoke-tokens", { method: "POST", token: agent.token });
  const first = (await self.call("/agents/verify", { method: "POST", json })).body.token;
  const second = (await self.call("/agents/verify", { method: "POST", json })).body.token;
  const refresh = async (token: string) => {
    const { status, body } = await self.call("/agents/refresh", { method: "POST", json: { refresh_token: token } });
    return status === 200 ? status : body.code;
  };
  expect([
    await refresh(first.refresh_token),
    await refresh(other.refreshToken),
    await refresh(second.refresh_token),
  ]).toEqual(["refresh_token_expired", 200, 200]);
  const actions = (await self.records(agent.id)).map(({ action }) => action);
  expect(actions.filter((action) => action === "token.issued")).toHaveLength(3);
  expect(actions.filter((action) => action === "session.limit_reached")).toHaveLength(1);
});

it("the end of an agent's tokens is in the records of this agent alone", async () => {
  const self = world();
  const [agent, other] = [await self.agent(), await self.agent()];
  await self.call("/agents/revoke-tokens", { method: "POST", token: agent.token });
  const revoked = async (id: string) =>
    (await self.records(id)).filter(({ action }) => action === "token.revoked").map(({ message }) => message);
  expect([await revoked(agent.id), await revoked(other.id)]).toEqual([["all tokens revoked"], []]);
});

it("the end of a token without a session is recorded, once", async () => {
  const self = world();
  const agent = await self.agent();
  const issued = await post(self, "/oauth/token", { grant_type: "client_credentials", ...secretOf(agent) });
  const token = issued.body.access_token as string;
  // The second time, it had ended before.
  for (let n = 0; n < 2; n++) {
    expect((await post(self, "/oauth/revoke", { token, ...secretOf(agent) })).status).toBe(200);
    const revoked = (await self.records(agent.id)).filter(({ action }) => action === "token.revoked");
    expect(revoked).toMatchObject([{ agentId: agent.id, message: expect.stringMatching(/^token \S+ revoked by /) }]);
  }
});

it("a refresh token can be used if it is of its session's generation, its hash, and neither has ended", async () => {
  const self = world();
  const [one, other] = [await self.agent(), await self.agent()];
  const rowOf = (id: string) =>
    env.DB.prepare("SELECT id AS sessionId, generation, hash FROM sessions WHERE agent_id = ?1")
      .bind(id)
      .first<{ sessionId: string; generation: number; hash: string }>();
  const [token, others] = [(await rowOf(one.id))!, (await rowOf(other.id))!];
  const read = (changes: object = {}) => readSessionOf(env.DB, { ...token, ...changes });
  expect(await read()).toMatchObject({ agentId: one.id, scope: null, isActive: true });
  expect(await read({ sessionId: "ses_none" })).toBeUndefined();
  for (const wrong of [{ generation: token.generation + 1 }, { hash: others.hash }])
    expect(await read(wrong)).toMatchObject({ agentId: one.id, isActive: false });
  const change = async (columns: string) => {
    await env.DB.prepare(`UPDATE sessions SET ${columns} WHERE id = ?1`).bind(token.sessionId).run();
    const found = await read();
    return [found?.isActive, found?.scope];
  };
  expect(await change(`scope = '["lab:things:read"]'`)).toEqual([true, ["lab:things:read"]]);
  expect(await change("ended_at = 1")).toEqual([false, ["lab:things:read"]]);
  expect(await change("ended_at = NULL, expires_at = 1")).toEqual([false, ["lab:things:read"]]);
});

it("a proof that was used, and a token that was ended, are kept for a minute after they could be used", async () => {
  const rows = [END - 60_000, END - 59_999];
  await env.DB.batch([env.DB.prepare("DELETE FROM used_proofs"), env.DB.prepare("DELETE FROM ended_tokens")]);
  await env.DB.batch(
    rows.flatMap((end) => [
      env.DB.prepare("INSERT INTO used_proofs (signer, jti_hash, expires_at) VALUES ('one', ?1, ?1)").bind(end),
      env.DB.prepare("INSERT INTO ended_tokens (jti, expires_at) VALUES (?1, ?1)").bind(end),
    ]),
  );
  expect(await sweepProofs(env.DB, END, 10)).toBe(1);
  for (const table of ["used_proofs", "ended_tokens"]) {
    const { results } = await env.DB.prepare(`SELECT expires_at AS "end" FROM ${table}`).all<{ end: number }>();
    expect(results.map(({ end }) => end)).toEqual([rows[1]]);
  }
});

it("a key that signs or verifies tokens does not leave WebCrypto, and none is found by another id", async () => {
  const [key] = config.signingKeys;
  expect((await signingKey(config.signingKeys).key).extractable).toBe(false);
  expect((await verificationKey(config.signingKeys, key!.kid))!.extractable).toBe(false);
  expect(verificationKey(config.signingKeys, "another")).toBeUndefined();
});

it("an end that KV does not take is logged, and stops nobody", async () => {
  const errors = vi.spyOn(console, "error").mockImplementation(() => {});
  const cache = { revocations: failing(env.REVOCATIONS), accessTokenTtl: 3600 };
  await expect(cacheSessionEnd(cache, "ses_1")).resolves.toBeUndefined();
  expect(errors.mock.calls.flat().join()).toContain("revocation_not_cached");
  errors.mockRestore();
});

it("what is about to end is not handed on, of a token or of an agent", () => {
  const ending = (expiresAt: number): GrantLimits => ({ ...unlimited("github:issues:read"), expiresAt });
  const held = (expiresAt: number) => ({ grants: [newGrant(ending(expiresAt), BUILT_IN_CATALOGUE, NOW)] });
  const given = (token: number, agent: number) =>
    delegableGrants([[ending(token)]], [held(agent)], BUILT_IN_CATALOGUE, NOW).map(({ expiresAt }) => expiresAt);
  expect([given(END, END + 9), given(END + 9, END), given(END + 1, END + 9), given(END + 9, END + 1)]).toEqual([
    [],
    [],
    [END + 1],
    [END + 1],
  ]);
});

it("a delegated token is no longer than one that is accepted", async () => {
  const issue = (given: readonly GrantLimits[], resources: readonly string[] | null) =>
    issueDelegated(
      {
        subject: {
          sub: "agt_1",
          links: [{ agentId: "agt_1", version: 1, basis: { sessionId: "ses_1" } }],
          delegation: null,
          authTime: NOW / 1000,
        } as never,
        actor: { id: "agt_2", link: { agentId: "agt_2", version: 1, basis: { sessionId: "ses_2" } } },
        clientId: "agt_2",
        tier: "free",
        given,
        resources,
        boundTo: null,
        expiresAt: NOW / 1000 + 600,
        now: NOW,
      },
      { ...config, issuer: "https://one.example.com", audience: "https://one.example.com" },
      BUILT_IN_CATALOGUE,
    );
  const owner = (n: number) => `${"o".repeat(80)}${n}`;
  const limits = Array.from({ length: 80 }, (_, n) => ({
    ...unlimited("github:issues:read"),
    where: { "path.owner": { eq: owner(n) } },
  }));
  expect(await issue(limits, null)).toBeUndefined();
  const resources = Array.from({ length: 80 }, (_, n) => `https://one.example.com/proxy/${owner(n)}`);
  expect(await issue(limits.slice(0, 1), resources)).toBeUndefined();
  expect(await issue(limits.slice(0, 1), resources.slice(0, 1))).toMatchObject({ expiresIn: 600 });
});
