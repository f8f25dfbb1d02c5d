/** One fault of a request. */
export interface ErrorDetail {
  field?: string;
  permission?: string;
  message: string;
}

/** The properties of an `AgentAuthError`. */
export interface ErrorFields {
  /** The HTTP status; 0 if there was no response. */
  status: number;
  /** A stable code for programs: `validation_error`, `token_expired`, `connection_failed` … */
  code: string;
  message: string;
  details?: readonly ErrorDetail[];
  /** The permission that the request needs and the token does not have. */
  required?: string | undefined;
  granted?: readonly string[] | undefined;
  /** The id of the request in the server's log. */
  requestId?: string | undefined;
  /** Seconds to wait. */
  retryAfter?: number | undefined;
}

/** The base class of every error of this SDK. Each subclass is one case that a caller may handle in its own way. */
export class AgentAuthError extends Error {
  // Written out, because minifiers rename classes.
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

/** 400, 413 or 415: the request is not valid. `details` names each fault. */
export class ValidationError extends AgentAuthError {
  override readonly name: string = "ValidationError";
}
/** 401: the token is missing, expired or revoked, the credentials are wrong, or the agent is not active. */
export class AuthenticationError extends AgentAuthError {
  override readonly name: string = "AuthenticationError";
}
/** 403: the agent lacks a permission. `required` names it, `granted` lists what the token grants. */
export class PermissionDeniedError extends AgentAuthError {
  override readonly name: string = "PermissionDeniedError";
}
/** 404: the object does not exist, or it belongs to another agent. */
export class NotFoundError extends AgentAuthError {
  override readonly name: string = "NotFoundError";
}
/** 409: the state of the object does not allow the change. */
export class ConflictError extends AgentAuthError {
  override readonly name: string = "ConflictError";
}
/** 429: `retryAfter` says how many seconds to wait. */
export class RateLimitError extends AgentAuthError {
  override readonly name: string = "RateLimitError";
}
/** 5xx: the server failed. The code `unavailable` says that something in front of AgentAuth answered for it. */
export class ServerError extends AgentAuthError {
  override readonly name: string = "ServerError";
}
/** No response, or not one of AgentAuth's. The code is `connection_failed`, `timeout`, `not_agentauth` or `closed`. */
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

/**
 * The error for a response that is no success. If something other than AgentAuth answered, the code is `unavailable` for 429
 * and 5xx, which may pass, and `not_agentauth` for everything else.
 */
export function toError(response: Response, body: unknown, url: string): AgentAuthError {
  const { status, headers } = response;
  const fields = (body ?? {}) as Record<string, unknown>;
  const Kind = BY_STATUS[status] ?? (status >= 500 ? ServerError : AgentAuthError);
  const retryAfter = retryAfterOf(headers);
  if (typeof fields.error !== "string") {
    const what = `${url.split("?")[0]} answered ${status} (${headers.get("content-type") ?? "no content type"})`;
    // Proxies and platforms answer with pages of their own for a deployment that is down or busy.
    if (status === 429 || status >= 500) {
      const message = `${what}, not AgentAuth itself. Try again later.`;
      return new Kind({ status, code: "unavailable", message, retryAfter });
    }
    const location = headers.get("location");
    const target = location && URL.canParse(location, url) && new URL(location, url);
    // Without its query, which may contain a secret of that place.
    return notAgentAuth(status, target ? `${what}: it redirects to ${target.origin}${target.pathname}` : what);
  }
  // OAuth's endpoints have OAuth's shape (RFC 6749 §5.2).
  const { error, error_description: description } = fields;
  const { message = description ?? error, code = description ? error : "unknown" } = fields;
  const { details = [], required, granted, request_id: requestId } = fields;
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

/** The error for a response that AgentAuth would not give. */
export const notAgentAuth = (status: number, what: string): ConnectionError =>
  new ConnectionError({ status, code: "not_agentauth", message: `${what}, not as AgentAuth does. Check baseUrl.` });

/** The seconds that `Retry-After` asks to wait, given as a number or as a date (RFC 9110 §10.2.3). */
function retryAfterOf(headers: Headers): number | undefined {
  const value = headers.get("retry-after");
  if (!value) return undefined;
  const seconds = /^\d+$/.test(value) ? Number(value) : Math.ceil((Date.parse(value) - Date.now()) / 1000);
  return seconds >= 0 ? seconds : undefined;
}
