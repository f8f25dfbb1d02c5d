import * as z from "zod/mini";
import { originOf } from "../access/origin.ts";
import type { Proof } from "../access/dpop.ts";
import { PROOF_REQUIRED, readProof } from "../access/proof.ts";
import { useProof } from "../tokens/proofs.ts";
import { limitSession } from "../access/rate-limit.ts";
import { route } from "../access/route.ts";
import { wakeOutbox } from "../audit/message.ts";
import { recordAtOnce, recordInBackground } from "../audit/record.ts";
import { newEvent } from "../outbox/event.ts";
import { newEntry } from "../outbox/record.ts";
import { validatePermissions } from "../agents/grants.ts";
import { issueToClient } from "../tokens/client.ts";
import { tokenSettings } from "../tokens/issuer.ts";
import type { IssuedToken, TokenPair } from "../tokens/records.ts";
import { refresh, refusedRefresh } from "../tokens/refresh.ts";
import { readRefreshToken } from "../tokens/refresh-token.ts";
import { grantDetails, readRequestedDetails, type RequestedDetails } from "../tokens/requested-details.ts";
import { cacheSessionEnd } from "../tokens/revocation.ts";
import { requireClient, TOKEN_PATH, type Client, type OAuthCall } from "./client.ts";
import { OAuthError } from "./errors.ts";
import { readResources } from "./resource.ts";

/** The grants of the token endpoint, by their names. */
const GRANTS: Readonly<Record<string, (call: OAuthCall) => Promise<TokenResponse>>> = {
  client_credentials: grantClientCredentials,
  refresh_token: grantRefreshToken,
};

/** Their names, for the metadata (RFC 8414 §2). */
export const GRANT_TYPES: readonly string[] = Object.keys(GRANTS);

/** RFC 6749 §5.1. */
const tokenResponse = z.object({
  access_token: z.string(),
  token_type: z.enum(["Bearer", "DPoP"]),
  expires_in: z.int().check(z.describe("Seconds until the access token expires.")),
  scope: z.string().check(z.describe("The permissions in the token, with spaces between.")),
  refresh_token: z.optional(z.string()),
  authorization_details: z.optional(
    z
      .array(z.record(z.string(), z.any()))
      .check(z.describe("The permissions in the token that have limits or an end (RFC 9396).")),
  ),
});
type TokenResponse = z.input<typeof tokenResponse>;

const parameter = (description: string) => z.optional(z.string().check(z.describe(description)));

/** How a client authenticates itself, for the reference. */
export const CLIENT_PARAMETERS = {
  client_id: parameter("The agent's id, unless it is in the Authorization header or in the assertion."),
  client_secret: parameter("An API key of the agent (client_secret_post)."),
  client_assertion_type: parameter("`urn:ietf:params:oauth:client-assertion-type:jwt-bearer`."),
  client_assertion: parameter("A JWT that a registered key of the agent has signed (private_key_jwt)."),
};

export const tokenEndpointRoutes = [
  route({
    method: "POST",
    path: TOKEN_PATH,
    auth: "client",
    summary: "Get an access token as an OAuth client (RFC 6749)",
    form: z.object({
      grant_type: z.string().check(z.describe("`client_credentials` or `refresh_token`.")),
      scope: parameter("Permissions with spaces between: narrower than the agent's, or than the session's."),
      resource: z.optional(
        z
          .array(z.string())
          .check(z.describe("What the token is for, as URLs; may be repeated (RFC 8707): `ISSUER/proxy/github`.")),
      ),
      authorization_details: parameter(
        "A JSON list of permissions with limits, of the type `agentauth_grant` (RFC 9396): each narrower than a grant of the agent.",
      ),
      refresh_token: parameter("For the grant `refresh_token`."),
      ...CLIENT_PARAMETERS,
    }),
    response: () => tokenResponse,
    async handle(call) {
      const type = call.form.get("grant_type");
      if (type === undefined) throw new OAuthError("invalid_request", "grant_type is missing.");
      if (!Object.hasOwn(GRANTS, type)) {
        throw new OAuthError("unsupported_grant_type", `grant_type must be one of ${GRANT_TYPES.join(", ")}.`);
      }
      return GRANTS[type]!(call);
    },
  }),
];

/** RFC 6749 §4.4: the client proves itself each time, so there is no refresh token (§4.4.3) and no session. */
async function grantClientCredentials(call: OAuthCall): Promise<TokenResponse> {
  const { config, now, request, ipAddress } = call;
  const scope = readScope(call);
  const requested = readDetails(call);
  const resources = requireResources(call);
  const proof = await readTokenProof(call);
  const client = await requireClient(call, scope);
  const details = requireDetails(call, requested, client);
  const boundTo = await useTokenProof(call, proof, client);
  const token = await issueToClient(
    { client, scope, details, resources, boundTo, now },
    tokenSettings(config, request.url),
    config.catalogue,
  );
  const { id, name } = client.agent;
  const origin = { ...originOf(call), actor: { type: "agent", id, name } as const, keyId: client.keyId };
  const message = "token issued: client_credentials";
  recordInBackground(call, newEntry("token.issued", now, origin, { agentId: id, message }), {
    event: newEvent("agent.verified", id, now, {
      agent_id: id,
      verified_at: new Date(now).toISOString(),
      ip_address: ipAddress,
    }),
  });
  return toTokenResponse(token);
}

/** RFC 6749 §6, with the rotation and the grace of `POST /agents/refresh`. The client must be the agent of the session. */
async function grantRefreshToken(call: OAuthCall): Promise<TokenResponse> {
  const { env, config, now, request, ipAddress } = call;
  const text = call.form.get("refresh_token");
  if (text === undefined) throw new OAuthError("invalid_request", "refresh_token is missing.");
  if (call.form.get("authorization_details") !== undefined) {
    throw new OAuthError(
      "invalid_authorization_details",
      "A session is narrowed by scope. For other limits, send authorization_details with client_credentials.",
    );
  }
  const scope = readScope(call);
  const resources = requireResources(call);
  const proof = await readTokenProof(call);
  const client = await requireClient(call);
  const boundTo = await useTokenProof(call, proof, client);
  const token = await readRefreshToken(text, config.peppers);
  if (!token) throw refreshRefused("unknown");
  await limitSession(env, token.sessionId);
  const from = { ipAddress, origin: originOf(call), now };
  const attempt = { ...from, agentId: client.agent.id, scope, resources, boundTo };
  const result = await refresh(env.DB, token, attempt, config, tokenSettings(config, request.url));
  switch (result.outcome) {
    case "rotated":
    case "replayed":
      if (result.outcome === "rotated") call.waitUntil(wakeOutbox(env));
      return toTokenResponse(result.tokens);
    case "reused": {
      const cache = { revocations: env.REVOCATIONS, accessTokenTtl: config.accessTokenTtl };
      call.waitUntil(cacheSessionEnd(cache, result.sessionId));
      call.waitUntil(wakeOutbox(env));
      throw refreshRefused("reused");
    }
    case "exceeds_session":
      throw new OAuthError("invalid_scope", "scope has a permission that the session or the agent does not have.");
    case "other_key":
    case "address_refused":
    case "expired":
    case "ended":
      await recordAtOnce(
        call,
        refusedRefresh(result.agentId, result.outcome, { ...from.origin, sessionId: token.sessionId }, now),
      );
      throw refreshRefused(result.outcome);
    case "unknown":
      throw refreshRefused("unknown");
  }
}

const REFRESH_REFUSALS = {
  unknown: "The refresh token is not one of this client's.",
  expired: "The refresh token, or its session, has expired.",
  ended: "The session was revoked, or its agent is not active.",
  reused: "The refresh token had been used before: its session is revoked.",
  other_key: "The session is bound to a key: send a proof of that key in the header DPoP.",
  address_refused: "The session may not be used from this address.",
} as const;

const refreshRefused = (outcome: keyof typeof REFRESH_REFUSALS): OAuthError =>
  new OAuthError("invalid_grant", REFRESH_REFUSALS[outcome]);

/** The proof of a request for a token, which the token is then bound to (RFC 9449 §5). @throws {OAuthError} */
async function readTokenProof(call: OAuthCall): Promise<Proof | undefined> {
  const proof = await readProof(call, undefined);
  if (!proof || !("fault" in proof)) return proof;
  if (proof.nonce === undefined) throw new OAuthError("invalid_dpop_proof", proof.fault);
  throw new OAuthError({ error: "use_dpop_nonce", nonce: proof.nonce }, proof.fault);
}

/**
 * Uses the proof of a client that has authenticated itself. Returns the thumbprint of its key, or null without one.
 *
 * @throws {OAuthError} `invalid_dpop_proof` for a proof that was used before, and without one if the agent's tokens must be bound to a key.
 */
async function useTokenProof(
  { env }: OAuthCall,
  proof: Proof | undefined,
  { agent }: Pick<Client, "agent">,
): Promise<string | null> {
  if (!proof) {
    if (agent.requiresDpop) throw new OAuthError("invalid_dpop_proof", PROOF_REQUIRED);
    return null;
  }
  if (await useProof(env.DB, proof)) return proof.jkt;
  throw new OAuthError("invalid_dpop_proof", "The proof was used before: each has a jti of its own.");
}

/** As many permissions as an agent can have. */
const MAX_SCOPE_LENGTH = 50;

/** The permissions of the parameter `scope` (RFC 6749 §3.3). @throws {OAuthError} `invalid_scope` for what nobody can have. */
function readScope({ form, config }: OAuthCall): readonly string[] | undefined {
  const text = form.get("scope");
  if (text === undefined) return undefined;
  const scope = [...new Set(text.split(" ").filter(Boolean))];
  if (scope.length === 0 || scope.length > MAX_SCOPE_LENGTH) {
    throw new OAuthError("invalid_scope", `scope must name 1 to ${MAX_SCOPE_LENGTH} permissions.`);
  }
  const [fault] = validatePermissions(scope, config.catalogue);
  if (fault) throw new OAuthError("invalid_scope", `${fault.permission.slice(0, 100)}: ${fault.message}`);
  return scope;
}

/** The parameter `authorization_details` (RFC 9396 §2); undefined without it. @throws {OAuthError} for what nobody can have. */
function readDetails({ form, config, now }: OAuthCall): RequestedDetails | undefined {
  const text = form.get("authorization_details");
  if (text === undefined) return undefined;
  const read = readRequestedDetails(text, config, now);
  if ("fault" in read) throw new OAuthError("invalid_authorization_details", read.fault);
  return read.details;
}

/** What was asked for by `authorization_details`, as the agent may have it. @throws {OAuthError} for what is wider than its grants. */
function requireDetails(
  { config }: OAuthCall,
  requested: RequestedDetails | undefined,
  { agent, at }: Pick<Client, "agent" | "at">,
): RequestedDetails | undefined {
  if (!requested) return undefined;
  const granted = grantDetails(requested, agent.grants, config.catalogue, at);
  if ("fault" in granted) throw new OAuthError("invalid_authorization_details", granted.fault);
  return granted.details;
}

/** @throws {OAuthError} `invalid_target` */
function requireResources(call: OAuthCall): readonly string[] | null {
  const read = readResources(call.form.all("resource"), call);
  if ("fault" in read) throw new OAuthError("invalid_target", read.fault);
  return read.resources;
}

function toTokenResponse(token: IssuedToken | TokenPair): TokenResponse {
  return {
    access_token: token.accessToken,
    token_type: token.boundTo === null ? "Bearer" : "DPoP",
    expires_in: token.expiresIn,
    scope: token.scope.join(" "),
    ...("refreshToken" in token && { refresh_token: token.refreshToken }),
    ...(token.details && { authorization_details: [...token.details] }),
  };
}
