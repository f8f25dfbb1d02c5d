import { errors, jwtVerify } from "jose";
import { AuthenticationError, ConnectionError } from "./errors.ts";
import { checkProof, type PresentedProof, type VerifiedProof } from "./dpop-proof.ts";
import { KeySet, KeysUnavailableError } from "./key-set.ts";
import type { KeySetOptions } from "./key-set-options.ts";
import type { GrantConditions, Tier } from "./wire.ts";

export interface VerifyOptions extends KeySetOptions {
  /** The deployment's `ISSUER`, for example `https://agentauth.example.com`. */
  readonly issuer: string;
  /** The deployment's `AUDIENCE`. The default is the issuer. */
  readonly audience?: string | undefined;
  /** The URL of the public keys. The default is `/.well-known/jwks.json` of the issuer. */
  readonly jwksUri?: string | undefined;
  /** Seconds by which the two clocks may differ. The default is 5. */
  readonly clockTolerance?: number | undefined;
  /** What shows that the caller has the key that the token is bound to. Give it for a token of the scheme DPoP, and for no other. */
  readonly proof?: PresentedProof | undefined;
}

export type { PresentedProof, VerifiedProof } from "./dpop-proof.ts";

export { isGranted } from "./permissions.ts";
/** @deprecated The former name of `isGranted`. */
export { isGranted as reaches } from "./permissions.ts";

/** The claims of an access token (RFC 9068 §2.2). Times are seconds. */
export interface AccessTokenClaims {
  readonly iss: string;
  readonly sub: string;
  readonly aud: string | readonly string[];
  readonly iat: number;
  readonly exp: number;
  readonly jti: string;
  readonly client_id: string;
  readonly scope: string;
  readonly tier: Tier;
  readonly [claim: string]: unknown;
}

/** A permission that a token grants with limits (`authorization_details`, RFC 9396). */
export interface LimitedPermission {
  readonly permission: string;
  /** The conditions by the field of the request. Absent: none. */
  readonly where?: Readonly<Record<string, GrantConditions>>;
  /** Absent: it has no end of its own. */
  readonly expires_at?: string;
}

/** The agent that an access token was issued to. */
export interface VerifiedAgent {
  readonly agentId: string;
  /** What the token grants without limits: the agent's permissions when the token was issued. */
  readonly permissions: readonly string[];
  /**
   * What it grants with limits or until a time, which is not among `permissions`. Only who checks the limits against the request may
   * take such a permission as granted.
   */
  readonly limited: readonly LimitedPermission[];
  readonly tier: Tier;
  readonly claims: AccessTokenClaims;
  /** Of a token that is bound to a key: the proof, which is good once. You have to remember it; see `VerifiedProof`. */
  readonly proof?: VerifiedProof;
}

/** By URL. Every call for the same deployment shares its keys. */
const keySets = new Map<string, KeySet>();

/**
 * Verifies an access token (RFC 9068) offline, with the deployment's published keys, and returns its agent.
 *
 * The keys are fetched when they are first needed, and kept. While they cannot be fetched again the present keys stay in use,
 * for a day at most. A revocation after the token was issued is not visible offline, which is why tokens are short-lived.
 *
 * A token that is bound to a key (DPoP, RFC 9449) is refused without a proof that whoever presents it has the key, and a token that is
 * bound to none is refused with one (§7.1). That a proof was not used before is not checked here.
 *
 * @example const { agentId, permissions } = await verifyAccessToken(token, { issuer: "https://agentauth.example.com" });
 *
 * @example
 * const [, token] = /^DPoP (.+)$/i.exec(request.headers.get("authorization") ?? "") ?? [];
 * const proof = { header: request.headers.get("dpop") ?? "", method: request.method, url: request.url };
 * const agent = await verifyAccessToken(token, { issuer, proof });
 * const { jkt, jti, usableUntil } = agent.proof!;
 * if (!(await rememberOnce(`${jkt} ${jti}`, usableUntil))) return new Response(null, { status: 401 });
 *
 * @throws {AuthenticationError} `token_expired`, `invalid_dpop_proof`, or `invalid_token` with a message that says which check fails; a delegated token, by
 * which one agent acts for another, is none.
 * @throws {ConnectionError} `jwks_unavailable`: the keys could not be fetched.
 * @throws {TypeError} `issuer` or `jwksUri` is not a URL.
 */
export async function verifyAccessToken(
  token: string,
  {
    issuer,
    audience = issuer,
    jwksUri = jwksUriOf(issuer),
    clockTolerance = 5,
    proof,
    ...keySetOptions
  }: VerifyOptions,
): Promise<VerifiedAgent> {
  let keySet = keySets.get(jwksUri);
  if (!keySet) keySets.set(jwksUri, (keySet = new KeySet(new URL(jwksUri))));
  try {
    const { payload } = await jwtVerify(token, keySet.getKey(keySetOptions), {
      issuer,
      audience,
      algorithms: ["ES256"],
      typ: "at+jwt",
      clockTolerance,
      requiredClaims: ["sub", "exp", "iat", "jti", "client_id", "scope"],
    });
    const { sub, jti, scope, tier } = payload;
    if (typeof sub !== "string" || !sub || !jti || typeof scope !== "string") {
      throw refused("invalid_token", "The access token lacks a claim.");
    }
    // Sent as Bearer it may have been stolen (RFC 9449 §7.2), and any other confirmation cannot be checked here.
    const jkt = thumbprintOf(payload.cnf);
    if (payload.cnf !== undefined && !(jkt && proof)) {
      throw refused("invalid_token", "The access token is bound to a key. It is good with a proof of the key only.");
    }
    if (proof && !jkt)
      throw refused("invalid_token", "The access token is bound to no key, so it is none of the scheme DPoP.");
    // What each agent of the chain has at present, the gateway knows and an offline verifier does not.
    if (payload.act !== undefined || payload.chain !== undefined) {
      throw refused("invalid_token", "The access token is a delegated one, which only the gateway takes.");
    }
    const checked = proof && (await checkProof(proof, token, jkt!));
    if (checked && "fault" in checked) throw refused("invalid_dpop_proof", checked.fault);
    return {
      agentId: sub,
      permissions: scope.split(" ").filter(Boolean),
      limited: limitedPermissions(payload.authorization_details),
      tier: tier as Tier,
      claims: payload as unknown as AccessTokenClaims,
      ...(checked && { proof: checked }),
    };
  } catch (cause) {
    if (cause instanceof AuthenticationError) throw cause;
    if (cause instanceof errors.JWTExpired) throw refused("token_expired", "The access token has expired.", cause);
    if (cause instanceof KeysUnavailableError) {
      const message = `The keys at ${jwksUri} could not be fetched. Is issuer the deployment's ISSUER, or jwksUri needed?`;
      throw new ConnectionError({ status: 0, code: "jwks_unavailable", message }, { cause: cause.cause });
    }
    throw refused("invalid_token", `The access token is not valid here: ${(cause as Error).message}.`, cause);
  }
}

/** The permissions with limits. A token of many contains their ids instead, of which an offline verifier can make nothing. */
const limitedPermissions = (details: unknown): LimitedPermission[] =>
  (Array.isArray(details) ? (details as { type?: unknown }[]) : [])
    .filter((one) => one?.type === "agentauth_grant")
    .map(({ type: _type, ...limited }) => limited as unknown as LimitedPermission);

/** The thumbprint in `cnf`, if that says nothing else (RFC 9449 §6.1). */
function thumbprintOf(confirmation: unknown): string | undefined {
  const [[name, value] = [], ...others] = Object.entries(confirmation ?? {});
  return name === "jkt" && typeof value === "string" && others.length === 0 ? value : undefined;
}

const jwksUriOf = (issuer: string): string => `${issuer.replace(/\/$/, "")}/.well-known/jwks.json`;

const refused = (code: string, message: string, cause?: unknown): AuthenticationError =>
  new AuthenticationError({ status: 401, code, message }, { cause });
