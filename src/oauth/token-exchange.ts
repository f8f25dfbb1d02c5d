import { callerWith, type Caller } from "../access/authenticate.ts";
import type { Proof } from "../tokens/records.ts";
import { originOf } from "../access/origin.ts";
import { markRecorded } from "../access/refusals.ts";
import type { Agent } from "../agents/agent.ts";
import { sendRecords } from "../audit/message.ts";
import { recordInBackground } from "../audit/record.ts";
import { ApiError } from "../http/errors.ts";
import { newEntry, type RecordOrigin } from "../outbox/record.ts";
import type { GrantLimits } from "../permissions/grant.ts";
import { missingPermissions } from "../permissions/match.ts";
import { actorOf, verifyAccessToken, type AccessClaims } from "../tokens/access-token.ts";
import { narrow } from "../tokens/authorization-details.ts";
import { isSubAgentName, subAgentId } from "../tokens/delegation.ts";
import { delegableGrants, issueDelegated, type ExchangeActor } from "../tokens/exchange.ts";
import { tokenSettings } from "../tokens/issuer.ts";
import type { RequestedDetails } from "../tokens/requested-details.ts";
import { requireClient, type Client, type OAuthCall } from "./client.ts";
import { OAuthError } from "./errors.ts";
import { readTrustedSubject } from "./trusted-subject.ts";
import {
  readDetails,
  readScope,
  readTokenProof,
  requireDetails,
  requireResources,
  toTokenResponse,
  useTokenProof,
  type TokenResponse,
} from "./token-request.ts";

export const TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";

/** The type of the tokens that are issued, and of most that are taken (RFC 8693 §3). */
const ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token";
/** A token of a trusted issuer, which is taken as `subject_token` too. */
const JWT_TYPE = "urn:ietf:params:oauth:token-type:jwt";

/** What a request for an exchange asks for, before anybody is authenticated. */
interface ExchangeRequest {
  readonly subjectToken: string;
  /** Whether that is a token of a trusted issuer. */
  readonly isTrusted: boolean;
  readonly actorToken: string | undefined;
  /** The name of an ephemeral sub-agent, which is to act. */
  readonly subAgent: string | undefined;
  readonly scope: readonly string[] | undefined;
  readonly details: RequestedDetails | undefined;
  readonly resources: readonly string[] | null;
  readonly proof: Proof | undefined;
}

/**
 * Exchanges an access token for one by which another agent acts for its agent (RFC 8693). The actor is the client, the agent of
 * `actor_token`, or a sub-agent that the token's agent has just named: whoever `act` names has proved itself in this request.
 *
 * What is wrong with a token is `invalid_request` (§2.2.2).
 */
export async function grantTokenExchange(call: OAuthCall): Promise<TokenResponse> {
  const request = await readRequest(call);
  const client = await requireClient(call);
  const { id, name } = client.agent;
  const origin = { ...originOf(call), actor: { type: "agent", id, name } as const, keyId: client.keyId };
  try {
    return await exchange(call, request, client, origin);
  } catch (error) {
    if (error instanceof OAuthError) {
      const refused = { agentId: id, outcome: "denied", message: `exchange refused: ${error.message}` } as const;
      recordInBackground(call, newEntry("token.refused", call.now, origin, refused));
      markRecorded(error);
    }
    throw error;
  }
}

/** @throws {OAuthError} for parameters that are missing, or that ask for what no exchange gives. */
async function readRequest(call: OAuthCall): Promise<ExchangeRequest> {
  const { form } = call;
  for (const name of ["subject_token", "actor_token"]) {
    const [token, type] = [form.get(name), form.get(`${name}_type`)];
    if ((token === undefined) !== (type === undefined)) {
      throw new OAuthError("invalid_request", `${name} and ${name}_type are sent together.`);
    }
    const types = name === "subject_token" ? [ACCESS_TOKEN_TYPE, JWT_TYPE] : [ACCESS_TOKEN_TYPE];
    if (type !== undefined && !types.includes(type)) {
      throw new OAuthError("invalid_request", `${name}_type must be ${types.join(" or ")}.`);
    }
  }
  const requestedType = form.get("requested_token_type");
  if (requestedType !== undefined && requestedType !== ACCESS_TOKEN_TYPE) {
    throw new OAuthError("invalid_request", `requested_token_type must be ${ACCESS_TOKEN_TYPE}.`);
  }
  // Ignored, it would leave the token wider than was asked for.
  if (form.get("audience") !== undefined) {
    throw new OAuthError("invalid_target", "audience names nothing here. Send the URL of a service as resource.");
  }
  const subjectToken = form.get("subject_token");
  if (subjectToken === undefined) throw new OAuthError("invalid_request", "subject_token is missing.");
  const actorToken = form.get("actor_token");
  const subAgent = form.get("sub_agent");
  if (subAgent !== undefined) {
    if (actorToken !== undefined) {
      throw new OAuthError("invalid_request", "actor_token and sub_agent both name the actor. Send one of them.");
    }
    if (!isSubAgentName(subAgent)) {
      throw new OAuthError("invalid_request", "sub_agent must have 1 to 64 letters, digits, dots, - and _.");
    }
  }
  const narrowed = { scope: readScope(call), details: readDetails(call), resources: requireResources(call) };
  const isTrusted = form.get("subject_token_type") === JWT_TYPE;
  return { subjectToken, isTrusted, actorToken, subAgent, ...narrowed, proof: await readTokenProof(call) };
}

async function exchange(
  call: OAuthCall,
  request: ExchangeRequest,
  client: Client,
  origin: RecordOrigin,
): Promise<TokenResponse> {
  const { config, now } = call;
  const subject = request.isTrusted
    ? await readTrustedSubject(call, request.subjectToken, { client, boundTo: request.proof?.jkt })
    : await readToken(call, request.subjectToken, "subject_token");
  const actorClaims =
    request.actorToken === undefined ? undefined : await readToken(call, request.actorToken, "actor_token");
  const actor = requireActor(call, request, { subject, actorClaims, client });
  requireBinding(request.proof, { subject, actorClaims, client });
  const given = [subject, ...(actorClaims ? [actorClaims] : [])];
  const resources = narrowResources(call, request.resources, given);

  const [of, by] = await Promise.all([
    requireGood(call, subject, "subject_token"),
    actorClaims && requireGood(call, actorClaims, "actor_token"),
  ]);
  const granted = requireGrants(call, request, of, by ?? client);
  const boundTo = await useTokenProof(call, request.proof, [...of.agents, (by ?? client).agent]);
  const token = await issueDelegated(
    {
      subject,
      actor,
      clientId: client.agent.id,
      tier: of.agents.at(-1)!.tier,
      given: granted,
      resources,
      boundTo,
      expiresAt: Math.min(...given.map(({ exp }) => exp)),
      now: Math.min(now, client.at),
    },
    tokenSettings(config, call.request.url),
    config.catalogue,
  );
  if (!token) throw new OAuthError("invalid_scope", "The token would be too long. Ask for a narrower scope.");

  const actors = [actor.id, ...(subject.delegation?.actors ?? []), subject.sub];
  const about = {
    act: actors.map((sub) => ({ sub })),
    after: { scope: token.scope, resources, expires_in: token.expiresIn },
    message: `token exchanged: ${actors.slice(0, -1).join(" for ")} acts for ${subject.sub}`,
  };
  const agents = [client.agent, ...(by ? by.agents : []), ...of.agents];
  const ids = new Set(agents.map((agent) => agent.id));
  const entries = [...ids].map((agentId) =>
    newEntry(
      "token.exchanged",
      now,
      { ...origin, act: about.act },
      { agentId, after: about.after, message: about.message },
    ),
  );
  call.waitUntil(
    sendRecords(
      call.env,
      entries.map((entry) => ({ entry })),
    ),
  );
  return { ...toTokenResponse(token), issued_token_type: ACCESS_TOKEN_TYPE };
}

/** Reads a token of this deployment. Whether it was revoked is not known yet. */
async function readToken(call: OAuthCall, text: string, name: string): Promise<AccessClaims> {
  const claims = await verifyAccessToken(text, tokenSettings(call.config, call.request.url), call.now);
  if (typeof claims === "object") return claims;
  throw new OAuthError(
    "invalid_request",
    claims === "token_expired" ? `${name} has expired.` : `${name} is not an access token of this deployment.`,
  );
}

interface Given {
  readonly subject: AccessClaims;
  readonly actorClaims: AccessClaims | undefined;
  readonly client: Client;
}

/**
 * Returns who is to act: nobody who acts by the token already, or is acted for by it.
 *
 * The token of another agent makes it the actor only if the client is the one who hands its own token on: a client with two tokens of
 * others gets nothing for them.
 */
function requireActor(
  { config }: OAuthCall,
  { subAgent }: ExchangeRequest,
  { subject, actorClaims, client }: Given,
): ExchangeActor {
  const { agent, keyId } = client;
  const isHandedOn = actorOf(subject).agentId === agent.id;
  const own = { agentId: agent.id, version: agent.tokenVersion, basis: { keyId, tokenId: "" } };
  let actor: ExchangeActor = { id: agent.id, link: own };
  if (subAgent !== undefined) {
    if (!isHandedOn) throw new OAuthError("invalid_request", "Only the agent of subject_token may name a sub_agent.");
    actor = { id: subAgentId(agent.id, subAgent), link: own };
  } else if (actorClaims) {
    if (actorClaims.delegation) throw new OAuthError("invalid_request", "actor_token is a delegated token.");
    if (actorClaims.sub !== agent.id && !isHandedOn) {
      throw new OAuthError("invalid_request", "actor_token is of another agent than the client and subject_token.");
    }
    actor = { id: actorClaims.sub, link: actorOf(actorClaims) };
  }
  const actors = subject.delegation?.actors ?? [];
  if (actor.id === subject.sub || actors.includes(actor.id)) {
    throw new OAuthError("invalid_request", "The actor would act for itself: it has a token already.");
  }
  if (actors.length >= config.delegationDepth) {
    throw new OAuthError("invalid_request", "subject_token was handed on as often as DELEGATION_DEPTH allows.");
  }
  if (subject.mayAct !== null && subject.mayAct !== actor.id) {
    throw new OAuthError("invalid_request", "may_act of subject_token names another agent.");
  }
  return actor;
}

/**
 * Requires a proof of the key of each token that is bound to one (RFC 9449). The new token is bound to the same key, which has to be
 * that of the actor.
 */
function requireBinding(proof: Proof | undefined, { subject, actorClaims, client }: Given): void {
  for (const [name, claims] of Object.entries({ subject_token: subject, actor_token: actorClaims })) {
    if (claims && claims.boundTo !== null && claims.boundTo !== proof?.jkt) {
      throw new OAuthError("invalid_dpop_proof", `${name} is bound to a key: send a proof of that key in DPoP.`);
    }
  }
  const isOther = actorClaims !== undefined && actorClaims.sub !== client.agent.id;
  if (proof && isOther && actorClaims.boundTo === null) {
    throw new OAuthError(
      "invalid_request",
      "Nothing shows that the proof is of the actor's key: bind actor_token to it.",
    );
  }
}

/** The resources of a token that is exchanged: those that were asked for, or else those of all the tokens. */
function narrowResources(
  { form }: OAuthCall,
  wanted: readonly string[] | null,
  given: readonly AccessClaims[],
): readonly string[] | null {
  const limits = given.flatMap(({ resources }) => (resources ? [resources] : []));
  const isWithin = (one: string): boolean => limits.every((resources) => resources.includes(one));
  if (form.all("resource").length > 0) {
    if (wanted ? wanted.every(isWithin) : limits.length === 0) return wanted;
    throw new OAuthError("invalid_target", "resource is none that the given tokens are for.");
  }
  if (limits.length === 0) return null;
  const resources = limits[0]!.filter(isWithin);
  if (resources.length > 0) return resources;
  throw new OAuthError("invalid_target", "subject_token and actor_token are for different resources.");
}

/** Requires that a token has not been revoked, and may be used from the address of the request. The database is asked each time. */
async function requireGood(call: OAuthCall, claims: AccessClaims, name: string): Promise<Caller> {
  try {
    return await callerWith(claims, call, 0);
  } catch (error) {
    if (!(error instanceof ApiError) || error.status >= 500) throw error;
    throw new OAuthError("invalid_request", `${name}: ${error.message}`, { cause: error });
  }
}

/** What the token gives: what was asked for, or all that the given tokens and their agents, and the actor, have in common. */
function requireGrants(
  call: OAuthCall,
  { scope, details }: ExchangeRequest,
  subject: Caller,
  actor: Caller | { readonly agent: Agent },
): readonly GrantLimits[] {
  const { now, config } = call;
  const tokens = [subject.tokenGrants, ...("tokenGrants" in actor ? [actor.tokenGrants] : [])];
  const held = delegableGrants(tokens, [...subject.agents, actor.agent], config.catalogue, now);
  const [missing] = missingPermissions(
    scope ?? [],
    new Set(held.map(({ permission }) => permission)),
    config.catalogue,
  );
  if (missing !== undefined) {
    throw new OAuthError(
      "invalid_scope",
      `${missing} is not in the given tokens, or an agent does not have it any more.`,
    );
  }
  const chosen = requireDetails(call, details, { held, at: now });
  const within = scope ?? (chosen ? [] : null);
  const granted = [...narrow(held, within, config.catalogue), ...(chosen ?? [])];
  if (granted.length > 0) return granted;
  throw new OAuthError("invalid_scope", "The given tokens and the actor have no permission in common.");
}
