import { serviceWildcard } from "../permissions/grammar.ts";
import { ApiError, forbidden } from "../http/errors.ts";
import { describeExceeded, type LimitsExceeded } from "../policy/judge.ts";
import { toWireViolation } from "../policy/limits.ts";
import type { Refusal, ResolvedRequest } from "../policy/resolve.ts";
import type { Service } from "../policy/services.ts";
import type { CredentialFault } from "./credentials/credentials.ts";
import type { UpstreamFailure } from "./upstream/forward.ts";

/**
 * The errors of the gateway itself. Each names its upstream or what is missing. Details that only the operator may read, such as the
 * name of a secret, are in the error's `cause`, which is logged and never sent.
 */

/** Returns the error for a request that is never forwarded. A 405 lists the methods that are, in `Allow` (RFC 9110 §15.5.6). */
export function requestRefused({ code, message }: Refusal): ApiError {
  const isMethod = code === "method_not_allowed";
  const headers = isMethod ? { Allow: "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS" } : undefined;
  return new ApiError(code, message, { headers });
}

/** Returns 400 for a request that would send the agent's own token to the upstream. */
export const tokenInRequest = (): ApiError =>
  new ApiError(
    "token_in_request",
    "The path, the query, a header or the body contains your access token, which no upstream gets. Send it in its one place only.",
  );

/** The permission that an error for missing permissions names first. */
export const requiredPermission = ({ service }: ResolvedRequest, missing: readonly string[]): string =>
  missing[0] ?? serviceWildcard(service.name);

/**
 * Returns 403 `insufficient_permissions`. A request that no rule covers and one whose permission is missing get the same
 * response, which names the required permission.
 *
 * @param missing the required permissions that are not granted.
 * @param granted the permissions that the token and its agent both have.
 * @param parameter the key of the body that needs the service's wildcard, if that is the reason.
 */
export function permissionDenied(
  resolved: ResolvedRequest,
  missing: readonly string[],
  granted: ReadonlySet<string>,
  parameter?: string,
): ApiError {
  const required = requiredPermission(resolved, missing);
  const hint = resolved.hint === undefined || parameter ? "" : ` ${resolved.hint}`;
  return forbidden(
    "insufficient_permissions",
    resolved.rule === null || parameter
      ? `Nothing in the catalogue covers ${parameter ?? "this request"}, so it needs ${required}.${hint}`
      : `This request needs ${missing.join(" and ")}. Ask the agent's administrator for it, then verify again.`,
    { required, granted: [...granted] },
  );
}

/** Returns 403 `grant_expired` for permissions that were granted until a time that has passed. */
export function grantExpired(permissions: readonly string[], granted: ReadonlySet<string>): ApiError {
  return forbidden(
    "grant_expired",
    `The grant of ${permissions.join(" and ")} has ended. Ask the agent's administrator for a new one. If there is one already, verify again.`,
    { required: permissions[0]!, granted: [...granted] },
  );
}

/** Returns 403 `constraint_violated`, which names what the agent can correct. */
export function constraintViolated(exceeded: LimitsExceeded): ApiError {
  const { permission, violations } = exceeded;
  return forbidden(
    "constraint_violated",
    `${permission} is granted within limits that this request does not meet: ${describeExceeded(exceeded)}.`,
    { required: permission, violations: violations.map(toWireViolation) },
  );
}

/**
 * Returns 503 if a setting of the service is missing or cannot be used, and 502 if its token endpoint issued no access token. The agent
 * learns whom to ask; the setting and the reason are in the log only.
 */
export function credentialUnavailable({ name }: Service, fault: CredentialFault): ApiError {
  const extra = { upstream: name };
  if ("setting" in fault) {
    return new ApiError(
      "upstream_not_configured",
      `The gateway is not set up for ${name}. Ask its administrator to set its credential: the gateway's log says which setting, under this request_id.`,
      { extra, cause: `${fault.setting} ${fault.fault}` },
    );
  }
  const headers = fault.retryMs > 0 ? { "Retry-After": String(Math.ceil(fault.retryMs / 1000)) } : undefined;
  return new ApiError(
    "upstream_credential_failed",
    `${name} gave the gateway no access token. Try again later. If it stays so, ask the gateway's administrator: its log has the reason, under this request_id.`,
    { extra, ...(headers && { headers }), cause: fault.failed },
  );
}

/** The code of the error for each way in which an upstream fails. */
const UPSTREAM_CODES = {
  timeout: "upstream_timeout",
  bad_answer: "upstream_bad_answer",
  encoded: "upstream_encoded",
  bad_redirect: "upstream_bad_redirect",
  unreachable: "upstream_unreachable",
  broken_off: "upstream_unreachable",
  stalled: "upstream_timeout",
  credential_echo: "credential_echo",
} as const satisfies Record<UpstreamFailure["failure"], string>;

/** Returns 504 if an upstream did not begin its answer in time, or did not end a short one, and 502 for every other answer that cannot be passed on. */
export function upstreamFailed(
  { name, timeoutMs, idleTimeoutMs }: Service,
  { failure, upstreamStatus, cause }: UpstreamFailure,
): ApiError {
  const message = {
    timeout: `${name} did not begin its answer within ${timeoutMs / 1000} seconds.`,
    bad_answer: `${name} answered with the status ${upstreamStatus}, which no answer to this request can have. What was sent may have been done.`,
    encoded: `${name} answered in a Content-Encoding in which its credential could not be found.`,
    bad_redirect: `${name} redirects to a URL that no request of an agent may have, and is not followed: a path that the gateway refuses, another scheme than http(s), or the gateway itself.`,
    unreachable: `${name} could not be reached, or broke the connection off.`,
    broken_off: `${name} broke its answer off.`,
    stalled: `${name} began its answer and did not send the rest within ${idleTimeoutMs / 1000} seconds.`,
    credential_echo: `The response of ${name} contained the credential that the gateway added, so it is not passed on.`,
  }[failure];
  return new ApiError(UPSTREAM_CODES[failure], message, { extra: { upstream: name }, cause });
}
