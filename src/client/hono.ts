import type { MiddlewareHandler } from "hono";
import { guard, type GuardOptions } from "./guard.ts";
import type { Permission } from "./permissions.ts";
import type { VerifiedAgent } from "./verify.ts";

export type { GuardOptions, VerifiedAgent };

/**
 * Lets only agents pass that hold a permission; `c.get("agent")` says who it is. Others get 401 or 403 in AgentAuth's shape.
 *
 * `app.get("/tickets", requirePermission("zendesk:tickets:read", { issuer }), (c) => c.json(c.get("agent").agentId))`
 */
export function requirePermission(
  permission: Permission,
  options: GuardOptions = {},
): MiddlewareHandler<{ Variables: { agent: VerifiedAgent } }> {
  return async (c, next) => {
    const outcome = await guard(c.req.header("authorization"), permission, options);
    if ("refusal" in outcome) {
      const { status, headers, body } = outcome.refusal;
      return new Response(JSON.stringify(body), { status, headers });
    }
    c.set("agent", outcome.agent);
    await next();
    return undefined;
  };
}
