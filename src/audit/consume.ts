import { logFailure } from "../log/failure-log.ts";
import { insertRecordedEvents } from "../outbox/outbox.ts";
import { toEntry } from "./former.ts";
import { insertEntriesIntoLog } from "./insert.ts";
import type { OutboxMessage, ReceivedMessage, RecordMessage, RefusalsMessage } from "./message.ts";
import { moveOutbox } from "./move.ts";
import { deleteEntries } from "./store/outbox.ts";
import { addRefusals } from "./store/refusals.ts";
import { claimUnproven } from "./store/failed-verifications.ts";
import { verificationStatements } from "./verifications.ts";

type Databases = Pick<Env, "DB" | "AUDIT_DB">;

/** After this many failed attempts, each message of a batch is written by itself. */
const MAX_WHOLE_BATCH_ATTEMPTS = 2;

/** How many ids of a batch that failed are logged. A message that becomes a dead letter has been logged by itself. */
const MAX_LOGGED_IDS = 10;

/** The queue's consumer. A message that cannot be written is retried, after some attempts by itself, so that it does not delay others. */
export async function consumeAuditBatch(
  databases: Databases,
  messages: readonly Message<ReceivedMessage>[],
  now: number,
): Promise<void> {
  const apart = messages.some(({ attempts }) => attempts > MAX_WHOLE_BATCH_ATTEMPTS);
  await Promise.all(
    (apart ? messages.map((message) => [message]) : [messages]).map(async (part) => {
      const tries = Math.max(...part.map(({ attempts }) => attempts));
      try {
        const bodies = part.map(({ body }) => body);
        await consumeMessages(databases, bodies, { now, isRepeated: tries > 1 });
      } catch (cause) {
        const ids = part.slice(0, MAX_LOGGED_IDS).map(({ body }) => idOf(body));
        logFailure("activity_not_recorded", cause, { messages: part.length, ids, tries });
        for (const message of part) message.retry();
      }
    }),
  );
}

/**
 * The consumer of messages that the queue gave up. It tells the operator of each once, and tries to write it again: the queue delivers it
 * each hour, as long as it keeps messages.
 */
export async function consumeDeadAuditBatch(
  databases: Databases,
  messages: readonly Message<ReceivedMessage>[],
  now: number,
): Promise<void> {
  const fresh = messages.filter(({ attempts }) => attempts === 1);
  if (fresh.length > 0) {
    const ids = fresh.slice(0, MAX_LOGGED_IDS).map(({ body }) => idOf(body));
    logFailure("activity_dead", "the queue gave it up; it is tried again each hour", { messages: fresh.length, ids });
  }
  await consumeAuditBatch(databases, messages, now);
}

const idOf = (body: ReceivedMessage | null): string | undefined =>
  body?.kind === "record" ? body.entry?.id : (body?.kind ?? body?.id);

/**
 * Writes messages into the audit log, and afterwards what follows from them into the identity database. All of it may be repeated: a
 * message that is delivered twice has the same id, and is one record.
 *
 * @param options.now milliseconds.
 * @param options.isRepeated whether an earlier attempt may have been cut short after it had written the log.
 */
export async function consumeMessages(
  { DB, AUDIT_DB }: Databases,
  messages: readonly ReceivedMessage[],
  { now, isRepeated }: { now: number; isRepeated: boolean },
): Promise<void> {
  const records = await withoutRefused(
    DB,
    messages.flatMap((message) =>
      message.kind === "outbox" || message.kind === "refusals" ? [] : toRecordMessage(message),
    ),
  );
  const entries = records.map(({ entry }) => entry);
  const inserted = await insertEntriesIntoLog(AUDIT_DB, entries, now);
  // An event is inserted with its record. After that, the queue may deliver its message again, when the event is long delivered.
  const events = records.flatMap(({ entry, event }) => (event && (isRepeated || inserted.has(entry.id)) ? event : []));
  const ends = entries.filter(({ part }) => part === "end");
  const statements = [
    ...verificationStatements(DB, entries),
    ...(events.length > 0 ? [insertRecordedEvents(DB, events)] : []),
    ...(ends.length > 0 ? [deleteEntries(DB, ends)] : []),
  ];
  if (statements.length > 0) await DB.batch(statements);
  const refusals = messages.flatMap((message) => (message.kind === "refusals" ? message.refusals : []));
  if (refusals.length > 0) await addRefusals(AUDIT_DB, refusals);
  if (messages.some(({ kind }) => kind === "outbox")) await moveOutbox({ DB, AUDIT_DB }, now);
}

function toRecordMessage(message: Exclude<ReceivedMessage, OutboxMessage | RefusalsMessage>): RecordMessage {
  if (message.kind === "record") return message;
  const { event, keyId, known, failedVerification } = message;
  const entry = toEntry(message, keyId === undefined ? {} : { keyId });
  return {
    kind: "record",
    entry,
    ...(event && { event }),
    ...((failedVerification || !known) && { isUnproven: true }),
  };
}

/** The messages without those of agents that do not exist, and without failed verifications that are only counted. */
async function withoutRefused(db: D1Database, messages: readonly RecordMessage[]): Promise<readonly RecordMessage[]> {
  const unproven = messages.filter(({ isUnproven }) => isUnproven).map(({ entry }) => entry);
  if (unproven.length === 0) return messages;
  const recorded = await claimUnproven(db, unproven);
  return messages.filter(({ isUnproven, entry }) => !isUnproven || recorded.has(entry.id));
}
