import { timeOrderedId } from "../crypto/random.ts";
import { logFailure } from "../log/failure-log.ts";
import type { Event } from "../outbox/event.ts";

/** What happened, as it travels through the queue. */
export interface ActivityMessage {
  readonly id: string;
  readonly agentId: string;
  /** Milliseconds. */
  readonly at: number;
  readonly ipAddress: string;
  readonly status: "success" | "failure";
  readonly message: string | null;
  /**
   * The agent existed when the message was made: it called, or was changed. The row is written even if the agent is deleted
   * before the message is consumed. A stranger can name any id: without it, the consumer asks.
   */
  readonly known: boolean;
  /** Somebody else did it to the agent: the address is not the agent's to see. */
  readonly byOther?: boolean;
  /** The agent proved itself with its API key. */
  readonly verified?: boolean;
  /** Somebody failed to: above a limit a minute, such rows become one count. */
  readonly failedVerification?: boolean;
  /** Told to the owner's webhooks once the row is in. */
  readonly event?: Event;
}

export const ACTIVITY_ID_PREFIX = "act_";

/** Sorts before every id of this millisecond and after all earlier ones. */
export const firstActivityIdAt = (ms: number): string =>
  timeOrderedId(ACTIVITY_ID_PREFIX, ms).slice(0, ACTIVITY_ID_PREFIX.length + 12);

const MAX_MESSAGE_LENGTH = 500;

/**
 * Sends one activity to the queue. The id is made here, so that a message delivered twice is one row.
 *
 * Meant for `waitUntil`: never rejects, because the answer it tells of is already on its way.
 */
export async function recordActivity(
  queue: Queue<ActivityMessage>,
  activity: Omit<ActivityMessage, "id">,
): Promise<void> {
  const message = activity.message?.slice(0, MAX_MESSAGE_LENGTH) ?? null;
  try {
    await queue.send({ ...activity, message, id: timeOrderedId(ACTIVITY_ID_PREFIX, activity.at) });
  } catch (cause) {
    logFailure("activity_lost", cause, { agent_id: activity.agentId, message });
  }
}

/** Who called: an agent that proved itself, or whoever asks for a registration. */
type By = { readonly agent: { readonly id: string } } | { readonly kind: "stranger" | "bootstrap" | "agent" };

/** What a request brings along to be noted. */
export interface AuditContext {
  readonly caller?: By | undefined;
  readonly env: { readonly ACTIVITY: Queue };
  readonly now: number;
  readonly ipAddress: string;
  readonly waitUntil: (work: Promise<unknown>) => void;
}

/** Sends what an agent did, or had done to it, in this request, after the answer is on its way. */
export function recordInBackground(
  { env, now, ipAddress, waitUntil, caller }: AuditContext,
  agentId: string,
  message: string,
  more: Partial<Pick<ActivityMessage, "status" | "event" | "known" | "verified" | "failedVerification">> = {},
): void {
  const activity = { agentId, at: now, ipAddress, status: "success", message, known: true } as const;
  const byOther = isOther(caller, agentId) && { byOther: true };
  waitUntil(recordActivity(env.ACTIVITY, { ...activity, ...byOther, ...more }));
}

function isOther(caller: By | undefined, agentId: string): boolean {
  if (!caller) return false;
  return "agent" in caller ? caller.agent.id !== agentId : caller.kind !== "stranger";
}
