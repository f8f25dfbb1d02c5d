import { guard, type GuardOptions } from "./guard.ts";
import type { Permission } from "./permissions.ts";
import type { VerifiedAgent } from "./verify.ts";

export type { GuardOptions, VerifiedAgent };

/**
 * Wraps a route handler of Next.js, so that only requests whose access token grants a permission reach it, with the agent as
 * `request.agent`. Others are answered with 401 or 403 in the shape of AgentAuth's errors, or with 503 if the keys cannot be
 * fetched.
 *
 * @example export const GET = requirePermission("zendesk:tickets:read", { issuer })((request) => Response.json(request.agent));
 */
export function requirePermission(permission: Permission, options: GuardOptions = {}) {
  return <Incoming extends Request, Context>(
    handler: (request: Incoming & { agent: VerifiedAgent }, context: Context) => Response | Promise<Response>,
  ) =>
    async (request: Incoming, context: Context): Promise<Response> => {
      const { method, url, headers: sent } = request;
      const [authorization, dpop] = [sent.get("authorization"), sent.get("dpop")];
      const outcome = await guard({ method, path: new URL(url).pathname, authorization, dpop }, permission, options);
      if ("refusal" in outcome) {
        const { status, headers, body } = outcome.refusal;
        return new Response(JSON.stringify(body), { status, headers });
      }
      return handler(Object.assign(request, { agent: outcome.agent }), context);
    };
}
