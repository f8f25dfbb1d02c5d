import type { Config } from "../config/config.ts";
import { ApiError, forbidden } from "../http/errors.ts";
import { isLoopbackHost } from "../validation/loopback.ts";

/**
 * The public origin of this deployment, which its pages are on. In local development it is localhost, at the port of the issuer or else of
 * the request, also for 127.0.0.1 and [::1]: an address cannot have passkeys
 * (https://www.w3.org/TR/webauthn-3/#relying-party-identifier).
 */
export function publicOrigin({ issuer }: Pick<Config, "issuer">, { url }: Pick<Request, "url">): string {
  const origin = new URL(issuer ?? url);
  if (isLoopbackHost(origin.hostname)) origin.hostname = "localhost";
  return origin.origin;
}

/**
 * The name of the cookie of a person's session. Over https it is `__Host-agentauth`, which a browser takes from this very host only
 * (https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis#name-the-__host-prefix). Cookies ignore the port, so on http,
 * which is local development, the port is part of the name: another server of this machine has another cookie.
 */
function cookieName(origin: string, suffix = ""): string {
  const { protocol, port } = new URL(origin);
  return protocol === "https:" ? `__Host-agentauth${suffix}` : `agentauth${suffix}-${port || "80"}`;
}

/**
 * Returns the values of a cookie in a request (RFC 6265 §5.4).
 *
 * @returns more than one if a cookie of a longer path, or of a parent domain, has the same name.
 */
function cookieValues(headers: Headers, name: string): string[] {
  const pairs = (headers.get("cookie") ?? "").split(";").map((pair) => pair.trim());
  return pairs.filter((pair) => pair.startsWith(`${name}=`)).map((pair) => pair.slice(name.length + 1));
}

/**
 * Returns the token of a person's session, or undefined if the request has none.
 *
 * @throws {ApiError} 400 `several_credentials` for two sessions, or for a session and an `Authorization` header.
 */
export function readSessionCookie(request: Request, config: Pick<Config, "issuer">): string | undefined {
  const values = cookieValues(request.headers, cookieName(publicOrigin(config, request)));
  if (values.length === 0) return undefined;
  if (values.length > 1 || request.headers.has("authorization")) {
    throw new ApiError(
      "several_credentials",
      "The request has a person's session and another credential. Send the session's cookie, or an Authorization header, not both.",
    );
  }
  return values[0];
}

/** @param maxAge seconds; 0 deletes the cookie. */
function setCookie(origin: string, name: string, value: string, sameSite: "Strict" | "Lax", maxAge: number): string {
  const secure = origin.startsWith("https:") ? "; Secure" : "";
  return `${name}=${value}; Path=/; HttpOnly; SameSite=${sameSite}; Max-Age=${maxAge}${secure}`;
}

/** The `Set-Cookie` of a new session. @param lifeMs milliseconds. */
export const sessionCookie = (origin: string, token: string, lifeMs: number): string =>
  setCookie(origin, cookieName(origin), token, "Strict", Math.floor(lifeMs / 1000));

/** The `Set-Cookie` that ends a session in the browser. */
export const endedCookie = (origin: string): string => setCookie(origin, cookieName(origin), "", "Strict", 0);

const LOGIN = "-login";

/**
 * The `Set-Cookie` of a login at the provider. It is Lax, because the browser comes back from another site, which is sent no cookie that is
 * Strict.
 *
 * @param lifeMs milliseconds; 0 deletes the cookie.
 */
export const loginCookie = (origin: string, value: string, lifeMs: number): string =>
  setCookie(origin, cookieName(origin, LOGIN), value, "Lax", Math.floor(lifeMs / 1000));

/** The value of the cookie of a login at the provider. Undefined if there is none, or more than one. */
export function readLoginCookie(request: Request, config: Pick<Config, "issuer">): string | undefined {
  const values = cookieValues(request.headers, cookieName(publicOrigin(config, request), LOGIN));
  return values.length === 1 ? values[0] : undefined;
}

/** The header that no page of another origin can send without this deployment's consent. */
const CONSOLE_HEADER = "x-agentauth-console";

/**
 * Requires that a request comes from a page of this deployment: a browser adds the session's cookie by itself, whoever has made it send
 * the request.
 *
 * @throws {ApiError} 403 `cross_origin`.
 */
export function requireOwnPage(request: Request, config: Pick<Config, "issuer">): void {
  const { headers } = request;
  if (headers.get("origin") === publicOrigin(config, request) && headers.get(CONSOLE_HEADER) === "1") return;
  throw forbidden(
    "cross_origin",
    "A person's requests that change something come from a page of this deployment: they have its Origin, and X-AgentAuth-Console: 1.",
  );
}
