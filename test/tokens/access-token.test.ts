import { base64url, importJWK, SignJWT } from "jose";
import { describe, expect, it } from "vitest";
import { loadConfig, type SigningKey } from "../../src/config/config.ts";
import { issueAccessToken, verifyAccessToken, type AccessTokenSettings } from "../../src/tokens/access-token.ts";
import { testEnv } from "../support/world.ts";

/** The order of the group of P-256 (FIPS 186-5): of a signature (r, s), (r, n − s) is one as well. */
const N = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

const { signingKeys } = loadConfig(testEnv());
const NO_ISSUERS: readonly never[] = [];
const NOW = 1_800_000_000_000;
const settings = (changes: Partial<AccessTokenSettings> = {}): AccessTokenSettings => ({
  issuer: "https://one.example.com",
  audience: "https://one.example.com",
  accessTokenTtl: 3600,
  signingKeys,
  trustedIssuers: NO_ISSUERS,
  ...changes,
});
const grant = {
  agentId: "agt_1",
  grants: { scope: ["lab:things:read"], details: [], reference: null },
  tier: "free",
  basis: { sessionId: "ses_1", version: 1 },
  authTime: NOW / 1000,
  issuedAt: NOW / 1000,
};
const issue = (by = settings()) => issueAccessToken(grant, by);

/** The same token under the other signature. */
function twinOf(token: string): string {
  const [head, body, signature] = token.split(".") as [string, string, string];
  const bytes = base64url.decode(signature);
  const s = BigInt(`0x${Array.from(bytes.slice(32), (byte) => byte.toString(16).padStart(2, "0")).join("")}`);
  const other = (N - s).toString(16).padStart(64, "0");
  const twin = Uint8Array.from([...bytes.slice(0, 32), ...other.match(/../g)!.map((pair) => parseInt(pair, 16))]);
  return `${head}.${body}.${base64url.encode(twin)}`;
}

/** Texts that decode to the same three parts. */
function spellingsOf(token: string): [how: string, text: string][] {
  const [head, body, signature] = token.split(".") as [string, string, string];
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const last = alphabet.indexOf(token.at(-1)!);
  const bits = Array.from({ length: 15 }, (_, n): [string, string] => {
    return [`bits behind the last byte: ${n + 1}`, token.slice(0, -1) + alphabet[last + n + 1]!];
  });
  return [
    ...bits,
    ["padding", `${token}==`],
    ["half the padding", `${token}=`],
    ["padding of the payload", `${head}.${body}==.${signature}`],
    ["a space", `${token} `],
    ["a line break", `${head}.${body}.${signature.slice(0, 40)}\n${signature.slice(40)}`],
    ["the other alphabet", `${head}.${body}.${signature.replaceAll("-", "+").replaceAll("_", "/").slice(0, 85)}+`],
    ["percent-encoding", token.replace(".", "%2E")],
    ["a fourth part", `${token}.`],
  ];
}

describe("a token", () => {
  it("has one spelling, also once it is cached", async () => {
    const token = await issue();
    for (const [how, text] of spellingsOf(token)) {
      expect([how, await verifyAccessToken(text, settings(), NOW)]).toEqual([how, "invalid_token"]);
    }
    expect(await verifyAccessToken(token, settings(), NOW)).toMatchObject({
      sub: "agt_1",
      links: [{ agentId: "agt_1", version: 1, basis: { sessionId: "ses_1" } }],
    });
    for (const [how, text] of spellingsOf(token)) {
      expect([how, await verifyAccessToken(text, settings(), NOW)]).toEqual([how, "invalid_token"]);
    }
  });

  it("is always issued in that spelling", async () => {
    for (let n = 0; n < 20; n++) expect(await verifyAccessToken(await issue(), settings(), NOW)).toBeTypeOf("object");
  });

  it.each([
    ["another issuer", settings({ issuer: "https://two.example.com" })],
    ["another audience", settings({ audience: "https://two.example.com" })],
    ["another set of keys", settings({ signingKeys: loadConfig(testEnv()).signingKeys.slice(1) })],
  ])("that is remembered does not answer for %s, and still answers for its own", async (_, others) => {
    const token = await issue();
    const claims = await verifyAccessToken(token, settings(), NOW);
    expect(claims).toMatchObject({ sub: "agt_1" });
    expect(await verifyAccessToken(token, others, NOW)).toBe("invalid_token");
    // The very claims: they come from memory, which the refusal left alone.
    expect(await verifyAccessToken(token, settings(), NOW)).toBe(claims);
    expect(await verifyAccessToken(token, settings(), NOW + 3_600_000)).toBe("token_expired");
  });
});

describe("the twin of a token, with the other signature of the same text", () => {
  it("is refused, whichever of the two WebCrypto made, so that a token has one text", async () => {
    for (let n = 0; n < 20; n++) {
      const token = await issue();
      expect(await verifyAccessToken(twinOf(token), settings(), NOW)).toBe("invalid_token");
      expect(await verifyAccessToken(token, settings(), NOW)).toMatchObject({ sub: "agt_1" });
      expect(await verifyAccessToken(twinOf(token), settings(), NOW)).toBe("invalid_token");
      expect(twinOf(twinOf(token))).toBe(token);
    }
  });

  it("is accepted of a token of the former format, which is of version 1 and says nothing of a proof", async () => {
    const [{ kid, ...jwk }] = signingKeys as [SigningKey];
    const key = await importJWK({ ...jwk, alg: "ES256" }, "ES256");
    const former = await new SignJWT({ client_id: "agt_1", scope: "lab:things:read", tier: "free", sid: "fam_1" })
      .setProtectedHeader({ alg: "ES256", typ: "at+jwt", kid })
      .setIssuer("https://one.example.com")
      .setSubject("agt_1")
      .setAudience("https://one.example.com")
      .setIssuedAt(NOW / 1000)
      .setExpirationTime(NOW / 1000 + 60)
      .setJti("j")
      .sign(key);
    for (const token of [former, twinOf(former)]) {
      expect(await verifyAccessToken(token, settings(), NOW)).toMatchObject({
        authTime: undefined,
        links: [{ agentId: "agt_1", version: 1, basis: { sessionId: "fam_1" } }],
      });
    }
  });
});

describe("the claims of a token that our key has signed", () => {
  const IDP = "https://idp.example.com";
  const RESOURCE = "https://one.example.com/proxy/lab";
  /** A token with other claims, whose signature has the low s. */
  async function signed(changes: Record<string, unknown>): Promise<string> {
    const [{ kid, ...jwk }] = signingKeys as [SigningKey];
    const key = await importJWK({ ...jwk, alg: "ES256" }, "ES256");
    const claims = {
      iss: "https://one.example.com",
      aud: "https://one.example.com",
      sub: "agt_1",
      jti: "tok_1",
      scope: "lab:things:read",
      ver: 1,
      sid: "ses_1",
      iat: NOW / 1000,
      exp: NOW / 1000 + 60,
      ...changes,
    };
    const token = await new SignJWT(JSON.parse(JSON.stringify(claims)))
      .setProtectedHeader({ alg: "ES256", typ: "at+jwt", kid })
      .sign(key);
    const s = base64url.decode(token.split(".")[2]!).slice(32);
    return BigInt(`0x${Array.from(s, (byte) => byte.toString(16).padStart(2, "0")).join("")}`) > N / 2n
      ? twinOf(token)
      : token;
  }
  const trusting = (agentId: string, issuer = IDP) =>
    settings({ trustedIssuers: [{ issuer, rules: [{ agentId, claims: {} }] }] as never });

  it.each<[name: string, claims: Record<string, unknown>, read: Record<string, unknown>]>([
    ["nothing more", {}, { boundTo: null, mayAct: null, resources: null, authTime: undefined, clientId: "agt_1" }],
    ["a key", { cnf: { jkt: "x" } }, { boundTo: "x" }],
    ["who may act", { may_act: { sub: "agt_2" } }, { mayAct: "agt_2" }],
    ["a resource", { aud: RESOURCE }, { resources: [RESOURCE] }],
    ["two resources", { aud: [RESOURCE, `${RESOURCE}2`] }, { resources: [RESOURCE, `${RESOURCE}2`] }],
    ["a proof", { auth_time: 7 }, { authTime: 7 }],
  ])("say %s", async (_, claims, read) => {
    expect(await verifyAccessToken(await signed(claims), settings(), NOW)).toMatchObject(read);
  });

  it.each<[name: string, claims: Record<string, unknown>]>([
    ["a confirmation that is null", { cnf: null }],
    ["a confirmation that is a text", { cnf: "x" }],
    ["a confirmation without a key", { cnf: {} }],
    ["a thumbprint that is a number", { cnf: { jkt: 7 } }],
    ["a key and a certificate", { cnf: { jkt: "x", "x5t#S256": "y" } }],
    ["null for who may act", { may_act: null }],
    ["a number for who may act", { may_act: { sub: 7 } }],
    ["who may act, of an issuer", { may_act: { sub: "agt_2", iss: IDP } }],
    ["no audience in a list", { aud: [] }],
    ["the audience of the deployment beside a resource", { aud: ["https://one.example.com", RESOURCE] }],
    ["a resource of somebody else", { aud: [RESOURCE, "https://two.example.com/proxy/lab"] }],
    ["a resource that begins alike", { aud: "https://one.example.com.example/proxy/lab" }],
    ["a resource that is a number", { aud: [RESOURCE, 7] }],
    ["a session and a key", { key_id: "key_1" }],
    ["neither session nor key", { sid: undefined }],
    ["a key that is null", { key_id: null }],
    ["a proof at no time", { auth_time: 0 }],
    ["a proof at half a second", { auth_time: 1.5 }],
    ["an actor and no chain", { act: { sub: "agt_2" } }],
    ["a chain and no actor", { chain: [{ sub: "agt_1", ver: 1, sid: "ses_1" }] }],
    ["no version and a chain", { ver: undefined, chain: [] }],
    ["details that are no list", { authorization_details: {} }],
  ])("with %s are none of ours", async (_, claims) => {
    expect(await verifyAccessToken(await signed(claims), settings(), NOW)).toBe("invalid_token");
  });

  it("are expired from their end on, also where the token was never seen before", async () => {
    expect(await verifyAccessToken(await signed({}), settings(), NOW + 60_000)).toBe("token_expired");
    expect(await verifyAccessToken(await signed({}), settings(), NOW + 59_999)).toBeTypeOf("object");
  });

  it("that go back to a trusted issuer hold while it is trusted for this agent, also where the token is remembered", async () => {
    const token = await signed({ sid: undefined, key_id: `issuer:${IDP}` });
    expect(await verifyAccessToken(token, trusting("agt_1"), NOW)).toMatchObject({ sub: "agt_1" });
    for (const other of [settings(), trusting("agt_2"), trusting("agt_1", "https://other.example.com")]) {
      expect(await verifyAccessToken(token, other, NOW)).toBe("invalid_token");
    }
  });
});
