export interface ErrorDetail {
  field?: string;
  permission?: string;
  message: string;
}

/** What is known of a failure. */
export interface ErrorFields {
  /** The HTTP status; 0 where there was no answer. */
  status: number;
  /** Stable, for machines: `validation_error`, `token_expired`, `connection_failed` … */
  code: string;
  message: string;
  details?: readonly ErrorDetail[] | undefined;
  /** The permission that was lacking. */
  required?: string | undefined;
  granted?: readonly string[] | undefined;
  /** Finds the request in the server's log. */
  requestId?: string | undefined;
  /** Seconds to wait. */
  retryAfter?: number | undefined;
}

/** Everything that this SDK throws of a call. One subclass for each thing that a caller would handle. */
export class AgentAuthError extends Error {
  // Written out: minifiers rename classes.
  override readonly name: string = "AgentAuthError";
  declare readonly status: number;
  declare readonly code: string;
  declare readonly details: readonly ErrorDetail[];
  declare readonly required: string | undefined;
  declare readonly granted: readonly string[] | undefined;
  declare readonly requestId: string | undefined;
  declare readonly retryAfter: number | undefined;

  constructor(fields: ErrorFields, options?: ErrorOptions) {
    super(fields.message, options);
    const { status, code, details = [], required, granted, requestId, retryAfter } = fields;
    Object.assign(this, { status, code, details, required, granted, requestId, retryAfter });
  }
}

/** 400, 413, 415: the request is not as it must be; `details` names each fault. */
export class ValidationError extends AgentAuthError {
  override readonly name: string = "ValidationError";
}
/** 401: no token, or one that is not good any more; wrong credentials; a revoked agent. */
export class AuthenticationError extends AgentAuthError {
  override readonly name: string = "AuthenticationError";
}
/** 403: `required` and `granted` say what is lacking. */
export class PermissionDeniedError extends AgentAuthError {
  override readonly name: string = "PermissionDeniedError";
}
/** 404: there is no such thing, or it is not the caller's. */
export class NotFoundError extends AgentAuthError {
  override readonly name: string = "NotFoundError";
}
/** 409: it cannot be changed any more, or not now. */
export class ConflictError extends AgentAuthError {
  override readonly name: string = "ConflictError";
}
/** 429: `retryAfter` says how many seconds to wait. */
export class RateLimitError extends AgentAuthError {
  override readonly name: string = "RateLimitError";
}
/** 5xx: it failed over there; `requestId` finds it in the log. */
export class ServerError extends AgentAuthError {
  override readonly name: string = "ServerError";
}
/** No answer, or none of AgentAuth's: `connection_failed`, `timeout`, `not_agentauth`, `closed`. */
export class ConnectionError extends AgentAuthError {
  override readonly name: string = "ConnectionError";
}
const BY_STATUS: Record<number, typeof AgentAuthError> = {
  400: ValidationError,
  401: AuthenticationError,
  403: PermissionDeniedError,
  404: NotFoundError,
  409: ConflictError,
  413: ValidationError,
  415: ValidationError,
  429: RateLimitError,
};

/** The error for an answer of AgentAuth; a `not_agentauth` where its body is not in AgentAuth's shape. */
export function errorOf(response: Response, body: unknown, url: string): AgentAuthError {
  const { status, headers } = response;
  const fields = body as Record<string, unknown> | null | undefined;
  if (typeof fields !== "object" || typeof fields?.error !== "string") {
    const type = headers.get("content-type") ?? "no content type";
    return new ConnectionError({
      status,
      code: "not_agentauth",
      message: `${url} does not answer as AgentAuth does (${status}, ${type}). Check baseUrl.`,
    });
  }
  const { error, message = error, code = "unknown", details, required, granted } = fields;
  const requestId = (fields.request_id as string | undefined) ?? headers.get("x-request-id") ?? undefined;
  const Kind = BY_STATUS[status] ?? (status >= 500 ? ServerError : AgentAuthError);
  return new Kind({
    status,
    code: String(code),
    message: String(message),
    details: details as ErrorDetail[] | undefined,
    required: required as string | undefined,
    granted: granted as string[] | undefined,
    requestId,
    retryAfter: retryAfterOf(headers),
  });
}

/** `Retry-After` in seconds (RFC 9110 §10.2.3). */
function retryAfterOf(headers: Headers): number | undefined {
  const value = headers.get("retry-after");
  if (!value) return undefined;
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isNaN(seconds) ? undefined : Math.max(0, Math.ceil(seconds));
}
