import { timeOrderedId } from "../crypto/random.ts";
import { logFailure } from "../log/failure-log.ts";
import type { Event } from "../outbox/event.ts";

/** An activity as a queue message. */
export interface ActivityMessage {
  readonly id: string;
  readonly agentId: string;
  /** Milliseconds. */
  readonly at: number;
  readonly ipAddress: string;
  readonly status: "success" | "failure";
  readonly message: string | null;
  /**
   * The agent existed when the message was made, because it called or was changed. The row is then written even if the agent is
   * deleted before the message is consumed. A stranger can name any id: for such messages the consumer looks the agent up.
   */
  readonly known: boolean;
  /** Somebody else did it to the agent, which therefore must not see the address. */
  readonly byOther?: boolean;
  /** The agent verified itself with its API key. */
  readonly verified?: boolean;
  /** The id of that key. */
  readonly keyId?: string;
  /** A verification failed. Above a limit a minute, such rows become one count. */
  readonly failedVerification?: boolean;
  /** Inserted together with the row. */
  readonly event?: Event;
}

export const ACTIVITY_ID_PREFIX = "act_";

/** A text that sorts before every id of this millisecond and after all earlier ones. */
export const firstActivityIdAt = (ms: number): string =>
  timeOrderedId(ACTIVITY_ID_PREFIX, ms).slice(0, ACTIVITY_ID_PREFIX.length + 12);

const MAX_MESSAGE_LENGTH = 500;

/**
 * Sends one activity to the queue. The id is made here, so that a message delivered twice is one row.
 *
 * Never rejects, because it runs in `waitUntil`, after the response.
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

/** Messages that one call of a queue takes. */
const MAX_MESSAGES_PER_SEND = 100;

/** Sends the same activity of many agents to the queue. Never rejects, because it runs in `waitUntil`. */
export async function recordActivities(
  queue: Queue<ActivityMessage>,
  agentIds: readonly string[],
  activity: Omit<ActivityMessage, "id" | "agentId">,
): Promise<void> {
  const messages = agentIds.map((agentId) => ({
    body: { ...activity, agentId, id: timeOrderedId(ACTIVITY_ID_PREFIX, activity.at) },
  }));
  const parts = Array.from({ length: Math.ceil(messages.length / MAX_MESSAGES_PER_SEND) }, (_, index) =>
    messages.slice(index * MAX_MESSAGES_PER_SEND, (index + 1) * MAX_MESSAGES_PER_SEND),
  );
  await Promise.all(
    parts.map(async (part) => {
      try {
        await queue.sendBatch(part);
      } catch (cause) {
        logFailure("activity_lost", cause, { agents: part.length, message: activity.message });
      }
    }),
  );
}

/** Who called: an agent, or the registrar of one. */
type By = { readonly agent: { readonly id: string } } | { readonly kind: "stranger" | "bootstrap" | "agent" };

/** The parts of a request that its activity records. */
export interface AuditContext {
  readonly caller?: By | undefined;
  readonly env: { readonly ACTIVITY: Queue };
  readonly now: number;
  readonly ipAddress: string;
  readonly waitUntil: (work: Promise<unknown>) => void;
}

/** Records what an agent did, or what was done to it, in this request. The response does not wait for it. */
export function recordInBackground(
  { env, now, ipAddress, waitUntil, caller }: AuditContext,
  agentId: string,
  message: string,
  more: Partial<Pick<ActivityMessage, "status" | "event" | "known" | "verified" | "keyId" | "failedVerification">> = {},
): void {
  const activity = { agentId, at: now, ipAddress, status: "success", message, known: true } as const;
  const byOther = isOther(caller, agentId) && { byOther: true };
  waitUntil(recordActivity(env.ACTIVITY, { ...activity, ...byOther, ...more }));
}

function isOther(caller: By | undefined, agentId: string): boolean {
  if (!caller) return false;
  return "agent" in caller ? caller.agent.id !== agentId : caller.kind !== "stranger";
}
