import { recordActivity } from "../activity/record.ts";
import { toWire } from "../agents/agent.ts";
import { ApiError } from "../http/errors.ts";
import { limitAddress, limitGuesses } from "../http/rate-limit.ts";
import { route } from "../http/route.ts";
import { newEvent } from "../webhooks/event.ts";
import { tokenSettings } from "./issuer.ts";
import { publicKeySet } from "./keys.ts";
import { jwkSet, verified, verifyBody } from "./schemas.ts";
import { verifyAgent, type TokenPair } from "./verify.ts";

export const tokenRoutes = [
  route({
    method: "POST",
    path: "/agents/verify",
    auth: "none",
    summary: "Exchange an API key for an access token and a refresh token",
    body: verifyBody,
    answer: verified,
    async handle({ request, env, config, body, now, ipAddress, waitUntil }) {
      await limitAddress(env, ipAddress);
      const attempt = { agentId: body.agent_id, apiKey: body.api_key, ipAddress, now };
      const result = await verifyAgent(env.DB, attempt, config, tokenSettings(config, request));
      const activity = { agentId: body.agent_id, at: now, ipAddress };
      if (!result) {
        // Only failures count: a stranger who knows an agent's id cannot lock it out.
        await limitGuesses(env, body.agent_id);
        waitUntil(
          recordActivity(env.ACTIVITY, {
            ...activity,
            status: "failure",
            message: "verification failed",
            event: newEvent("agent.verification_failed", body.agent_id, now, {
              agent_id: body.agent_id,
              failed_at: new Date(now).toISOString(),
              ip_address: ipAddress,
            }),
          }),
        );
        throw invalidCredentials();
      }
      waitUntil(recordActivity(env.ACTIVITY, { ...activity, status: "success", message: "verified" }));
      return {
        success: true,
        message: "Agent verified.",
        agent: toWire(result.agent),
        token: toWireToken(result.tokens),
      };
    },
  }),

  route({
    method: "GET",
    path: "/.well-known/jwks.json",
    auth: "none",
    summary: "The public keys that access tokens are verified with",
    answer: jwkSet,
    handle: ({ config }) =>
      Response.json(publicKeySet(config.signingKeys), {
        headers: { "Cache-Control": "public, max-age=300, stale-while-revalidate=300" },
      }),
  }),
];

function toWireToken({ accessToken, refreshToken, expiresIn }: TokenPair) {
  return { access_token: accessToken, refresh_token: refreshToken, token_type: "Bearer", expires_in: expiresIn };
}

/** One body for an unknown agent, a wrong key and an agent that is not active. */
function invalidCredentials(): ApiError {
  return new ApiError(401, {
    code: "invalid_credentials",
    error: "Invalid credentials",
    message: "No active agent has this id and this API key.",
    headers: { "WWW-Authenticate": 'Bearer realm="agentauth"' },
  });
}
