import * as z from "zod/mini";
import { recordInBackground } from "../audit/record.ts";
import { apiKeyHash } from "../agents/api-key.ts";
import { ApiError, unauthorized } from "../http/errors.ts";
import { limitAgent, limitFailedVerifications, limitKey } from "../access/rate-limit.ts";
import { route } from "../access/route.ts";
import { newEvent } from "../outbox/event.ts";
import { tokenSettings } from "../tokens/issuer.ts";
import { publicKeySet } from "../tokens/keys.ts";
import type { TokenPair } from "../tokens/records.ts";
import { findRefreshTokenOwner, refresh, type RefreshOutcome } from "../tokens/refresh.ts";
import { deriveSuccessor } from "../tokens/refresh-token.ts";
import { revokeTokens, cacheAgentRevocation, cacheSessionRevocation } from "../tokens/revocation.ts";
import { verifyAgent } from "../tokens/verify.ts";
import { agentSchema, toAgentResponse } from "./agent-schema.ts";
import { toTimestamp } from "./timestamp.ts";

/** The Token object of the wire: exactly these keys. */
const tokenSchema = z.object({
  access_token: z.string(),
  refresh_token: z.string(),
  token_type: z.literal("Bearer"),
  expires_in: z.int().check(z.describe("Seconds until the access token expires.")),
});

export const tokenRoutes = [
  route({
    method: "POST",
    path: "/agents/verify",
    auth: "none",
    summary: "Exchange an API key for an access token and a refresh token",
    limited: "address",
    body: z.object({
      agent_id: z.string().check(z.minLength(1), z.maxLength(128)),
      api_key: z.string().check(z.minLength(1), z.maxLength(256)),
    }),
    response: z.object({
      success: z.literal(true),
      message: z.string(),
      agent: agentSchema,
      token: tokenSchema,
    }),
    async handle(call) {
      const { request, env, config, body, now, ipAddress } = call;
      const keyHash = await apiKeyHash(body.api_key, config.pepper);
      await limitKey(env, keyHash);
      const attempt = { agentId: body.agent_id, keyHash, ipAddress, now };
      const result = await verifyAgent(env.DB, attempt, config, tokenSettings(config, request.url));
      if (!result) {
        // Only failures count: a stranger who knows an agent's id cannot lock it out.
        await limitFailedVerifications(env, body.agent_id);
        recordInBackground(call, body.agent_id, "verification failed", {
          status: "failure",
          known: false,
          failedVerification: true,
          event: newEvent("agent.verification_failed", body.agent_id, now, {
            agent_id: body.agent_id,
            failed_at: toTimestamp(now),
            ip_address: ipAddress,
          }),
        });
        throw invalidCredentials();
      }
      recordInBackground(call, body.agent_id, "verified", { verified: true });
      return {
        success: true,
        message: "Agent verified.",
        agent: toAgentResponse(result.agent),
        token: toTokenResponse(result.tokens),
      };
    },
  }),

  route({
    method: "POST",
    path: "/agents/refresh",
    auth: "none",
    summary: "Exchange a refresh token for the next pair; used again within the grace, it gives the same successor",
    limited: "address",
    body: z.object({ refresh_token: z.string().check(z.minLength(1), z.maxLength(256)) }),
    response: z.object({ success: z.literal(true), message: z.string(), token: tokenSchema }),
    async handle(call) {
      const { request, env, config, body, now, ipAddress } = call;
      const derived = await deriveSuccessor(body.refresh_token, config.pepper);
      // A guessed token costs one read and no write. The limit is checked before the rotation, which would use up the caller's token.
      const [owner, next] = await Promise.all([
        findRefreshTokenOwner(env.DB, derived.hash),
        deriveSuccessor(derived.successor, config.pepper),
      ]);
      if (!owner) throw refreshRefused("unknown");
      await limitAgent(env, owner, "refresh");
      const attempt = { ...derived, successorHash: next.hash, owner, ipAddress, now };
      const result = await refresh(env.DB, attempt, config, tokenSettings(config, request.url));
      switch (result.outcome) {
        case "rotated":
        case "replayed":
          if (result.outcome === "rotated") recordInBackground(call, owner.id, "token refreshed");
          return { success: true, message: "Token refreshed.", token: toTokenResponse(result.tokens) };
        case "reused": {
          const { sessionId, now: readAt } = result.record;
          const cache = { revocations: env.REVOCATIONS, accessTokenTtl: config.accessTokenTtl };
          call.waitUntil(cacheSessionRevocation(cache, sessionId, Math.floor(readAt / 1000) + 1));
          recordInBackground(call, owner.id, "refresh token used again: the session was revoked", {
            status: "failure",
          });
          throw refreshRefused("reused");
        }
        case "expired":
        case "ended":
          recordInBackground(call, owner.id, `refresh refused: ${result.outcome}`, { status: "failure" });
          throw refreshRefused(result.outcome);
        case "unknown":
          throw refreshRefused("unknown");
      }
    },
  }),

  route({
    method: "POST",
    path: "/agents/revoke-tokens",
    auth: "bearer",
    summary: "End every access and refresh token of the calling agent, this one included",
    response: z.object({ success: z.literal(true), message: z.string(), revoked_at: z.iso.datetime() }),
    async handle(call) {
      const { env, config, caller, authority, now } = call;
      const notBefore = await revokeTokens(env.DB, authority);
      if (notBefore !== undefined) {
        const cache = { revocations: env.REVOCATIONS, accessTokenTtl: config.accessTokenTtl };
        call.waitUntil(cacheAgentRevocation(cache, caller.agent.id, notBefore));
      }
      recordInBackground(call, caller.agent.id, "all tokens revoked");
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
    response: z.object({
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

function toTokenResponse({ accessToken, refreshToken, expiresIn }: TokenPair): z.input<typeof tokenSchema> {
  return { access_token: accessToken, refresh_token: refreshToken, token_type: "Bearer", expires_in: expiresIn };
}

/** One body for an unknown agent, a wrong key and an agent that is not active. */
function invalidCredentials(): ApiError {
  return new ApiError("invalid_credentials", "No active agent has this id and this API key.", {
    headers: { "WWW-Authenticate": 'Bearer realm="agentauth"' },
  });
}

/** Only the holder of a token learns what became of it. */
function refreshRefused(outcome: Exclude<RefreshOutcome["outcome"], "rotated" | "replayed">): ApiError {
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
