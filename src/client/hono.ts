import type { MiddlewareHandler } from "hono";
import { guard, type GuardOptions } from "./guard.ts";
import type { Permission } from "./permissions.ts";
import type { VerifiedAgent } from "./verify.ts";

export type { GuardOptions, VerifiedAgent };

/**
 * Hono middleware that passes on only requests whose access token grants a permission, with the agent as `c.get("agent")`.
 * Others are answered with 401 or 403 in the shape of AgentAuth's errors, or with 503 if the keys cannot be fetched.
 *
 * @example app.get("/tickets", requirePermission("zendesk:tickets:read", { issuer }), (c) => c.json(c.get("agent").agentId));
 */
export function requirePermission(
  permission: Permission,
  options: GuardOptions = {},
): MiddlewareHandler<{ Variables: { agent: VerifiedAgent } }> {
  return async (c, next) => {
    const { method, url } = c.req;
    const [authorization, dpop] = [c.req.header("authorization"), c.req.header("dpop")];
    const outcome = await guard({ method, path: new URL(url).pathname, authorization, dpop }, permission, options);
    if ("refusal" in outcome) {
      const { status, headers, body } = outcome.refusal;
      return new Response(JSON.stringify(body), { status, headers });
    }
    c.set("agent", outcome.agent);
    await next();
    return undefined;
  };
}
