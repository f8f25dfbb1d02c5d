import * as z from "zod/mini";
import { STATUSES, TIERS } from "./agent.ts";

const printable = /^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$/;

export const nameSchema = z
  .string()
  .check(z.trim(), z.minLength(3), z.maxLength(100), z.regex(printable, { error: "must not hold control characters" }));

const permissionsSchema = z.array(z.string().check(z.maxLength(100))).check(z.minLength(1), z.maxLength(50));

export const registerBody = z.object({
  name: nameSchema,
  owner_email: z.string().check(z.trim(), z.maxLength(255), z.email()),
  permissions: z.optional(z.nullable(permissionsSchema)),
  description: z.optional(z.nullable(z.string().check(z.maxLength(500)))),
});

export const statusBody = z.object({ status: z.enum(STATUSES) });
export const permissionsBody = z.object({ permissions: permissionsSchema });

export const agentSchema = z.object({
  agent_id: z.string(),
  name: z.string(),
  owner_email: z.string(),
  permissions: z.array(z.string()),
  status: z.enum(STATUSES),
  tier: z.enum(TIERS),
  created_at: z.iso.datetime(),
  updated_at: z.iso.datetime(),
});

export const credentialsSchema = z.object({ api_key: z.string(), token_type: z.literal("Bearer") });

export const registered = z.object({
  success: z.literal(true),
  message: z.string(),
  agent: agentSchema,
  credentials: credentialsSchema,
});

export const oneAgent = z.object({
  success: z.literal(true),
  agent: agentSchema,
  last_verified_at: z.nullable(z.iso.datetime()),
});
export const changedAgent = z.object({ success: z.literal(true), message: z.string(), agent: agentSchema });
