import type { AgentAuthority } from "../authority/authority.ts";
import type { Agent } from "../agents/agent.ts";
import type { Registrar } from "../agents/register.ts";
import type { Config } from "../config/config.ts";
import { equalSecrets } from "../crypto/hmac.ts";
import { expandGrants, unlimitedPermissions } from "../grants/grant.ts";
import { isUnlimited, type GrantLimits } from "../permissions/grant.ts";
import { ADMIN } from "../permissions/grammar.ts";
import { intersectPermissions } from "../permissions/match.ts";
import { actorOf, verifyAccessToken, type AccessClaims } from "../tokens/access-token.ts";
import { grantsOfToken } from "../tokens/authorization-details.ts";
import { tokenSettings } from "../tokens/issuer.ts";
import { getTokenStatus, isKnownRevoked, isStatusCached, type TokenStatus } from "../tokens/token-status.ts";
import type { Proof } from "../tokens/records.ts";
import { proofRefused, readProof, useProofOnce } from "./proof.ts";
import { limitAgent, limitToken, rememberAgentOf } from "./rate-limit.ts";
import {
  addressNotAllowed,
  databaseError,
  forbidden,
  tokenRevoked,
  unauthorized,
  unavailable,
} from "../http/errors.ts";
import { rememberAgent } from "../log/request-log.ts";
import type { RequestContext } from "../http/request-context.ts";
import { isInNetworks } from "../validation/ip-address.ts";

/** An active agent that sent a valid access token. With a delegated token, the agent that acts for others. */
export interface Caller {
  readonly kind: "agent";
  readonly id: string;
  readonly agent: Agent;
  /** The agent itself, and with a delegated token after it those that it acts for, back to the one whose token it was. */
  readonly agents: readonly [Agent, ...Agent[]];
  readonly claims: AccessClaims;
  /** The key that its token goes back to. Null for a session of the former format. */
  readonly keyId: string | null;
  /**
   * The permissions that the token and each of {@link agents} have without a limit and without an end. What is limited is not among them, so
   * that nothing that asks for a permission takes a part of it for the whole.
   */
  readonly permissions: ReadonlySet<string>;
  /** All that the token gives, with its limits. A request has to be within one of these and within one of each of {@link agentGrants}. */
  readonly tokenGrants: readonly GrantLimits[];
  /** All that each of {@link agents} has, with its limits. Those that have ended are among them: see `hasEnded`. */
  readonly agentGrants: readonly (readonly GrantLimits[])[];
  readonly isAdmin: boolean;
  /** Whether it may read what is everybody's. */
  readonly seesAll: boolean;
}

/** While a body is streamed, its caller is checked this often, in milliseconds: a stream ends at most this long after a revocation. */
export const WATCH_INTERVAL_MS = 60_000;

type AuthenticationContext = Pick<
  RequestContext,
  "request" | "env" | "config" | "now" | "ipAddress" | "readToken" | "sentRequest" | "resource" | "timing"
> & {
  /** The request asks for nothing but the end of its own access token, whatever that is for. */
  readonly isOwnEnd?: boolean;
};

/** `Authorization: Bearer …`, the scheme in any case (RFC 9110 §11.1); undefined for no header or another scheme. */
function bearerToken(request: Request): string | undefined {
  return /^Bearer +([^\s]+) *$/i.exec(request.headers.get("authorization") ?? "")?.[1];
}

/** `Authorization: DPoP …` (RFC 9449 §7.1). */
const dpopToken = (request: Request): string | undefined =>
  /^DPoP +([^\s]+) *$/i.exec(request.headers.get("authorization") ?? "")?.[1];

/** The access token in the Authorization header, in either scheme. */
export const accessTokenOf = (request: Request): string | undefined => bearerToken(request) ?? dpopToken(request);

/** The token of a request whose signature was found good, and by which configuration. */
interface SignedToken {
  readonly token: string;
  readonly claims: AccessClaims;
  readonly config: Config;
}

const signedTokens = new WeakMap<Request, SignedToken>();

/** The claims of a request's access token if its signature was found good. The token may have been revoked. */
export const signedClaimsOf = (request: Request): AccessClaims | undefined => signedTokens.get(request)?.claims;

type StatusRecords = Extract<TokenStatus, { state: "good" }>["records"];

const callerCache = new WeakMap<AccessClaims, { records: StatusRecords; caller: Caller }>();

/**
 * Returns the claims of a request's access token, with its signature and its expiry checked. Reads no store: the token may have
 * been revoked.
 *
 * @throws {ApiError} 401 for a token that is missing, not ours or expired; 403 `delegated_token` for a delegated one on the REST face.
 */
export async function readClaims(context: AuthenticationContext): Promise<AccessClaims> {
  const { request, sentRequest = request, config, now, readToken, resource, isOwnEnd } = context;
  const bound = dpopToken(request);
  const token = readToken ? readToken() : accessTokenOf(request);
  if (!token) {
    throw unauthorized(
      "missing_token",
      "Send an access token as Authorization: Bearer <access token>. POST /agents/verify gives one.",
    );
  }
  // A request is authenticated several times: before its body is read and after, and a call of a tool at /mcp and in the gateway.
  const signed = signedTokens.get(sentRequest);
  const claims =
    signed?.token === token && signed.config === config && signed.claims.exp * 1000 > now
      ? signed.claims
      : await verifyAccessToken(token, tokenSettings(config, request.url), now);
  if (claims === "token_expired") {
    throw unauthorized(
      "token_expired",
      "The access token has expired. POST /agents/refresh or /agents/verify gives a new one.",
    );
  }
  if (claims === "invalid_token") throw invalidToken();
  // Compared as a whole: a token for /proxy/git is not one for /proxy/github, and neither is for the REST face.
  if (!isOwnEnd && claims.resources && (resource === undefined || !claims.resources.includes(resource))) {
    throw otherResource();
  }
  rememberAgent(request, actorOf(claims).agentId);
  signedTokens.set(request, { token, claims, config });
  if (!isOwnEnd && claims.delegation && resource === undefined) throw delegatedToken();
  // Whether a token is bound says in which scheme it is sent. A bound token that is sent as any other may have been stolen.
  if (claims.boundTo !== null && bound !== token) {
    const how = "Send it as Authorization: DPoP <access token>, with a proof in the header DPoP.";
    throw proofRefused({ fault: `The access token is bound to a key. ${how}` });
  }
  if (claims.boundTo === null && bound !== undefined) {
    throw unauthorized(
      "invalid_token",
      "The access token is bound to no key. Send it as Authorization: Bearer <access token>.",
    );
  }
  return claims;
}

/**
 * Checks that a request with a bound token proves to have its key, and has a proof of its own.
 *
 * @throws {ApiError} 401
 */
async function requireProof(context: AuthenticationContext, { boundTo }: AccessClaims): Promise<Proof> {
  const proof = await readProof(
    { ...context, request: context.sentRequest ?? context.request },
    dpopToken(context.request),
  );
  if (!proof) throw proofRefused({ fault: "The request has no proof: send one in the header DPoP." });
  if ("fault" in proof) throw proofRefused(proof);
  if (proof.jkt !== boundTo)
    throw proofRefused({ fault: "The proof is of another key than the access token is bound to." });
  return proof;
}

/**
 * Admits a request: returns the agent that sent it, and counts it. In this order: the token's signature; what is counted before the
 * database is asked ({@link limitToken}), unless the status is cached and there is no proof; the status, and whether the proof was used
 * before; the agent's own limit. So neither a token that was revoked, nor a proof that is sent again, nor a request above the limit costs
 * the agent any of its limit, or the database more than a limit allows.
 *
 * @param maxAge as for {@link authenticate}.
 * @throws {ApiError} as {@link authenticate}, and 429.
 */
export async function admit(context: AuthenticationContext, maxAge: number): Promise<Caller> {
  const claims = await readClaims(context);
  const proof = claims.boundTo === null ? undefined : await requireProof(context, claims);
  const { env, config, now, ipAddress } = context;
  const isKnown = isStatusCached({ claims, now, maxAge });
  if (!isKnown || proof) await limitToken(env, claims, { ipAddress, now, memoryMs: config.standingTtl * 1000 });
  // What is known as revoked is refused below, and uses up nothing.
  const using = proof && !isKnownRevoked(claims) && useProofOnce(context, proof);
  const [caller] = await Promise.all([callerWith(claims, context, maxAge), using]);
  if (!isKnown) rememberAgentOf(claims, caller.agent, now);
  // One after another: what the acting agent's own limit refuses costs nothing of the others.
  for (const agent of caller.agents) await limitAgent(env, agent, now);
  return caller;
}

/**
 * Returns the agent that sent a request, which has been counted before or is not to be.
 *
 * @param maxAge how old the cached status of the token may be, in milliseconds; 0 reads the database.
 * @throws {ApiError} 401 for a token that is missing, not valid, expired or revoked; 503 if its status cannot be read.
 */
export async function authenticate(context: AuthenticationContext, maxAge: number): Promise<Caller> {
  return callerWith(await readClaims(context), context, maxAge);
}

/**
 * Returns the agent that a token's claims name, if the token has not been revoked. Does not check `exp`.
 *
 * @param maxAge as for {@link authenticate}.
 * @throws {ApiError} 401 `token_revoked`, 403 `address_not_allowed`, or 503 `standing_unknown`.
 */
export async function callerWith(
  claims: AccessClaims,
  {
    env,
    config,
    now,
    ipAddress,
    timing,
  }: Pick<AuthenticationContext, "env" | "config" | "now" | "ipAddress" | "timing">,
  maxAge: number,
): Promise<Caller> {
  const reading = getTokenStatus({ db: env.DB, revocations: env.REVOCATIONS }, { claims, now, maxAge });
  const status = await timing.during("status", reading);
  switch (status.state) {
    case "revoked":
      throw tokenRevoked();
    case "unknown":
      throw statusUnknown(status.cause);
    case "good":
      for (const { agent, keyAllowedIps } of status.records) {
        if (!isInNetworks(ipAddress, agent.allowedIps) || !isInNetworks(ipAddress, keyAllowedIps)) {
          throw addressNotAllowed();
        }
      }
      return toCaller(status.records, claims, config);
  }
}

/** The authority with which a caller writes. @param required the permissions of the agent that the request needs. */
export const authorityOf = ({ claims }: Caller, required: readonly string[]): AgentAuthority => ({
  ...actorOf(claims),
  ...(claims.delegation && { delegators: claims.delegation.delegators }),
  required,
});

/**
 * The agent of a good token with what both have now. Caches the permissions for a token and what was read of its agents.
 *
 * @param records as of {@link TokenStatus}.
 */
export function toCaller(records: StatusRecords, claims: AccessClaims, config: Config): Caller {
  const cached = callerCache.get(claims);
  if (cached?.records === records) return cached.caller;
  const { catalogue } = config;
  const { agent, keyId } = records.at(-1)!;
  // An agent may stand in several links: its own token's, and that of the key by which it has exchanged it.
  const others = new Map(records.toReversed().map((record) => [record.agent.id, record.agent]));
  others.delete(agent.id);
  const agents = [agent, ...others.values()] as const;
  const agentGrants = agents.map((one) => expandGrants(one.grants));
  const tokenGrants = grantsOfToken(claims, records[0].agent.grants, catalogue);
  let permissions: ReadonlySet<string> = new Set(wholeOf(tokenGrants));
  for (const grants of agentGrants) permissions = intersectPermissions([...permissions], wholeOf(grants), catalogue);
  const isAdmin = permissions.has(ADMIN);
  const caller: Caller = {
    kind: "agent",
    id: agent.id,
    agent,
    agents,
    claims,
    keyId,
    permissions,
    tokenGrants,
    agentGrants,
    isAdmin,
    seesAll: isAdmin,
  };
  callerCache.set(claims, { records, caller });
  return caller;
}

/** The permissions that are given without a limit and without an end. */
const wholeOf = (grants: readonly GrantLimits[]): string[] =>
  grants.filter(isUnlimited).map(({ permission }) => permission);

/** Whether this is the bootstrap token. Takes the same time for every other token. */
const isBootstrapToken = async (
  { adminBootstrapToken, pepper }: Pick<Config, "adminBootstrapToken" | "pepper">,
  token: string | undefined,
): Promise<boolean> =>
  token !== undefined && adminBootstrapToken !== null && (await equalSecrets(pepper, token, adminBootstrapToken));

/**
 * Requires the bootstrap token.
 *
 * @throws {ApiError} 401 for anything else.
 */
export async function requireBootstrapToken({ request, config }: AuthenticationContext): Promise<void> {
  if (!request.headers.has("authorization")) {
    throw unauthorized("missing_token", "Send the bootstrap token as Authorization: Bearer <ADMIN_BOOTSTRAP_TOKEN>.");
  }
  if (await isBootstrapToken(config, bearerToken(request))) return;
  throw unauthorized("invalid_token", "This needs the bootstrap token, ADMIN_BOOTSTRAP_TOKEN of the deployment.");
}

/**
 * Returns who registers an agent: a stranger, an agent, or the holder of the bootstrap token.
 *
 * @throws {ApiError} 401 for an Authorization header that is neither a valid access token nor the bootstrap token; 503.
 */
export async function authenticateRegistrar(context: AuthenticationContext): Promise<Registrar> {
  const { request, config } = context;
  if (!request.headers.has("authorization")) return { kind: "stranger" };
  if (await isBootstrapToken(config, bearerToken(request))) {
    return { kind: "bootstrap", authority: { lasts: config.keepsBootstrap } };
  }
  const caller = await admit(context, 0);
  // A registrar can grant no more than it has at the time when the grant is written.
  const required = caller.isAdmin ? [ADMIN] : unlimitedPermissions(caller.agent.grants);
  const { name } = caller.agent;
  return { kind: "agent", name, permissions: caller.permissions, authority: authorityOf(caller, required) };
}

/** The error for a token whose status could not be read. A statement that fails by itself is a bug, and stays one. */
function statusUnknown(cause: unknown): unknown {
  const known = databaseError(cause);
  if (known?.code !== "database_unavailable") return known ?? cause;
  return unavailable("standing_unknown", "Whether the token is still valid cannot be found out now. Try again.", cause);
}

const delegatedToken = () =>
  forbidden(
    "delegated_token",
    "A delegated token is accepted at /proxy and /mcp, and at /oauth/revoke to end it. Use a token of the agent itself.",
  );

const otherResource = () =>
  unauthorized("invalid_token", "The access token is for another resource: its `aud` does not name this one.");

function invalidToken() {
  return unauthorized("invalid_token", "The access token is not valid here. POST /agents/verify gives one.");
}
