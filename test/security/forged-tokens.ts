import { withLowS } from "../../src/tokens/signature.ts";
import { base64url, decodeJwt, decodeProtectedHeader, exportSPKI, importJWK, type JWK } from "jose";

/** What a forger knows or has: a real token, the published keys, and a key pair of its own. */
export interface Forgery {
  readonly name: string;
  readonly token: string;
  /** The code that the refusal must have. */
  readonly code: "invalid_token" | "token_expired" | "token_revoked" | "missing_token";
}

interface Signer {
  readonly jwk: JWK;
  readonly key: CryptoKey;
}

const EC = { name: "ECDSA", namedCurve: "P-256" };
const text = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));

/** A compact JWS over any text, so that headers and payloads can be as odd as an attacker likes. */
async function sign(header: unknown, payload: unknown, { key }: Signer): Promise<string> {
  const input = `${base64url.encode(text(header))}.${base64url.encode(text(payload))}`;
  const signature = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, key, new TextEncoder().encode(input));
  return withLowS(`${input}.${base64url.encode(new Uint8Array(signature))}`);
}

async function mac(header: unknown, payload: unknown, secret: string): Promise<string> {
  const input = `${base64url.encode(text(header))}.${base64url.encode(text(payload))}`;
  const bytes = new TextEncoder().encode(secret);
  const key = await crypto.subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return `${input}.${base64url.encode(new Uint8Array(await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(input))))}`;
}

async function forger(): Promise<Signer> {
  const pair = (await crypto.subtle.generateKey(EC, true, ["sign", "verify"])) as CryptoKeyPair;
  const { kty, crv, x, y } = (await crypto.subtle.exportKey("jwk", pair.publicKey)) as JWK;
  return { jwk: { kty, crv, x, y } as JWK, key: pair.privateKey };
}

/**
 * Tokens that must be refused, each made from a good one. Some are signed with the service's own key: a signature alone
 * proves nothing of what a token is for.
 */
export async function forgedTokens(
  good: string,
  signingKeys: string,
  others: { refreshToken: string; apiKey: string; foreign: string },
): Promise<Forgery[]> {
  const own = (JSON.parse(signingKeys) as { keys: (JWK & { kid: string; d: string })[] }).keys[0]!;
  const { d: _, ...published } = own;
  const us: Signer = {
    jwk: published,
    key: await crypto.subtle.importKey("jwk", own as JsonWebKey, EC, false, ["sign"]),
  };
  const them = await forger();
  const header = decodeProtectedHeader(good);
  const claims = decodeJwt(good) as Record<string, unknown> & { iat: number; exp: number };
  const [head, body, signature] = good.split(".") as [string, string, string];
  const admin = { ...claims, scope: "*:*:*" };
  const spki = await exportSPKI(
    (await importJWK({ ...published, alg: "ES256" }, "ES256", { extractable: true })) as never,
  );
  const raised = base64url.encode(JSON.stringify(admin));
  const zeros = base64url.encode(new Uint8Array(64));
  const later = claims.iat + 86_400;
  const without = (name: string) => Object.fromEntries(Object.entries(claims).filter(([key]) => key !== name));
  const invalid = (name: string, token: string): Forgery => ({ name, token, code: "invalid_token" });

  const forged = [
    invalid("garbage", "garbage"),
    invalid("dots", ".."),
    invalid("three words", "a.b.c"),
    invalid("100 KB of garbage", "x".repeat(100 * 1024)),
    invalid("100 KB of a token, signed with our key", await sign(header, { ...claims, pad: "x".repeat(75_000) }, us)),
    invalid("no signature", `${head}.${body}.`),
    invalid("no third part", `${head}.${body}`),
    invalid("a fourth part", `${good}.${signature}`),
    invalid("padding", `${good}=`),
    invalid("a shortened signature", good.slice(0, -4)),
    invalid("a signature of zeros", `${head}.${body}.${zeros}`),
    invalid("raised claims under the old signature", `${head}.${raised}.${signature}`),
    invalid("a JSON serialization", JSON.stringify({ payload: body, protected: head, signature }).replaceAll(" ", "")),
    invalid("a header that is no object", await sign("[]", claims, us)),
    invalid("a payload that is no object", await sign(header, "[]", us)),
    invalid("a payload that is no JSON", await sign(header, "{", us)),

    invalid("nbf to come", await sign(header, { ...claims, nbf: later }, us)),
    invalid("another aud", await sign(header, { ...claims, aud: "https://other.example.com" }, us)),
    invalid("no aud", await sign(header, without("aud"), us)),
    invalid("another iss", await sign(header, { ...claims, iss: "https://other.example.com" }, us)),
    invalid(
      "an iss that begins alike",
      await sign(header, { ...claims, iss: `${String(claims.iss)}.evil.example` }, us),
    ),
    ...(await Promise.all(
      ["iss", "sub", "iat", "exp", "jti", "sid", "scope"].map(async (name) =>
        invalid(`no ${name}`, await sign(header, without(name), us)),
      ),
    )),
    ...(await Promise.all(
      (
        [
          ["sub", 7],
          ["exp", "never"],
          ["iat", null],
          ["sid", {}],
          ["scope", ["*:*:*"]],
          ["jti", ""],
          ["ver", "1"],
          ["ver", 0],
          ["ver", 1.5],
          ["ver", null],
          ["auth_time", "now"],
          ["key_id", "key_1"],
        ] as const
      ).map(async ([name, value]) =>
        invalid(`${name} ${JSON.stringify(value)}`, await sign(header, { ...claims, [name]: value }, us)),
      ),
    )),
    invalid("typ JWT", await sign({ ...header, typ: "JWT" }, claims, us)),
    invalid("no typ", await sign({ alg: header.alg, kid: header.kid }, claims, us)),
    invalid("typ of a logout token", await sign({ ...header, typ: "logout+jwt" }, claims, us)),
    invalid("an unknown crit", await sign({ ...header, crit: ["exp2"], exp2: 1 }, claims, us)),
    invalid("an empty crit", await sign({ ...header, crit: [] }, claims, us)),
    invalid("b64 false", await sign({ ...header, crit: ["b64"], b64: false }, claims, us)),
    ...(await Promise.all(
      ["ES384", "ES256K", "RS256", "PS256", "EdDSA", "HS256", "es256", ["ES256"], null].map(async (alg) =>
        invalid(`${JSON.stringify(alg)} in the header`, await sign({ ...header, alg }, claims, us)),
      ),
    )),
    invalid("an unknown kid, signed with our key", await sign({ ...header, kid: "unknown" }, claims, us)),
    invalid("no kid, signed with our key", await sign({ alg: header.alg, typ: header.typ }, claims, us)),

    ...["none", "None", "NONE", "nOnE", ""].flatMap((alg) => [
      invalid(`alg ${alg || "empty"}`, `${base64url.encode(JSON.stringify({ ...header, alg }))}.${raised}.`),
      invalid(
        `alg ${alg || "empty"}, signed`,
        `${base64url.encode(JSON.stringify({ ...header, alg }))}.${raised}.${signature}`,
      ),
    ]),
    ...(await Promise.all(
      Object.entries({ JSON: JSON.stringify(published), PEM: spki, x: published.x ?? "", empty: "\0" }).map(
        async ([kind, secret]) =>
          invalid(`HS256 with the public key as ${kind}`, await mac({ ...header, alg: "HS256" }, admin, secret)),
      ),
    )),
    invalid("an unknown kid", await sign({ ...header, kid: "unknown" }, admin, them)),
    invalid("no kid", await sign({ alg: "ES256", typ: "at+jwt" }, admin, them)),
    invalid("a kid that is a path", await sign({ ...header, kid: "../../dev/null" }, admin, them)),
    invalid("a kid that is an object", await sign({ ...header, kid: { kid: header.kid } }, admin, them)),
    invalid("our kid, another key", await sign(header, admin, them)),
    invalid("an embedded jwk", await sign({ ...header, jwk: them.jwk }, admin, them)),
    invalid(
      "an embedded jwk and its kid",
      await sign({ ...header, kid: "theirs", jwk: { ...them.jwk, kid: "theirs" } }, admin, them),
    ),
    invalid("a jku", await sign({ ...header, jku: "https://evil.example/jwks.json" }, admin, them)),
    invalid("an x5u", await sign({ ...header, x5u: "https://evil.example/cert.pem" }, admin, them)),
    invalid("an x5c", await sign({ ...header, x5c: [btoa("certificate")] }, admin, them)),
    invalid("two algs in the header", await sign(`{"alg":"none",${JSON.stringify(header).slice(1)}`, admin, them)),
    invalid(
      "two scopes in the payload",
      `${head}.${base64url.encode(`{"scope":"*:*:*",${JSON.stringify(claims).slice(1)}`)}.${signature}`,
    ),

    { name: "expired", code: "token_expired", token: await sign(header, { ...claims, exp: claims.iat - 1 }, us) },
    invalid("expired and forged", await sign(header, { ...admin, exp: claims.iat - 1 }, them)),
    {
      name: "an agent that never was",
      code: "token_revoked",
      token: await sign(header, { ...admin, sub: "agt_0" }, us),
    },
    {
      name: "another agent's session",
      code: "token_revoked",
      token: await sign(header, { ...claims, sid: decodeJwt(others.foreign).sid }, us),
    },
    {
      name: "a session that never was",
      code: "token_revoked",
      token: await sign(header, { ...admin, sid: "fam_0" }, us),
    },
    {
      name: "a key that never was",
      code: "token_revoked",
      token: await sign(header, { ...without("sid"), key_id: "key_0" }, us),
    },
    {
      name: "a version to come",
      code: "token_revoked",
      token: await sign(header, { ...claims, ver: (claims.ver as number) + 1 }, us),
    },

    invalid("a refresh token", others.refreshToken),
    invalid("an API key", others.apiKey),
    { name: "two tokens", code: "missing_token", token: `${good} ${good}` },
    { name: "nothing behind the scheme", code: "missing_token", token: "" },
  ] satisfies Forgery[];
  return forged as Forgery[];
}
