import type { TokenScheme } from "../../policy/service-definition.ts";
import { toBase64 } from "../../crypto/base64.ts";
import { containsSecret, secretEncodings } from "../upstream/secret-leak.ts";
import { signAssertion } from "./private-key.ts";
import { readWithin } from "../../memory/read-within.ts";
import { isObject } from "../../validation/is-object.ts";

/*
 * `oauth4webapi` makes the same requests and is not used here: it refuses a response without `token_type` or with another type than
 * `application/json`, which some endpoints send, knows no JSON bodies, and the rest of this file (the second attempt, the time limit, the
 * instance's origin, GitHub's own request) would still be needed.
 */

/** Everything that a token depends on. Two plans that differ in any value, a secret included, have different tokens. */
export interface TokenPlan {
  readonly scheme: TokenScheme;
  /** The absolute URL of the token endpoint. */
  readonly tokenUrl: string;
  /** The origin of the service's base URL. */
  readonly origin: string;
  readonly clientId: string;
  /** The client's secret, or its private key as PKCS#8 in PEM. */
  readonly secret: string;
}

/** An access token as its endpoint issued it. */
export interface IssuedToken {
  readonly token: string;
  /** The only origin that it may be sent to: the instance that the token response names, or the base URL's origin. */
  readonly origin: string;
  /** Milliseconds; 0 if the response names a lifetime that cannot be used. */
  readonly lifetimeMs: number;
}

/** Why the token endpoint issued no usable token, for the operator. It contains no value of a secret. */
export interface TokenRequestFailure {
  readonly failed: string;
}

/** How long the endpoint may take for its whole response. */
const TOKEN_TIMEOUT_MS = 10_000;
/** A token response has a few kilobytes at most. In bytes. */
const MAX_RESPONSE_BYTES = 64 * 1024;
/**
 * The lifetime of a token whose response has no `expires_in`, such as Salesforce's. If the upstream revokes it earlier, it answers 401 and
 * the token is dropped.
 */
const DEFAULT_LIFETIME_SECONDS = 600;
/** No token is used for longer without asking again, whatever its response says. */
const MAX_LIFETIME_SECONDS = 86_400;
/** How much of an endpoint's error is logged, in characters. */
const MAX_ERROR_LENGTH = 300;

/** Requests an access token. Tries a second time if the endpoint fails: issuing a token changes nothing, so it may be repeated. */
export async function requestAccessToken(plan: TokenPlan): Promise<IssuedToken | TokenRequestFailure> {
  const first = await postTokenRequest(plan);
  const response = "failed" in first ? await postTokenRequest(plan) : first;
  return "failed" in response ? response : readTokenResponse(plan, response);
}

interface TokenResponse {
  readonly status: number;
  /** The members of the JSON object, or undefined if the body is something else. */
  readonly body: Readonly<Record<string, unknown>> | undefined;
  /** The time of the endpoint's own clock if it sent one (`Date`), or of this one. Milliseconds since the epoch. */
  readonly answeredAt: number;
  /** The texts of the request that its log must not show. */
  readonly secrets: readonly string[];
}

function readTokenResponse(
  plan: TokenPlan,
  { status, body, answeredAt, secrets }: TokenResponse,
): IssuedToken | TokenRequestFailure {
  if (status >= 300 && status < 400) {
    return {
      failed: `the token endpoint answered ${status}, a redirect, which is not followed because it would carry the secret to another URL. Set token_url to the URL that it leads to`,
    };
  }
  const reason = describeError(body, secrets);
  if (status !== 200 && status !== 201) return { failed: `the token endpoint answered ${status}${reason}` };
  if (!body) return { failed: `the token endpoint answered ${status} with something else than a JSON object` };

  const isGitHub = plan.scheme.scheme === "github_app";
  const token = isGitHub ? body.token : body.access_token;
  if (typeof token !== "string" || !/^[\x21-\x7e]+$/.test(token)) {
    return { failed: `the token endpoint sent no token${reason}` };
  }
  const type = body.token_type;
  if (!isGitHub && type !== undefined && type !== null && !/^bearer(?:[ _-]?token)?$/i.test(String(type))) {
    return { failed: "the token endpoint sent a token that is no Bearer" };
  }
  const origin = tokenOrigin(plan, body.instance_url);
  if (origin === undefined) return { failed: "the token endpoint named an instance outside its domain" };
  const seconds = isGitHub ? secondsUntil(body.expires_at, answeredAt) : lifetimeOf(body.expires_in);
  return { token, origin, lifetimeMs: Math.min(Math.max(seconds, 0), MAX_LIFETIME_SECONDS) * 1000 };
}

/** Returns the lifetime in seconds (RFC 6749 §5.1). Some endpoints write it as a text. 0 if it is neither. */
function lifetimeOf(lifetime: unknown): number {
  if (lifetime === undefined || lifetime === null) return DEFAULT_LIFETIME_SECONDS;
  return Number(typeof lifetime === "string" && lifetime.trim() === "" ? 0 : lifetime) || 0;
}

/** Returns the seconds until a time in ISO 8601, by the clock that wrote it. */
function secondsUntil(time: unknown, now: number): number {
  return (Date.parse(String(time)) - now) / 1000 || 0;
}

/**
 * Returns the endpoint's own reason (`error`, `error_description` of RFC 6749 §5.2, `message` of others), or nothing if there is none. It is
 * withheld if it contains a secret of the request, in any encoding.
 */
function describeError(body: TokenResponse["body"], secrets: readonly string[]): string {
  const parts = [body?.error, body?.error_description, body?.message].filter(
    (part): part is string => typeof part === "string" && part !== "",
  );
  if (parts.length === 0) return "";
  const whole = parts.join(": ");
  if (containsSecret(whole, secretEncodings(secrets))) return " (its reason contains a secret, and is withheld)";
  const printable = whole.replace(/[^\x20-\x7e\u00a1-\u1fff]+/g, " ");
  return `: ${printable.length > MAX_ERROR_LENGTH ? `${printable.slice(0, MAX_ERROR_LENGTH)}…` : printable}`;
}

/**
 * Sends one token request.
 *
 * @returns the response, or why the endpoint failed: a 5xx, no connection, or no response in time.
 */
async function postTokenRequest(plan: TokenPlan): Promise<TokenResponse | TokenRequestFailure> {
  const { headers, body, secrets } = await buildRequest(plan, Date.now());
  try {
    const response = await fetch(plan.tokenUrl, {
      method: "POST",
      headers: { accept: "application/json", "user-agent": "AgentAuth", ...headers },
      body,
      cache: "no-store",
      // A redirect would send the client's secret to another host.
      redirect: "manual",
      signal: AbortSignal.timeout(TOKEN_TIMEOUT_MS),
    });
    if (response.status >= 500) {
      await response.body?.cancel();
      return { failed: `the token endpoint answered ${response.status}` };
    }
    const answeredAt = Date.parse(response.headers.get("date") ?? "") || Date.now();
    const bytes = await readWithin(response.body, MAX_RESPONSE_BYTES);
    if (!bytes) return { failed: `the token endpoint answered more than ${MAX_RESPONSE_BYTES / 1024} KB` };
    return { status: response.status, body: parseObject(new TextDecoder().decode(bytes)), answeredAt, secrets };
  } catch (cause) {
    const isLate = cause instanceof Error && cause.name === "TimeoutError";
    return {
      failed: isLate
        ? `the token endpoint did not answer within ${TOKEN_TIMEOUT_MS / 1000} seconds`
        : "the token endpoint could not be reached",
    };
  }
}

interface BuiltRequest {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly secrets: readonly string[];
}

/** @throws {Error} if the private key cannot sign, which is checked before a plan is made. */
async function buildRequest({ scheme, tokenUrl, clientId, secret }: TokenPlan, now: number): Promise<BuiltRequest> {
  switch (scheme.scheme) {
    case "client_credentials": {
      const { authMethod, scope, audience, resource = [], parameters = {} } = scheme;
      const isBasic = authMethod === "client_secret_basic";
      const basic = toBase64(new TextEncoder().encode(`${formEncode(clientId)}:${formEncode(secret)}`));
      const request = formatBody(scheme.body ?? "form", [
        ["grant_type", "client_credentials"],
        ...(isBasic
          ? []
          : ([
              ["client_id", clientId],
              ["client_secret", secret],
            ] as const)),
        ...optional("scope", scope),
        ...optional("audience", audience),
        ...resource.map((uri) => ["resource", uri] as const),
        ...Object.entries(parameters),
      ]);
      const headers = isBasic ? { ...request.headers, authorization: `Basic ${basic}` } : request.headers;
      return { ...request, headers, secrets: [secret, formEncode(secret), basic] };
    }
    case "jwt_bearer": {
      const { audience = tokenUrl, claims, keyId, algorithm = "RS256", scope, parameters = {} } = scheme;
      const assertion = await signAssertion({ pem: secret, algorithm, keyId, issuer: clientId, audience, claims, now });
      const request = formatBody("form", [
        ["grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"],
        ["assertion", assertion],
        ...optional("scope", scope),
        ...Object.entries(parameters),
      ]);
      return { ...request, secrets: assertionSecrets(secret, assertion) };
    }
    case "github_app": {
      const { repositories, permissions } = scheme;
      const assertion = await signAssertion({ pem: secret, algorithm: "RS256", issuer: clientId, now });
      return {
        headers: {
          accept: "application/vnd.github+json",
          authorization: `Bearer ${assertion}`,
          "content-type": "application/json",
          "x-github-api-version": "2022-11-28",
        },
        body: JSON.stringify({ repositories, permissions }),
        secrets: assertionSecrets(secret, assertion),
      };
    }
  }
}

/** The assertion, its signature alone, and the private key without its frame. */
const assertionSecrets = (pem: string, assertion: string): string[] => [
  assertion,
  assertion.slice(assertion.lastIndexOf(".") + 1),
  pem.replace(/-----[^-]*-----|\s/g, ""),
];

type Parameters = ReadonlyArray<readonly [name: string, value: string]>;

const optional = (name: string, value: string | undefined): Parameters => (value === undefined ? [] : [[name, value]]);

function formatBody(kind: "form" | "json", parameters: Parameters): Pick<BuiltRequest, "headers" | "body"> {
  if (kind === "form") {
    const form = new URLSearchParams(parameters.map(([name, value]) => [name, value]));
    return { headers: { "content-type": "application/x-www-form-urlencoded" }, body: form.toString() };
  }
  const json: Record<string, string | string[]> = Object.create(null);
  for (const [name, value] of parameters) {
    const before = json[name];
    json[name] = before === undefined ? value : [before, value].flat();
  }
  return { headers: { "content-type": "application/json" }, body: JSON.stringify(json) };
}

/** Encodes a client's id or secret for `client_secret_basic` as a form does (RFC 6749 §2.3.1). */
const formEncode = (text: string): string => new URLSearchParams([["", text]]).toString().slice(1);

function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Returns the origin that a token may be sent to: the base URL's, or an `https` host below the declared domain if the token response
 * names one (`instance_url` of Salesforce). Undefined if it names any other host.
 */
function tokenOrigin({ origin, scheme }: TokenPlan, instance: unknown): string | undefined {
  const domain = "instanceDomain" in scheme ? scheme.instanceDomain : undefined;
  if (domain === undefined || instance === undefined || instance === null) return origin;
  const url = typeof instance === "string" ? URL.parse(instance) : null;
  if (!url) return undefined;
  if (url.origin === origin) return origin;
  const isBelowDomain = url.hostname.endsWith(`.${domain}`) && /^[a-z0-9.-]+$/.test(url.hostname);
  return url.protocol === "https:" && url.port === "" && isBelowDomain ? url.origin : undefined;
}
