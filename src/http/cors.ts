import { cors as honoCors } from "hono/cors";
import { createMiddleware } from "hono/factory";
import type { AppEnv } from "./request.ts";

/** CORS for the origins of `CORS_ORIGINS`, errors included. OPTIONS is answered here and never forwarded. */
export const cors = createMiddleware<AppEnv>(async (c, next) => {
  // No browser asks: nothing of the answer is for one to read. Varying by Origin is all that a cache must know.
  if (c.req.method !== "OPTIONS" && !c.req.raw.headers.has("origin")) {
    await next();
    c.res.headers.append("vary", "Origin");
    return;
  }
  const { corsOrigins } = c.get("context").config;
  if (c.req.method === "OPTIONS") {
    await policy(corsOrigins)(c, async () => {});
    // Every success of this API is a JSON object, also the answer to a preflight.
    const headers = new Headers(c.res.headers);
    headers.set("content-type", "application/json");
    c.res = undefined;
    c.res = new Response("{}", { status: 200, headers });
    return;
  }
  await policy(corsOrigins)(c, next);
});

const policies = new WeakMap<readonly string[], ReturnType<typeof honoCors>>();

function policy(origins: readonly string[]): ReturnType<typeof honoCors> {
  let made = policies.get(origins);
  if (!made) {
    made = honoCors({
      origin: origins.includes("*") ? "*" : [...origins],
      allowMethods: ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
      exposeHeaders: [
        "X-Request-Id",
        "Retry-After",
        "RateLimit-Policy",
        "WWW-Authenticate",
        "Link",
        "X-AgentAuth-Upstream",
      ],
      maxAge: 600,
    });
    policies.set(origins, made);
  }
  return made;
}
