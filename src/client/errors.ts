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
  details?: readonly ErrorDetail[];
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
    const { message, ...known } = fields;
    super(message, options);
    Object.assign(this, { details: [] }, known);
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
/** 5xx: it failed over there; `requestId` finds it in the log. `unavailable`: something before AgentAuth answered. */
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

/** The error for an answer of AgentAuth, or of something else: then `not_agentauth`, or `unavailable` where it may pass. */
export function errorOf(response: Response, body: unknown, url: string): AgentAuthError {
  const { status, headers } = response;
  const fields = (body ?? {}) as Record<string, unknown>;
  const Kind = BY_STATUS[status] ?? (status >= 500 ? ServerError : AgentAuthError);
  const retryAfter = retryAfterOf(headers);
  if (typeof fields.error !== "string") {
    const what = `${url.split("?")[0]} answered ${status} (${headers.get("content-type") ?? "no content type"})`;
    // What stands before a deployment, or its platform, has pages of its own for one that is down or busy.
    if (status === 429 || status >= 500) {
      const message = `${what}, not AgentAuth itself. Try again later.`;
      return new Kind({ status, code: "unavailable", message, retryAfter });
    }
    const location = headers.get("location");
    return notAgentAuth(status, location ? `${what}: it redirects to ${location}` : what);
  }
  const { error, message = error, code = "unknown", details = [], required, granted, request_id: requestId } = fields;
  return new Kind({
    status,
    code: code as string,
    message: message as string,
    details: details as ErrorDetail[],
    required: required as string | undefined,
    granted: granted as string[] | undefined,
    requestId: requestId as string | undefined,
    retryAfter,
  });
}

export const notAgentAuth = (status: number, what: string): ConnectionError =>
  new ConnectionError({ status, code: "not_agentauth", message: `${what}, not as AgentAuth does. Check baseUrl.` });

/** `Retry-After` in seconds (RFC 9110 §10.2.3). */
function retryAfterOf(headers: Headers): number | undefined {
  const value = headers.get("retry-after");
  if (!value) return undefined;
  const seconds = /^\d+$/.test(value) ? Number(value) : Math.ceil((Date.parse(value) - Date.now()) / 1000);
  return seconds >= 0 ? seconds : undefined;
}
