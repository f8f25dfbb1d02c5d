import { WHAT_TO_WAIT_FOR } from "../access/failed-proof.ts";
import { originOf } from "../access/origin.ts";
import { limitFailedVerifications, limitKey } from "../access/rate-limit.ts";
import { markRecorded } from "../access/refusals.ts";
import { apiKeyHashes, isApiKey } from "../agents/api-key.ts";
import { importPublicJwk } from "../agents/public-key.ts";
import { wakeOutbox } from "../audit/message.ts";
import { toBase64Url } from "../crypto/base64.ts";
import { sha256 } from "../crypto/digest.ts";
import type { Form } from "../http/form.ts";
import type { RequestContext } from "../http/request-context.ts";
import { rememberAgent } from "../log/request-log.ts";
import {
  authenticateClient,
  findPublicKeys,
  type ClientAttempt,
  type ClientProof,
  type ClientResult,
} from "../tokens/client.ts";
import { beyondAgent } from "../tokens/scope.ts";
import type { AssertionUse } from "../tokens/trusted-assertion.ts";
import { checkClaims, isAlgorithmOf, isSignedBy, readAssertion, verifyNothing } from "./client-assertion.ts";
import { readCredentials, type Credentials } from "./client-credentials.ts";
import { OAuthError } from "./errors.ts";

/** A request with its form. */
export type OAuthCall = RequestContext & { readonly form: Form };

/** An agent that has proved itself as a client in this request. */
export type Client = Extract<ClientResult, { result: "proven" }>;

/** What a client claims to be, before the database says whether it is. */
interface Claimed {
  readonly agentId: string;
  /** Undefined for an assertion that is refused, or that no key of the agent has signed: the work goes on, so that nobody learns which agents exist. */
  readonly proof: ClientProof | undefined;
  /** What is wrong with the claims of an assertion that a key of the agent has signed, as a sentence. */
  readonly fault?: string;
}

/**
 * Authenticates the client of a request (RFC 6749 §2.3). Its agent must be active, and its key may be used from the address. An assertion
 * is used up by it.
 *
 * An unknown agent, a wrong key and an assertion that no key has signed get the same answer after the same work. Only who has the right
 * key learns more.
 *
 * @param scope the permissions that the client wants; undefined for all that it has.
 * @param grant a token of a trusted issuer that the client sends beside its own credentials: for which agent it is, and what it is used up
 *   by. Of a client that is refused it is not.
 * @throws {OAuthError} `invalid_request`, `invalid_client`, `unauthorized_client`, `invalid_scope`.
 * @throws {ApiError} 429, 503.
 */
export async function requireClient(
  call: OAuthCall,
  scope?: readonly string[],
  grant?: { readonly agentId: string; readonly use: AssertionUse },
): Promise<Client> {
  const credentials = readCredentials(call.request.headers, call.form);
  if ("error" in credentials) throw new OAuthError(credentials.error, credentials.description);
  const { agentId, proof, fault } =
    credentials.method === "secret"
      ? await claimBySecret(call, credentials)
      : await claimByAssertion(call, credentials);
  if (grant && grant.agentId !== agentId) throw new OAuthError("invalid_grant", "The assertion is for another client.");
  return authenticate(call, { agentId, proof: proof ?? NO_PROOF, grant: grant?.use, scope }, fault);
}

/**
 * The agent that a token of a trusted issuer is for. It must be active, and may be used from the address. The token is used up by it.
 *
 * @param scope as for {@link requireClient}.
 * @throws {OAuthError} `invalid_grant`, `unauthorized_client`, `invalid_scope`.
 * @throws {ApiError} 429, 503.
 */
export async function requireTrusted(
  call: OAuthCall,
  agentId: string,
  use: AssertionUse,
  scope: readonly string[] | undefined,
): Promise<Client> {
  await limitKey(call.env, `${use.signer} ${agentId}`);
  return authenticate(call, { agentId, proof: { trusted: use }, scope });
}

/** @param fault what is wrong with the claims of an assertion that a key of the agent has signed. */
async function authenticate(
  call: OAuthCall,
  proven: Pick<ClientAttempt, "agentId" | "proof" | "grant" | "scope">,
  fault?: string,
): Promise<Client> {
  const { env, config, ipAddress, request, now } = call;
  const { agentId, scope, proof } = proven;
  const result = await authenticateClient(env.DB, { ...proven, ipAddress, origin: originOf(call), now }, config);
  switch (result.result) {
    case "proven":
      rememberAgent(request, agentId);
      return result;
    case "exceeds_agent": {
      rememberAgent(request, agentId);
      const wider = beyondAgent(scope ?? [], result.agent, config.catalogue, now);
      throw new OAuthError("invalid_scope", `${wider[0] ?? "scope"} is not granted to the agent.`);
    }
    case "replayed":
    case "grant_replayed":
    case "address_refused":
    case "not_active":
    case "refused":
      if (result.hasNewRecord) call.waitUntil(wakeOutbox(env));
      // Only failures count: a stranger who knows an agent's id cannot lock it out.
      await limitFailedVerifications(env, agentId);
      throw markRecorded("trusted" in proof ? trustedRefusalOf(result, agentId) : refusalOf(result, fault));
  }
}

type Refusal = Exclude<ClientResult, { result: "proven" | "exceeds_agent" }>;

/** Why a token of a trusted issuer is refused that is good, and meets the rule of an agent (RFC 7523 §3.1). */
function trustedRefusalOf(result: Refusal, agentId: string): OAuthError {
  switch (result.result) {
    case "replayed":
    case "grant_replayed":
      return grantReplayed();
    case "address_refused":
      return refusalOf(result);
    case "not_active":
      return new OAuthError("invalid_grant", `The agent is ${result.status}. ${WHAT_TO_WAIT_FOR[result.status]}`);
    case "refused":
      return new OAuthError("invalid_grant", `A rule of TRUSTED_ISSUERS names ${agentId}, and there is no such agent.`);
  }
}

const grantReplayed = () =>
  new OAuthError("invalid_grant", "The assertion was used before: each is good for one token. Get another one.");

/** @param fault what is wrong with the claims of an assertion that a key of the agent has signed. */
function refusalOf(result: Refusal, fault?: string): OAuthError {
  switch (result.result) {
    case "grant_replayed":
      return grantReplayed();
    case "replayed":
      return new OAuthError(
        "invalid_client",
        "The assertion was used before: each has a jti of its own and is sent once.",
      );
    case "address_refused":
      return new OAuthError("unauthorized_client", "This agent, or its key, may not be used from this address.");
    case "not_active":
      return new OAuthError(
        "invalid_client",
        `The credentials are right, but the agent is ${result.status}. ${WHAT_TO_WAIT_FOR[result.status]}`,
      );
    case "refused":
      return new OAuthError("invalid_client", fault ?? "No active agent has this client_id and these credentials.");
  }
}

/** A key that no agent has. */
const NO_PROOF: ClientProof = { keyId: "", jtiHash: "", usedUntil: 0 };

/** Ids that are longer are of no agent, and in no record. */
const MAX_CLIENT_ID_LENGTH = 128;

async function claimBySecret(
  { env, config }: OAuthCall,
  { clientId, secret }: Extract<Credentials, { method: "secret" }>,
): Promise<Claimed> {
  // A typing error is told without the database, and like every attempt it has counted against the address.
  if (!isApiKey(secret) || clientId.length > MAX_CLIENT_ID_LENGTH) {
    throw new OAuthError("invalid_client", "client_secret does not have the form of an API key of an agent.");
  }
  const keyHashes = await apiKeyHashes(secret, config.peppers);
  await limitKey(env, keyHashes[0]!);
  const [pepper] = config.peppers;
  return { agentId: clientId, proof: { keyHashes, pepperId: pepper.id, keyHint: secret.slice(-4) } };
}

async function claimByAssertion(
  call: OAuthCall,
  { clientId, assertion: text }: Extract<Credentials, { method: "assertion" }>,
): Promise<Claimed> {
  const { env, issuer, now } = call;
  const assertion = readAssertion(text);
  if (!assertion) {
    throw new OAuthError("invalid_client", "client_assertion is not a JWT of an agent, with its id as iss and sub.");
  }
  const { agentId } = assertion;
  if (clientId !== undefined && clientId !== agentId) {
    throw new OAuthError("invalid_client", "client_id is not the agent of the assertion.");
  }
  const registered = await findPublicKeys(env.DB, agentId, assertion.kid);
  const signer = await findSigner(assertion, registered);
  if (!signer) return { agentId, proof: undefined };
  await limitKey(env, signer.id);
  const checked = checkClaims(assertion, [issuer, `${issuer}${TOKEN_PATH}`], now);
  if ("fault" in checked) return { agentId, proof: undefined, fault: checked.fault };
  const jtiHash = toBase64Url(await sha256(checked.jti));
  return { agentId, proof: { keyId: signer.id, jtiHash, usedUntil: checked.usedUntil } };
}

/** The path of the token endpoint, which an assertion may name as its audience at every endpoint (RFC 7523 §3). */
export const TOKEN_PATH = "/oauth/token";

/** The key whose signature an assertion has. */
async function findSigner(
  assertion: NonNullable<ReturnType<typeof readAssertion>>,
  registered: Awaited<ReturnType<typeof findPublicKeys>>,
) {
  const candidates = registered.filter(({ jwk }) => isAlgorithmOf(assertion, jwk.alg));
  if (candidates.length === 0) await verifyNothing(assertion);
  for (const candidate of candidates) {
    const { jwk } = candidate;
    if (await isSignedBy(assertion, await importPublicJwk(jwk), jwk.alg)) return candidate;
  }
  return undefined;
}
