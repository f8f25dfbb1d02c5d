import * as z from "zod/mini";
import { originOf } from "../access/origin.ts";
import { limitSession } from "../access/rate-limit.ts";
import { markRecorded } from "../access/refusals.ts";
import { route } from "../access/route.ts";
import { wakeOutbox } from "../audit/message.ts";
import { recordAtOnce } from "../audit/record.ts";
import { tokenSettings } from "../tokens/issuer.ts";
import { refresh, refusedRefresh } from "../tokens/refresh.ts";
import { readRefreshToken } from "../tokens/refresh-token.ts";
import { cacheSessionEnd } from "../tokens/revocation.ts";
import { requireClient, TOKEN_PATH, type OAuthCall } from "./client.ts";
import { DEVICE_CODE_GRANT, grantDeviceCode } from "./device.ts";
import { OAuthError } from "./errors.ts";
import { grantJwtBearer, JWT_BEARER } from "./jwt-bearer.ts";
import { grantTokenExchange, TOKEN_EXCHANGE } from "./token-exchange.ts";
import {
  issueToProven,
  readDetails,
  readScope,
  readTokenProof,
  requireResources,
  tokenResponse,
  toTokenResponse,
  useTokenProof,
  type TokenResponse,
} from "./token-request.ts";
import { once } from "../validation/once.ts";

/** The grants of the token endpoint, by their names. */
const GRANTS: Readonly<Record<string, (call: OAuthCall) => Promise<TokenResponse>>> = {
  client_credentials: grantClientCredentials,
  refresh_token: grantRefreshToken,
  [TOKEN_EXCHANGE]: grantTokenExchange,
  [JWT_BEARER]: grantJwtBearer,
  [DEVICE_CODE_GRANT]: grantDeviceCode,
};

/** Their names, for the metadata (RFC 8414 §2). */
export const GRANT_TYPES: readonly string[] = Object.keys(GRANTS);

const parameter = (description: string) => z.optional(z.string().check(z.describe(description)));

/** How a client authenticates itself, for the reference. */
const clientParameters = once(() => ({
  client_id: parameter("The agent's id, unless it is in the Authorization header or in the assertion."),
  client_secret: parameter("An API key of the agent (client_secret_post)."),
  client_assertion_type: parameter("`urn:ietf:params:oauth:client-assertion-type:jwt-bearer`."),
  client_assertion: parameter("A JWT that a registered key of the agent has signed (private_key_jwt)."),
}));

/** What names a token to the introspection and the revocation endpoint (RFC 7662 §2.1, RFC 7009 §2.1), and the client. */
export const tokenForm = once(() =>
  z.object({
    token: z.string().check(z.describe("An access token or a refresh token.")),
    token_type_hint: z.optional(
      z.string().check(z.describe("`access_token` or `refresh_token`; either is found without it.")),
    ),
    ...clientParameters(),
  }),
);

export const tokenEndpointRoutes = [
  route({
    method: "POST",
    path: TOKEN_PATH,
    auth: "client",
    summary: "Get an access token as an OAuth client (RFC 6749)",
    form: () =>
      z.object({
        grant_type: z
          .string()
          .check(
            z.describe(
              `\`client_credentials\`, \`refresh_token\`, \`${TOKEN_EXCHANGE}\`, \`${JWT_BEARER}\` or \`${DEVICE_CODE_GRANT}\`.`,
            ),
          ),
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
        assertion: parameter(
          "For the grant `jwt-bearer`: a token of an issuer that this deployment trusts (RFC 7523).",
        ),
        subject_token: parameter(
          "For an exchange: an access token of the agent that is to be acted for, or a token of a trusted issuer (RFC 8693).",
        ),
        subject_token_type: parameter(
          "`urn:ietf:params:oauth:token-type:access_token`, or for a token of a trusted issuer `urn:ietf:params:oauth:token-type:jwt`.",
        ),
        actor_token: parameter(
          "For an exchange: an access token of the agent that is to act; without it, the client acts.",
        ),
        actor_token_type: parameter("`urn:ietf:params:oauth:token-type:access_token`."),
        requested_token_type: parameter("`urn:ietf:params:oauth:token-type:access_token`."),
        sub_agent: parameter("For an exchange: the name of a sub-agent of the client, which is to act and has no key."),
        device_code: parameter("For the grant `urn:ietf:params:oauth:grant-type:device_code`."),
        ...clientParameters(),
      }),
    response: () => tokenResponse(),
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
  const scope = readScope(call);
  const requested = readDetails(call);
  const resources = requireResources(call);
  const proof = await readTokenProof(call);
  const client = await requireClient(call, scope);
  return issueToProven(call, { client, scope, resources, requested, proof }, "client_credentials");
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
  const boundTo = await useTokenProof(call, proof, [client.agent]);
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
      throw markRecorded(refreshRefused("reused"));
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
      throw markRecorded(refreshRefused(result.outcome));
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
