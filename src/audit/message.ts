import { logFailure } from "../log/failure-log.ts";
import type { Event } from "../outbox/event.ts";
import { insertRecordedEvents } from "../outbox/outbox.ts";
import type { AuditEntry } from "../outbox/record.ts";
import type { ActivityMessage } from "./former.ts";
import type { RefusalCount } from "./store/refusals.ts";
import { insertOrCount } from "./store/state.ts";

/** An entry on its way to the audit log, behind the answer. */
export interface RecordMessage {
  readonly kind: "record";
  readonly entry: AuditEntry;
  /** Inserted into the outbox of events together with the entry. */
  readonly event?: Event;
  /**
   * Of the former version: a stranger has named the agent, which may not exist. The consumer looks it up, and records only the first of a
   * minute. The others are counted.
   */
  readonly isUnproven?: boolean;
}

/** The outbox of the audit log has entries. */
export interface OutboxMessage {
  readonly kind: "outbox";
}

/** Refusals that an isolate has counted. */
export interface RefusalsMessage {
  readonly kind: "refusals";
  readonly refusals: readonly RefusalCount[];
}

/** What is sent to the queue `ACTIVITY`. A message without `kind` is of the former version. */
export type AuditMessage = RecordMessage | OutboxMessage | RefusalsMessage;
export type ReceivedMessage = AuditMessage | (ActivityMessage & { readonly kind?: undefined });

type AuditEnv = Pick<Env, "DB" | "ACTIVITY">;

/** How many messages one call of a queue takes. */
const MAX_MESSAGES_PER_SEND = 100;

/**
 * Sends entries to the audit log. If the queue refuses them, they go into the outbox, from which a scheduled job moves them.
 *
 * Never rejects, because it runs in `waitUntil`, after the response. What cannot be recorded at all is logged.
 */
export async function sendRecords(env: AuditEnv, messages: readonly Omit<RecordMessage, "kind">[]): Promise<void> {
  for (let first = 0; first < messages.length; first += MAX_MESSAGES_PER_SEND) {
    await sendPart(env, messages.slice(first, first + MAX_MESSAGES_PER_SEND));
  }
}

async function sendPart({ DB, ACTIVITY }: AuditEnv, part: readonly Omit<RecordMessage, "kind">[]): Promise<void> {
  const bodies = part.map((one): RecordMessage => ({ kind: "record", ...one }));
  try {
    if (bodies.length === 1) await ACTIVITY.send(bodies[0]!);
    else await ACTIVITY.sendBatch(bodies.map((body) => ({ body })));
  } catch (cause) {
    await keepInOutbox(DB, bodies, cause);
  }
}

async function keepInOutbox(db: D1Database, messages: readonly RecordMessage[], cause: unknown): Promise<void> {
  try {
    const events = messages.flatMap(({ event }) => event ?? []);
    await db.batch([
      ...insertOrCount(
        db,
        messages.map(({ entry }) => entry),
      ),
      ...(events.length > 0 ? [insertRecordedEvents(db, events)] : []),
    ]);
    logFailure("activity_queue_failed", cause, { records_in_outbox: messages.length });
  } catch (failure) {
    logLost(messages, failure);
  }
}

/** Puts an entry into the outbox, or sends it if the database does not take it. Never rejects. */
export async function putIntoOutbox(env: AuditEnv, entry: AuditEntry): Promise<void> {
  try {
    await env.DB.batch(insertOrCount(env.DB, [entry]));
  } catch {
    await sendRecords(env, [{ entry }]);
  }
}

function logLost(messages: readonly RecordMessage[], cause: unknown): void {
  for (const { entry } of messages) {
    const { id, agentId, action, message } = entry;
    logFailure("activity_lost", cause, { id, agent_id: agentId, action, message });
  }
}

/** Tells the audit log that its outbox has entries. Never rejects: without the message, a scheduled job moves them. */
export async function wakeOutbox({ ACTIVITY }: Pick<Env, "ACTIVITY">): Promise<void> {
  try {
    await ACTIVITY.send({ kind: "outbox" } satisfies OutboxMessage);
  } catch (cause) {
    logFailure("audit_outbox_not_woken", cause);
  }
}
