import { PROOF_ALGORITHMS } from "./dpop-proof.ts";
import { AuthenticationError, ConnectionError } from "./errors.ts";
import { hashOf } from "./jwt.ts";
import { isGranted, type Permission } from "./permissions.ts";
import { verifyAccessToken, type VerifiedAgent, type VerifyOptions } from "./verify.ts";

/**
 * How tokens are verified. `issuer`, `audience` and `publicUrl` default to `AGENTAUTH_ISSUER`, `AGENTAUTH_AUDIENCE` and
 * `AGENTAUTH_PUBLIC_URL`.
 */
export interface GuardOptions extends Partial<Omit<VerifyOptions, "proof">> {
  /**
   * What stands before the path in this service's URLs as its callers know them: `https://api.example.com`. Only with it are tokens taken
   * that are bound to a key (DPoP), because a request can claim any host: who receives a proof for a URL of their own could send it on.
   */
  readonly publicUrl?: string | undefined;
  /**
   * Remembers the id of a DPoP proof until `usableUntil` (milliseconds), and says whether it is new: a proof is good once. The default
   * remembers within this process. Servers that share their work need a store that they share.
   *
   * @example (id, usableUntil) => redis.set(`dpop:${id}`, "", { NX: true, PXAT: usableUntil }).then((answer) => answer === "OK")
   */
  readonly rememberProof?: ((id: string, usableUntil: number) => boolean | Promise<boolean>) | undefined;
}

/** What a guard needs to know of a request. */
export interface GuardedRequest {
  readonly method: string;
  /** The path, with or without the query. */
  readonly path: string;
  /** The header `Authorization`. */
  readonly authorization: string | null | undefined;
  /** The header `DPoP`. */
  readonly dpop: string | null | undefined;
}

export type Outcome = { readonly agent: VerifiedAgent } | { readonly refusal: Refusal };

/** A response in the shape of AgentAuth's own errors. */
interface Refusal {
  readonly status: 401 | 403 | 503;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Readonly<Record<string, unknown>>;
}

/**
 * Verifies the access token of a request, and the proof of one that is bound to a key (DPoP, RFC 9449), and checks that the token grants a
 * permission.
 *
 * @returns The agent, or the response to refuse the request with: 401, 403, or 503 if the keys cannot be fetched.
 * @throws {TypeError} No issuer is given, or it or `publicUrl` is not a URL. Besides, what `rememberProof` throws.
 */
export async function guard(
  { method, path, authorization, dpop }: GuardedRequest,
  permission: Permission,
  { publicUrl = env("AGENTAUTH_PUBLIC_URL"), rememberProof = rememberHere, ...options }: GuardOptions,
): Promise<Outcome> {
  const { issuer = env("AGENTAUTH_ISSUER"), audience = env("AGENTAUTH_AUDIENCE") } = options;
  if (!issuer)
    throw new TypeError("Give the issuer: requirePermission(permission, { issuer }), or set AGENTAUTH_ISSUER.");
  if (publicUrl && !URL.canParse(publicUrl)) throw new TypeError("publicUrl must be a URL: https://api.example.com.");
  const [, scheme = "", token] = /^(Bearer|DPoP) +([^\s]+) *$/i.exec(authorization ?? "") ?? [];
  const isBound = scheme.toLowerCase() === "dpop";
  if (!token) {
    const message = "Send an access token as Authorization: Bearer <access token>.";
    const challenge = publicUrl ? `Bearer, DPoP ${ALGORITHMS}` : "Bearer";
    return refuse(401, "Unauthorized", "missing_token", message, { challenge });
  }
  if (isBound && !publicUrl) {
    const message = "This service takes no tokens that are bound to a key: its guard has no publicUrl.";
    return refuse(401, "Unauthorized", "invalid_token", message, { challenge: 'Bearer error="invalid_token"' });
  }
  const challengeOf = (attributes: string): string =>
    isBound ? `DPoP ${attributes}, ${ALGORITHMS}` : `Bearer ${attributes}`;
  try {
    const proof = isBound ? { header: dpop ?? "", method, url: urlOf(publicUrl!, path) } : undefined;
    const agent = await verifyAccessToken(token, { ...options, issuer, audience, proof });
    if (agent.proof) {
      const { jkt, jti, usableUntil } = agent.proof;
      if (!(await rememberProof(await hashOf(`${jkt} ${jti}`), usableUntil))) {
        const message = "The proof was used before. Make a new one for each request.";
        throw new AuthenticationError({ status: 401, code: "invalid_dpop_proof", message });
      }
    }
    if (isGranted(agent.permissions, permission)) return { agent };
    return refuse(403, "Insufficient permissions", "insufficient_permissions", `This needs ${permission}.`, {
      challenge: challengeOf(`error="insufficient_scope", scope="${permission}"`),
      required: permission,
      granted: agent.permissions,
    });
  } catch (error) {
    if (error instanceof AuthenticationError) {
      const { code, message } = error;
      const challenge = challengeOf(`error="${code === "invalid_dpop_proof" ? code : "invalid_token"}"`);
      // Sent as Bearer, a token may be refused because it is bound.
      const both = isBound || !publicUrl ? challenge : `${challenge}, DPoP ${ALGORITHMS}`;
      return refuse(401, "Unauthorized", code, message, { challenge: both });
    }
    if (!(error instanceof ConnectionError)) throw error;
    return refuse(503, "Service unavailable", error.code, error.message, {});
  }
}

const ALGORITHMS = `algs="${PROOF_ALGORITHMS.join(" ")}"`;

const env = (name: string): string | undefined =>
  (globalThis as { process?: { env: Record<string, string | undefined> } }).process?.env[name];

/** The URL of a request as its caller knows it. Empty, which is no URL, for a request target that is not a path. */
const urlOf = (publicUrl: string, path: string): string =>
  path.startsWith("/") ? publicUrl.replace(/\/+$/, "") + path : "";

/** Until when each proof that this process has taken could be sent again. The oldest come first. */
const taken = new Map<string, number>();

/** The `rememberProof` of a single process. It has an entry for each bound request of the last five minutes. */
function rememberHere(id: string, usableUntil: number): boolean {
  // The ends of two proofs are minutes apart at most, so one that is still usable hides expired ones for no longer than that.
  for (const [first, until] of taken) {
    if (until > Date.now()) break;
    taken.delete(first);
  }
  if (taken.has(id)) return false;
  taken.set(id, usableUntil);
  return true;
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
