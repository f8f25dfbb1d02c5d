import type { ErrorHandler } from "hono";
import { AuthorityLostError } from "../authority/authority.ts";
import { ApiError, authorityLost, databaseError, errorResponse } from "./errors.ts";
import { setSecurityHeaders } from "./security-headers.ts";
import { challengeOf } from "./challenge.ts";
import type { AppEnv, RequestContext } from "./request-context.ts";
import { logRefusal, agentOf } from "../log/request-log.ts";

export const handleError: ErrorHandler<AppEnv> = (error, c) => {
  // A request that was refused at once has no context.
  const { requestId = crypto.randomUUID(), context } = c.var as Partial<AppEnv["Variables"]>;
  return toErrorResponse(error, c.req.raw, requestId, context);
};

/**
 * Logs an error and returns its response. This is the only place where an error becomes a response. An error that is not an
 * `ApiError` is a 500 whose cause is only in the log.
 */
export function toErrorResponse(
  error: unknown,
  request: Request,
  requestId: string,
  context: RequestContext | undefined,
): Response {
  const { method, url } = request;
  const known = toApiError(error);
  const cause = error instanceof ApiError || error instanceof AuthorityLostError ? error.cause : error;
  logRefusal({
    request_id: requestId,
    method,
    // A malformed Host header makes a URL that cannot be parsed. It is not logged, because it could contain a query.
    path: URL.parse(url)?.pathname ?? "(malformed)",
    status: known.status,
    code: known.code,
    agent_id: agentOf(request),
    duration_ms: context?.timing.elapsed,
    took_ms: context?.timing.steps,
    ...(cause !== undefined && { cause: describe(cause) }),
  });
  const response = errorResponse(known, requestId);
  response.headers.set("x-request-id", requestId);
  const challenge = challengeOf(known, request, context);
  if (challenge) response.headers.set("www-authenticate", challenge);
  setSecurityHeaders(response.headers);
  return response;
}

/** What an error that is thrown is for its response. One that nobody expects is a 500. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof AuthorityLostError) return authorityLost(error.loss);
  const ofDatabase = databaseError(error);
  if (ofDatabase) return ofDatabase;
  return new ApiError("internal_error", "AgentAuth failed. Its operator finds the cause in the log by the request id.");
}

function describe(cause: unknown): string {
  return cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause);
}
