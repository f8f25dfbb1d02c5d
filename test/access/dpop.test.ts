import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK } from "jose";
import { beforeAll, describe, expect, it } from "vitest";
import { checkProof } from "../../src/access/dpop.ts";
import { toBase64Url } from "../../src/crypto/base64.ts";
import { sha256 } from "../../src/crypto/digest.ts";
import { thumbprintOf } from "../../src/crypto/thumbprint.ts";

const NOW = 1_800_000_123_456;
const IAT = Math.floor(NOW / 1000);
const URL_SENT = "https://auth.example.com/proxy/lab/things/1?page=2";
const PEPPER = "pepper".repeat(8);
let jwk: JWK;
let privateKey: CryptoKey;
beforeAll(async () => {
  const pair = await generateKeyPair("ES256", { extractable: true });
  [jwk, privateKey] = [await exportJWK(pair.publicKey), pair.privateKey];
});

/** A proof, good but for what a test changes. What is undefined is left out. */
function proof(claims: Record<string, unknown> = {}, header: Record<string, unknown> = {}): Promise<string> {
  const payload = { jti: "one", htm: "GET", htu: URL_SENT, iat: IAT, ...claims };
  return new SignJWT(JSON.parse(JSON.stringify(payload)))
    .setProtectedHeader(JSON.parse(JSON.stringify({ typ: "dpop+jwt", alg: "ES256", jwk, ...header })))
    .sign(privateKey);
}

const check = (
  text: string,
  { now = NOW, pepper = PEPPER, token }: { now?: number; pepper?: string; token?: string } = {},
) => checkProof(text, { method: "GET", url: URL_SENT, token }, { pepper }, now);

describe("a proof", () => {
  it("is of its key, and is used up by its jti until it would be accepted no more", async () => {
    expect(await check(await proof())).toEqual({
      jkt: await thumbprintOf(jwk as never),
      jtiHash: toBase64Url(await sha256("one")),
      usedUntil: (IAT + 300) * 1000,
    });
    // A row that is gone before the proof is too old would let it be used twice.
    for (const iat of [IAT + 29.5, IAT - 299.3]) {
      const made = await check(await proof({ iat }));
      expect(made).toMatchObject({ usedUntil: Math.ceil(iat + 300) * 1000 });
    }
  });

  it.each([
    ["300 seconds old", -300, true],
    ["older", -301, false],
    ["30 seconds ahead", 30, true],
    ["further ahead", 31, false],
  ])("that is %s", async (_, seconds, isGood) => {
    const found = await check(await proof({ iat: IAT + seconds }), { now: IAT * 1000 });
    expect(["jkt" in found, "nonce" in found]).toEqual([isGood, !isGood]);
  });

  it.each<[name: string, claims: Record<string, unknown>, good: boolean]>([
    ["without the query", { htu: "https://auth.example.com/proxy/lab/things/1" }, true],
    ["with another query and a fragment", { htu: "https://auth.example.com/proxy/lab/things/1?page=3#top" }, true],
    ["with the default port", { htu: "https://AUTH.example.com:443/proxy/lab/things/1" }, true],
    ["of http", { htu: "http://auth.example.com/proxy/lab/things/1" }, false],
    ["of a longer path", { htu: "https://auth.example.com/proxy/lab/things/1/" }, false],
    ["of no URL", { htu: "/proxy/lab/things/1" }, false],
    ["that is no text", { htu: [URL_SENT] }, false],
  ])("for a URL %s", async (_, claims, good) => {
    expect("jkt" in (await check(await proof(claims)))).toBe(good);
  });

  it.each<[name: string, claims: Record<string, unknown>, header?: Record<string, unknown>]>([
    ["an empty jti", { jti: "" }],
    ["a jti of 257 characters", { jti: "x".repeat(257) }],
    ["a jti that is a number", { jti: 7 }],
    ["the method in small letters", { htm: "get" }],
    ["no method", { htm: undefined }],
    ["an iat that is a text", { iat: String(IAT) }],
    ["more than 4096 characters", { pad: "x".repeat(3600) }],
    ["a hash of a token, where none is sent", { ath: "x" }],
    ["a type in other letters", {}, { typ: "DPoP+JWT" }],
    ["a key whose coordinate is a number", {}, { jwk: { kty: "EC", crv: "P-256", x: 1, y: 2 } }],
  ])("with %s is refused, and no nonce helps", async (_, claims, header) => {
    const found = await check(await proof(claims, header));
    expect(found).toEqual({ fault: expect.any(String) });
  });

  it("may have a jti of 256 characters", async () => {
    expect(await check(await proof({ jti: "x".repeat(256) }))).toHaveProperty("jkt");
  });

  it.each(["d", "p", "q", "dp", "dq", "qi", "oth", "k"])("gives its key away with the member %s", async (member) => {
    expect(await check(await proof({}, { jwk: { ...jwk, [member]: "AQAB" } }))).toMatchObject({
      fault: expect.stringContaining("public key"),
    });
  });

  it("names the very token that is sent with it", async () => {
    const ath = toBase64Url(await sha256("a-token"));
    expect(await check(await proof({ ath }), { token: "a-token" })).toHaveProperty("jkt");
    for (const claims of [{ ath: undefined }, { ath: toBase64Url(await sha256("a-token2")) }]) {
      expect(await check(await proof(claims), { token: "a-token" })).toHaveProperty("fault");
    }
  });
});

describe("a nonce", () => {
  const SLOT = 300_000;
  const start = Math.floor(NOW / SLOT) * SLOT;
  const nonceAt = async (now: number, pepper = PEPPER) => {
    const found = await check(await proof({ iat: 1 }), { now, pepper });
    return "nonce" in found ? found.nonce! : "";
  };

  it("is good whatever the sender's clock says, until the end of the time after the one that it was given in", async () => {
    const nonce = await nonceAt(start);
    expect(await nonceAt(start + SLOT - 1)).toBe(nonce);
    const text = await proof({ iat: 1, nonce });
    for (const now of [start, start + 2 * SLOT - 1]) {
      expect(await check(text, { now })).toMatchObject({ usedUntil: start + 2 * SLOT });
    }
    for (const now of [start - 1, start + 2 * SLOT]) {
      expect(await check(text, { now })).toHaveProperty("nonce");
    }
  });

  it("of another deployment, or none at all, does not help a proof that is good by its time", async () => {
    for (const nonce of [await nonceAt(start, "another".repeat(8)), "", 7, null]) {
      expect(await check(await proof({ nonce }), { now: NOW })).toHaveProperty("nonce");
    }
  });
});
