import { createMiddleware } from "hono/factory";
import type { AppEnv } from "./request-context.ts";

/** The response headers that a page may read beside those that the Fetch standard safelists. */
const EXPOSED_HEADERS =
  "X-Request-Id, Retry-After, RateLimit-Policy, WWW-Authenticate, DPoP-Nonce, Link, Idempotent-Replayed";

/** Of an upstream's answer, a page may read every header that an agent gets: ETag, Location, rate limits, the vendor's own. */
const exposedHeaders = (headers: Headers): string =>
  headers.has("x-agentauth-upstream") ? [EXPOSED_HEADERS, ...headers.keys()].join(", ") : EXPOSED_HEADERS;

/**
 * CORS for the origins of `CORS_ORIGINS`, on errors too. Responds to OPTIONS itself: no OPTIONS request is forwarded.
 *
 * hono's cors responds to a preflight with 204 and no body; a success of this API is always 200 with a JSON object.
 */
export const cors = createMiddleware<AppEnv>(async (c, next) => {
  const { method, headers: sent } = c.req.raw;
  const origin = sent.get("origin");
  if (method === "OPTIONS") c.res = preflight(sent.get("access-control-request-headers"));
  else await next();
  const { headers } = c.res;
  headers.append("vary", "Origin");
  // Without an Origin header no page reads the response.
  if (origin === null) return;
  const { corsOrigins } = c.get("context").config;
  const allowed = corsOrigins.includes("*") ? "*" : corsOrigins.find((one) => one === origin);
  if (!allowed) return;
  headers.set("access-control-expose-headers", exposedHeaders(headers));
  headers.set("access-control-allow-origin", allowed);
});

/** Allows every request header: the only credential is a header, which a page must have been given. */
function preflight(wanted: string | null): Response {
  return new Response("{}", {
    headers: {
      "content-type": "application/json",
      "access-control-allow-methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
      "access-control-max-age": "600",
      vary: "Access-Control-Request-Headers",
      ...(wanted && { "access-control-allow-headers": wanted }),
    },
  });
}
