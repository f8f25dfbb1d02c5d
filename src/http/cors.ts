import { createMiddleware } from "hono/factory";
import type { AppEnv } from "./request-context.ts";

/** What a page may read of an answer beside its body and what the Fetch standard safelists. */
const EXPOSED = "X-Request-Id, Retry-After, RateLimit-Policy, WWW-Authenticate, Link, X-AgentAuth-Upstream";

/** CORS for the origins of `CORS_ORIGINS`, errors included. OPTIONS is answered here and never forwarded. */
export const cors = createMiddleware<AppEnv>(async (c, next) => {
  const { method, headers: sent } = c.req.raw;
  const origin = sent.get("origin");
  if (method === "OPTIONS") c.res = preflight(sent.get("access-control-request-headers"));
  else await next();
  const { headers } = c.res;
  headers.append("vary", "Origin");
  // No browser asks: nothing of the answer is for one to read.
  if (origin === null) return;
  const { corsOrigins } = c.get("context").config;
  const allowed = corsOrigins.includes("*") ? "*" : corsOrigins.find((one) => one === origin);
  if (!allowed) return;
  headers.set("access-control-allow-origin", allowed);
  headers.set("access-control-expose-headers", EXPOSED);
});

/** What may be sent, once the origin may: any header, as the only credential is one. A success of this API is a JSON object. */
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
