import type { Handler } from "hono";
import { publicOrigin } from "../access/session-cookie.ts";
import { notFound } from "../http/errors.ts";
import type { AppEnv } from "../http/request-context.ts";

/** The API reference and the OpenAPI document. */
export const DOCUMENTS = ["/openapi.json", "/docs", "/docs/:file"];

/** The pages of people, which may use their sessions. */
export const PAGES = ["/sign-in", "/account", "/device", "/console"];

/** What is below the console: its screens, which are all one page, and the scripts and styles of the pages. */
export const BELOW_CONSOLE = "/console/*";

/** The name of a script or a style of the pages. */
const PAGE_FILE = /^\/console\/[\w-]+\.(?:js|css)$/;

/**
 * Serves a static asset.
 *
 * @throws {ApiError} 404 if there is none, or the Worker runs without assets.
 */
export const serveAsset: Handler<AppEnv> = ({ env, req }) => fetchAsset(env, req.raw);

async function fetchAsset(env: Env, request: Request): Promise<Response> {
  const asset = await (env.ASSETS as Fetcher | undefined)?.fetch(request);
  if (!asset || asset.status >= 400) throw notFound("This path");
  // The headers of the original are immutable, and the middleware sets more.
  return new Response(asset.body, asset);
}

/**
 * Serves a page of people, on the deployment's own origin only, where their passkeys and sessions are: another one leads there. In
 * local development 127.0.0.1 leads to localhost, because an address cannot have passkeys.
 */
export const servePage: Handler<AppEnv> = async (c) => {
  const { config, request, env } = c.get("context");
  const origin = publicOrigin(config, request);
  const { origin: asked, pathname, search } = new URL(request.url);
  if (asked !== origin) {
    return new Response(null, { status: 302, headers: { location: origin + pathname + search } });
  }
  const isScreen = pathname.startsWith("/console/");
  const page = await fetchAsset(env, isScreen ? new Request(`${origin}/console`, request) : request);
  page.headers.set("content-security-policy", policyOf(origin));
  page.headers.set("cache-control", "no-store");
  return page;
};

/** Serves what is below the console: a file, or the page, which finds out by itself which screen its address names. */
export const serveBelowConsole: Handler<AppEnv> = (c, next) =>
  PAGE_FILE.test(c.req.path) ? serveAsset(c, next) : servePage(c, next);

/** What a client finds that knows only the origin. A browser is led to the console. */
export const serveRoot: Handler<AppEnv> = ({ req }) => {
  if (/\btext\/html\b/.test(req.header("accept") ?? "")) {
    return new Response(null, { status: 302, headers: { location: "/console", vary: "Accept" } });
  }
  return Response.json(
    {
      name: "AgentAuth",
      description: "Identity for AI agents, and a gateway that checks every request of theirs.",
      links: {
        console: "/console",
        reference: "/docs",
        openapi: "/openapi.json",
        health: "/health",
        authorization_server: "/.well-known/oauth-authorization-server",
      },
    },
    { headers: { vary: "Accept" } },
  );
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
