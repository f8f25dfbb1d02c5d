import type { DpopOptions } from "./dpop.ts";
import type { OnTokens } from "./identity.ts";
import type { PrivateJwk, SigningKey } from "./jwt.ts";
import type { Permission } from "./permissions.ts";
import type { Fetch, Retry } from "./transport.ts";

export interface ClientOptions {
  /** The address of the deployment, for example `https://agentauth.example.com`. */
  baseUrl?: string | undefined;
  /** `baseUrl` as the published SDK spells it. */
  baseURL?: string | undefined;
  /** With `apiKey` or `privateKey`: the client proves itself on its first call and keeps its tokens valid. */
  agentId?: string | undefined;
  /** White space around it is ignored. */
  apiKey?: string | undefined;
  /**
   * The private key of a public key that the agent has registered (`addAgentPublicKey`), instead of an API key: a key of WebCrypto, or a
   * JWK. Then there is no secret that the server knows too. It signs with ES256, EdDSA, RS256 or PS256.
   */
  privateKey?: SigningKey | PrivateJwk | undefined;
  /** The `kid` of `privateKey`, if it is not in the JWK. Without one the server tries the agent's keys. */
  keyId?: string | undefined;
  /** The deployment's `ISSUER`, which assertions of `privateKey` are for. The default is `baseUrl`. */
  issuer?: string | undefined;
  /**
   * Binds the client's tokens to a key (DPoP, RFC 9449), so that nobody else can use them: true for a new one, which nobody can read out.
   * An `accessToken` and a `refreshToken` have to be bound to `keyPair` already.
   */
  dpop?: boolean | DpopOptions | undefined;
  /** Limits the tokens that the client gets with its key to these permissions of the agent. By default they have all. */
  scope?: readonly Permission[] | undefined;
  /** How many seconds those access tokens live, if not as long as the deployment says. Not with `privateKey`. */
  expiresIn?: number | undefined;
  accessToken?: string | undefined;
  refreshToken?: string | undefined;
  /** How often a failed call is repeated at most. The default is 3. */
  maxRetries?: number | undefined;
  /**
   * The longest wait before a retry, in milliseconds. If `Retry-After` asks for more, the call throws instead, and
   * `retryAfter` of the error says how many seconds to wait. The default is 30,000.
   */
  maxRetryDelay?: number | undefined;
  /**
   * Called before each wait for a retry, for example to log it. If it throws, the call throws the same.
   *
   * @example onRetry: ({ path, attempt, delay, error }) => console.warn(`${path}: ${error.code}, retry ${attempt} in ${delay} ms`)
   */
  onRetry?: ((retry: Retry) => void) | undefined;
  /** The time limit of one attempt, in milliseconds. The default is 10,000. */
  timeout?: number | undefined;
  /** The `fetch` to use instead of the platform's. */
  fetch?: Fetch | undefined;
  /**
   * Called with every new pair of tokens, to store it for the next start. The call that needed the tokens waits for it and
   * throws what it throws; the client has the tokens all the same. With `privateKey` there are no pairs, and nothing to store.
   */
  onTokens?: OnTokens | undefined;
}

export interface CallOptions {
  /** Ends the call when it is aborted; the call then throws the signal's reason. */
  signal?: AbortSignal | undefined;
}

/**
 * The base URL in normal form: without credentials, query, fragment and trailing slashes.
 *
 * @throws {TypeError} It is not an http(s) URL.
 */
export function normaliseBaseUrl(text = ""): string {
  if (!URL.canParse(text) || !/^\s*https?:/i.test(text)) {
    // The message does not quote what was given, which may be a key in the wrong place.
    throw new TypeError("baseUrl must be a URL such as https://agentauth.example.com.");
  }
  const { origin, pathname } = new URL(text);
  return (origin + pathname).replace(/\/+$/, "");
}
