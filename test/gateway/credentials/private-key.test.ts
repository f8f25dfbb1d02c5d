import { decodeProtectedHeader, jwtVerify } from "jose";
import { beforeAll, describe, expect, it } from "vitest";
import { keyFault, signAssertion, toPkcs8 } from "../../../src/gateway/credentials/private-key.ts";
import { toBase64 } from "../../../src/crypto/base64.ts";

const RSA = {
  name: "RSASSA-PKCS1-v1_5",
  modulusLength: 2048,
  publicExponent: new Uint8Array([1, 0, 1]),
  hash: "SHA-256",
};
const pem = (label: string, body: string): string =>
  `-----BEGIN ${label}-----\n${body.replace(/.{64}/g, "$&\n")}\n-----END ${label}-----\n`;

let pair: CryptoKeyPair;
let pkcs8: Uint8Array;

beforeAll(async () => {
  pair = (await crypto.subtle.generateKey(RSA, true, ["sign", "verify"])) as CryptoKeyPair;
  pkcs8 = new Uint8Array((await crypto.subtle.exportKey("pkcs8", pair.privateKey)) as ArrayBuffer);
});

describe("a private key", () => {
  it("is read in PKCS#8 and in PKCS#1, with line breaks of any kind", () => {
    const base64 = toBase64(pkcs8);
    const expected = { pem: `-----BEGIN PRIVATE KEY-----\n${base64}\n-----END PRIVATE KEY-----` };
    const text = pem("PRIVATE KEY", base64);
    for (const one of [text, ` ${text} `, text.replaceAll("\n", "\r\n"), text.replaceAll("\n", "\\n")]) {
      expect(toPkcs8(one)).toEqual(expected);
    }
    // Behind the 26 bytes of its frame, a PKCS#8 key of this length is the PKCS#1 key.
    expect(toPkcs8(pem("RSA PRIVATE KEY", toBase64(pkcs8.slice(26))))).toEqual(expected);
  });

  it.each([
    ["nothing", "", "is not one private key in PEM"],
    ["two keys", pem("PRIVATE KEY", "A".repeat(64)) + pem("PRIVATE KEY", "A".repeat(64)), "is not one private key"],
    ["a key without its end", "-----BEGIN PRIVATE KEY-----\nAAAA", "is not one private key"],
    ["half a key", pem("PRIVATE KEY", "A".repeat(63)), "is not complete"],
    ["a certificate", pem("CERTIFICATE", "A".repeat(64)), "is a CERTIFICATE, and not a private key"],
    ["an EC key of SEC 1", pem("EC PRIVATE KEY", "A".repeat(64)), "openssl pkcs8 -topk8 -nocrypt"],
    ["an encrypted key", pem("ENCRYPTED PRIVATE KEY", "A".repeat(64)), "openssl pkcs8 -in"],
  ])("is refused with what to do if it is %s", (_, text, fault) => {
    expect(toPkcs8(text)).toEqual({ fault: expect.stringContaining(fault) });
  });

  it("is refused for an algorithm of another kind, and if it is no key at all", async () => {
    const { pem: key } = toPkcs8(pem("PRIVATE KEY", toBase64(pkcs8))) as { pem: string };
    expect(await keyFault(key, "RS256")).toBeUndefined();
    expect(await keyFault(key, "ES256")).toContain("must be an EC key of its curve");
    expect(await keyFault(pem("PRIVATE KEY", "A".repeat(64)).trim(), "RS256")).toContain("at least 2048 bits");
  });

  it("signs an assertion that its public key verifies, and only for its audience", async () => {
    const { pem: key } = toPkcs8(pem("PRIVATE KEY", toBase64(pkcs8))) as { pem: string };
    const now = Date.parse("2026-11-26T00:00:00Z");
    const assertion = {
      pem: key,
      algorithm: "RS256",
      issuer: "me",
      audience: "you",
      claims: { sub: "him" },
      now,
    } as const;
    const jwt = await signAssertion(assertion);
    expect(decodeProtectedHeader(jwt)).toEqual({ alg: "RS256", typ: "JWT" });
    const options = { audience: "you", currentDate: new Date(now) };
    const { payload } = await jwtVerify(jwt, pair.publicKey, options);
    expect(payload).toMatchObject({ iss: "me", sub: "him", iat: now / 1000 - 60, exp: now / 1000 + 120 });
    await expect(jwtVerify(jwt, pair.publicKey, { ...options, audience: "her" })).rejects.toThrow();
  });
});
