import type { CredentialScheme } from "../../policy/service-definition.ts";
import type { Service } from "../../policy/services.ts";

interface TokenRequest {
  readonly origin: string;
  readonly scheme: Extract<CredentialScheme, { scheme: "client_credentials" }>;
  readonly clientId: string;
  readonly clientSecret: string;
  readonly now: number;
  readonly waitUntil: (work: Promise<unknown>) => void;
}

interface UpstreamToken {
  readonly token: string;
  /** Where it is good: the instance that the token's answer names, or the base URL's origin. */
  readonly origin: string;
  readonly invalidate: () => void;
}

/** Why no token could be had. */
export interface TokenRequestFailure {
  readonly failed: string;
}

type CachedToken = UpstreamToken & { readonly expiresAt: number };

const tokenCache = new WeakMap<Service, CachedToken>();
const inFlight = new WeakMap<Service, Promise<CachedToken | TokenRequestFailure>>();

const TOKEN_TIMEOUT_MS = 10_000;
/** Where the answer tells no life, as Salesforce's does. An upstream that ends it sooner answers 401, and it is forgotten. */
const DEFAULT_LIFETIME_SECONDS = 600;
/** A token is not used in the last seconds of its life: the request must still arrive. */
const EXPIRY_MARGIN_SECONDS = 30;

/** An access token of the client credentials grant (RFC 6749 §4.4), kept by the isolate until it expires, bought once at a time. */
export async function getUpstreamToken(
  service: Service,
  purchase: TokenRequest,
): Promise<UpstreamToken | TokenRequestFailure> {
  const known = tokenCache.get(service);
  if (known && purchase.now < known.expiresAt) return known;
  let flight = inFlight.get(service);
  if (!flight) {
    flight = requestAccessToken(service, purchase).finally(() => inFlight.delete(service));
    inFlight.set(service, flight);
    // Others wait for it too: it goes on when the request that began it is given up.
    purchase.waitUntil(flight);
  }
  return flight;
}

/** Tries twice where the endpoint failed: asking for a token changes nothing. */
async function requestAccessToken(
  service: Service,
  purchase: TokenRequest,
): Promise<CachedToken | TokenRequestFailure> {
  const first = await postTokenRequest(purchase);
  const answer = typeof first === "string" ? await postTokenRequest(purchase) : first;
  if (typeof answer === "string") return { failed: answer };
  if (answer.status !== 200) return { failed: `the token endpoint answered ${answer.status}` };

  const { access_token: token, token_type: type, expires_in: life, instance_url: instance } = answer.body;
  if (typeof token !== "string" || !/^[\x21-\x7e]+$/.test(token)) return { failed: "the token endpoint sent no token" };
  if (type !== undefined && !/^bearer$/i.test(String(type))) {
    return { failed: "the token endpoint sent a token that is no Bearer" };
  }
  const origin = instanceOrigin(instance, purchase);
  if (origin === undefined) return { failed: "the token endpoint named an instance outside its domain" };
  const seconds = Number(life ?? DEFAULT_LIFETIME_SECONDS);
  const expiresAt = purchase.now + (Math.max(0, seconds - EXPIRY_MARGIN_SECONDS) || 0) * 1000;
  const bought: CachedToken = {
    token,
    origin,
    expiresAt,
    invalidate: () => void (tokenCache.get(service) === bought && tokenCache.delete(service)),
  };
  tokenCache.set(service, bought);
  return bought;
}

/** What the endpoint answered, or why that cannot be known. */
async function postTokenRequest(
  purchase: TokenRequest,
): Promise<{ status: number; body: Record<string, unknown> } | string> {
  const { origin, scheme, clientId, clientSecret } = purchase;
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

/** The token goes only to the host that it was bought at, or, over TLS, to one below the declared domain. */
function instanceOrigin(instance: unknown, { origin, scheme }: TokenRequest): string | undefined {
  if (!scheme.instanceDomain || instance === undefined || instance === null) return origin;
  const url = typeof instance === "string" ? URL.parse(instance) : null;
  if (!url) return undefined;
  if (url.origin === origin) return origin;
  const below = url.hostname.endsWith(`.${scheme.instanceDomain}`) && /^[a-z0-9.-]+$/.test(url.hostname);
  return url.protocol === "https:" && url.port === "" && below ? url.origin : undefined;
}
