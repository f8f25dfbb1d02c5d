import { ok, type Finding } from "../../storage/part-health.ts";
import { readGivenUp, readOverdue } from "./store/health.ts";
import { MINUTE_MS } from "../../time/lengths.ts";

/** After how long deliveries that are due lag, in milliseconds. A job enqueues again what has waited for three minutes. */
const LAG_MS = 10 * MINUTE_MS;

/** Whether deliveries are attempted when they are due. @param now milliseconds. */
export async function checkDeliveries(db: D1Database, now: number): Promise<Finding> {
  const { overdue, since } = await readOverdue(db, now - LAG_MS);
  if (since === null) return ok({ overdue });
  const message = "Deliveries are due, and nobody attempts them. Look at the queue agentauth-deliveries.";
  return { status: "lagging", since, message, numbers: { overdue } };
}

/** How many of the last 1000 failed deliveries failed because the queue gave them up: they can be redelivered. */
export const countGivenUp = (db: D1Database): Promise<number> => readGivenUp(db);
