import { rememberAgent } from "../log/request-log.ts";
import { verifyAccessToken, type AccessClaims } from "../tokens/access-token.ts";
import { issueToClient } from "../tokens/client.ts";
import { tokenSettings } from "../tokens/issuer.ts";
import { agentsOf, type TrustedAssertion } from "../tokens/trusted-assertion.ts";
import { requireTrusted, type Client, type OAuthCall } from "./client.ts";
import { OAuthError } from "./errors.ts";
import { refusedAssertion, requireAssertion, requireBinding } from "./jwt-bearer.ts";

interface Presented {
  /** Who has authenticated itself, and is to act. */
  readonly client: Client;
  /** The thumbprint of the key that the request has a proof of. */
  readonly boundTo: string | undefined;
}

/**
 * What a token of a trusted issuer stands for as the `subject_token` of an exchange: the token that its agent would get for it by
 * `jwt-bearer`, and that nobody gets here. It is used up by this, and it is read only once the client has authenticated itself, so that
 * no stranger uses it up.
 *
 * @throws {OAuthError} `invalid_request` for what is wrong with it (RFC 8693 §2.2.2).
 * @throws {ApiError} 429, 503.
 */
export async function readTrustedSubject(
  call: OAuthCall,
  text: string,
  { client, boundTo }: Presented,
): Promise<AccessClaims> {
  try {
    const assertion = await requireAssertion(call, text);
    const agentId = await requireSubject(call, assertion, client.agent.id);
    await requireBinding(call, assertion, boundTo);
    const of = await requireTrusted(call, agentId, assertion.use, undefined);
    // The request is the client's.
    rememberAgent(call.request, client.agent.id);
    const settings = tokenSettings(call.config, call.request.url);
    const key = assertion.claims.cnf === undefined ? null : boundTo!;
    const limits = { scope: undefined, details: undefined, resources: null, boundTo: key };
    const { accessToken } = await issueToClient(
      { client: of, ...limits, now: call.now },
      settings,
      call.config.catalogue,
    );
    const claims = await verifyAccessToken(accessToken, settings, call.now);
    if (typeof claims !== "object") throw new Error(`The subject's own token is refused: ${claims}`);
    // The new token ends with the given one.
    return { ...claims, exp: Math.min(claims.exp, Math.floor(assertion.claims.exp!)) };
  } catch (error) {
    if (error instanceof OAuthError && error.fault.error === "invalid_grant") {
      throw new OAuthError("invalid_request", `subject_token: ${error.message}`, { cause: error });
    }
    throw error;
  }
}

/** The one agent that the token is of. @throws {OAuthError} `invalid_grant` */
async function requireSubject(call: OAuthCall, assertion: TrustedAssertion, clientId: string): Promise<string> {
  const refuse = (message: string): Promise<OAuthError> => refusedAssertion(call, message, assertion);
  // One token serves in one role: that of an ID-JAG is to be exchanged by jwt-bearer, and it has limits of its own.
  if (assertion.isIdJag) throw await refuse("An ID-JAG is taken by the grant jwt-bearer only.");
  if (
    ["scope", "resource", "authorization_details", "may_act", "act"].some(
      (name) => assertion.claims[name] !== undefined,
    )
  ) {
    throw await refuse("The assertion says more than whose it is, which would be lost.");
  }
  const [agentId, ...others] = agentsOf(assertion);
  if (agentId === undefined) throw await refuse("The assertion meets no rule of its issuer in TRUSTED_ISSUERS.");
  if (others.length > 0)
    throw await refuse("The assertion is for several agents. Send it by jwt-bearer first, with client_id.");
  if (agentId === clientId) throw await refuse("The assertion is of the client itself. Send it by jwt-bearer.");
  return agentId;
}
