import { ok, type Finding } from "../storage/part-health.ts";
import { readBacklog } from "./store.ts";

/** After how long events that wait lag, in milliseconds. */
const LAG_MS = 600_000;

/** How many events are counted: whether there are more says enough. */
const MAX_COUNTED = 10_000;

/** Whether the outbox of events is emptied: its consumer runs after each change, and a job each minute. @param now milliseconds. */
export async function checkOutbox(db: D1Database, now: number): Promise<Finding> {
  const { events, since } = await readBacklog(db, MAX_COUNTED);
  const numbers = { events };
  if (since === null || now - since < LAG_MS) return ok(numbers);
  const message =
    "Events wait to be turned into deliveries of webhooks. Nothing is lost. Look in the logs for job_failed with the job drain_outbox, and for the queue agentauth-deliveries in Cloudflare's dashboard.";
  return { status: "lagging", since, message, numbers };
}
