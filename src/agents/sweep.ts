import type { Job } from "../jobs/job.ts";
import { deleteExpiredKeys } from "./store.ts";

/** Deletes API keys whose overlap with their successor is over. */
export const sweepKeys: Job = (env, _config, now, most) => deleteExpiredKeys(env.DB, now, most);
