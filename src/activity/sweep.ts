import type { Chore } from "../housekeeping/chore.ts";
import { deleteActivities } from "./store.ts";

const DAY_MS = 86_400_000;

/** Deletes activity that is older than `ACTIVITY_RETENTION_DAYS`, the oldest first. */
export const sweepActivity: Chore = (env, config, now, most) =>
  deleteActivities(env.DB, now - config.activityRetentionDays * DAY_MS, most);
