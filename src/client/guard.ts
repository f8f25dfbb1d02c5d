import { AuthenticationError, ConnectionError } from "./errors.ts";
import { isGranted, type Permission } from "./permissions.ts";
import { verifyAccessToken, type VerifiedAgent, type VerifyOptions } from "./verify.ts";

/** How tokens are verified. `issuer` and `audience` default to `AGENTAUTH_ISSUER` and `AGENTAUTH_AUDIENCE`. */
export type GuardOptions = Partial<VerifyOptions>;

export type Outcome = { readonly agent: VerifiedAgent } | { readonly refusal: Refusal };

/** A response in the shape of AgentAuth's own errors. */
interface Refusal {
  readonly status: 401 | 403 | 503;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Readonly<Record<string, unknown>>;
}

/**
 * Verifies an `Authorization` header and checks that its token grants a permission.
 *
 * @returns The agent, or the response to refuse the request with: 401, 403, or 503 if the keys cannot be fetched.
 * @throws {TypeError} No issuer is given, or it is not a URL.
 */
export async function guard(
  authorization: string | null | undefined,
  permission: Permission,
  options: GuardOptions,
): Promise<Outcome> {
  const env = (globalThis as { process?: { env: Record<string, string | undefined> } }).process?.env ?? {};
  const { issuer = env.AGENTAUTH_ISSUER, audience = env.AGENTAUTH_AUDIENCE } = options;
  if (!issuer)
    throw new TypeError("Give the issuer: requirePermission(permission, { issuer }), or set AGENTAUTH_ISSUER.");
  const token = /^Bearer +([^\s]+) *$/i.exec(authorization ?? "")?.[1];
  if (!token) {
    const message = "Send an access token as Authorization: Bearer <access token>.";
    return refuse(401, "Unauthorized", "missing_token", message, { challenge: "Bearer" });
  }
  try {
    const agent = await verifyAccessToken(token, { ...options, issuer, audience });
    if (isGranted(agent.permissions, permission)) return { agent };
    return refuse(403, "Insufficient permissions", "insufficient_permissions", `This needs ${permission}.`, {
      challenge: `Bearer error="insufficient_scope", scope="${permission}"`,
      required: permission,
      granted: agent.permissions,
    });
  } catch (error) {
    if (error instanceof AuthenticationError) {
      const challenge = 'Bearer error="invalid_token"';
      return refuse(401, "Unauthorized", error.code, error.message, { challenge });
    }
    if (!(error instanceof ConnectionError)) throw error;
    return refuse(503, "Service unavailable", error.code, error.message, {});
  }
}

function refuse(
  status: Refusal["status"],
  error: string,
  code: string,
  message: string,
  { challenge, ...extra }: { challenge?: string; required?: string; granted?: readonly string[] },
): Outcome {
  const headers = {
    "content-type": "application/json",
    "cache-control": "no-store",
    ...(challenge && { "www-authenticate": challenge }),
  };
  return {
    refusal: { status, headers, body: { error, message, status, code, request_id: crypto.randomUUID(), ...extra } },
  };
}
