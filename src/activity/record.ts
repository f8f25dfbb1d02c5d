import { timeOrderedId } from "../crypto/random.ts";
import { logFailure } from "../failure-log.ts";
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
  /** The agent proved itself with its API key. */
  readonly verified?: boolean;
  /** Told to the owner's webhooks once the row is in. */
  readonly event?: Event;
}

const ID_PREFIX = "act_";

/** Sorts before every id of this millisecond and after all earlier ones. */
export const firstIdOf = (ms: number): string => timeOrderedId(ID_PREFIX, ms).slice(0, ID_PREFIX.length + 12);

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
    await queue.send({ ...activity, message, id: timeOrderedId(ID_PREFIX, activity.at) });
  } catch (cause) {
    logFailure("activity_lost", cause, { agent_id: activity.agentId, message });
  }
}

/** What a request brings along to be noted. */
export interface Occasion {
  readonly env: { readonly ACTIVITY: Queue };
  readonly now: number;
  readonly ipAddress: string;
  readonly waitUntil: (work: Promise<unknown>) => void;
}

/** Sends what an agent did, or had done to it, in this request, after the answer is on its way. */
export function note(
  { env, now, ipAddress, waitUntil }: Occasion,
  agentId: string,
  message: string,
  more: Partial<Pick<ActivityMessage, "status" | "event" | "verified">> = {},
): void {
  waitUntil(recordActivity(env.ACTIVITY, { agentId, at: now, ipAddress, status: "success", message, ...more }));
}
