import * as z from "zod/mini";

export const verifyBody = z.object({
  agent_id: z.string().check(z.minLength(1), z.maxLength(128)),
  api_key: z.string().check(z.minLength(1), z.maxLength(256)),
});

export const refreshBody = z.object({ refresh_token: z.string().check(z.minLength(1), z.maxLength(256)) });
