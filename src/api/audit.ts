import * as z from "zod/mini";
import { route } from "../access/route.ts";
import type { Activity, ActivityPage } from "../audit/activity.ts";
import { listActivity } from "../audit/read.ts";
import { notFound } from "../http/errors.ts";
import { page, pagination, paging } from "./pagination.ts";
import { toTimestamp } from "./timestamp.ts";

const ACTIVITY_STATUSES = ["success", "failure"] as const;

/** Pages by offset or, at any depth, by `before`: the id of the previous page's last row. */
const pageQuery = z.object({
  ...paging,
  before: z.optional(
    z
      .string()
      .check(
        z.regex(/^act_[0-9a-f]{32}$/, { error: "must be the id of an activity" }),
        z.describe("The id of the last row of the previous page."),
      ),
  ),
});

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

export const activityRoutes = [
  route({
    method: "GET",
    path: "/agents/{id}/activity",
    auth: "self",
    summary: "What an agent did, newest first",
    query: pageQuery,
    response: z.object({
      success: z.literal(true),
      agent_id: z.string(),
      activity: z.array(activityRow),
      pagination,
    }),
    async handle({ env, params, query, caller }) {
      const found = await listActivity(env.DB, { ...query, agentId: params.id });
      // The activity of a deleted agent can still be read.
      if (!found.agentExists && found.total === 0) throw notFound("The agent");
      return { success: true, agent_id: params.id, ...toPage(found, query, { showAddresses: caller.isAdmin }) };
    },
  }),

  route({
    method: "GET",
    path: "/activity",
    auth: "admin",
    summary: "What all agents did, newest first",
    query: z.extend(pageQuery, {
      agent_id: z.optional(z.string().check(z.minLength(1), z.maxLength(128))),
      status: z.optional(z.enum(ACTIVITY_STATUSES)),
    }),
    response: z.object({ success: z.literal(true), activity: z.array(activityRow), pagination }),
    async handle({ env, query }) {
      const found = await listActivity(env.DB, { ...query, agentId: query.agent_id });
      return { success: true, ...toPage(found, query, { showAddresses: true }) };
    },
  }),
];

function toPage(
  found: ActivityPage,
  { limit, offset }: { limit: number; offset: number },
  { showAddresses }: { showAddresses: boolean },
) {
  const { rows, hasMore } = page(found.activities, { limit });
  const activity = rows.map((one) => toActivityResponse(one, showAddresses || !one.byOther));
  return { activity, pagination: { total: found.total, limit, offset, has_more: hasMore } };
}

/** @param showAddress false for an agent that reads what an administrator, or another agent, did to it. */
function toActivityResponse(activity: Activity, showAddress: boolean): z.input<typeof activityRow> {
  return {
    id: activity.id,
    agent_id: activity.agentId,
    timestamp: toTimestamp(activity.at),
    ip_address: showAddress ? activity.ipAddress : "",
    status: activity.status,
    message: activity.message,
  };
}
