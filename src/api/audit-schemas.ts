import * as z from "zod/mini";
import { paging } from "./paging.ts";

export const ACTIVITY_STATUSES = ["success", "failure"] as const;

/** Pages by offset, or, however far back, by `before`: the id of the last row of the page before. */
export const pageQuery = z.object({
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

export const activityQuery = z.extend(pageQuery, {
  agent_id: z.optional(z.string().check(z.minLength(1), z.maxLength(128))),
  status: z.optional(z.enum(ACTIVITY_STATUSES)),
});
