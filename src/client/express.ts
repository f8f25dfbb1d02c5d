import { guard, type GuardOptions } from "./guard.ts";
import type { Permission } from "./permissions.ts";
import type { VerifiedAgent } from "./verify.ts";

export type { GuardOptions, VerifiedAgent };

/** What is needed of Express's request, so that its types need not be installed. */
export interface ExpressRequest {
  readonly headers: { readonly authorization?: string | undefined };
  agent?: VerifiedAgent;
}

export interface ExpressResponse {
  status(code: number): this;
  set(headers: Record<string, string>): this;
  json(body: unknown): unknown;
}

/**
 * Lets only agents pass that hold a permission; `request.agent` says who it is. Others get 401 or 403 in AgentAuth's shape.
 *
 * `app.get("/tickets", requirePermission("zendesk:tickets:read", { issuer }), (request, response) => …)`
 */
export function requirePermission(permission: Permission, options: GuardOptions = {}) {
  return (request: ExpressRequest, response: ExpressResponse, next: (error?: unknown) => void): void => {
    guard(request.headers.authorization, permission, options).then((outcome) => {
      if ("refusal" in outcome) {
        const { status, headers, body } = outcome.refusal;
        response
          .status(status)
          .set({ ...headers })
          .json(body);
        return;
      }
      request.agent = outcome.agent;
      next();
    }, next);
  };
}
