import type { Handler } from "hono";
import { publicOrigin } from "../access/session-cookie.ts";
import { notFound } from "../http/errors.ts";
import type { AppEnv } from "../http/request-context.ts";

/** The API reference and the OpenAPI document. */
export const DOCUMENTS = ["/openapi.json", "/docs", "/docs/:file"];

/** The pages of people, which may use their sessions. */
export const PAGES = ["/sign-in", "/account"];

/** The scripts and styles of those pages. */
export const PAGE_FILES = ["/console/:file"];

/**
 * Serves a static asset.
 *
 * @throws {ApiError} 404 if there is none, or the Worker runs without assets.
 */
export const serveAsset: Handler<AppEnv> = async ({ env, req }) => {
  const asset = await (env.ASSETS as Fetcher | undefined)?.fetch(req.raw);
  if (!asset || asset.status >= 400) throw notFound("This path");
  // The headers of the original are immutable, and the middleware sets more.
  return new Response(asset.body, asset);
};

/**
 * Serves a page of people, on the deployment's own origin only, where their passkeys and sessions are: another one leads there. In
 * local development 127.0.0.1 leads to localhost, because an address cannot have passkeys.
 */
export const servePage: Handler<AppEnv> = async (c, next) => {
  const { config, request } = c.get("context");
  const origin = publicOrigin(config, request);
  if (new URL(request.url).origin !== origin) {
    return new Response(null, { status: 302, headers: { location: origin + new URL(request.url).pathname } });
  }
  const page = (await serveAsset(c, next)) as Response;
  page.headers.set("content-security-policy", policyOf(origin));
  page.headers.set("cache-control", "no-store");
  return page;
};

/** Only the scripts of the pages run there: not what anything else on this origin, a proxied answer above all, may be. */
const policyOf = (origin: string): string =>
  [
    "default-src 'none'",
    `script-src ${origin}/console/`,
    `style-src ${origin}/console/`,
    "connect-src 'self'",
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
  ].join("; ");
