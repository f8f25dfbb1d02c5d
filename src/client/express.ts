import { guard, type GuardOptions, type Outcome } from "./guard.ts";
import type { Permission } from "./permissions.ts";
import type { VerifiedAgent } from "./verify.ts";

export type { GuardOptions, VerifiedAgent };

declare global {
  namespace Express {
    interface Request {
      /** The agent that `requirePermission` has verified. */
      agent?: VerifiedAgent;
    }
  }
}

/** The part of Express's request that is needed, so that its types need not be installed. */
export interface ExpressRequest {
  readonly method: string;
  /** The path and the query as they came, also in a router that has taken a part of them away. */
  readonly originalUrl: string;
  readonly headers: {
    readonly authorization?: string | undefined;
    readonly [name: string]: string | string[] | undefined;
  };
  agent?: VerifiedAgent;
}

export interface ExpressResponse {
  status(code: number): this;
  set(headers: Record<string, string>): this;
  json(body: unknown): unknown;
}

/**
 * Express middleware that passes on only requests whose access token grants a permission, with the agent as `request.agent`.
 * Others are answered with 401 or 403 in the shape of AgentAuth's errors, or with 503 if the keys cannot be fetched.
 *
 * @example app.get("/tickets", requirePermission("zendesk:tickets:read", { issuer }), (request, response) => { … });
 */
export function requirePermission(permission: Permission, options: GuardOptions = {}) {
  return async (request: ExpressRequest, response: ExpressResponse, next: (error?: unknown) => void): Promise<void> => {
    let outcome: Outcome;
    try {
      const { method, originalUrl: path, headers } = request;
      // Node joins a header that is sent twice, and then it is no proof.
      const dpop = headers.dpop?.toString();
      outcome = await guard({ method, path, authorization: headers.authorization, dpop }, permission, options);
    } catch (error) {
      next(error);
      return;
    }
    if ("refusal" in outcome) {
      const { status, headers, body } = outcome.refusal;
      response.status(status);
      response.set({ ...headers }).json(body);
      return;
    }
    request.agent = outcome.agent;
    next();
  };
}
