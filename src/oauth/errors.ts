import type { ApiError } from "../http/errors.ts";

/** Why a request to an OAuth endpoint is refused. Each `error` is that of an RFC. */
export type OAuthFault =
  /** RFC 6749 §5.2. */
  | {
      readonly error:
        | "invalid_request"
        | "invalid_client"
        | "invalid_grant"
        | "unauthorized_client"
        | "unsupported_grant_type"
        | "invalid_scope";
    }
  /** RFC 8628 §3.5, of a command that waits for a person. */
  | { readonly error: "authorization_pending" | "slow_down" | "expired_token" | "access_denied" }
  /** RFC 6749 §4.1.2.1, at the authorization endpoint. */
  | { readonly error: "unsupported_response_type" }
  /** RFC 8707 §2. */
  | { readonly error: "invalid_target" }
  /** RFC 9396 §5. */
  | { readonly error: "invalid_authorization_details" }
  /** RFC 6750 §3.1, where an access token authenticates the caller. */
  | { readonly error: "invalid_token" | "insufficient_scope"; readonly scope?: string }
  /** RFC 9449 §5 and §8. */
  | { readonly error: "invalid_dpop_proof" }
  | { readonly error: "use_dpop_nonce"; readonly nonce: string }
  /** The method, by its RFC 9110 name. */
  | { readonly error: "method_not_allowed"; readonly allow: string }
  /** What the client can do nothing about but wait. Seconds. */
  | { readonly error: "temporarily_unavailable"; readonly status: 429 | 503; readonly retryAfter: string }
  | { readonly error: "server_error" };

/** A refusal of an OAuth endpoint. Thrown anywhere in this face, and caught in one place. */
export class OAuthError extends Error {
  readonly fault: OAuthFault;

  /** @param description what is wrong and what to do, as a sentence. */
  constructor(fault: OAuthFault | SimpleError, description: string, options?: ErrorOptions) {
    super(description, options);
    this.name = "OAuthError";
    this.fault = typeof fault === "string" ? { error: fault } : fault;
  }
}

/** The errors that say everything by their name. */
export type SimpleError = Exclude<
  OAuthFault["error"],
  "method_not_allowed" | "temporarily_unavailable" | "use_dpop_nonce"
>;

/** What a fault is on the wire. */
interface OnTheWire {
  readonly status: 400 | 401 | 403 | 405 | 429 | 500 | 503;
  /** `error` of the body. RFC 6749 names none for a method. */
  readonly error?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The one place where a fault becomes a status, a body and headers. */
function toWire(fault: OAuthFault): OnTheWire {
  switch (fault.error) {
    case "invalid_request":
    case "invalid_grant":
    case "unauthorized_client":
    case "unsupported_grant_type":
    case "unsupported_response_type":
    case "invalid_scope":
    case "invalid_target":
    case "invalid_authorization_details":
    case "invalid_dpop_proof":
    case "authorization_pending":
    case "slow_down":
    case "expired_token":
    case "access_denied":
      return { status: 400 };
    case "use_dpop_nonce":
      return { status: 400, headers: { "DPoP-Nonce": fault.nonce } };
    case "invalid_client":
      // RFC 6749 §5.2 asks for the scheme that the client used; it may use Basic wherever it sends its secret.
      return { status: 401, headers: { "WWW-Authenticate": 'Basic realm="agentauth", charset="UTF-8"' } };
    case "invalid_token":
      return { status: 401, headers: { "WWW-Authenticate": `Bearer realm="agentauth", error="invalid_token"` } };
    case "insufficient_scope": {
      const scope = fault.scope === undefined ? "" : `, scope="${fault.scope}"`;
      return {
        status: 403,
        headers: { "WWW-Authenticate": `Bearer realm="agentauth", error="insufficient_scope"${scope}` },
      };
    }
    case "method_not_allowed":
      return { status: 405, error: "invalid_request", headers: { Allow: fault.allow } };
    case "temporarily_unavailable":
      return { status: fault.status, headers: { "Retry-After": fault.retryAfter } };
    case "server_error":
      return { status: 500 };
  }
}

/** The response for a refusal (RFC 6749 §5.2), which no cache keeps. */
export function toOAuthResponse({ fault, message }: OAuthError): Response {
  const { status, error = fault.error, headers } = toWire(fault);
  return Response.json(
    { error, error_description: toDescription(message) },
    { status, headers: { "Cache-Control": "no-store", Pragma: "no-cache", ...headers } },
  );
}

export const statusOf = ({ fault }: OAuthError): number => toWire(fault).status;

/** A text in the characters that an `error_description` may have (RFC 6749 §5.2). */
const toDescription = (text: string): string => text.replace(/["\\]/g, "'").replace(/[^\x20-\x7e]/g, "?");

/**
 * The same refusal in this face's words, for one that a part below it throws.
 *
 * Of an access token, its fault stays that of RFC 6750. What is wrong with a body is `invalid_request`, and what has no other name, too.
 */
export function fromApiError(error: ApiError): OAuthError {
  const { status, message, fields } = error;
  const options = { cause: fields.cause };
  if (status === 429 || status === 503) {
    const retryAfter = fields.headers?.["Retry-After"] ?? "1";
    return new OAuthError({ error: "temporarily_unavailable", status, retryAfter }, message, options);
  }
  if (status >= 500) return new OAuthError("server_error", message, options);
  if (error.code === "missing_token") return new OAuthError("invalid_client", message, options);
  if (status === 401) return new OAuthError("invalid_token", message, options);
  if (status === 403) return new OAuthError("insufficient_scope", message, options);
  return new OAuthError("invalid_request", message, options);
}
