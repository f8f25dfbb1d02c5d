import * as z from "zod/mini";
import { pagination } from "./pagination.ts";
import { ACTIVITY_STATUSES } from "./audit-schemas.ts";

const activityRow = z.object({
  id: z.string(),
  agent_id: z.string(),
  timestamp: z.iso.datetime(),
  ip_address: z
    .string()
    .check(
      z.describe(
        "Empty if it is not known, or if somebody else acted on the agent and the caller is not an administrator.",
      ),
    ),
  status: z.enum(ACTIVITY_STATUSES),
  message: z.nullable(z.string()),
});

const agentActivity = z.object({
  success: z.literal(true),
  agent_id: z.string(),
  activity: z.array(activityRow),
  pagination,
});

const allActivity = z.object({ success: z.literal(true), activity: z.array(activityRow), pagination });

/** What each route does, and what it answers when all is well. For the reference and the tests: the Worker does not carry it. */
export const activityResponses = {
  "GET /agents/{id}/activity": { summary: "What an agent did, newest first", answer: agentActivity },
  "GET /activity": { summary: "What all agents did, newest first", answer: allActivity },
};
