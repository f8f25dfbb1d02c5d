import { lastVerifiedStatements } from "../agents/last-verified.ts";
import { logFailure } from "../log/failure-log.ts";
import { newChangeId } from "../outbox/change.ts";
import { insertEvent } from "../outbox/outbox.ts";
import type { ActivityMessage } from "./record.ts";
import { insertActivities } from "./store/activity.ts";

/** After this many failed attempts, each message of a batch is written by itself. */
const MAX_WHOLE_BATCH_ATTEMPTS = 2;

/** How many ids of a batch that failed are logged. A message that becomes a dead letter has been logged by itself. */
const MAX_LOGGED_IDS = 10;

/** The queue's consumer. A message that cannot be written is retried, after some attempts by itself, so that it does not delay others. */
export async function consumeActivityBatch(
  db: D1Database,
  messages: readonly Message<ActivityMessage>[],
): Promise<void> {
  const apart = messages.some(({ attempts }) => attempts > MAX_WHOLE_BATCH_ATTEMPTS);
  await Promise.all(
    (apart ? messages.map((message) => [message]) : [messages]).map(async (part) => {
      try {
        await consumeActivities(
          db,
          part.map(({ body }) => body),
        );
      } catch (cause) {
        const ids = part.slice(0, MAX_LOGGED_IDS).map(({ body }) => body?.id);
        const tries = Math.max(...part.map(({ attempts }) => attempts));
        logFailure("activity_not_recorded", cause, { messages: part.length, ids, tries });
        for (const message of part) message.retry();
      }
    }),
  );
}

/**
 * Writes messages in one D1 batch: rows, counts and events together. A message that is delivered twice has the same id, and the
 * second time inserts neither a row nor an event.
 */
export async function consumeActivities(db: D1Database, messages: readonly ActivityMessage[]): Promise<void> {
  if (messages.length === 0) return;
  const changeId = newChangeId();
  await db.batch([
    ...insertActivities(db, messages, changeId),
    ...lastVerifiedStatements(db, messages),
    ...messages.flatMap(({ id, event }) =>
      event ? [insertEvent(db, event, { table: "activity", id, changeId })] : [],
    ),
  ]);
}
