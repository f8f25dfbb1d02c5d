import type { ActivityPage, ActivityQuery } from "./activity.ts";
import { readActivity } from "./store/activity.ts";

/** One page of activity, the newest first, and how much there is in all. One D1 round trip. */
export const listActivity = (db: D1Database, query: ActivityQuery): Promise<ActivityPage> => readActivity(db, query);
