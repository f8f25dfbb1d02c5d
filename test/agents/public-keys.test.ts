import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK } from "jose";
import { beforeAll, describe, expect, it } from "vitest";
import { world, type Registered } from "../support/world.ts";
import { SLOW } from "../support/extents.ts";

const self = world({ RATE_FREE: { limit: async () => ({ success: true }) } });

/** Public keys of every accepted kind. RSA keys take long to make, so one is both of its algorithms. */
const keys: Record<"ES256" | "EdDSA" | "RSA", JWK> = {} as never;
let privateKey: JWK;
let agent: Registered;
beforeAll(async () => {
  const [es256, eddsa, rsa] = await Promise.all([
    generateKeyPair("ES256", { extractable: true }),
    generateKeyPair("EdDSA", { extractable: true }),
    generateKeyPair("RS256", { extractable: true }),
  ]);
  keys.ES256 = await exportJWK(es256.publicKey);
  keys.EdDSA = await exportJWK(eddsa.publicKey);
  keys.RSA = await exportJWK(rsa.publicKey);
  privateKey = await exportJWK(es256.privateKey);
  agent = await self.agent();
});

const add = (who: Registered, jwk: unknown, more: object = {}) =>
  self.call(`/agents/${who.id}/keys`, { method: "POST", token: who.token, json: { jwk, ...more } });
const list = async (who: Registered) => (await self.call(`/agents/${who.id}/keys`, { token: who.token })).body;
const jwkOf = async (id: string) =>
  JSON.parse(
    (await self.env.DB.prepare("SELECT jwk FROM api_keys WHERE id = ?1").bind(id).first<string>("jwk"))!,
  ) as Record<string, unknown>;

describe("a public key", () => {
  it("is registered beside the secrets, has no credentials, and is stored with nothing but what it needs", async () => {
    const one = await self.agent();
    const { status, body } = await add(
      one,
      { ...keys.ES256, kid: "build-2026", use: "sig", key_ops: ["verify"], ext: true },
      { label: "Build server", expires_in: 3600, allowed_ips: ["10.0.0.0/8"] },
    );
    expect([status, Object.keys(body).sort()]).toEqual([201, ["details", "key", "message", "success"]]);
    expect(body.key).toEqual({
      id: expect.stringMatching(/^key_[0-9A-Za-z]{24}$/),
      type: "jwk",
      label: "Build server",
      hint: "2026",
      created_at: expect.any(String),
      created_by: { type: "agent", id: one.id, name: expect.any(String) },
      expires_at: expect.any(String),
      last_used_at: null,
      allowed_ips: ["10.0.0.0/8"],
    });
    expect(body.details).toEqual({ [body.key.id]: { kid: "build-2026", alg: "ES256" } });
    const listed = await list(one);
    expect(listed.keys.map(({ type }: { type: string }) => type).sort()).toEqual(["jwk", "secret"]);
    expect(listed.details).toEqual(body.details);
    const { kty, crv, x, y } = keys.ES256;
    expect(await jwkOf(body.key.id)).toEqual({ kty, crv, x, y, kid: "build-2026", alg: "ES256" });
    expect((await self.records(one.id))[0]!.message).toBe(`public key ${body.key.id} registered by ${one.id}`);
  });

  it("is pinned to one algorithm, and without a kid has its thumbprint as one", SLOW, async () => {
    const one = await self.agent();
    const pinned = async (jwk: JWK) => {
      const { body } = await add(one, jwk);
      return [body.details[body.key.id].alg, body.details[body.key.id].kid];
    };
    const thumbprint = await calculateJwkThumbprint(keys.ES256);
    expect(await pinned(keys.ES256)).toEqual(["ES256", thumbprint]);
    expect(await pinned({ ...keys.EdDSA, alg: "Ed25519" })).toEqual([
      "EdDSA",
      await calculateJwkThumbprint(keys.EdDSA),
    ]);
    expect(await pinned({ ...keys.RSA, alg: "PS256", kid: "p" })).toEqual(["PS256", "p"]);
    expect(await pinned({ ...keys.RSA, alg: "RS256" })).toEqual(["RS256", await calculateJwkThumbprint(keys.RSA)]);
  });

  it("has a kid that no other key of its agent has, also of two at once", SLOW, async () => {
    const one = await self.agent();
    const both = await Promise.all([
      add(one, { ...keys.ES256, kid: "same" }),
      add(one, { ...keys.EdDSA, kid: "same" }),
    ]);
    expect(both.map(({ status, body }) => body.code ?? status).sort()).toEqual([201, "kid_taken"]);
    expect((await add(agent, { ...keys.ES256, kid: "same" })).status).toBe(201);
    const taken = (await list(one)).keys.find(({ type }: { type: string }) => type === "jwk").id;
    await self.call(`/agents/${one.id}/keys/${taken}`, { method: "DELETE", token: one.token });
    expect((await add(one, { ...keys.EdDSA, kid: "same" })).status).toBe(201);
  });

  it("ends with a rotation that leaves no other key", SLOW, async () => {
    const one = await self.agent();
    await add(one, keys.ES256);
    const rotate = (json: object) =>
      self.call(`/agents/${one.id}/rotate-key`, { method: "POST", token: one.token, json });
    expect((await rotate({ overlap_seconds: 60 })).status).toBe(200);
    expect((await list(one)).keys.map(({ type }: { type: string }) => type).sort()).toEqual([
      "jwk",
      "secret",
      "secret",
    ]);
    const { body } = await rotate({ overlap_seconds: 0 });
    const verified = await self.call("/agents/verify", {
      method: "POST",
      json: { agent_id: one.id, api_key: body.credentials.api_key },
    });
    const left = await list({ ...one, token: verified.body.token.access_token });
    expect(left.keys.map(({ type }: { type: string }) => type)).toEqual(["secret"]);
  });

  it("is not registered for another agent", async () => {
    const other = await self.agent();
    expect(
      (await self.call(`/agents/${other.id}/keys`, { method: "POST", token: agent.token, json: { jwk: keys.EdDSA } }))
        .status,
    ).toBe(403);
  });
});

describe("a key that is refused", () => {
  const refusals: [name: string, jwk: () => unknown, field: string][] = [
    ["a private key", () => privateKey, "jwk.d"],
    ["a secret", () => ({ kty: "oct", k: "c2VjcmV0" }), "jwk.k"],
    ["another type", () => ({ kty: "oct" }), "jwk.kty"],
    ["another curve", () => ({ ...keys.ES256, crv: "P-384" }), "jwk.crv"],
    ["X25519", () => ({ ...keys.EdDSA, crv: "X25519" }), "jwk.crv"],
    ["a point that is not on the curve", () => ({ ...keys.ES256, y: keys.ES256.x }), "jwk.kty"],
    ["a coordinate that is too short", () => ({ ...keys.ES256, x: "AAAA" }), "jwk.x"],
    ["a coordinate in another spelling", () => ({ ...keys.ES256, x: `${keys.ES256.x}=` }), "jwk.x"],
    ["no y", () => ({ ...keys.ES256, y: undefined }), "jwk.y"],
    ["an algorithm of another type", () => ({ ...keys.ES256, alg: "RS256" }), "jwk.alg"],
    ["a symmetric algorithm", () => ({ ...keys.RSA, alg: "HS256" }), "jwk.alg"],
    ["RSA without an algorithm", () => keys.RSA, "jwk.alg"],
    ["RSA of 1024 bits", () => ({ ...keys.RSA, n: keys.RSA.n!.slice(0, 172), alg: "RS256" }), "jwk.n"],
    [
      "RSA of 1024 bits behind zeros",
      () => ({ ...keys.RSA, n: "A".repeat(172) + keys.RSA.n!.slice(0, 170), alg: "RS256" }),
      "jwk.n",
    ],
    ["RSA of 8192 bits", () => ({ ...keys.RSA, n: "z".repeat(1024), alg: "RS256" }), "jwk.n"],
    ["an exponent of 1", () => ({ ...keys.RSA, e: "AQ", alg: "RS256" }), "jwk.e"],
    ["a key to encrypt with", () => ({ ...keys.ES256, use: "enc" }), "jwk.use"],
    ["a key to sign with", () => ({ ...keys.ES256, key_ops: ["sign"] }), "jwk.key_ops"],
    ["a kid that cannot be shown", () => ({ ...keys.ES256, kid: "a\nb" }), "jwk.kid"],
  ];
  it.each(refusals)("%s", async (_, jwk, field) => {
    const { status, body } = await add(agent, jwk());
    expect([status, body.details[0].field]).toEqual([400, field]);
    expect(JSON.stringify(body)).not.toContain(privateKey.d);
  });
});
