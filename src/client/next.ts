import { guard, type GuardOptions } from "./guard.ts";
import type { Permission } from "./permissions.ts";
import type { VerifiedAgent } from "./verify.ts";

export type { GuardOptions, VerifiedAgent };

/**
 * Wraps a route handler of Next.js: only agents that hold a permission reach it; `request.agent` says who it is. Others get
 * 401 or 403 in AgentAuth's shape.
 *
 * `export const GET = requirePermission("zendesk:tickets:read", { issuer })(async (request) => Response.json(request.agent))`
 */
export function requirePermission(permission: Permission, options: GuardOptions = {}) {
  return <Incoming extends Request, Context>(
    handler: (request: Incoming & { agent: VerifiedAgent }, context: Context) => Response | Promise<Response>,
  ) =>
    async (request: Incoming, context: Context): Promise<Response> => {
      const outcome = await guard(request.headers.get("authorization"), permission, options);
      if ("refusal" in outcome) {
        const { status, headers, body } = outcome.refusal;
        return new Response(JSON.stringify(body), { status, headers });
      }
      return handler(Object.assign(request, { agent: outcome.agent }), context);
    };
}
