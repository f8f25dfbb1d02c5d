import { keepLastVerified } from "../agents/last-verified.ts";
import { randomBase62 } from "../crypto/random.ts";
import { announce } from "../webhooks/outbox.ts";
import type { ActivityMessage } from "./record.ts";
import { cameInWith, insertActivities } from "./store.ts";

/**
 * The queue's consumer: a whole batch of messages in one D1 batch, rows, counts and events together.
 *
 * If D1 refuses, the batch comes again; ids make that harmless.
 */
export async function consumeActivities(db: D1Database, messages: readonly ActivityMessage[]): Promise<void> {
  if (messages.length === 0) return;
  const batch = randomBase62(12);
  await db.batch([
    ...insertActivities(db, messages, batch),
    ...keepLastVerified(db, messages),
    ...messages.flatMap(({ id, event }) => (event ? [announce(db, event, cameInWith(id, batch))] : [])),
  ]);
}
