import type { CredentialScheme } from "../../policy/service-definition.ts";
import type { Service } from "../../policy/services.ts";

/*
 * `oauth4webapi` makes the same request and is not used here: it refuses a response without `token_type` or with another type than
 * `application/json`, which some endpoints send, and the rest of this file (one request at a time, the second attempt, the time limit,
 * the instance's origin) would still be needed.
 */

/** What a token request needs (RFC 6749 §4.4.2). */
interface TokenRequest {
  /** The origin of the service's base URL. */
  readonly origin: string;
  readonly scheme: Extract<CredentialScheme, { scheme: "client_credentials" }>;
  readonly clientId: string;
  readonly clientSecret: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly waitUntil: (work: Promise<unknown>) => void;
}

/** An access token for an upstream. */
export interface UpstreamToken {
  readonly token: string;
  /** The only origin that it may be sent to: the instance that the token response names, or the base URL's origin. */
  readonly origin: string;
  /** Drops the token from the cache, after the upstream has refused it. The next call requests a new one. */
  readonly invalidate: () => void;
}

/** Why the token endpoint issued no usable token, without any value of the request or the response. */
export interface TokenRequestFailure {
  readonly failed: string;
}

type CachedToken = UpstreamToken & { readonly expiresAt: number };

const tokenCache = new WeakMap<Service, CachedToken>();
const inFlight = new WeakMap<Service, Promise<CachedToken | TokenRequestFailure>>();

const TOKEN_TIMEOUT_MS = 10_000;
/**
 * The lifetime of a token whose response has no `expires_in`, such as Salesforce's. If the upstream revokes it earlier, it answers 401 and
 * the token is dropped from the cache.
 */
const DEFAULT_LIFETIME_SECONDS = 600;
/** A token is not used in the last seconds of its lifetime, because the request still has to arrive. */
const EXPIRY_MARGIN_SECONDS = 30;

/**
 * Returns an access token by the client credentials grant (RFC 6749 §4.4). An isolate caches it until it expires, and sends one token
 * request at a time for each service.
 */
export async function getUpstreamToken(
  service: Service,
  request: TokenRequest,
): Promise<UpstreamToken | TokenRequestFailure> {
  const cached = tokenCache.get(service);
  if (cached && request.now < cached.expiresAt) return cached;
  let pending = inFlight.get(service);
  if (!pending) {
    pending = requestAccessToken(service, request).finally(() => inFlight.delete(service));
    inFlight.set(service, pending);
    // Other requests wait for the same token, so it is fetched to the end even if the request that began it is canceled.
    request.waitUntil(pending);
  }
  return pending;
}

/** Tries a second time if the endpoint fails: issuing a token changes nothing, so the request may be repeated. */
async function requestAccessToken(service: Service, request: TokenRequest): Promise<CachedToken | TokenRequestFailure> {
  const first = await postTokenRequest(request);
  const response = typeof first === "string" ? await postTokenRequest(request) : first;
  if (typeof response === "string") return { failed: response };
  if (response.status !== 200) return { failed: `the token endpoint answered ${response.status}` };

  const { access_token: token, token_type: type, expires_in: lifetime, instance_url: instance } = response.body;
  if (typeof token !== "string" || !/^[\x21-\x7e]+$/.test(token)) return { failed: "the token endpoint sent no token" };
  if (type !== undefined && !/^bearer$/i.test(String(type))) {
    return { failed: "the token endpoint sent a token that is no Bearer" };
  }
  const origin = tokenOrigin(instance, request);
  if (origin === undefined) return { failed: "the token endpoint named an instance outside its domain" };
  const seconds = Number(lifetime ?? DEFAULT_LIFETIME_SECONDS);
  // With a lifetime that is not a number, the token is used for this request only.
  const usable = Math.max(0, seconds - EXPIRY_MARGIN_SECONDS) || 0;
  const issued: CachedToken = {
    token,
    origin,
    expiresAt: request.now + usable * 1000,
    invalidate() {
      // Does not remove a newer token that has replaced this one.
      if (tokenCache.get(service) === issued) tokenCache.delete(service);
    },
  };
  tokenCache.set(service, issued);
  return issued;
}

/**
 * Sends one token request, with the client's id and secret in the form (RFC 6749 §2.3.1).
 *
 * @returns the response's status and JSON, or, as a text, why the endpoint failed: a 5xx, no connection, or no response in time.
 */
async function postTokenRequest(
  request: TokenRequest,
): Promise<{ status: number; body: Record<string, unknown> } | string> {
  const { origin, scheme, clientId, clientSecret } = request;
  const form = new URLSearchParams({
    grant_type: "client_credentials",
    client_id: clientId,
    client_secret: clientSecret,
    ...(scheme.scope !== undefined && { scope: scheme.scope }),
  });
  try {
    const response = await fetch(scheme.tokenUrl.startsWith("/") ? origin + scheme.tokenUrl : scheme.tokenUrl, {
      method: "POST",
      headers: { accept: "application/json", "content-type": "application/x-www-form-urlencoded" },
      body: form.toString(),
      // A redirect would send the client's secret to another host.
      redirect: "manual",
      signal: AbortSignal.timeout(TOKEN_TIMEOUT_MS),
    });
    if (response.status >= 500) {
      await response.body?.cancel();
      return `the token endpoint answered ${response.status}`;
    }
    const body: unknown = await response.json().catch(() => null);
    return { status: response.status, body: typeof body === "object" && body ? { ...body } : {} };
  } catch {
    return "the token endpoint could not be reached";
  }
}

/**
 * Returns the origin that a token may be sent to: the base URL's, or an `https` host below the declared domain if the token response
 * names one (`instance_url` of Salesforce). Undefined if it names any other host.
 */
function tokenOrigin(instance: unknown, { origin, scheme }: TokenRequest): string | undefined {
  if (!scheme.instanceDomain || instance === undefined || instance === null) return origin;
  const url = typeof instance === "string" ? URL.parse(instance) : null;
  if (!url) return undefined;
  if (url.origin === origin) return origin;
  const isBelowDomain = url.hostname.endsWith(`.${scheme.instanceDomain}`) && /^[a-z0-9.-]+$/.test(url.hostname);
  return url.protocol === "https:" && url.port === "" && isBelowDomain ? url.origin : undefined;
}
