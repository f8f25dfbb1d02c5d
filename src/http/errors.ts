import type { AuthorityLoss } from "../authority/authority.ts";

/** What every error body carries beside `status`, `message` and `request_id`. */
export interface ErrorFields {
  /** Stable, machine-readable. */
  code: string;
  /** Stable, human-readable title. */
  error: string;
  /** What happened and what to do about it. */
  message: string;
  details?: ReadonlyArray<{ field?: string; permission?: string; message: string }>;
  /** Further top-level keys: `required`, `granted`, `tier`, `limit`, `retry_after`. */
  extra?: Record<string, unknown>;
  headers?: Record<string, string>;
}

/** A refusal with its answer. Thrown anywhere below the app, answered in one place. */
export class ApiError extends Error {
  readonly status: number;
  readonly fields: ErrorFields;

  constructor(status: number, fields: ErrorFields, options?: ErrorOptions) {
    super(fields.message, options);
    this.name = "ApiError";
    this.status = status;
    this.fields = fields;
  }
}

/** The answer for a refusal, in the one shape that all errors have. */
export function errorResponse(error: ApiError, requestId: string): Response {
  const { code, error: title, message, details, extra, headers } = error.fields;
  return Response.json(
    { error: title, message, status: error.status, code, request_id: requestId, ...(details && { details }), ...extra },
    { status: error.status, headers: { "Cache-Control": "no-store", ...headers } },
  );
}

/** 400 for a body, query or parameter that is not as it must be, naming each fault. */
export function badRequest(message: string, details?: ErrorFields["details"], code = "validation_error"): ApiError {
  return new ApiError(400, { code, error: "Bad request", message, ...(details && { details }) });
}

/** 401 with the challenge of RFC 6750 §3. `invalid_token` is left out where no token was sent. */
export function unauthorized(code: string, message: string): ApiError {
  const attributes = code === "missing_token" ? "" : ', error="invalid_token"';
  return new ApiError(401, {
    code,
    error: "Unauthorized",
    message,
    headers: { "WWW-Authenticate": `Bearer realm="agentauth"${attributes}` },
  });
}

/** 401 for a token that was good and has been ended. */
export const tokenRevoked = (): ApiError =>
  unauthorized("token_revoked", "The access token has been revoked, or its agent is not active.");

/** 401 or 403 for a caller that lost its authority while its request was handled. */
export function authorityLost(loss: AuthorityLoss): ApiError {
  if (loss.reason === "token_revoked") return tokenRevoked();
  const { required, granted } = loss;
  return forbidden(
    "insufficient_permissions",
    "A permission that this request needs was taken away while the request was handled.",
    { required, granted },
  );
}

/** 403 for a caller that is known and may not. */
export function forbidden(code: string, message: string, extra?: Record<string, unknown>): ApiError {
  return new ApiError(403, {
    code,
    error: code === "insufficient_permissions" ? "Insufficient permissions" : "Forbidden",
    message,
    ...(extra && { extra }),
  });
}

export function notFound(what: string): ApiError {
  return new ApiError(404, { code: "not_found", error: "Not found", message: `${what} does not exist.` });
}

/** 503 for a part that is needed to decide and does not answer: nothing goes through unchecked. */
export function unavailable(code: string, message: string, cause?: unknown): ApiError {
  return new ApiError(503, { code, error: "Service unavailable", message, headers: { "Retry-After": "1" } }, { cause });
}
