import * as z from "zod/mini";
import { agentSchema } from "./agent-responses.ts";

const tokenSchema = z.object({
  access_token: z.string(),
  refresh_token: z.string(),
  token_type: z.literal("Bearer"),
  expires_in: z.int().check(z.describe("Seconds until the access token expires.")),
});

const verified = z.object({
  success: z.literal(true),
  message: z.string(),
  agent: agentSchema,
  token: tokenSchema,
});

const refreshed = z.object({ success: z.literal(true), message: z.string(), token: tokenSchema });

const tokensRevoked = z.object({
  success: z.literal(true),
  message: z.string(),
  revoked_at: z.iso.datetime(),
});

const jwkSet = z.object({
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
});

/** What each route does, and what it answers when all is well. For the reference and the tests: the Worker does not carry it. */
export const tokenResponses = {
  "POST /agents/verify": { summary: "Exchange an API key for an access token and a refresh token", answer: verified },
  "POST /agents/refresh": {
    summary: "Exchange a refresh token for the next pair; used again within the grace, it gives the same successor",
    answer: refreshed,
  },
  "POST /agents/revoke-tokens": {
    summary: "End every access and refresh token of the calling agent, this one included",
    answer: tokensRevoked,
  },
  "GET /.well-known/jwks.json": { summary: "The public keys that access tokens are verified with", answer: jwkSet },
};
