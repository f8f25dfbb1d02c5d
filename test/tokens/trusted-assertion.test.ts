import { base64url, SignJWT } from "jose";
import { beforeAll, describe, expect, it } from "vitest";
import type { TrustedIssuer } from "../../src/config/trusted-issuers.ts";
import { verifyTrustedAssertion } from "../../src/tokens/trusted-assertion.ts";
import { newIssuer, newIssuerKey, type IssuerKey } from "../oauth/issuers.ts";

const served = newIssuer();
const AT = 2_000_000_000;
const LIFE = 3600;
const issuer: TrustedIssuer = {
  issuer: served.url,
  audience: "https://auth.example.com",
  jwksUri: `${served.url}/keys`,
  maxTokenLife: LIFE,
  timeoutMs: 30_000,
  rules: [],
};
const GOOD = { iss: served.url, sub: "job", aud: issuer.audience, iat: AT, exp: AT + 300, jti: "one" };
let key: IssuerKey;
beforeAll(async () => {
  key = await newIssuerKey("one", "ES256");
  await served.publish(key);
});

const sign = (claims: object = {}, header: object = {}, by: Pick<IssuerKey, "privateKey"> = key) =>
  new SignJWT(JSON.parse(JSON.stringify({ ...GOOD, ...claims })))
    .setProtectedHeader(JSON.parse(JSON.stringify({ typ: "JWT", alg: "ES256", kid: "one", ...header })))
    .sign(by.privateKey);

/** What is wrong with a text: a sentence, or undefined. And whether it is said to be signed nevertheless. */
async function faultOf(text: string): Promise<[fault: string | undefined, isSigned: boolean]> {
  const waitUntil = () => {};
  const result = await verifyTrustedAssertion(text, [issuer], { now: AT * 1000, waitUntil });
  if ("unavailable" in result) throw new Error(result.unavailable);
  return "fault" in result ? [result.fault, result.signed !== undefined] : [undefined, true];
}

describe("a token of a trusted issuer, at each of its bounds", () => {
  it.each<[claims: object, said: RegExp | undefined]>([
    [{ exp: AT }, /expired/],
    [{ exp: AT + 1 }, undefined],
    [{ exp: AT + LIFE }, undefined],
    [{ exp: AT + LIFE + 1 }, /longer/],
    [{ iat: AT - LIFE }, undefined],
    [{ iat: AT - LIFE - 1 }, /longer/],
    [{ iat: AT + 30 }, undefined],
    [{ iat: AT + 31 }, /iat .* future/],
    [{ nbf: AT + 30 }, undefined],
    [{ nbf: AT + 31 }, /nbf .* future/],
    [{ nbf: null }, /nbf/],
    [{ jti: "x".repeat(512) }, undefined],
    [{ jti: "x".repeat(513) }, /jti/],
    [{ jti: undefined }, undefined],
    [{ aud: [issuer.audience] }, undefined],
    [{ aud: [] }, /aud/],
  ])("with %j", async (claims, said) => {
    const [fault, isSigned] = await faultOf(await sign(claims));
    if (said) expect(fault).toMatch(said);
    else expect(fault).toBeUndefined();
    expect(isSigned).toBe(true);
  });

  it("has at most 8 KB", async () => {
    /** A good one of just this length: of the header and of the payload, base64url has only some lengths. */
    async function ofLength(length: number): Promise<string> {
      for (let more = 0; more < 4; more++) {
        for (let pad = 5700; pad < 5900; pad++) {
          const parts = [
            { typ: "JWT", alg: "ES256", kid: "one", x: "x".repeat(more) },
            { ...GOOD, pad: "x".repeat(pad) },
          ];
          const size = parts.reduce((sum, part) => sum + base64url.encode(JSON.stringify(part)).length, 86 + 2);
          if (size === length) return sign({ pad: "x".repeat(pad) }, { x: "x".repeat(more) });
        }
      }
      throw new Error("no such length");
    }
    const [longest, longer] = [await ofLength(8192), await ofLength(8193)];
    expect([longest.length, longer.length]).toEqual([8192, 8193]);
    expect(await faultOf(longest)).toEqual([undefined, true]);
    expect(await faultOf(longer)).toEqual([expect.stringContaining("8192 characters"), false]);
  });
});

describe("what no trusted issuer has signed", () => {
  it.each<[string, object, RegExp]>([
    ["of another type", { typ: "at+jwt" }, /kind of token/],
    ["of a proof's type", { typ: "dpop+jwt" }, /kind of token/],
    ["of an unknown key", { kid: "two" }, /No key/],
  ])("is a token %s", async (_, header, said) => {
    expect(await faultOf(await sign({}, header))).toEqual([expect.stringMatching(said), false]);
  });

  it.each([undefined, "JWT", "jwt", "oauth-id-jag+jwt"])("is none of type %s", async (typ) => {
    expect(await faultOf(await sign({}, { typ }))).toEqual([undefined, true]);
  });

  it("is a token of another key with the same id, without a signature, or by an algorithm that is not the key's", async () => {
    const good = await sign();
    const [head, payload, signature] = good.split(".") as [string, string, string];
    const header = (value: object) => base64url.encode(JSON.stringify(value));
    const stranger = await newIssuerKey("one", "ES256");
    const secret = new TextEncoder().encode(JSON.stringify(key.jwk));
    const hmac = await new SignJWT(GOOD).setProtectedHeader({ alg: "HS256", kid: "one" }).sign(secret);
    const changed = base64url.encode(JSON.stringify({ ...GOOD, sub: "other" }));
    for (const [text, said] of [
      [await sign({}, {}, stranger), "No key"],
      [`${head}.${payload}.`, "No key"],
      [`${head}.${changed}.${signature}`, "No key"],
      [`${header({ alg: "none", kid: "one" })}.${payload}.`, "No key"],
      [`${header({ alg: "ES384", kid: "one" })}.${payload}.${signature}`, "No key"],
      [hmac, "No key"],
      [`${header({ kid: "one" })}.${payload}.${signature}`, "not a JWT"],
      [`${header({ alg: "ES256", kid: 1 })}.${payload}.${signature}`, "not a JWT"],
      ["garbage", "not a JWT"],
      [await sign({ iss: `${served.url}/` }), "TRUSTED_ISSUERS"],
    ] as const) {
      expect([text, ...(await faultOf(text))]).toEqual([text, expect.stringContaining(said), false]);
    }
  });
});
