import * as z from "zod/mini";
import { route } from "../access/route.ts";
import type { Activity, ActivityPage } from "../audit/activity.ts";
import { listActivity } from "../audit/read.ts";
import { notFound } from "../http/errors.ts";
import { nextCursor, onePosition, page, pagination, pagingByEither } from "./pagination.ts";
import { toTimestamp } from "./timestamp.ts";
import { once } from "../validation/once.ts";

const ACTIVITY_STATUSES = ["success", "failure"] as const;

const ACTIVITY_ID = /^act_[0-9a-f]{32}$/;

/** Pages by offset or, at any depth, by `cursor` or `before`: the id of the previous page's last row. */
const pageQuery = once(() =>
  z.object({
    ...pagingByEither(),
    before: z.optional(
      z
        .string()
        .check(
          z.regex(ACTIVITY_ID, { error: "must be the id of an activity" }),
          z.describe("The id of the last row of the previous page."),
        ),
    ),
    cursor: z.optional(
      z.string().check(
        z.refine((text) => text === "" || ACTIVITY_ID.test(text), { error: "must be a next_cursor of this list" }),
        z.describe("The `next_cursor` of the previous page; empty for the first page."),
      ),
    ),
  }),
);

/** The position of a page. @throws {ApiError} 400 if it is given in two ways. */
function positionOf(query: z.output<ReturnType<typeof pageQuery>>) {
  // `offset` and `before` together skip rows after that row, as they always did.
  onePosition(query, ["offset", "cursor"]);
  onePosition(query, ["before", "cursor"]);
  const { limit, offset = 0, before, cursor } = query;
  return { limit, offset, before: cursor || before };
}

const activityRow = once(() =>
  z.object({
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
  }),
);

export const activityRoutes = [
  route({
    method: "GET",
    path: "/agents/{id}/activity",
    auth: "self",
    summary: "What an agent did, newest first",
    query: pageQuery,
    response: () =>
      z.object({
        success: z.literal(true),
        agent_id: z.string(),
        activity: z.array(activityRow()),
        pagination: pagination(),
        // Clients that were published before the cursor expect exactly the other properties.
        next_cursor: z
          .optional(nextCursor())
          .check(z.describe("Only if the request has `cursor`, which may be empty.")),
      }),
    async handle({ env, params, query, caller }) {
      const position = positionOf(query);
      const found = await listActivity(env, { ...position, agentId: params.id });
      // The activity of a deleted agent can still be read.
      if (!found.agentExists && found.total === 0) throw notFound("The agent");
      const { next_cursor, ...rest } = toPage(found, position, { showAddresses: caller.seesAll });
      return { success: true, agent_id: params.id, ...rest, ...(query.cursor !== undefined && { next_cursor }) };
    },
  }),

  route({
    method: "GET",
    path: "/activity",
    auth: "admin",
    summary: "What all agents did, newest first",
    query: () =>
      z.extend(pageQuery(), {
        agent_id: z.optional(z.string().check(z.minLength(1), z.maxLength(128))),
        status: z.optional(z.enum(ACTIVITY_STATUSES)),
      }),
    response: () =>
      z.object({
        success: z.literal(true),
        activity: z.array(activityRow()),
        pagination: pagination(),
        next_cursor: nextCursor(),
      }),
    async handle({ env, query }) {
      const { agent_id: agentId, status } = query;
      const position = positionOf(query);
      const found = await listActivity(env, { ...position, agentId, status });
      return { success: true, ...toPage(found, position, { showAddresses: true }) };
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
  return {
    activity,
    pagination: { total: found.total, limit, offset, has_more: hasMore },
    next_cursor: hasMore ? rows.at(-1)!.id : null,
  };
}

/** @param showAddress false for an agent that reads what an administrator, or another agent, did to it. */
function toActivityResponse(activity: Activity, showAddress: boolean): z.input<ReturnType<typeof activityRow>> {
  return {
    id: activity.id,
    agent_id: activity.agentId,
    timestamp: toTimestamp(activity.at),
    ip_address: showAddress ? activity.ipAddress : "",
    status: activity.status,
    message: activity.message,
  };
}
