import * as z from "zod/mini";
import { wakeOutbox } from "../audit/message.ts";
import { recordAtOnce } from "../audit/record.ts";
import type { Status } from "../agents/agent.ts";
import { apiKeyHashes, isApiKey } from "../agents/api-key.ts";
import { hmac } from "../crypto/hmac.ts";
import { toHex } from "../crypto/random.ts";
import { addressNotAllowed, badRequest, unauthorized, type ApiError } from "../http/errors.ts";
import { WHAT_TO_WAIT_FOR } from "../access/failed-proof.ts";
import { originOf } from "../access/origin.ts";
import { PROOF_REQUIRED, proofRefused, proofUsed, readProof, useProofOnce } from "../access/proof.ts";
import type { RequestContext } from "../http/request-context.ts";
import { markRecorded } from "../access/refusals.ts";
import { limitFailedVerifications, limitKey, limitSession } from "../access/rate-limit.ts";
import { route } from "../access/route.ts";
import { tokenSettings } from "../tokens/issuer.ts";
import { beyondAgent } from "../tokens/scope.ts";
import { publicKeySet } from "../tokens/keys.ts";
import type { TokenPair } from "../tokens/records.ts";
import { refreshFormer } from "../tokens/former-refresh.ts";
import { refresh, refusedRefresh } from "../tokens/refresh.ts";
import { isFormerRefreshToken, readRefreshToken } from "../tokens/refresh-token.ts";
import { cacheAgentRevocation, cacheSessionEnd, revokeTokens } from "../tokens/revocation.ts";
import { validateLimits, verifyAgent, type VerifyResult } from "../tokens/verify.ts";
import { agentSchema, toAgentResponse } from "./agent-schema.ts";
import { toTimestamp } from "./timestamp.ts";
import { once } from "../validation/once.ts";

/** As many permissions as an agent can have. */
const MAX_SCOPE_LENGTH = 50;

/** The Token object of the wire: exactly these keys. */
const tokenSchema = once(() =>
  z.object({
    access_token: z.string(),
    refresh_token: z.string(),
    token_type: z
      .enum(["Bearer", "DPoP"])
      .check(z.describe("`DPoP` if the request had a proof, whose key the tokens are bound to.")),
    expires_in: z.int().check(z.describe("Seconds until the access token expires.")),
  }),
);

export const tokenRoutes = [
  route({
    method: "POST",
    path: "/agents/verify",
    auth: "none",
    summary: "Exchange an API key for an access token and a refresh token",
    limited: "address",
    body: () =>
      z.object({
        agent_id: z.string().check(z.minLength(1), z.maxLength(128)),
        api_key: z.string().check(z.minLength(1), z.maxLength(256)),
        scope: z.optional(
          z.nullable(
            z.union([z.string().check(z.maxLength(5100)), z.array(z.string().check(z.maxLength(100)))]).check(
              z.refine((scope) => toScope(scope).length > 0 && toScope(scope).length <= MAX_SCOPE_LENGTH, {
                error: `must name 1 to ${MAX_SCOPE_LENGTH} permissions`,
              }),
              z.describe(
                "The permissions that the token is limited to: a list, or a text with spaces between. None wider than the agent's.",
              ),
            ),
          ),
        ),
        expires_in: z.optional(
          z.nullable(
            z
              .int()
              .check(
                z.minimum(1),
                z.describe("Seconds that access tokens of this session live; at most `ACCESS_TOKEN_TTL_SECONDS`."),
              ),
          ),
        ),
      }),
    response: () =>
      z.object({
        success: z.literal(true),
        message: z.string(),
        agent: agentSchema(),
        token: tokenSchema(),
      }),
    async handle(call) {
      const { request, env, config, body, now, ipAddress } = call;
      // A typing error is told without the database, and like every attempt it has counted against the address.
      if (!isApiKey(body.api_key)) throw malformedApiKey();
      const limits = {
        scope: body.scope == null ? undefined : toScope(body.scope),
        expiresIn: body.expires_in ?? undefined,
      };
      const faults = validateLimits(limits, config);
      if (faults.length > 0) throw invalidScope(faults);
      const keyHashes = await apiKeyHashes(body.api_key, config.peppers);
      await limitKey(env, keyHashes[0]!);
      const proof = (await requireGoodProof(call)) ?? null;
      const credentials = { agentId: body.agent_id, apiKey: body.api_key, keyHashes, proof };
      const attempt = { ...limits, ...credentials, ipAddress, origin: originOf(call), now };
      const verified = await verifyAgent(env.DB, attempt, config, tokenSettings(config, request.url));
      switch (verified.result) {
        case "refused":
        case "address_refused":
        case "not_active":
          // Only failures count: a stranger who knows an agent's id cannot lock it out.
          if (verified.hasNewRecord) call.waitUntil(wakeOutbox(env));
          await limitFailedVerifications(env, body.agent_id);
          throw markRecorded(refusalOf(verified));
        case "proof_required":
          throw proofRefused({ fault: PROOF_REQUIRED });
        case "proof_used":
          throw proofUsed();
        case "exceeds_agent": {
          const wider = beyondAgent(limits.scope ?? [], verified.agent, config.catalogue, now);
          throw invalidScope(wider.map((one) => ({ field: "scope", message: `${one} is not granted to the agent` })));
        }
        case "verified":
          return {
            success: true,
            message: "Agent verified.",
            agent: toAgentResponse(verified.agent),
            token: toTokenResponse(verified.tokens),
          };
      }
    },
  }),

  route({
    method: "POST",
    path: "/agents/refresh",
    auth: "none",
    summary: "Exchange a refresh token for the next pair; used again within the grace, it gives the same successor",
    limited: "address",
    body: () => z.object({ refresh_token: z.string().check(z.minLength(1), z.maxLength(256)) }),
    response: () => z.object({ success: z.literal(true), message: z.string(), token: tokenSchema() }),
    async handle(call) {
      const { request, env, config, body, now, ipAddress } = call;
      const settings = tokenSettings(config, request.url);
      // A guessed token has no valid MAC: it costs no read of the database. The limit is checked before the token is replaced.
      const token = await readRefreshToken(body.refresh_token, config.peppers);
      if (!token && !isFormerRefreshToken(body.refresh_token)) throw refreshRefused("unknown");
      await limitSession(env, token?.sessionId ?? toHex(await hmac(config.pepper, "rate-limit", body.refresh_token)));
      // A session of the former format is bound to no key, and whether a token is of one only the database knows: no proof of a stranger
      // is used up.
      const boundTo = token ? await boundKeyOf(call) : null;
      const attempt = { ipAddress, origin: originOf(call), now, boundTo };
      const result = token
        ? await refresh(env.DB, token, attempt, config, settings)
        : await refreshFormer(env.DB, body.refresh_token, attempt, config, settings);
      const recordRefused = (agentId: string, reason: string): Promise<void> => {
        const origin = { ...attempt.origin, sessionId: token?.sessionId ?? null };
        return recordAtOnce(call, refusedRefresh(agentId, reason, origin, now));
      };
      switch (result.outcome) {
        case "rotated":
        case "replayed":
          return { success: true, message: "Token refreshed.", token: toTokenResponse(result.tokens) };
        case "reused": {
          const cache = { revocations: env.REVOCATIONS, accessTokenTtl: config.accessTokenTtl };
          call.waitUntil(cacheSessionEnd(cache, result.sessionId));
          call.waitUntil(wakeOutbox(env));
          throw markRecorded(refreshRefused("reused"));
        }
        case "other_key":
          await recordRefused(result.agentId, "other key");
          throw markRecorded(
            proofRefused({ fault: "The session is bound to a key: send a proof of that key in the header DPoP." }),
          );
        case "address_refused":
          await recordRefused(result.agentId, "address not allowed");
          throw markRecorded(addressNotAllowed());
        case "expired":
        case "ended":
          await recordRefused(result.agentId, result.outcome);
          throw markRecorded(refreshRefused(result.outcome));
        case "unknown":
        // Only a refresh with a scope exceeds a session.
        case "exceeds_session":
          throw refreshRefused("unknown");
      }
    },
  }),

  route({
    method: "POST",
    path: "/agents/revoke-tokens",
    auth: "bearer",
    summary: "End every access and refresh token of the calling agent, this one included",
    response: () => z.object({ success: z.literal(true), message: z.string(), revoked_at: z.iso.datetime() }),
    async handle(call) {
      const { env, config, caller, authority, now } = call;
      const tokenVersion = await revokeTokens(env.DB, caller.agent.id, { by: authority, origin: originOf(call), now });
      if (tokenVersion !== undefined) {
        const cache = { revocations: env.REVOCATIONS, accessTokenTtl: config.accessTokenTtl };
        call.waitUntil(cacheAgentRevocation(cache, caller.agent.id, tokenVersion));
      }
      return {
        success: true,
        message: "All tokens are revoked. POST /agents/verify gives new ones.",
        revoked_at: toTimestamp(now),
      };
    },
  }),

  route({
    method: "GET",
    path: "/.well-known/jwks.json",
    auth: "none",
    ignoresInput: true,
    summary: "The public keys that access tokens are verified with",
    response: () =>
      z.object({
        keys: z.array(
          z.object({
            kty: z.literal("EC"),
            crv: z.literal("P-256"),
            kid: z.string(),
            x: z.string(),
            y: z.string(),
            alg: z.literal("ES256"),
            use: z.literal("sig"),
          }),
        ),
      }),
    cacheControl: "public, max-age=300, stale-while-revalidate=300",
    handle: ({ config }) => publicKeySet(config.signingKeys),
  }),
];

/** The proof of a request for tokens, which are then bound to its key (RFC 9449 §5). It is not used up yet. @throws {ApiError} 401 */
async function requireGoodProof(call: RequestContext) {
  const proof = await readProof(call, undefined);
  if (proof && "fault" in proof) throw proofRefused(proof);
  return proof;
}

/** The key that a request proves to have, whose proof is used up. @throws {ApiError} 401 */
async function boundKeyOf(call: RequestContext): Promise<string | null> {
  const proof = await requireGoodProof(call);
  if (!proof) return null;
  await useProofOnce(call, proof);
  return proof.jkt;
}

/** The permissions of a scope: a list, or a text with spaces between (RFC 6749 §3.3). */
const toScope = (scope: string | readonly string[]): string[] =>
  typeof scope === "string" ? scope.split(" ").filter(Boolean) : [...scope];

function invalidScope(details: { field: string; message: string }[]): ApiError {
  const [first] = details;
  return badRequest(
    `A token may be narrower and shorter than its agent's, not wider or longer. ${first?.field}: ${first?.message}.`,
    details,
    "invalid_scope",
  );
}

function toTokenResponse({
  accessToken,
  refreshToken,
  expiresIn,
  boundTo,
}: TokenPair): z.input<ReturnType<typeof tokenSchema>> {
  return {
    access_token: accessToken,
    refresh_token: refreshToken,
    token_type: boundTo === null ? "Bearer" : "DPoP",
    expires_in: expiresIn,
  };
}

/** Only the holder of the right key learns that it is the address, or the agent's status. */
function refusalOf(
  verified: Extract<VerifyResult, { result: "refused" | "address_refused" | "not_active" }>,
): ApiError {
  switch (verified.result) {
    case "refused":
      return invalidCredentials();
    case "address_refused":
      return addressNotAllowed();
    case "not_active":
      return agentInactive(verified.status);
  }
}

/** One body for an unknown agent and a wrong key. */
const invalidCredentials = (): ApiError =>
  credentialsRefused("invalid_credentials", "No active agent has this id and this API key.");

const malformedApiKey = (): ApiError =>
  credentialsRefused(
    "malformed_api_key",
    "api_key does not have the form of an API key: ak_ and 49 letters and digits, of which the last 6 are a checksum. Copy the key again, whole.",
  );

const agentInactive = (status: Exclude<Status, "active">): ApiError =>
  credentialsRefused("agent_inactive", `The API key is right, but the agent is ${status}. ${WHAT_TO_WAIT_FOR[status]}`);

const credentialsRefused = (
  code: "invalid_credentials" | "malformed_api_key" | "agent_inactive",
  message: string,
): ApiError => unauthorized(code, message);

/** Only the holder of a token learns what became of it. */
function refreshRefused(outcome: "unknown" | "expired" | "ended" | "reused"): ApiError {
  const [code, message] = (
    {
      unknown: ["invalid_refresh_token", "The refresh token is not known here."],
      expired: ["refresh_token_expired", "The refresh token, or its session, has expired."],
      ended: ["session_ended", "The session was revoked, or its agent is not active."],
      reused: ["refresh_token_reused", "The refresh token had been used before: its session is revoked."],
    } as const
  )[outcome];
  return unauthorized(code, `${message} POST /agents/verify opens a new session.`);
}
