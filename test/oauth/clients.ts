import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWTPayload } from "jose";
import type { Registered, World } from "../support/world.ts";

export const ISSUER = "https://auth.example.com";
const JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

export type Parameters = Record<string, string> | [string, string][];

/** Sends a form to an OAuth endpoint. */
export async function post(
  self: World,
  path: string,
  parameters: Parameters,
  { headers, ip }: { headers?: Record<string, string>; ip?: string } = {},
) {
  const init = { method: "POST", body: new URLSearchParams(parameters), headers, ...(ip && { ip }) };
  return self.call(path, init as never);
}

/** Asks the token endpoint. */
export const token = (self: World, parameters: Parameters, options?: Parameters3) =>
  post(self, "/oauth/token", parameters, options);
type Parameters3 = globalThis.Parameters<typeof post>[3];

export const basic = (id: string, secret: string) => ({ authorization: `Basic ${btoa(`${id}:${secret}`)}` });

export const secretOf = ({ id, apiKey }: Registered) => ({ client_id: id, client_secret: apiKey });

/** A public key that an agent has registered, and what signs with it. */
export interface RegisteredKey {
  readonly keyId: string;
  readonly kid: string;
  readonly alg: string;
  readonly privateKey: CryptoKey;
}

export async function registerKey(
  self: World,
  { id, token: access }: Registered,
  alg = "ES256",
  more: object = {},
): Promise<RegisteredKey> {
  const { publicKey, privateKey } = await generateKeyPair(alg);
  const jwk = { ...(await exportJWK(publicKey)), alg };
  const { status, body } = await self.call(`/agents/${id}/keys`, {
    method: "POST",
    token: access,
    json: { jwk, ...more },
  });
  if (status !== 201) throw new Error(JSON.stringify(body));
  return { keyId: body.key.id, kid: body.details[body.key.id].kid, alg, privateKey };
}

/** A client assertion, good but for what a test changes. */
export function assertion(
  agentId: string,
  { kid, alg, privateKey }: Pick<RegisteredKey, "kid" | "alg" | "privateKey">,
  claims: Record<string, unknown> = {},
  header: Record<string, unknown> = {},
): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  const payload = {
    iss: agentId,
    sub: agentId,
    aud: ISSUER,
    iat: now,
    exp: now + 60,
    jti: crypto.randomUUID(),
    ...claims,
  };
  return new SignJWT(JSON.parse(JSON.stringify(payload)) as JWTPayload)
    .setProtectedHeader(JSON.parse(JSON.stringify({ alg, kid, ...header })) as { alg: string })
    .sign(privateKey);
}

export const asserted = (text: string) => ({ client_assertion_type: JWT_BEARER, client_assertion: text });
