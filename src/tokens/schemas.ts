import * as z from "zod/mini";
import { agentSchema } from "../agents/schemas.ts";

export const verifyBody = z.object({
  agent_id: z.string().check(z.minLength(1), z.maxLength(128)),
  api_key: z.string().check(z.minLength(1), z.maxLength(256)),
});

const tokenSchema = z.object({
  access_token: z.string(),
  refresh_token: z.string(),
  token_type: z.literal("Bearer"),
  expires_in: z.int(),
});

export const verified = z.object({
  success: z.literal(true),
  message: z.string(),
  agent: agentSchema,
  token: tokenSchema,
});

export const refreshBody = z.object({ refresh_token: z.string().check(z.minLength(1), z.maxLength(256)) });

export const refreshed = z.object({ success: z.literal(true), message: z.string(), token: tokenSchema });

export const tokensRevoked = z.object({
  success: z.literal(true),
  message: z.string(),
  revoked_at: z.iso.datetime(),
});

export const jwkSet = z.object({
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
