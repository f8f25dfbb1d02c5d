import { originOf } from "../access/origin.ts";
import { limitFailedVerifications } from "../access/rate-limit.ts";
import { markRecorded } from "../access/refusals.ts";
import { recordInBackground } from "../audit/record.ts";
import { unavailable } from "../http/errors.ts";
import { newEntry } from "../outbox/record.ts";
import { isGranted } from "../permissions/match.ts";
import type { RequestedDetails } from "../tokens/requested-details.ts";
import {
  agentsOf,
  verifyTrustedAssertion,
  type SignedAssertion,
  type TrustedAssertion,
} from "../tokens/trusted-assertion.ts";
import { requireClient, requireTrusted, type OAuthCall } from "./client.ts";
import { OAuthError } from "./errors.ts";
import { readResources } from "./resource.ts";
import {
  issueToProven,
  readDetails,
  readScope,
  readTokenProof,
  requireResources,
  type TokenResponse,
} from "./token-request.ts";

export const JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/**
 * Exchanges a token of a trusted issuer for one of the agent that a rule of the issuer names (RFC 7523 §2.1): of a job, a service account or
 * a machine, which has no key of ours.
 *
 * A client that authenticates itself as well has to be that agent (RFC 7521 §4.1). An ID-JAG is good only from the client that its
 * `client_id` names, and narrows the token by its `scope` and `resource`.
 */
export async function grantJwtBearer(call: OAuthCall): Promise<TokenResponse> {
  const text = call.form.get("assertion");
  if (text === undefined) throw new OAuthError("invalid_request", "assertion is missing.");
  const wanted = { scope: readScope(call), resources: requireResources(call) };
  const requested = readDetails(call);
  const proof = await readTokenProof(call);
  const assertion = await requireAssertion(call, text);
  const { issuer, claims, use } = assertion;
  const agentId = await requireAgent(call, assertion);
  await requireBinding(call, assertion, proof?.jkt);
  const { scope, resources } = assertion.isIdJag ? narrow(call, assertion, { ...wanted, requested }) : wanted;
  const client = authenticatesItself(call)
    ? await requireClient(call, scope, { agentId, use })
    : await requireTrusted(call, agentId, use, scope);
  const how = `jwt-bearer, ${describe(issuer.issuer, claims.sub)}`;
  return issueToProven(call, { client, scope, resources, requested, proof }, how);
}

/** Verifies a token of a trusted issuer, all but that it was not used before. @throws {OAuthError} `invalid_grant`. @throws {ApiError} 503. */
export async function requireAssertion(call: OAuthCall, text: string): Promise<TrustedAssertion> {
  const assertion = await verifyTrustedAssertion(text, call.config.trustedIssuers, call);
  if ("unavailable" in assertion) {
    throw unavailable(
      "issuer_unavailable",
      "The keys of the assertion's issuer cannot be fetched now. Try again.",
      new Error(assertion.unavailable),
    );
  }
  if (!("fault" in assertion)) return assertion;
  if (assertion.signed) throw await refusedAssertion(call, assertion.fault, assertion.signed);
  throw new OAuthError("invalid_grant", assertion.fault);
}

/** Whether the request has credentials of a client. `client_id` by itself is none. */
const authenticatesItself = ({ request, form }: OAuthCall): boolean =>
  request.headers.has("authorization") ||
  ["client_secret", "client_assertion", "client_assertion_type"].some((name) => form.get(name) !== undefined);

/**
 * The one agent that the assertion is for: that of a rule that it meets, of several the one that `client_id` names.
 *
 * @throws {OAuthError} `invalid_grant`, or `invalid_client` for an ID-JAG without its client.
 */
async function requireAgent(call: OAuthCall, assertion: TrustedAssertion): Promise<string> {
  const refuse = (message: string): Promise<OAuthError> => refusedAssertion(call, message, assertion);
  const { isIdJag, claims } = assertion;
  if (isIdJag && !authenticatesItself(call)) {
    throw new OAuthError("invalid_client", "An ID-JAG is sent by its client, which authenticates itself as well.");
  }
  const agents = agentsOf(assertion);
  if (agents.length === 0) throw await refuse("The assertion meets no rule of its issuer in TRUSTED_ISSUERS.");
  const named = isIdJag ? claims.client_id : call.form.get("client_id");
  if (named === undefined && agents.length === 1 && !isIdJag) return agents[0]!;
  if (named === undefined && !isIdJag)
    throw await refuse("The assertion is for several agents: name one as client_id.");
  const agent = agents.find((one) => one === named);
  if (agent === undefined) throw await refuse("The assertion meets no rule for this client_id.");
  return agent;
}

/** An assertion that is bound to a key is good with a proof of that key only (RFC 7800 §3). @throws {OAuthError} */
export async function requireBinding(
  call: OAuthCall,
  assertion: SignedAssertion,
  jkt: string | undefined,
): Promise<void> {
  const { cnf } = assertion.claims;
  if (cnf === undefined) return;
  const { jkt: bound } = (cnf ?? {}) as { jkt?: unknown };
  if (typeof bound === "string" && bound === jkt) return;
  const fault = "The assertion is bound to a key: send a proof of that key in the header DPoP.";
  throw await refusedAssertion(call, fault, assertion);
}

interface Narrowed {
  readonly scope: readonly string[] | undefined;
  readonly resources: readonly string[] | null;
}

interface Wanted extends Narrowed {
  readonly requested: RequestedDetails | undefined;
}

/**
 * What an ID-JAG lets its client have of what that asks for: its `scope` and its `resource`, where it has them.
 *
 * @throws {OAuthError} `invalid_scope`, `invalid_target`, `invalid_authorization_details` for what is not in it; `invalid_grant` if it
 * has limits of its own (`authorization_details`), which would otherwise be lost.
 */
function narrow(call: OAuthCall, { claims }: TrustedAssertion, wanted: Wanted): Narrowed {
  let { scope, resources } = wanted;
  if (claims.authorization_details !== undefined) {
    throw new OAuthError(
      "invalid_grant",
      "authorization_details of an ID-JAG are not supported. Have it issued with scope and resource.",
    );
  }
  if (claims.scope !== undefined) {
    const given = typeof claims.scope === "string" ? claims.scope.split(" ").filter(Boolean) : [];
    const all = new Set(given);
    const outside = wanted.requested?.find(({ permission }) => !isGranted(all, permission, call.config.catalogue));
    if (outside) {
      throw new OAuthError(
        "invalid_authorization_details",
        `${outside.permission} is not in the scope of the assertion.`,
      );
    }
    // Who asks by details only gets these only, as everywhere.
    if (!wanted.requested) scope ??= given;
    const wider = scope?.find((one) => !isGranted(all, one, call.config.catalogue));
    if (wider !== undefined || scope?.length === 0) {
      throw new OAuthError("invalid_scope", `${wider ?? "scope"} is not in the scope of the assertion.`);
    }
  }
  if (claims.resource !== undefined) {
    const named = [claims.resource].flat().map(String);
    // Of a client that names none, every endpoint is meant. A list of none in an assertion names nothing.
    if (named.length === 0) throw new OAuthError("invalid_target", "resource of the assertion is an empty list.");
    const read = readResources(named, call);
    if ("fault" in read)
      throw new OAuthError("invalid_target", `resource of the assertion is not known: ${read.fault}`);
    // Null is every endpoint of this deployment.
    const { resources: given } = read;
    if (call.form.all("resource").length === 0) resources = given;
    else if (given && !resources?.every((one) => given.includes(one))) {
      throw new OAuthError("invalid_target", "resource is not one of the assertion.");
    }
  }
  return { scope, resources };
}

/**
 * Records that an assertion was refused which its issuer has signed: somebody has a token of theirs, and no agent. Of a public issuer that
 * is anybody, so that there is a limit to these records, and refusals beyond it are 429.
 *
 * @returns the refusal, `invalid_grant`.
 * @throws {ApiError} 429
 */
export async function refusedAssertion(
  call: OAuthCall,
  fault: string,
  { issuer, claims }: SignedAssertion,
): Promise<OAuthError> {
  await limitFailedVerifications(call.env, issuer.issuer);
  const message = `assertion refused: ${fault} (${describe(issuer.issuer, claims.sub)})`;
  recordInBackground(call, newEntry("token.refused", call.now, originOf(call), { outcome: "denied", message }));
  return markRecorded(new OAuthError("invalid_grant", fault));
}

/** Whose assertion it is, for a record. */
const describe = (issuer: string, sub: unknown): string => `${issuer} ${JSON.stringify(String(sub).slice(0, 200))}`;
