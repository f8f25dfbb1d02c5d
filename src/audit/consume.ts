import { lastVerifiedStatements } from "../agents/last-verified.ts";
import { randomBase62 } from "../crypto/random.ts";
import { logFailure } from "../log/failure-log.ts";
import { insertEvent } from "../webhooks/outbox.ts";
import type { ActivityMessage } from "./record.ts";
import { insertedInBatch, insertActivities } from "./store.ts";

/** A batch that was refused twice is taken apart. */
const MAX_WHOLE_BATCH_ATTEMPTS = 2;

/** The queue's consumer. What cannot be written comes again, and keeps none of the others: see `WHOLE_ATTEMPTS`. */
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
        logFailure("activity_not_recorded", cause, { messages: part.length });
        for (const message of part) message.retry();
      }
    }),
  );
}

/**
 * Writes a whole batch of messages in one D1 batch, rows, counts and events together. Ids make repeats harmless.
 */
export async function consumeActivities(db: D1Database, messages: readonly ActivityMessage[]): Promise<void> {
  if (messages.length === 0) return;
  const batch = randomBase62(12);
  await db.batch([
    ...insertActivities(db, messages, batch),
    ...lastVerifiedStatements(db, messages),
    ...messages.flatMap(({ id, event }) => (event ? [insertEvent(db, event, insertedInBatch(id, batch))] : [])),
  ]);
}
