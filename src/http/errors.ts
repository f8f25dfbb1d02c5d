import type { AuthorityLoss } from "../authority/authority.ts";
import { databaseFailure } from "../storage/failure.ts";
import { migrationHelp } from "../storage/migrations.ts";

interface ErrorDescription {
  /** The status of every response with this code. */
  readonly status: 400 | 401 | 403 | 404 | 405 | 408 | 409 | 413 | 415 | 421 | 422 | 429 | 500 | 502 | 503 | 504;
  /** What is the matter, for the reference. The response's own message says more. */
  readonly text: string;
  /** Stable title; that of the status by default. */
  readonly title?: string;
}

/** The title of each status, for codes that have none of their own. */
const STATUS_TITLES: Readonly<Record<ErrorDescription["status"], string>> = {
  400: "Bad request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not found",
  405: "Method not allowed",
  408: "Request timeout",
  409: "Conflict",
  413: "Payload too large",
  415: "Unsupported media type",
  421: "Misdirected request",
  422: "Unprocessable content",
  429: "Rate limit exceeded",
  500: "Internal server error",
  502: "Bad gateway",
  503: "Service unavailable",
  504: "Gateway timeout",
};

/**
 * Every code that an error of AgentAuth can have. The list is closed: another code does not compile. The reference of errors,
 * docs/errors.md, and the OpenAPI description are made from it.
 */
export const ERRORS = {
  validation_error: {
    status: 400,
    text: "The body, the query or a parameter is not valid; `details` names each fault.",
  },
  unknown_field: {
    status: 400,
    text: "The body has a field that the request does not have; `details` names each, and the one that was probably meant.",
  },
  unknown_parameter: {
    status: 400,
    text: "The query has a parameter that the request does not have; `details` names each, and the one that was probably meant.",
  },
  invalid_idempotency_key: {
    status: 400,
    text: "`Idempotency-Key` is not 1 to 255 visible ASCII characters or, without an access token, not random enough.",
  },
  malformed_json: { status: 400, text: "The body is not valid JSON, not UTF-8, or ended early." },
  malformed_host: { status: 400, text: "The Host header is not a host with an optional port." },
  invalid_scope: {
    status: 400,
    text: "The token would be wider or live longer than the agent may have it; `details` names what is too much.",
  },
  filter_too_broad: {
    status: 400,
    text: "The filter looks at too many agents for a change of all of them: narrow it.",
  },
  unknown_permission: { status: 400, text: "A permission cannot be granted; `details` names each and says why." },
  unknown_constraint_field: {
    status: 400,
    text: "A grant has a limit on a field that no request with its permission has; the message names those that there are.",
  },
  unknown_constraint_operator: {
    status: 400,
    text: "A limit of a grant has an operator that is none of `eq`, `in`, `not_in`, `min`, `max` and `glob`.",
  },
  invalid_constraint: {
    status: 400,
    text: "A limit or an end of a grant is not possible; `details` names the field, and says what may be written.",
  },
  bad_encoding: { status: 400, text: "The proxied path has a `%` that does not encode UTF-8." },
  double_encoding: { status: 400, text: "The proxied path is percent-encoded twice." },
  backslash: { status: 400, text: "The proxied path has a backslash." },
  control_character: { status: 400, text: "The proxied path has a control character." },
  empty_segment: { status: 400, text: "The proxied path has an empty segment." },
  dot_segment: { status: 400, text: "The proxied path has a `.` or `..` segment." },
  lookalike_character: { status: 400, text: "The proxied path has a character that some servers read as another." },
  path_parameter: { status: 400, text: "The proxied path has a `;` parameter." },
  trailing_dot_or_space: { status: 400, text: "A segment of the proxied path ends in a dot or a space." },
  encoded_slash: { status: 400, text: "The proxied path has `%2F` where the API accepts no free text." },
  fragment: { status: 400, text: "The proxied path has a `#`." },
  path_too_long: { status: 400, text: "The proxied path is longer than 8,192 characters." },
  bad_query: { status: 400, text: "A parameter of the proxied query can be read in several ways." },
  bad_body: {
    status: 400,
    text: "The proxied body is not what its Content-Type says, or can be read in several ways.",
  },
  parameter_refused: { status: 400, text: "A parameter would go around the credential, the method or the permission." },
  upgrade_refused: { status: 400, text: "The gateway does not forward Upgrade requests." },
  bad_links_header: { status: 400, text: "`X-AgentAuth-Links` is neither `rewrite` nor `keep`." },
  several_tokens: { status: 400, text: "The request has access tokens in two places." },
  several_credentials: {
    status: 400,
    text: "The request has a person's session and an `Authorization` header, or two sessions.",
  },
  passkey_refused: {
    status: 400,
    text: "The passkey cannot be enrolled: it is known already, was not made here for this request, or may not be enrolled by this session.",
  },
  token_in_request: { status: 400, text: "A part of the request that would be forwarded contains the access token." },
  body_not_forwarded: { status: 400, text: "A GET or HEAD has a body, which would be lost." },
  header_refused: {
    status: 400,
    text: "A request header that the gateway does not forward acts as somebody else, or the write would do something else without it.",
  },

  missing_token: { status: 401, text: "The request has no access token." },
  invalid_token: { status: 401, text: "The access token is not one of this deployment's." },
  invalid_dpop_proof: {
    status: 401,
    text: "The access token is bound to a key, and the request does not prove to have it (RFC 9449); or the proof is for another request.",
  },
  use_dpop_nonce: {
    status: 401,
    text: "The proof's time is not that of this deployment: repeat the request with the nonce of `DPoP-Nonce` in the proof.",
  },
  token_expired: { status: 401, text: "The access token has expired." },
  token_revoked: { status: 401, text: "The access token has been revoked, or its agent is not active." },
  invalid_credentials: {
    status: 401,
    title: "Invalid credentials",
    text: "No active agent has this id and this API key.",
  },
  malformed_api_key: {
    status: 401,
    title: "Invalid credentials",
    text: "The text does not have the form of an API key. The database was not asked.",
  },
  agent_inactive: {
    status: 401,
    title: "Invalid credentials",
    text: "The API key is right, and its agent is not active; the message says what to wait for.",
  },
  invalid_refresh_token: { status: 401, text: "The refresh token is not one of this deployment's." },
  refresh_token_expired: { status: 401, text: "The refresh token, or its session, has expired." },
  refresh_token_reused: { status: 401, text: "The refresh token had been used before: its session is revoked." },
  session_ended: { status: 401, text: "The refresh token's session was revoked, or its agent is not active." },

  sign_in_required: { status: 401, text: "Nobody is signed in, or the person's session has ended." },
  sign_in_refused: { status: 401, text: "The passkey, or the provider's login, signs nobody in here." },

  insufficient_permissions: {
    status: 403,
    title: "Insufficient permissions",
    text: "The caller lacks a permission: `required` names it, `granted` lists what the caller has.",
  },
  constraint_violated: {
    status: 403,
    text: "The caller has the permission `required` within limits that the request does not meet; `violations` names the fields, their conditions and what they are.",
  },
  grant_expired: {
    status: 403,
    text: "The grant of the permission `required` has ended.",
  },
  address_not_allowed: {
    status: 403,
    text: "The agent, or the key of the token, may not be used from this address: see `allowed_ips`.",
  },
  reauthentication_required: {
    status: 403,
    text: "An agent's change needs a proof by API key that is at most 5 minutes old, or the key in the body. A person confirms this act with a passkey: `assertion` has the options, and the request is repeated with `AgentAuth-Assertion`.",
  },
  assertion_refused: {
    status: 403,
    text: "`AgentAuth-Assertion` is not of a passkey of this person for exactly this request, or was used already.",
  },
  passkey_too_new: { status: 403, text: "The passkey was enrolled less than 24 hours ago, and confirms nothing yet." },
  delegated_token: {
    status: 403,
    text: "The access token was exchanged to act for another agent: it is accepted at `/proxy` and `/mcp` only.",
  },
  person_required: {
    status: 403,
    text: "Only a person who is signed in may do this; no agent's token is accepted for it.",
  },
  agent_required: { status: 403, text: "An agent does this with its access token, and no person." },
  browser_required: {
    status: 403,
    text: "A command that a person has let in (RFC 8628) may not do this: the person does it in a browser, or signs the command in again if it needs a recent proof.",
  },
  role_required: { status: 403, text: "The person's role does not allow this, or the agent is not theirs." },
  cross_origin: {
    status: 403,
    text: "A request with a person's session that changes something does not come from a page of this deployment.",
  },
  bootstrap_ended: {
    status: 403,
    text: "There are people, and the bootstrap token does nothing any more unless `BOOTSTRAP` is `keep`.",
  },
  origin_not_allowed: { status: 403, text: "`/mcp` is not for pages of this origin: see `CORS_ORIGINS`." },
  registration_closed: { status: 403, text: "Only an administrator registers agents here." },
  grant_beyond_caller: { status: 403, text: "The caller cannot grant a permission that it does not have." },

  not_found: { status: 404, text: "There is no such thing, or it belongs to another agent." },
  link_not_valid: { status: 404, text: "The sign-in link was used, has expired, or is not one of this deployment." },
  unknown_service: { status: 404, text: "The gateway has no service of this name." },
  method_not_allowed: { status: 405, text: "The path does not have this method; `Allow` lists those that it has." },
  body_timeout: { status: 408, text: "The body did not arrive in time." },

  limited_grant: {
    status: 409,
    text: "The list of permissions would widen a grant with limits, or take it away; `PUT /agents/{id}/grants` can.",
  },
  grants_changed: {
    status: 409,
    text: "The grants are of another version than the one that was read; nothing was changed.",
  },
  agent_revoked: { status: 409, text: "A revoked agent cannot be changed." },
  agent_changed: {
    status: 409,
    text: "The agent was changed since the time that `updated_at` of the request names. Read it again.",
  },
  people_exist: { status: 409, text: "There is a person already: the bootstrap token makes the first one only." },
  email_taken: { status: 409, text: "Another person has this address." },
  last_administrator: { status: 409, text: "Nobody would be left who administers the deployment." },
  last_passkey: { status: 409, text: "The person could not sign in any more without this passkey." },
  signed_in_already: { status: 409, text: "Somebody else is signed in in this browser: sign out first." },
  too_many_keys: { status: 409, text: "The agent has as many API keys as it may have." },
  kid_taken: { status: 409, text: "The agent has a public key with this `kid`." },
  unexpected_count: {
    status: 409,
    text: "The filter selects another number of agents than `expected`, which the dry run gave.",
  },
  too_many_webhooks: { status: 409, text: "The agent has as many webhooks as it may have." },
  webhook_inactive: { status: 409, text: "The webhook is switched off." },
  delivery_pending: { status: 409, text: "The delivery is being attempted, or is due within a minute." },

  idempotency_in_flight: {
    status: 409,
    text: "A request with the same `Idempotency-Key` is being carried out. Sent again, this one gets its answer.",
  },
  answer_not_kept: {
    status: 409,
    text: "The request with this `Idempotency-Key` was carried out, but its answer was lost.",
  },

  body_too_large: { status: 413, text: "The body is larger than is accepted." },
  unsupported_media_type: { status: 415, text: "The body is not declared as JSON." },
  body_type_refused: { status: 415, text: "The proxied body is of a type that the gateway cannot check." },
  misdirected_request: {
    status: 421,
    text: "Local development only: the request is for another host, or from a page of another origin.",
  },
  idempotency_mismatch: {
    status: 422,
    text: "The `Idempotency-Key` was used for another method, path or body.",
  },
  rate_limited: { status: 429, text: "A rate limit is reached; `Retry-After` says how many seconds to wait." },

  internal_error: { status: 500, text: "AgentAuth failed; the operator finds the cause in the log by `request_id`." },
  upstream_unreachable: { status: 502, text: "The upstream could not be reached, or ended its answer early." },
  upstream_bad_answer: { status: 502, text: "The upstream answered with something that is not an answer of HTTP." },
  upstream_encoded: { status: 502, text: "The upstream answered in a Content-Encoding that cannot be checked." },
  upstream_bad_redirect: { status: 502, text: "The upstream redirects to a URL that the gateway does not follow." },
  upstream_credential_failed: { status: 502, text: "The upstream's token endpoint issued no access token." },
  provider_unavailable: {
    status: 502,
    text: "The company's OpenID provider, where people sign in, does not answer as it should.",
  },
  credential_echo: { status: 502, text: "The upstream's answer contained the credential, and is withheld." },
  misconfigured: {
    status: 503,
    title: "Service misconfigured",
    text: "The deployment is not set up; `details` names each setting, binding or migration that is missing, and says what to do.",
  },
  deletion_unfinished: {
    status: 503,
    text: "The agent to delete has very many sessions, and some are left: send the request again.",
  },
  audit_unavailable: {
    status: 503,
    text: "The audit log takes no records now, and what cannot be recorded is not done.",
  },
  archive_unavailable: { status: 503, text: "The archive of the audit log cannot be read now." },
  database_unavailable: { status: 503, text: "The database does not answer, or has no room." },
  limit_unknown: { status: 503, text: "Whether a rate limit is reached cannot be found out now." },
  issuer_unavailable: { status: 503, text: "The keys of a trusted issuer cannot be fetched now." },
  standing_unknown: { status: 503, text: "Whether the token is still valid cannot be found out now." },
  upstream_not_configured: { status: 503, text: "The gateway has no credential or base URL for the service." },
  upstream_timeout: { status: 504, text: "The upstream did not answer in time." },
} as const satisfies Readonly<Record<string, ErrorDescription>>;

/** The machine-readable code of an error. */
export type ErrorCode = keyof typeof ERRORS;

type CodeOf<Status> = { [C in ErrorCode]: (typeof ERRORS)[C]["status"] extends Status ? C : never }[ErrorCode];

/** The stable title of errors with this code. */
export function titleOf(code: ErrorCode): string {
  const { status, title }: ErrorDescription = ERRORS[code];
  return title ?? STATUS_TITLES[status];
}

/** What an error's response carries beside its code and its message. */
interface ErrorFields {
  readonly details?: ReadonlyArray<{ field?: string; permission?: string; message: string }> | undefined;
  /** Further top-level keys of the body: `required`, `granted`, `violations`, `tier`, `limit`, `retry_after`, `upstream`. */
  readonly extra?: Readonly<Record<string, unknown>> | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** For the operator's log only. */
  readonly cause?: unknown;
}

/** A refusal with everything that its response needs. Thrown anywhere below the app, and caught in one place. */
export class ApiError extends Error {
  readonly code: ErrorCode;
  readonly fields: ErrorFields;

  /** @param message what happened and what to do about it, as a sentence. */
  constructor(code: ErrorCode, message: string, { cause, ...fields }: ErrorFields = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "ApiError";
    this.code = code;
    this.fields = fields;
  }

  get status(): ErrorDescription["status"] {
    return ERRORS[this.code].status;
  }
}

/** Published SDKs compare `error` with the title of these; of all other codes they show it, so it contains the message. */
const TITLE_IN_ERROR: ReadonlySet<ErrorCode> = new Set([
  "invalid_credentials",
  "malformed_api_key",
  "agent_inactive",
  "insufficient_permissions",
  "rate_limited",
]);

/** Returns the response for an error: the one shape that all errors have. */
export function errorResponse({ code, status, message, fields }: ApiError, requestId: string): Response {
  const { details, extra, headers } = fields;
  const title = titleOf(code);
  return Response.json(
    {
      error: TITLE_IN_ERROR.has(code) ? title : message,
      title,
      message,
      status,
      code,
      request_id: requestId,
      ...(details && { details }),
      ...extra,
    },
    { status, headers: { "Cache-Control": "no-store", ...headers } },
  );
}

/** 400 for a body, query or parameter that is not valid. @param details each fault with its field's name. */
export const badRequest = (
  message: string,
  details?: ErrorFields["details"],
  code: CodeOf<400> = "validation_error",
): ApiError => new ApiError(code, message, { details });

/** 401. Its challenge is set with the response: see `challengeOf`. */
export const unauthorized = (code: CodeOf<401>, message: string): ApiError => new ApiError(code, message);

/** 403 for a command that a person has let in. @param what as a sentence. */
export const browserRequired = (what: string): ApiError =>
  forbidden("browser_required", `${what} A command line may not do it: do it in a browser, at /console.`);

/** 401 for a person who is not signed in. @param what is wrong, as a sentence. */
export const signInRequired = (what: string): ApiError =>
  unauthorized("sign_in_required", `${what} Sign in at /sign-in.`);

/** 401 for a token that was valid and has been ended. */
export const tokenRevoked = (): ApiError =>
  unauthorized("token_revoked", "The access token has been revoked, or its agent is not active.");

/** 401 or 403 for a caller that lost its authority while its request was handled. */
export function authorityLost(loss: AuthorityLoss): ApiError {
  switch (loss.reason) {
    case "token_revoked":
      return tokenRevoked();
    case "grants_changed":
      return unavailable("standing_unknown", "The agent's permissions are being changed. Send the request again.");
    case "session_ended":
      return signInRequired("The session has ended.");
    case "role_changed":
      return forbidden(
        "role_required",
        "The person's role, or the agent's owner, was changed while the request was handled.",
      );
    case "person_required":
      return forbidden(
        "person_required",
        "A person administers this deployment: only a person who is signed in may loosen what limits an agent, or grant *:*:*.",
      );
    case "browser_required":
      return browserRequired("This is more than an administrator lets others grant this agent (`grantable`).");
    case "administrator_required":
      return forbidden(
        "role_required",
        "The agent holds *:*:*, and whoever has a key of it administers the deployment: only an administrator makes one.",
      );
    case "key_of_administrator":
      return browserRequired("The agent holds *:*:*, and whoever has a key of it administers the deployment.");
    case "bootstrap_ended":
      return forbidden(
        "bootstrap_ended",
        'People administer this deployment, so the bootstrap token registers no agents any more. Set BOOTSTRAP = "keep" if it should.',
      );
    case "key_refused":
      return reauthenticationRequired(
        "The `api_key` in the body is not one of this agent, or may not be used from this address.",
      );
    case "insufficient_permissions":
      break;
  }
  const { required, granted } = loss;
  return forbidden(
    "insufficient_permissions",
    "A permission that this request needs was taken away while the request was handled.",
    { required, granted },
  );
}

/** 403 for what needs a proof by API key that is at most 5 minutes old. @param what is wrong, as a sentence. */
export const reauthenticationRequired = (what: string): ApiError =>
  forbidden(
    "reauthentication_required",
    `${what} This needs a proof by API key of the last 5 minutes: repeat it with a token that POST /agents/verify has just given, or with the caller's own key as \`api_key\` in the body.`,
  );

/** 403 for a caller that has proved who it is and may not do this. */
export const forbidden = (code: CodeOf<403>, message: string, extra?: Readonly<Record<string, unknown>>): ApiError =>
  new ApiError(code, message, { extra });

/** 403 for a token or key that may not be used from the caller's address. The message does not say from which it may. */
export const addressNotAllowed = (): ApiError =>
  forbidden(
    "address_not_allowed",
    "This agent, or its key, may not be used from this address. Its owner sees allowed_ips.",
  );

/** 404. @param what the thing with its article: `The agent`. */
export const notFound = (what: string): ApiError => new ApiError("not_found", `${what} does not exist.`);

/** 409 for what the state of a thing does not allow. */
export const conflict = (code: CodeOf<409>, message: string): ApiError => new ApiError(code, message);

/** 503 if a part that the decision depends on does not answer: no request is accepted without its checks. */
export const unavailable = (code: CodeOf<503>, message: string, cause?: unknown, retryAfter = 1): ApiError =>
  new ApiError(code, message, { headers: { "Retry-After": String(retryAfter) }, cause });

/** 503 for a deployment that is not set up. @param faults each says what is missing and what to do. */
export const misconfigured = (faults: readonly string[], cause: unknown = faults.join(" ")): ApiError =>
  new ApiError("misconfigured", `This deployment is not set up: ${faults[0] ?? "details say what to correct."}`, {
    details: faults.map((message) => ({ message })),
    headers: { "Retry-After": String(SET_UP_SECONDS) },
    cause,
  });

/** What an operator has to do is not done within a second, in seconds. */
const SET_UP_SECONDS = 30;

/**
 * 503 for a failure of the database that its statement has not caused: it does not answer, has no room, or lacks a table or a column.
 * Undefined for every other error.
 */
export function databaseError(error: unknown): ApiError | undefined {
  const failure = databaseFailure(error);
  switch (failure?.kind) {
    case "unavailable":
      return unavailable("database_unavailable", "The database does not answer now. Try again.", error);
    case "full":
      return unavailable(
        "database_unavailable",
        "The database has no room for what is new. Its operator has to make some.",
        error,
        SET_UP_SECONDS,
      );
    case "not_migrated":
      return misconfigured([migrationHelp(failure.missing)], error);
    case undefined:
      return undefined;
  }
}
