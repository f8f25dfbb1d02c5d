import * as z from "zod/mini";

/** Offsets read every row they skip, so they end here; further back, page with `before`. */
export const MOST_OFFSET = 10_000;

const whole = (minimum: number, maximum: number, fallback: number) =>
  z._default(z.coerce.number().check(z.int(), z.minimum(minimum), z.maximum(maximum)), fallback);

export const pageQuery = z.object({
  limit: whole(1, 100, 50),
  offset: whole(0, MOST_OFFSET, 0),
});

export const activityRow = z.object({
  id: z.string(),
  agent_id: z.string(),
  timestamp: z.iso.datetime(),
  ip_address: z.string(),
  status: z.enum(["success", "failure"]),
  message: z.nullable(z.string()),
});

export const pagination = z.object({
  total: z.int(),
  limit: z.int(),
  offset: z.int(),
  has_more: z.boolean(),
});

export const agentActivity = z.object({
  success: z.literal(true),
  agent_id: z.string(),
  activity: z.array(activityRow),
  pagination,
});
