import { timeOrderedId } from "../crypto/random.ts";
import type { RequestContext } from "../http/request.ts";
import type { Event } from "../webhooks/event.ts";

/** What happened, as it travels through the queue. */
export interface ActivityMessage {
  readonly id: string;
  readonly agentId: string;
  /** Milliseconds. */
  readonly at: number;
  readonly ipAddress: string;
  readonly status: "success" | "failure";
  readonly message: string | null;
  /** Told to the owner's webhooks once the row is in. */
  readonly event?: Event;
}

const LONGEST_MESSAGE = 500;

/**
 * Sends one activity to the queue. The id is made here, so that a message delivered twice is one row.
 *
 * Meant for `waitUntil`: never rejects, because the answer it tells of is already on its way.
 */
export async function recordActivity(
  queue: Queue<ActivityMessage>,
  activity: Omit<ActivityMessage, "id">,
): Promise<void> {
  const message = activity.message?.slice(0, LONGEST_MESSAGE) ?? null;
  try {
    await queue.send({ ...activity, message, id: timeOrderedId("act_", activity.at) });
  } catch (cause) {
    console.error(
      JSON.stringify({ event: "activity_lost", agent_id: activity.agentId, message, cause: String(cause) }),
    );
  }
}

/** Sends what an agent did, or had done to it, in this request, after the answer is on its way. */
export function note(
  { env, now, ipAddress, waitUntil }: Pick<RequestContext, "env" | "now" | "ipAddress" | "waitUntil">,
  agentId: string,
  message: string,
  { status = "success", event }: Partial<Pick<ActivityMessage, "status" | "event">> = {},
): void {
  const activity = { agentId, at: now, ipAddress, status, message, ...(event && { event }) };
  waitUntil(recordActivity(env.ACTIVITY, activity));
}
