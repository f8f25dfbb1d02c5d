import { SIGNATURE_ALGORITHMS } from "../agents/public-key.ts";
import type { ApiError, ErrorCode } from "./errors.ts";
import type { RequestContext } from "./request-context.ts";

/** What the challenge to a request depends on beside its error. */
type ChallengedRequest = Pick<RequestContext, "config" | "issuer">;

/** Nothing was presented, or not an access token: `error` is left out (RFC 6750 §3.1). */
const WITHOUT_ERROR: ReadonlySet<ErrorCode> = new Set([
  "missing_token",
  "invalid_credentials",
  "malformed_api_key",
  "agent_inactive",
  "sign_in_required",
  "sign_in_refused",
]);

/** How recent a proof `reauthentication_required` asks for, in seconds: it is for what outlives a stolen token or session. */
export const MAX_PROOF_AGE_SECONDS = 300;

/**
 * Returns the `WWW-Authenticate` of a 401 or 403 (RFC 6750 §3), with the URL of the metadata of the protected resource
 * (RFC 9728 §5.1). Undefined for every other status.
 *
 * A proof that is too old is called what it is in RFC 9470 §3. An address that is not allowed has no name in any RFC.
 *
 * A request with a token in the DPoP scheme, or with one that is bound, is challenged in that scheme (RFC 9449 §7.1).
 *
 * @param request undefined if the request was refused before its context was known.
 */
export function challengeOf(
  error: ApiError,
  { url, headers }: Pick<Request, "url" | "headers">,
  request: ChallengedRequest | undefined,
): string | undefined {
  if (error.status !== 401 && error.status !== 403) return undefined;
  const isBound = DPOP_ERRORS.has(error.code) || /^dpop /i.test(headers.get("authorization") ?? "");
  const attributes = [
    `realm="agentauth"`,
    ...(error.status === 401 ? tokenError(error) : permissionError(error)),
    ...(request ? [`resource_metadata="${metadataUrl(url, request)}"`] : []),
  ];
  return isBound ? `DPoP ${[...attributes, ALGORITHMS].join(", ")}` : `Bearer ${attributes.join(", ")}`;
}

/** What is wrong with a proof (RFC 9449 §7.1, §9). */
const DPOP_ERRORS: ReadonlySet<ErrorCode> = new Set(["invalid_dpop_proof", "use_dpop_nonce"]);

/** The algorithms of proofs. */
const ALGORITHMS = `algs="${SIGNATURE_ALGORITHMS.join(" ")}"`;

function tokenError({ code }: ApiError): string[] {
  if (WITHOUT_ERROR.has(code)) return [];
  return [`error="${DPOP_ERRORS.has(code) ? code : "invalid_token"}"`];
}

function permissionError({ code, fields }: ApiError): string[] {
  const required = fields.extra?.required;
  if (typeof required === "string") return [`error="insufficient_scope"`, `scope="${required}"`];
  if (code === "grant_beyond_caller" || code === "registration_closed") return [`error="insufficient_scope"`];
  if (code === "reauthentication_required") {
    return [`error="insufficient_user_authentication"`, `max_age="${MAX_PROOF_AGE_SECONDS}"`];
  }
  return [];
}

/** The path of the metadata of this deployment as a protected resource (RFC 9728 §3.1). That of a service is below it. */
export const RESOURCE_METADATA_PATH = "/.well-known/oauth-protected-resource";

/** The path of the MCP server, which is a resource of its own. */
export const MCP_PATH = "/mcp";

/** The metadata of the service or the MCP server that a URL is of, or else of the deployment. */
function metadataUrl(url: string, { config, issuer }: ChallengedRequest): string {
  const [, path = "", service] = /^[^:]+:\/\/[^/]+(\/mcp|\/proxy\/([a-z0-9_-]+))(?:[/?#]|$)/.exec(url) ?? [];
  const isResource = path === MCP_PATH || (service !== undefined && config.services.has(service));
  return `${issuer}${RESOURCE_METADATA_PATH}${isResource ? path : ""}`;
}
