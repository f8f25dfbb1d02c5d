import * as oauth from "oauth4webapi";
import { readWithin } from "../memory/read-within.ts";
import { ROLES, type Role } from "./person.ts";
import type { LoginFlow } from "./login-flow.ts";

/** The company's OpenID provider, as it is configured. */
export interface Provider {
  /** Compared as a whole text with what the provider says of itself. */
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** The claim of the ID token that has a person's role. Null: roles are given by invitation. */
  readonly roleClaim: string | null;
}

/** Who has signed in at the provider. */
export interface ProviderLogin {
  readonly issuer: string;
  /** `sub`: with the issuer it is a login, whatever else the ID token says. */
  readonly subject: string;
  /** What the provider calls the person, to be shown. */
  readonly label: string | null;
  /** The role of the claim: null if it has none, undefined if roles are not given by a claim. */
  readonly role: Role | null | undefined;
  /** When the person proved who they are, in milliseconds. Null: the provider does not say. */
  readonly authTime: number | null;
}

/**
 * Why a login at the provider has failed.
 *
 * - `cancelled`: the provider says that the person, or itself, did not want it.
 * - `refused`: an answer that is not to this login, or that proves nothing.
 * - `unavailable`: the provider does not answer, or not as it should.
 */
export interface LoginFailure {
  readonly failed: "cancelled" | "refused" | "unavailable";
  /** For the operator. No value that the provider has sent is in it. */
  readonly reason: string;
}

/** How old the proof may be after which a passkey is enrolled, in seconds. */
export const MAX_FRESH_AGE_SECONDS = 300;

/** How long the provider may take for everything that one request needs of it, in milliseconds. */
const TIMEOUT_MS = 10_000;
/** Its documents and keys have some kilobytes. In bytes. */
const MAX_RESPONSE_BYTES = 256 * 1024;
/** How long its metadata are cached, in milliseconds. Keys are cached by the library, for five minutes. */
const METADATA_LIFE_MS = 3_600_000;
/** A subject has at most this many characters (OpenID Connect Core §2). */
const MAX_SUBJECT_LENGTH = 255;
const MAX_LABEL_LENGTH = 100;

/** The metadata of the one provider that a deployment has. */
let cached: { readonly server: oauth.AuthorizationServer; readonly until: number } | undefined;

/** How requests to the provider are made: within one time limit, and read up to a size. */
function requestOptions({ issuer }: Provider) {
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  return {
    // Only an issuer on this machine, in local development, may be without TLS.
    [oauth.allowInsecureRequests]: issuer.startsWith("http:"),
    [oauth.customFetch]: async (
      url: string,
      { body, ...init }: oauth.CustomFetchOptions<string, BodyInit | undefined>,
    ) => {
      const sent = body === undefined ? init : { ...init, body };
      const response = await fetch(url, { ...sent, cache: "no-store", redirect: "manual", signal });
      const bytes = await readWithin(response.body, MAX_RESPONSE_BYTES);
      if (!bytes) throw new Error(`a response has more than ${MAX_RESPONSE_BYTES} bytes`);
      return new Response(bytes, { status: response.status, headers: response.headers });
    },
  };
}

type Options = ReturnType<typeof requestOptions>;

/** The provider's metadata (OpenID Connect Discovery §4). Those of an issuer that is not exactly the configured one are none. */
async function discover(provider: Provider, options: Options, now: number): Promise<oauth.AuthorizationServer> {
  const { issuer } = provider;
  if (cached?.server.issuer === issuer && cached.until > now) return cached.server;
  const response = await oauth.discoveryRequest(new URL(issuer), { ...options, algorithm: "oidc" });
  const server = await oauth.processDiscoveryResponse(new URL(issuer), response);
  if (server.issuer !== issuer) throw new Error("its metadata name another issuer");
  if (!server.authorization_endpoint || !server.token_endpoint || !server.jwks_uri) {
    throw new Error("its metadata lack an endpoint");
  }
  oauth.checkProtocol(new URL(server.authorization_endpoint), !options[oauth.allowInsecureRequests]);
  cached = { server, until: now + METADATA_LIFE_MS };
  return server;
}

/** A new flow for one browser. */
export const newFlow = (
  { issuer }: Provider,
  purpose: LoginFlow["purpose"],
  formerSession: string | null,
): LoginFlow => ({
  issuer,
  state: oauth.generateRandomState(),
  nonce: oauth.generateRandomNonce(),
  verifier: oauth.generateRandomCodeVerifier(),
  purpose,
  formerSession,
});

/**
 * Returns the URL at the provider where a login goes on (OpenID Connect Core §3.1.2.1, PKCE with S256). Who binds a login, or wants to
 * enrol a passkey, has to prove anew who they are: a session that somebody has at the provider is not enough.
 *
 * @param now milliseconds.
 */
export async function authorizationUrl(
  provider: Provider,
  flow: LoginFlow,
  redirectUri: string,
  now: number,
): Promise<{ url: string } | LoginFailure> {
  let server: oauth.AuthorizationServer;
  try {
    server = await discover(provider, requestOptions(provider), now);
  } catch (cause) {
    return unavailable(cause);
  }
  const url = new URL(server.authorization_endpoint!);
  const { roleClaim } = provider;
  const roleScope = roleClaim !== null && server.scopes_supported?.includes(roleClaim) ? [roleClaim] : [];
  const parameters = {
    client_id: provider.clientId,
    response_type: "code",
    redirect_uri: redirectUri,
    scope: ["openid", "email", "profile", ...roleScope].join(" "),
    state: flow.state,
    nonce: flow.nonce,
    code_challenge: await oauth.calculatePKCECodeChallenge(flow.verifier),
    code_challenge_method: "S256",
    ...(flow.purpose.kind !== "sign-in" && { prompt: "login", max_age: String(MAX_FRESH_AGE_SECONDS) }),
  };
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  return { url: url.href };
}

/**
 * Reads the provider's answer to a flow: checks `state` and `iss` (RFC 9207), exchanges the code, and checks the ID token with its
 * signature, nonce, audience and times (OpenID Connect Core §3.1.3.7).
 *
 * @param parameters those of the callback's query.
 * @param now milliseconds.
 */
export async function completeLogin(
  provider: Provider,
  flow: LoginFlow,
  parameters: URLSearchParams,
  { redirectUri, now }: { redirectUri: string; now: number },
): Promise<ProviderLogin | LoginFailure> {
  if (flow.issuer !== provider.issuer) return { failed: "refused", reason: "it was begun at another provider" };
  const options = requestOptions(provider);
  let server: oauth.AuthorizationServer;
  try {
    server = await discover(provider, options, now);
  } catch (cause) {
    return unavailable(cause);
  }
  const client: oauth.Client = { client_id: provider.clientId };
  try {
    const callback = oauth.validateAuthResponse(server, client, parameters, flow.state);
    const response = await oauth.authorizationCodeGrantRequest(
      server,
      client,
      clientAuthentication(provider, server),
      callback,
      redirectUri,
      flow.verifier,
      options,
    );
    const isFresh = flow.purpose.kind !== "sign-in";
    const tokens = await oauth.processAuthorizationCodeResponse(server, client, response, {
      expectedNonce: flow.nonce,
      requireIdToken: true,
      ...(isFresh && { maxAge: MAX_FRESH_AGE_SECONDS }),
    });
    await oauth.validateApplicationLevelSignature(server, response, options);
    return readLogin(provider, oauth.getValidatedIdTokenClaims(tokens)!, now);
  } catch (cause) {
    return failureOf(cause);
  }
}

/** The client's secret in the way that the provider takes; as the standard says, Basic if it does not say (OpenID Connect Discovery §3). */
function clientAuthentication({ clientSecret }: Provider, server: oauth.AuthorizationServer): oauth.ClientAuth {
  const methods = server.token_endpoint_auth_methods_supported;
  const takesPostOnly = methods?.includes("client_secret_post") && !methods.includes("client_secret_basic");
  return takesPostOnly ? oauth.ClientSecretPost(clientSecret) : oauth.ClientSecretBasic(clientSecret);
}

function readLogin({ issuer, roleClaim }: Provider, claims: oauth.IDToken, now: number): ProviderLogin | LoginFailure {
  const { sub: subject, auth_time: authTime } = claims;
  if (subject.length > MAX_SUBJECT_LENGTH || !/^[\x21-\x7e]+$/.test(subject)) {
    return { failed: "refused", reason: "the ID token has no `sub` as OpenID Connect describes it" };
  }
  const named = [claims.email, claims.preferred_username, claims.name].find((one) => typeof one === "string");
  return {
    issuer,
    subject,
    label: named === undefined ? null : (named as string).slice(0, MAX_LABEL_LENGTH),
    role: roleClaim === null ? undefined : readRole(claims, roleClaim),
    authTime: authTime === undefined ? null : Math.min(authTime * 1000, now),
  };
}

/** The role in a claim, which is one text or a list. Of several it is the first of {@link ROLES}. */
function readRole(claims: oauth.IDToken, name: string): Role | null {
  const value: unknown = Object.hasOwn(claims, name) ? claims[name] : undefined;
  const values: readonly unknown[] = Array.isArray(value) ? value : [value];
  return ROLES.find((role) => values.includes(role)) ?? null;
}

const unavailable = (cause: unknown): LoginFailure => ({ failed: "unavailable", reason: reasonOf(cause) });

/** Codes of the library for a provider that does not answer as it should, and not for an answer that proves nothing. */
const UNAVAILABLE: ReadonlySet<unknown> = new Set([
  oauth.RESPONSE_IS_NOT_JSON,
  oauth.RESPONSE_IS_NOT_CONFORM,
  oauth.PARSE_ERROR,
  oauth.HTTP_REQUEST_FORBIDDEN,
  oauth.MISSING_SERVER_METADATA,
  oauth.INVALID_SERVER_METADATA,
]);

function failureOf(cause: unknown): LoginFailure {
  const reason = reasonOf(cause);
  if (cause instanceof oauth.AuthorizationResponseError) return { failed: "cancelled", reason };
  if (cause instanceof oauth.ResponseBodyError) {
    // `invalid_grant` is about this code; what else the endpoint refuses is about this client, or about the provider.
    const error = /^[a-z_]{1,40}$/.exec(cause.error)?.[0] ?? "an unknown error";
    return {
      failed: error === "invalid_grant" ? "refused" : "unavailable",
      reason: `the token endpoint says ${error}`,
    };
  }
  const { code } = cause as { code?: unknown };
  // What the library has not recognised is a connection that failed, or the time limit.
  return { failed: code === undefined || UNAVAILABLE.has(code) ? "unavailable" : "refused", reason };
}

/** The name and the message of an error. Its `cause` may have tokens, and is left out. */
function reasonOf(cause: unknown): string {
  if (!(cause instanceof Error)) return "unknown";
  const { code } = cause as { code?: unknown };
  return typeof code === "string" ? `${cause.message} (${code})` : `${cause.name}: ${cause.message}`;
}
