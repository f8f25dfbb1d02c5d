import { createSigner, hashOf, randomId, type SigningKey } from "./jwt.ts";
import { canRepeat } from "./redirect.ts";
import type { Fetch } from "./transport.ts";

/** The keys that a client binds its tokens to. */
export interface DpopOptions {
  /** ES256, EdDSA, RS256 or PS256. The private key need not be extractable, and should not be. */
  readonly keyPair: { readonly privateKey: SigningKey; readonly publicKey: SigningKey };
}

/** Where a request without a token is one for a token. */
const TOKEN_ENDPOINT = /\/(?:oauth\/token|agents\/(?:verify|refresh))$/;

/**
 * A `fetch` that proves with each request that the client has a key (DPoP, RFC 9449): in requests for tokens, which are then bound to the
 * key, and beside each token, which it sends in the DPoP scheme. If the server asks for a nonce, the request is sent once more.
 *
 * @param options true for a new ES256 key, which nobody can read out.
 * @throws {TypeError} The keys are none of the four algorithms.
 */
export function withDpop(fetch: Fetch, options: true | DpopOptions): Fetch {
  const keyPair = options === true ? undefined : options.keyPair;
  if (keyPair) {
    createSigner(keyPair.privateKey);
    if (!keyPair.publicKey.extractable) throw new TypeError("The public key of dpop.keyPair cannot be read out.");
  }
  let preparing: ReturnType<typeof prepare> | undefined;
  let nonce: string | undefined;

  return async (url, init) => {
    const headers = new Headers(init?.headers);
    const [, token] = /^Bearer (.*)/.exec(headers.get("authorization") ?? "") ?? [];
    const { origin, pathname } = new URL(url);
    if (!token && !TOKEN_ENDPOINT.test(pathname)) return fetch(url, init);

    preparing ??= prepare(keyPair);
    const { signer, jwk } = await preparing;
    // Fetch writes some methods in capitals.
    const { method: htm } = new Request(url, { method: init?.method ?? "GET" });
    if (token) headers.set("authorization", `DPoP ${token}`);
    const attempt = async (): Promise<Response> => {
      const iat = Math.floor(Date.now() / 1000);
      const ath = token && (await hashOf(token));
      const claims = { jti: randomId(), htm, htu: origin + pathname, iat, ath, nonce };
      headers.set("dpop", await signer.sign({ typ: "dpop+jwt", jwk }, claims));
      return fetch(url, { ...init, headers });
    };

    const sentNonce = nonce;
    const response = await attempt();
    const given = response.headers.get("dpop-nonce");
    // What stands in the answer of a service behind the gateway is no nonce of AgentAuth's.
    if (!given || given === sentNonce || response.headers.has("x-agentauth-upstream")) return response;
    nonce = given;
    if (response.ok || !canRepeat(init?.body)) return response;
    await response.body?.cancel();
    return attempt();
  };
}

async function prepare(given: DpopOptions["keyPair"] | undefined) {
  const { privateKey, publicKey } = given ?? (await generateKeyPair());
  const { kty, crv, x, y, n, e } = (await crypto.subtle.exportKey("jwk", publicKey)) as JsonWebKey;
  return { signer: createSigner(privateKey), jwk: { kty, crv, x, y, n, e } };
}

const generateKeyPair = () =>
  crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, false, ["sign", "verify"]) as Promise<
    DpopOptions["keyPair"]
  >;
