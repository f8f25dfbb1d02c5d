import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK } from "jose";
import { inject } from "vitest";
import type { IssuerPages } from "../support/upstream-server.ts";
import type { World } from "../support/world.ts";
import { token, type Parameters } from "./clients.ts";

export const JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer";
export const AUDIENCE = "https://auth.example.com";

/** A key of an issuer, with its public half as the issuer's key set has it. */
export interface IssuerKey {
  readonly kid: string;
  readonly alg: string;
  readonly privateKey: CryptoKey;
  readonly jwk: JWK;
}

export async function newIssuerKey(kid: string, alg = "RS256"): Promise<IssuerKey> {
  const { publicKey, privateKey } = await generateKeyPair(alg);
  return { kid, alg, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: "sig" } };
}

let issuers = 0;

/** An issuer with an URL of its own on the tests' server, and the pages that it has. */
export function newIssuer() {
  const url = `${inject("upstream")}/issuer/${++issuers}-${crypto.randomUUID()}`;
  const metadata = { text: JSON.stringify({ issuer: "SELF", jwks_uri: "SELF/keys" }) };
  return {
    url,
    serve: async (pages: IssuerPages) =>
      void (await (await fetch(url, { method: "POST", body: JSON.stringify(pages) })).text()),
    /** Serves its metadata and these keys. */
    publish: async (...keys: readonly IssuerKey[]) =>
      void (await (
        await fetch(url, {
          method: "POST",
          body: JSON.stringify({
            ".well-known/openid-configuration": metadata,
            keys: { text: JSON.stringify({ keys: keys.map(({ jwk }) => jwk) }) },
          }),
        })
      ).text()),
    asked: async () => (await (await fetch(`${url}/`)).json()) as string[],
  };
}
export type Issuer = ReturnType<typeof newIssuer>;

/** A token of an issuer, good but for what a test changes. */
export function issue(
  iss: string,
  { kid, alg, privateKey }: Pick<IssuerKey, "kid" | "alg" | "privateKey">,
  claims: Record<string, unknown> = {},
  header: Record<string, unknown> = {},
): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  const payload = {
    iss,
    sub: "repo:octo/hello:ref:refs/heads/main",
    aud: AUDIENCE,
    iat: now,
    exp: now + 300,
    jti: crypto.randomUUID(),
    repository: "octo/hello",
    repository_id: "1296269",
    ref: "refs/heads/main",
    ...claims,
  };
  return new SignJWT(JSON.parse(JSON.stringify(payload)))
    .setProtectedHeader(JSON.parse(JSON.stringify({ typ: "JWT", alg, kid, ...header })))
    .sign(privateKey);
}

/** Sends an assertion to the token endpoint. */
export const present = (
  self: World,
  assertion: string,
  more: Record<string, string> = {},
  options?: { headers?: Record<string, string>; ip?: string },
) => token(self, { grant_type: JWT_BEARER, assertion, ...more } satisfies Parameters, options);
