import { logFailure } from "../log/failure-log.ts";
import { newEvent, type Event } from "../outbox/event.ts";
import { insertRecordedEvents } from "../outbox/outbox.ts";
import { RECORD_ID_PREFIX, type AuditEntry } from "../outbox/record.ts";
import { databaseFailure } from "../storage/failure.ts";
import { insertEntriesIntoLog } from "./insert.ts";
import { deleteEntries, postponeEntry, readReadyEntries, type WaitingEntry } from "./store/outbox.ts";
import { verificationStatements } from "./verifications.ts";

type Databases = Pick<Env, "DB" | "AUDIT_DB">;

/** How many entries one step moves. */
const MAX_MOVED = 200;
const MAX_STEPS = 20;

/** How long an entry waits that the log's database does not take by itself. */
const POSTPONED_MS = 3_600_000;

/**
 * Moves what is ready from the outbox into the audit log. It is there before it leaves the outbox: a move that is cut short is repeated,
 * and of two at once each finds what the other has done.
 *
 * @param now milliseconds.
 * @throws {Error} if one of the databases does not answer.
 */
export async function moveOutbox(databases: Databases, now: number): Promise<void> {
  for (let step = 0; step < MAX_STEPS; step++) {
    if ((await moveEntries(databases, now, MAX_MOVED)) < MAX_MOVED) return;
  }
}

/** Moves up to `limit` entries. Returns how many it read. */
export async function moveEntries(databases: Databases, now: number, limit: number): Promise<number> {
  const waiting = await readReadyEntries(databases.DB, now, limit);
  if (waiting.length === 0) return 0;
  try {
    await move(databases, waiting, now);
  } catch (cause) {
    if (databaseFailure(cause)) throw cause;
    // The log's database refuses one of them for what it is, which must not hold up the others.
    for (const one of waiting) await moveAlone(databases, one, now);
  }
  return waiting.length;
}

async function move({ DB, AUDIT_DB }: Databases, waiting: readonly WaitingEntry[], now: number): Promise<void> {
  const entries = waiting.map(({ text }) => JSON.parse(text) as AuditEntry);
  await insertEntriesIntoLog(AUDIT_DB, entries, now);
  const events = entries.flatMap(countEvent);
  await DB.batch([
    ...verificationStatements(DB, entries),
    ...(events.length > 0 ? [insertRecordedEvents(DB, events)] : []),
    deleteEntries(DB, waiting),
  ]);
}

/** The event of refused verifications that were too many for records of their own. Each of the others had its event at once. */
function countEvent({ id, action, agentId, at, count, ipAddress, after }: AuditEntry): Event[] {
  const addresses = after?.addresses;
  if (action !== "token.refused" || agentId === null || count === null || !Array.isArray(addresses)) return [];
  const event = newEvent("agent.verification_failed", agentId, at, {
    agent_id: agentId,
    failed_at: new Date(at).toISOString(),
    ip_address: ipAddress ?? String(addresses.at(-1)),
    count,
    addresses: addresses.length,
  });
  // A move that is repeated makes the same event.
  return [{ ...event, id: `evt_${id.slice(RECORD_ID_PREFIX.length)}` }];
}

async function moveAlone(databases: Databases, one: WaitingEntry, now: number): Promise<void> {
  try {
    await move(databases, [one], now);
  } catch (cause) {
    if (databaseFailure(cause)) throw cause;
    logFailure("record_not_moved", cause, { id: one.id, agent_id: one.agentId });
    await postponeEntry(databases.DB, one, now + POSTPONED_MS).run();
  }
}
