import { AuthenticationError } from "./errors.ts";
import { createSigner, randomId, type PrivateJwk, type SigningKey } from "./jwt.ts";
import type { Token } from "./wire.ts";

/** The identity and the tokens of a client. Times are milliseconds of this machine's clock, never of another's. */
export interface Session {
  agentId?: string | undefined;
  apiKey?: string | undefined;
  /** Makes an assertion of the agent with its private key, which takes the place of the API key. */
  assert?: ((agentId: string) => Promise<string>) | undefined;
  accessToken?: string | undefined;
  refreshToken?: string | undefined;
  /** What the tokens of its sessions are limited to. */
  scope?: string | readonly string[] | undefined;
  /** How long its access tokens live, in seconds. */
  expiresIn?: number | undefined;
  /** When to renew the access token; undefined if its life is not known, and then the server's refusal decides. */
  renewAt?: number | undefined;
}

export type OnTokens = (token: Token) => void | Promise<void>;

/** Whether the client can prove who it is, with its API key or with its private key. */
export const hasCredentials = ({ agentId, apiKey, assert }: Session): boolean => Boolean(agentId && (apiKey || assert));

/**
 * The parameters by which a client proves itself at an OAuth endpoint (RFC 6749 §2.3.1, RFC 7523 §2.2). With a private key they are
 * good for one request: each assertion is accepted once.
 *
 * @throws {AuthenticationError} `missing_credentials`
 */
export async function clientParameters({ agentId, apiKey, assert }: Session): Promise<Record<string, string>> {
  if (agentId && apiKey) return { client_id: agentId, client_secret: apiKey.trim() };
  if (!agentId || !assert) {
    const message = "This call needs the client's agentId and apiKey, or agentId and privateKey.";
    throw new AuthenticationError({ status: 401, code: "missing_credentials", message });
  }
  return {
    client_id: agentId,
    client_assertion_type: "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    client_assertion: await assert(agentId),
  };
}

/**
 * How long an assertion is good, in seconds: half of the 300 that the server allows, so that the clock here may be as far behind as it
 * may be ahead. For the same reason it does not say when it was made.
 */
const ASSERTION_LIFE = 150;

/**
 * A maker of assertions (`private_key_jwt`, RFC 7523 §3) with a private key.
 *
 * @param audience the issuer.
 * @param keyId the `kid` of the key. That of a JWK by default; without one the server tries the agent's keys.
 * @throws {TypeError} as `createSigner` does.
 */
export function createAssert(key: SigningKey | PrivateJwk, audience: string, keyId?: string): Session["assert"] {
  const signer = createSigner(key);
  const kid = keyId ?? ("kty" in key ? key.kid : undefined);
  return (agentId) => {
    const exp = Math.floor(Date.now() / 1000) + ASSERTION_LIFE;
    const claims = { iss: agentId, sub: agentId, aud: audience, jti: randomId(), exp };
    return signer.sign({ typ: "JWT", kid }, claims);
  };
}
